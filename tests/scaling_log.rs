//! What is said of each scaling event.

use serde_json::Value;

use crate::harness::{Options, Service, Stream, Up, tests};

tests! {
    each_scaling_event_is_one_line_of_json_with_its_reason;
    policy_knative_says_which_window_decided;
}

async fn each_scaling_event_is_one_line_of_json_with_its_reason() {
    let service = Service::autoscale("busy")
        .annotated("window", "6s")
        .spec("containerConcurrency: 5");
    let up = Up::start(&[service], Options::flags(&["--log", "json"])).await;
    up.gateway
        .get_all(20, "busy.default.example.com", "/?sleep=100")
        .await;
    let state = up
        .until_state("zero", |state| state.pods("busy-00001") == 0)
        .await;
    let decisions = state.decisions("busy-00001");
    let lines = up.output.of(Stream::Stderr);
    let events = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<Value> = events.filter(|event| event["from"].is_u64()).collect();
    assert_eq!(events.len(), decisions.len(), "{events:?} {decisions:?}");
    for (event, (from, to, why)) in events.iter().zip(&decisions) {
        assert_eq!(event["revision"], "default/busy-00001");
        assert_eq!(
            (&event["from"], &event["to"]),
            (&(*from).into(), &(*to).into())
        );
        assert_eq!(event["policy"], "demand");
        let message = event["message"].as_str().unwrap();
        assert_eq!(message, format!("default/busy-00001 {from} -> {to}: {why}"));
    }
    assert!(decisions[0].2.ends_with("5 a pod"), "{decisions:?}");
    let last = decisions.last().unwrap();
    assert!(
        last.1 == 0 && last.2.starts_with("no demand for "),
        "{last:?}"
    );
    up.stop().await;
}

async fn policy_knative_says_which_window_decided() {
    let service = Service::autoscale("busy").annotated("target", 1);
    let up = Up::start(&[service], Options::flags(&["--policy", "knative"])).await;
    let answers = up
        .gateway
        .get_all(20, "busy.default.example.com", "/?sleep=4000")
        .await;
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{answers:?}"
    );
    let decisions = up.state().await.decisions("busy-00001");
    assert!(
        decisions.iter().all(|(.., why)| !why.is_empty()),
        "{decisions:?}"
    );
    let said: Vec<&str> = decisions.iter().map(|(.., why)| why.as_str()).collect();
    assert!(said.join("; ").contains("panic"), "{said:?}");
    up.stop().await;
}
