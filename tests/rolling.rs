//! Changes under load lose nothing.

use crate::harness::{Load, Service, Up, tests};

tests! {
    three_changes_and_a_rollback_under_load_fail_no_request;
}

const HOST: &str = "hello.default.example.com";

/// Takes a little while, so that requests are inside whatever happens.
fn version(number: u32) -> Service {
    Service::autoscale("hello")
        .env("VERSION", &number.to_string())
        .annotated("window", "6s")
        .spec("containerConcurrency: 10")
}

async fn three_changes_and_a_rollback_under_load_fail_no_request() {
    let up = Up::with(&[version(1)]).await;
    let load = Load::start(up.gateway, HOST, "/?sleep=5", 200);
    up.until_state("load on the first", |state| state.ready("hello-00001") > 0)
        .await;
    for number in 2..=4 {
        up.save(&[version(number)]);
        let name = format!("hello-{number:05}");
        let traffic = vec![(name.clone(), 100)];
        let state = up.until_state(&name, |state| state.traffic(HOST) == traffic);
        assert!(
            state.await.ready(&name) > 0,
            "traffic moved before it was ready"
        );
        up.until_state("load on it", |state| state.figure(&name, "in_flight") > 0)
            .await;
    }
    up.save(&[version(4).traffic("[{revisionName: hello-00002, percent: 100}]")]);
    up.until_state("back on the second", |state| {
        state.traffic(HOST) == [("hello-00002".to_owned(), 100)]
            && state.figure("hello-00002", "in_flight") > 0
    })
    .await;
    // The others finish what they have, and go to zero.
    up.until_state("only the second", |state| {
        ["hello-00001", "hello-00003", "hello-00004"]
            .iter()
            .all(|name| state.pods(name) == 0)
    })
    .await;
    let heard = load.stop().await;
    assert!(heard.failures.is_empty(), "{:?}", heard.failures);
    assert!(heard.answers.values().sum::<usize>() > 200, "hardly a load");
    up.stop().await;
}
