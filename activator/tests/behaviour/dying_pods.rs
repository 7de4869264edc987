//! Pods that cut a request off: who else is sent there, and when they are used again.

use std::time::Duration;

use http::Request;
use penstock_activator::Options;
use penstock_testkit::client::{Answer, Client, empty};
use penstock_testkit::cluster::pod;
use penstock_testkit::workload::Workload;
use tokio::task::JoinHandle;

use crate::asked::AskedPod;
use crate::stage::{Bound, HOST, Stage, hello, hello_id, post, within};

/// A queue-proxy whose container closed the connection instead of answering.
const CUT_OFF: &str = "HTTP/1.1 502 Bad Gateway\r\n\
    proxy-status: penstock-queue-proxy; error=connection_terminated\r\n\
    content-length: 0\r\nconnection: close\r\n\r\n";

/// A POST, which nobody may repeat.
fn posting(stage: &Stage, path: &'static str) -> JoinHandle<u16> {
    let addr = stage.addr;
    tokio::spawn(async move {
        let mut client = Client::http1(addr).await;
        let answer = client.ask(post(path, empty())).await.unwrap();
        answer.status.as_u16()
    })
}

/// A request without a body.
fn asking(stage: &Stage, method: &'static str) -> JoinHandle<Answer> {
    let addr = stage.addr;
    tokio::spawn(async move {
        let mut client = Client::http1(addr).await;
        let request = Request::builder().method(method).header("host", HOST);
        client.ask(request.body(empty()).unwrap()).await.unwrap()
    })
}

fn repeating(within: Duration) -> Options {
    Options {
        repeat_within: within,
        ..Options::default()
    }
}

#[tokio::test]
async fn case_120_who_waits_is_not_sent_into_a_dying_pod_whatever_its_concurrency() {
    for concurrency in [1, 2, 10, 0] {
        let mut dying = AskedPod::start().await;
        let stage = Stage::new([hello().concurrency(concurrency).pod(dying.addr).build()]);
        let count = match concurrency {
            0 => 5,
            limit => limit as usize,
        };
        let answers: Vec<_> = (0..count).map(|_| posting(&stage, "/inside")).collect();
        let mut inside = Vec::new();
        for _ in 0..count {
            inside.push(dying.request().await);
        }
        let mut waiting = Vec::new();
        if concurrency > 0 {
            waiting.extend((0..3).map(|_| posting(&stage, "/waits")));
            stage.until_load(3, count).await;
        }
        // The first of its connections ends; it still accepts, and hears no probe.
        drop(inside.pop());
        stage.until_load(waiting.len(), count - 1).await;
        waiting.extend((0..3).map(|_| posting(&stage, "/waits")));
        stage.until_load(waiting.len(), count - 1).await;
        drop(dying.probe().await);
        drop(inside);
        for answer in answers {
            assert_eq!(within(answer).await.unwrap(), 502);
        }
        drop(dying.probe().await);
        stage.until_load(waiting.len(), 0).await;
        assert!(!dying.has_more(), "sent into the dying pod");
        let next = Workload::start().await;
        stage.cluster.set_pods(&hello_id(), [pod(next.addr())]);
        let served = waiting.len();
        for answer in waiting {
            assert_eq!(within(answer).await.unwrap(), 200);
        }
        assert_eq!(next.total(), served);
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_pod_that_is_wrong_about_one_request_is_used_again_once_it_answers_its_probe() {
    let mut only = AskedPod::start().await;
    let stage = Stage::new([hello().concurrency(10).pod(only.addr).build()]);
    let bad = posting(&stage, "/bad");
    drop(only.request().await);
    assert_eq!(within(bad).await.unwrap(), 502);
    let good = posting(&stage, "/good");
    let probe = only.probe().await;
    assert!(probe.head.starts_with("GET /healthz "), "{}", probe.head);
    let agent = "user-agent: knative-activator-probe";
    assert!(probe.head.to_lowercase().contains(agent), "{}", probe.head);
    assert!(!only.has_more(), "not before the probe");
    probe.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(good).await.unwrap(), 200);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_breaks_an_answer_off_gets_nothing_until_it_answers_its_probe() {
    let mut only = AskedPod::start().await;
    let stage = Stage::new([hello().pod(only.addr).build()]);
    let mut client = stage.client().await;
    let broken = tokio::spawn(async move { client.get(HOST, "/").await });
    let asked = only.request().await;
    drop(
        asked
            .write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await,
    );
    within(broken).await.unwrap().unwrap_err();
    let next = posting(&stage, "/");
    let probe = only.probe().await;
    assert!(!only.has_more(), "not before the probe");
    probe.answer("queue").await;
    only.request().await.answer("").await;
    assert_eq!(within(next).await.unwrap(), 200);
    stage.end().await;
}

#[tokio::test]
async fn what_was_cut_off_at_once_goes_to_another_pod_if_it_may_be_repeated() {
    for answer in ["", CUT_OFF] {
        let mut cutting = AskedPod::start().await;
        let stage = Bound::before([hello().concurrency(1).pod(cutting.addr).build()])
            .start(repeating(Duration::MAX));
        let get = stage.getting("/");
        let asked = cutting.request().await;
        let well = Workload::start().await;
        stage.cluster.start_pod(&hello_id(), well.addr());
        stage.until_pods(&[cutting.addr, well.addr()]).await;
        drop(asked.write(answer).await);
        assert_eq!(within(get).await.unwrap().status, 200);
        assert_eq!(well.total(), 1);
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn what_was_cut_off_is_502_if_it_may_not_be_repeated() {
    let table = [
        ("a POST", Duration::MAX, "POST", true),
        ("too late", Duration::ZERO, "GET", true),
        ("no other pod", Duration::MAX, "GET", false),
    ];
    for (case, limit, method, another) in table {
        let mut cutting = AskedPod::start().await;
        let stage = Bound::before([hello().pod(cutting.addr).build()]).start(repeating(limit));
        let answer = asking(&stage, method);
        let asked = cutting.request().await;
        let other = Workload::start().await;
        if another {
            stage.cluster.start_pod(&hello_id(), other.addr());
            stage.until_pods(&[cutting.addr, other.addr()]).await;
        }
        drop(asked);
        let answer = within(answer).await.unwrap();
        assert_eq!(answer.status, 502, "{case}");
        assert_eq!(
            answer.headers["proxy-status"], "penstock-activator; error=connection_terminated",
            "{case}"
        );
        assert_eq!(other.total(), 0, "{case}");
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn what_was_cut_off_twice_is_502_however_many_pods_there_are() {
    let mut pods = [AskedPod::start().await, AskedPod::start().await];
    let addrs = [pods[0].addr, pods[1].addr];
    pods.sort_by_key(|pod| pod.addr);
    let revision = hello().concurrency(1).pod(addrs[0]).pod(addrs[1]);
    let third = Workload::start().await;
    let stage = Bound::before([revision.build()]).start(repeating(Duration::MAX));
    let answer = asking(&stage, "GET");
    // One after the other, in the order of their addresses.
    drop(pods[0].request().await);
    let again = pods[1].request().await;
    stage.cluster.start_pod(&hello_id(), third.addr());
    stage.until_pods(&[addrs[0], addrs[1], third.addr()]).await;
    drop(again);
    assert_eq!(within(answer).await.unwrap().status, 502);
    assert_eq!(third.total(), 0);
    stage.until_idle().await;
    stage.end().await;
}
