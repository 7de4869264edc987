//! What is shared and what is told, with probes that fail without a socket.

use std::time::Duration;

use penstock_types::probe::{Check, HttpGet};

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

/// Fails without asking anybody, since it cannot be sent.
fn unsendable() -> Check {
    Check::Http(HttpGet {
        path: "/a b".to_owned(),
        ..HttpGet::default()
    })
}

const UNSENDABLE: &str = "the probe cannot be sent: path \"/a b\" is not valid";

#[tokio::test]
async fn case_67_what_can_never_pass_fails_at_once_with_one_line() {
    for period in [None, Some(1)] {
        for (check, want) in [
            (Check::Nothing, "no probe found"),
            (exec(), "exec probe not supported"),
        ] {
            let (readiness, lines) = told(vec![probe(check, period)]);
            let failure = readiness.ask().await.unwrap_err();
            assert_eq!(failure.attempts, 1);
            assert_eq!(*lines.lock().unwrap(), [format!("probe error: {want}")]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn case_65_many_attempts_are_told_in_one_line() {
    let (readiness, lines) = told(vec![probe(unsendable(), None)]);
    let attempts = readiness.ask().await.unwrap_err().attempts;
    let want = format!("aggressive probe error (failed {attempts} times): {UNSENDABLE}");
    assert_eq!(*lines.lock().unwrap(), [want]);
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
    let failing = probe(unsendable(), None);
    let (readiness, lines) = told(vec![failing.clone(), failing]);
    readiness.ask().await.unwrap_err();
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for number in ["1", "2"] {
        let end = format!("times): probe {number} of 2: {UNSENDABLE}");
        assert!(lines.iter().any(|line| line.ends_with(&end)), "{lines:?}");
    }
}

#[tokio::test]
async fn case_79_without_probes_it_is_always_ready() {
    let (readiness, lines) = told(Vec::new());
    readiness.ask().await.unwrap();
    readiness.until_ready().await;
    assert!(lines.lock().unwrap().is_empty());
}
