//! What is shared and what is told, with probes that fail without a socket.

use std::time::Duration;

use penstock_types::probe::Check;

use super::*;

fn probe(check: Check, period: Option<u64>) -> Probe {
    Probe {
        check,
        period: period.map(Duration::from_secs),
        ..Probe::tcp_default()
    }
}

fn exec() -> Check {
    Check::Exec {
        command: vec!["true".to_owned()],
    }
}

/// Readiness by `probes`, and the lines that it tells.
fn told(probes: Vec<Probe>) -> (Arc<Readiness>, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let probes = Probes::new(probes).told(move |line| into.lock().unwrap().push(line.to_owned()));
    (Readiness::new(probes, 1), lines)
}

#[tokio::test(start_paused = true)]
async fn cases_65_and_67_what_can_never_pass_fails_with_one_line() {
    let table = [
        (Check::Nothing, Some(1), "probe error: no probe found"),
        (exec(), Some(1), "probe error: exec probe not supported"),
        (Check::Nothing, None, "times): no probe found"),
        (exec(), None, "times): exec probe not supported"),
    ];
    for (check, period, want) in table {
        let (readiness, lines) = told(vec![probe(check, period)]);
        let failure = readiness.ask().await.unwrap_err();
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with(want), "{lines:?}");
        if period.is_none() {
            let start = format!(
                "aggressive probe error (failed {} times): ",
                failure.attempts
            );
            assert!(lines[0].starts_with(&start), "{lines:?}");
        }
    }
}

#[tokio::test]
async fn single_attempts_that_fail_are_told_once_a_second() {
    let (readiness, lines) = told(vec![probe(Check::Nothing, Some(1))]);
    for _ in 0..3 {
        readiness.ask().await.unwrap_err();
    }
    assert_eq!(*lines.lock().unwrap(), ["probe error: no probe found"]);
}

#[tokio::test(start_paused = true)]
async fn of_several_probes_each_that_fails_is_told_by_its_number() {
    let failing = probe(Check::Nothing, None);
    let (readiness, lines) = told(vec![failing.clone(), failing]);
    readiness.ask().await.unwrap_err();
    let mut lines = lines.lock().unwrap().clone();
    lines.sort_by_key(|line| line.split("): ").nth(1).unwrap().to_owned());
    assert!(
        lines[0].ends_with("probe 1 of 2: no probe found"),
        "{lines:?}"
    );
    assert!(
        lines[1].ends_with("probe 2 of 2: no probe found"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn case_79_without_probes_it_is_always_ready() {
    let (readiness, lines) = told(Vec::new());
    readiness.ask().await.unwrap();
    readiness.until_ready().await;
    assert!(lines.lock().unwrap().is_empty());
}
