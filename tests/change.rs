//! Files saved while it runs: new revisions, canaries, rollback, tags, reload.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::harness::{Service, Up, tests};

tests! {
    a_new_version_of_a_node_server_is_tried_taken_and_rolled_back needs "node";
    ten_percent_of_ten_thousand_requests_are_a_thousand;
    a_new_version_that_never_gets_ready_takes_no_traffic;
    a_service_is_added_and_another_removed;
    a_hangup_reads_the_files_again;
    a_broken_file_changes_nothing_and_all_its_mistakes_are_said;
}

const HOST: &str = "server.default.example.com";

fn node(version: u32) -> Service {
    Service::node("server").env("VERSION", &version.to_string())
}

fn hello_of(version: u32) -> String {
    format!("Hello World! I'm Server version {version}\n")
}

fn shares(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter()
        .map(|(name, percent)| ((*name).to_owned(), *percent))
        .collect()
}

async fn a_new_version_of_a_node_server_is_tried_taken_and_rolled_back() {
    let up = Up::with(&[node(1)]).await;
    assert_eq!(up.gateway.text(HOST, "/").await, hello_of(1));

    // Without a traffic block, the newest takes it all once it is ready.
    up.save(&[node(2)]);
    let moved = shares(&[("server-00002", 100)]);
    let state = up.until_state("traffic on 2", |state| state.traffic(HOST) == moved);
    assert_eq!(state.await.ready("server-00002"), 1);
    assert_eq!(up.gateway.text(HOST, "/").await, hello_of(2));

    // A canary, exact to the request, and a host of its own for it.
    let canary = "[{revisionName: server-00001, percent: 80}, \
                   {revisionName: server-00002, percent: 20, tag: next}]";
    up.save(&[node(2).traffic(canary)]);
    let split = shares(&[("server-00001", 80), ("server-00002", 20)]);
    up.until_state("80 to 20", |state| state.traffic(HOST) == split)
        .await;
    let want = BTreeMap::from([(hello_of(1), 800), (hello_of(2), 200)]);
    assert_eq!(up.gateway.tally(HOST, 1000).await, want);
    let tag = "next-server.default.example.com";
    assert_eq!(up.gateway.text(tag, "/").await, hello_of(2));

    // Back to the first one.
    let back = "[{revisionName: server-00001, percent: 100}]";
    up.save(&[node(2).traffic(back)]);
    let rolled = shares(&[("server-00001", 100)]);
    up.until_state("all on 1", |state| state.traffic(HOST) == rolled)
        .await;
    let want = BTreeMap::from([(hello_of(1), 50)]);
    assert_eq!(up.gateway.tally(HOST, 50).await, want);
    assert_eq!(up.gateway.get(tag, "/").await.status, 404);
    up.stop().await;
}

async fn ten_percent_of_ten_thousand_requests_are_a_thousand() {
    let host = "canary.default.example.com";
    let service = |target: &str| Service::hello("canary").env("TARGET", target);
    let up = Up::with(&[service("old")]).await;
    let traffic =
        "[{revisionName: canary-00001, percent: 90}, {latestRevision: true, percent: 10}]";
    up.save(&[service("new").traffic(traffic)]);
    let split = shares(&[("canary-00001", 90), ("canary-00002", 10)]);
    up.until_state("90 to 10", |state| state.traffic(host) == split)
        .await;
    // Over several connections at once: it is the request that is counted.
    let one = || up.gateway.tally(host, 2500);
    let four = tokio::join!(one(), one(), one(), one());
    let new = |tally: &BTreeMap<String, usize>| tally["Hello new!\n"];
    let new = new(&four.0) + new(&four.1) + new(&four.2) + new(&four.3);
    assert!((900..=1100).contains(&new), "{new} of 10,000");
    up.stop().await;
}

async fn a_new_version_that_never_gets_ready_takes_no_traffic() {
    let host = "hello.default.example.com";
    let up = Up::with(&[Service::hello("hello")]).await;
    up.save(&[Service::shell("hello", "echo no good >&2; exit 3")]);
    let trouble = up.until_state("trouble with the second", |state| {
        let second = state.revision("hello-00002");
        second.is_some_and(|second| second["trouble"].is_string())
    });
    let state = trouble.await;
    assert_eq!(state.traffic(host), shares(&[("hello-00001", 100)]));
    assert_eq!(
        state.revision("hello-00002").unwrap()["traffic"],
        "candidate"
    );
    assert_eq!(up.gateway.text(host, "/").await, "Hello World!\n");
    up.output.until_line("no good").await;
    up.stop().await;
}

async fn a_service_is_added_and_another_removed() {
    let up = Up::with(&[Service::hello("one")]).await;
    up.save(&[Service::hello("two")]);
    up.until_state("two, not one", |state| {
        state.revision("one-00001").is_none() && state.revision("two-00001").is_some()
    })
    .await;
    assert_eq!(
        up.gateway.text("two.default.example.com", "/").await,
        "Hello World!\n"
    );
    assert_eq!(
        up.gateway.get("one.default.example.com", "/").await.status,
        404
    );
    up.stop().await;
}

async fn a_hangup_reads_the_files_again() {
    let up = Up::with(&[Service::hello("hello")]).await;
    up.signal(Signal::HUP);
    up.output.until_line("read again: nothing changed").await;
    up.stop().await;
}

async fn a_broken_file_changes_nothing_and_all_its_mistakes_are_said() {
    let up = Up::with(&[Service::hello("hello")]).await;
    let wrong = Service::hello("hello")
        .spec("containerConcurrency: -1")
        .spec("timeoutSeconds: soon");
    up.save(&[wrong]);
    up.output
        .until_line("the files were not taken, and everything stays as it was")
        .await;
    for field in [
        "spec.template.spec.containerConcurrency",
        "spec.template.spec.timeoutSeconds",
    ] {
        let said = up.output.lines_with(field);
        assert_eq!(said.len(), 1, "{field}: {said:?}");
    }
    assert_eq!(
        up.gateway.text("hello.default.example.com", "/").await,
        "Hello World!\n"
    );
    // And it goes on from there.
    up.save(&[Service::hello("hello").env("TARGET", "again")]);
    up.until_state("the second", |state| state.ready("hello-00002") == 1)
        .await;
    up.stop().await;
}
