//! What the autoscaler hears.

use std::collections::{HashMap, HashSet};

use penstock_activator::Options;
use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::cluster::{pod, revision};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};
use penstock_types::Timeouts;
use penstock_types::demand::Demand;
use std::time::Duration;

use crate::stage::{Bound, HOST, Stage, get, hello, hello_id, within};

/// The next first word about `hello`.
async fn first_word(stage: &Stage) -> Demand {
    loop {
        let report = stage.report().await;
        if report.first {
            return report;
        }
    }
}

#[tokio::test]
async fn case_91_the_first_request_of_each_revision_is_told_at_once_with_who_waits() {
    let stage = Stage::new([hello().build(), revision("bye-00001").build()]);
    let mut told = HashSet::new();
    let mut callers = Vec::new();
    for name in ["hello-00001", "bye-00001"] {
        let mut client = stage.client().await;
        let host = format!("{name}.default.svc.cluster.local");
        callers.push(tokio::spawn(async move { client.get(&host, "/").await }));
    }
    while told.len() < 2 {
        for report in stage
            .batch()
            .await
            .into_iter()
            .filter(|report| report.first)
        {
            assert_eq!(
                (report.average_concurrency, report.request_count),
                (1.0, 1.0)
            );
            assert_eq!((report.waiting, report.in_flight), (1, 0));
            assert!(told.insert(report.revision), "told twice");
        }
    }
    callers.iter().for_each(|caller| caller.abort());
    stage.end().await;
}

#[tokio::test]
async fn two_hundred_requests_that_come_together_are_all_in_the_first_word() {
    let bound = Bound::before([hello().concurrency(10).build()]);
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = RawClient::connect(bound.addr()).await;
        client
            .send(format!("GET /hold HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await;
        clients.push(client);
    }
    // All of it is in the kernel before anybody accepts.
    let stage = bound.start(Options::default());
    let word = first_word(&stage).await;
    assert_eq!((word.waiting, word.in_flight), (200, 0));

    let mut pods = Vec::new();
    for _ in 0..20 {
        let one = Workload::start().await;
        one.release(200);
        pods.push(one);
    }
    let addrs = pods.iter().map(|one| pod(one.addr()));
    stage.cluster.set_pods(&hello_id(), addrs);
    for client in &mut clients {
        let answer = within(client.read_response()).await;
        assert_eq!(answer.head.status, 200);
    }
    assert!(pods.iter().all(|one| one.most_inside() <= 10));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn the_whole_table_comes_every_second_also_when_it_is_empty() {
    let stage = Stage::new([hello().build()]);
    for _ in 0..3 {
        assert_eq!(stage.batch().await, []);
    }
    stage.end().await;
}

#[tokio::test]
async fn cases_92_to_98_while_a_request_waits_it_is_reported_and_zeros_end_it() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().build()]);
    let waiting = stage.getting("/");
    assert_eq!(first_word(&stage).await.waiting, 1);
    // The table repeats it, less what was told, then in full.
    loop {
        let report = stage.report().await;
        assert_eq!((report.first, report.waiting), (false, 1));
        if (report.average_concurrency, report.request_count) == (1.0, 0.0) {
            break;
        }
    }
    stage.cluster.start_pod(&hello_id(), one.addr());
    assert_eq!(within(waiting).await.unwrap().status, 200);
    let mut last = stage.report().await;
    while last.average_concurrency > 0.0 {
        last = stage.report().await;
    }
    assert_eq!(
        (last.request_count, last.waiting, last.in_flight),
        (0.0, 0, 0)
    );
    stage.until_untracked().await;

    // Tracked no more, the next one is a first one again, also beside a pod.
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(first_word(&stage).await.average_concurrency, 1.0);
    stage.end().await;
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_is_out_of_the_line_at_once() {
    let stage = Stage::new([hello().build()]);
    // Also one whose body nobody has read, and one whose body is still to come.
    for rest in [
        "\r\n",
        "content-length: 4\r\n\r\nbody",
        "content-length: 4\r\n\r\n",
    ] {
        let mut client = RawClient::connect(stage.addr).await;
        client
            .send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{rest}"))
            .await;
        stage.until_load(1, 0).await;
        drop(client);
        stage.until_idle().await;
    }
    // A stream that is given up leaves the others of its connection alone.
    let mut client = Client::h2c(stage.addr).await;
    tokio::select! {
        _ = client.get(HOST, "/") => panic!("there is no pod"),
        () = stage.until_load(1, 0) => {}
    }
    stage.until_idle().await;
    stage.until_untracked().await;
    stage.end().await;
}

#[tokio::test]
async fn a_line_that_emptied_before_the_word_went_out_is_told_as_empty() {
    let bound = Bound::before([hello().build()]);
    let mut client = RawClient::connect(bound.addr()).await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    drop(client);
    // Request and end are in the kernel before anybody accepts.
    let stage = bound.start(Options::default());
    loop {
        let report = stage.report().await;
        assert_eq!((report.waiting, report.in_flight), (0, 0));
        if !report.first {
            break;
        }
    }
    stage.until_untracked().await;
    stage.end().await;
}

#[tokio::test]
async fn every_way_of_ending_takes_a_request_out_of_the_demand() {
    let well = Workload::start().await;
    let closing = RawWorkload::start([Turn::close("")]).await;
    let broken = RawWorkload::start([Turn::close(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
    )])
    .await;
    let timeouts = Timeouts {
        whole: Duration::from_secs(1),
        response_start: None,
        idle: None,
    };
    let bound = Bound::before([hello().timeouts(timeouts).pod(well.addr()).build()]);
    let stage = bound.start(Options {
        waiting: 1,
        ..Options::default()
    });
    let id = hello_id();

    // An answer, with a body, with none, and an upgrade that the caller ends.
    assert_eq!(stage.get("/").await.status, 200);
    assert_eq!(stage.get("/status/204").await.status, 204);
    let upgrade =
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    let mut client = RawClient::connect(stage.addr).await;
    client.send(&upgrade).await;
    assert_eq!(client.read_head().await.status, 101);
    drop(client);
    // A caller that leaves: inside, and amid the answer.
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!("GET /hold HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    within(well.until_inside(1)).await;
    drop(client);
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let stream = within(well.next_stream()).await;
    stream.event("x").await;
    client.read_until(b"x\n\n").await;
    drop(client);
    within(stream.until_gone()).await;
    // An HTTP/2 stream that is given up.
    let mut h2 = Client::h2c(stage.addr).await;
    let seen = well.total();
    tokio::select! {
        _ = h2.get(HOST, "/hold") => panic!("nobody has released it"),
        () = well.until_total(seen + 1) => {}
    }
    within(well.until_inside(0)).await;
    // Pods that fail before the head, and within the body.
    stage.cluster.set_pods(&id, [pod(closing.addr())]);
    stage.until_pods(&[closing.addr()]).await;
    assert_eq!(stage.get("/").await.status, 502);
    stage.cluster.set_pods(&id, [pod(broken.addr())]);
    stage.until_pods(&[broken.addr()]).await;
    let mut client = stage.client().await;
    assert!(client.get(HOST, "/").await.is_err());
    // A time limit, and a line that is full.
    stage.cluster.set_pods(&id, []);
    stage.until_pods(&[]).await;
    let late = stage.getting("/");
    stage.until_load(1, 0).await;
    assert_eq!(get(stage.addr, "/").await.status, 503);
    assert_eq!(within(late).await.unwrap().status, 504);

    stage.until_idle().await;
    stage.until_untracked().await;
    stage.end().await;
}

#[tokio::test]
async fn case_100_of_many_requests_for_many_revisions_each_is_counted_once() {
    const REVISIONS: usize = 100;
    const EACH: usize = 20;
    let one = Workload::start().await;
    let name = |at: usize| format!("many-{at:05}");
    let stage = Stage::new((0..REVISIONS).map(|at| revision(&name(at)).pod(one.addr()).build()));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..EACH {
        let addr = stage.addr;
        callers.spawn(async move {
            let mut client = Client::http1(addr).await;
            for at in 0..REVISIONS {
                let host = format!("many-{at:05}.default.svc.cluster.local");
                let path = if caller == 0 { "/" } else { "/status/204" };
                assert!(client.get(&host, path).await.unwrap().status.is_success());
            }
        });
    }
    while let Some(caller) = within(callers.join_next()).await {
        caller.unwrap();
    }
    // First words and tables together. Whoever was idle meanwhile is told of a first time again.
    let mut counts: HashMap<String, f64> = HashMap::new();
    loop {
        let batch = stage.batch().await;
        if batch.is_empty() && !counts.is_empty() {
            break;
        }
        let mut in_this = HashSet::new();
        for report in batch {
            let name = report.revision.name().to_owned();
            assert!(in_this.insert(name.clone()), "{name} twice in one message");
            *counts.entry(name).or_default() += report.request_count;
        }
    }
    let want = (0..REVISIONS).map(|at| (name(at), EACH as f64)).collect();
    assert_eq!(counts, want);
    stage.end().await;
}
