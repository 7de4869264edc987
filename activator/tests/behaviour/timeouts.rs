//! Time limits: before an answer begins they are a 504, afterwards they break it off.

use std::time::Duration;

use penstock_activator::Options;
use penstock_testkit::client::{RawClient, streaming_body};
use penstock_testkit::cluster::revision;
use penstock_testkit::workload::Workload;
use penstock_types::Timeouts;

use crate::asked::AskedPod;
use crate::stage::{Bound, HOST, Stage, hello, post, within};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(600);

fn whole(limit: Duration) -> Timeouts {
    Timeouts {
        whole: limit,
        response_start: None,
        idle: None,
    }
}

#[tokio::test]
async fn a_revision_whose_pods_never_come_is_504_at_its_limit_and_others_are_unharmed() {
    let pod = Workload::start().await;
    let stage = Stage::new([
        hello().timeouts(whole(Duration::from_secs(1))).build(),
        revision("well-00001").pod(pod.addr()).build(),
    ]);
    let late = stage.getting("/");
    stage.until_load(1, 0).await;
    let mut client = stage.client().await;
    let other = client
        .get("well-00001.default.svc.cluster.local", "/")
        .await;
    assert_eq!(other.unwrap().status, 200);
    let late = within(late).await.unwrap();
    assert_eq!(late.brief(), (504, "activator request timeout".to_owned()));
    assert_eq!(
        late.headers["proxy-status"],
        "penstock-activator; error=http_response_timeout"
    );
    stage.until_idle().await;
    stage.until_untracked().await;
    stage.end().await;
}

#[tokio::test]
async fn cases_14_27_29_and_31_each_limit_is_504_before_the_first_byte() {
    let pod = Workload::start().await;
    let limits = [
        whole(SHORT),
        Timeouts {
            response_start: Some(SHORT),
            ..whole(LONG)
        },
        Timeouts {
            idle: Some(SHORT),
            ..whole(LONG)
        },
    ];
    for limits in limits {
        // Once inside a pod that does not answer, once in line.
        for revision in [
            hello().timeouts(limits).pod(pod.addr()),
            hello().timeouts(limits),
        ] {
            let stage = Stage::new([revision.build()]);
            let answer = stage.get("/hold").await;
            let expected = (504, "activator request timeout".to_owned());
            assert_eq!(answer.brief(), expected, "{limits:?}");
            pod.until_inside(0).await;
            stage.until_idle().await;
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn cases_26_28_and_32_a_started_answer_may_pause_for_longer_than_its_start_might() {
    let pod = Workload::start().await;
    let limits = Timeouts {
        response_start: Some(Duration::from_millis(500)),
        ..whole(LONG)
    };
    let stage = Stage::new([hello().timeouts(limits).pod(pod.addr()).build()]);
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let stream = within(pod.next_stream()).await;
    stream.event("one").await;
    within(client.read_until(b"one\n\n")).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    stream.event("two").await;
    drop(stream);
    within(client.read_until(b"two\n\n")).await;
    within(client.read_until(b"0\r\n\r\n")).await;
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn cases_30_and_31_a_limit_after_the_answer_began_breaks_it_off_and_tells_the_pod() {
    let pod = Workload::start().await;
    let limits = [
        whole(Duration::from_secs(1)),
        Timeouts {
            idle: Some(Duration::from_secs(1)),
            ..whole(LONG)
        },
    ];
    for limits in limits {
        let stage = Stage::new([hello().timeouts(limits).pod(pod.addr()).build()]);
        let mut client = RawClient::connect(stage.addr).await;
        client
            .send(format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await;
        let stream = within(pod.next_stream()).await;
        stream.event("foo").await;
        let answer = within(client.read_response()).await;
        assert_eq!(answer.head.status, 200);
        assert_eq!(&answer.body[..], b"data: foo\n\n");
        assert!(!answer.complete, "it looks whole");
        within(stream.until_gone()).await;
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_caller_that_does_not_send_its_body_to_the_end_is_504_too() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().timeouts(whole(SHORT)).pod(pod.addr()).build()]);
    let (_sender, body) = streaming_body();
    let mut client = stage.client().await;
    let answer = within(client.ask(post("/", body))).await.unwrap();
    assert_eq!(answer.status, 504);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn tunnels_end_at_the_limit_of_the_whole_request() {
    let pod = Workload::start().await;
    let limits = whole(Duration::from_secs(1));
    let stage =
        Bound::before([hello().timeouts(limits).pod(pod.addr()).build()]).start(Options::default());
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
        ))
        .await;
    assert_eq!(client.read_head().await.status, 101);
    client.send("ping").await;
    assert_eq!(&client.read_exact(4).await[..], b"ping");
    stage.until_load(0, 1).await;
    assert_eq!(within(client.read_to_close()).await.len(), 0);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn cases_33_and_34_what_a_pod_does_after_its_limit_reaches_nobody_and_before_it_does() {
    let mut only = AskedPod::start().await;
    let revision = hello().timeouts(whole(Duration::from_secs(1)));
    let stage = Stage::new([revision.pod(only.addr).build()]);
    // It ends the connection in time.
    let early = stage.getting("/");
    drop(only.request().await);
    assert_eq!(within(early).await.unwrap().status, 502);
    only.probe().await.answer("queue").await;
    stage.until_idle().await;
    // It does so, or answers, too late: on the same connection of the caller comes the next answer.
    let mut client = RawClient::connect(stage.addr).await;
    for too_late in ["", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"] {
        client
            .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
            .await;
        let asked = only.request().await;
        let answer = within(client.read_response()).await;
        assert_eq!(answer.head.status, 504);
        assert_eq!(&answer.body[..], b"activator request timeout");
        asked.try_write(too_late).await;
    }
    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    only.request().await.answer("in time").await;
    let answer = within(client.read_response()).await;
    assert_eq!(
        (answer.head.status, &answer.body[..]),
        (200, &b"in time"[..])
    );
    drop(client);
    stage.until_idle().await;
    stage.end().await;
}
