//! What a caller is told who gets no answer of a pod: in HTTP, and in gRPC.

use http::{HeaderName, Request};
use penstock_activator::{Options, Overflow};
use penstock_testkit::client::{Answer, Client, RawClient, body};
use penstock_testkit::cluster::revision;
use penstock_testkit::workload::{RawWorkload, Turn, Workload};

use crate::stage::{Bound, HOST, Stage, get, hello, request, until, within};

/// A gRPC call with one message.
async fn call(stage: &Stage, host: &str, headers: &[(&str, &str)]) -> Answer {
    let mut client = Client::h2c(stage.addr).await;
    let mut request = Request::post("/echo.Echo/Say")
        .header("host", host)
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body("message")).unwrap();
    within(client.ask(request)).await.unwrap()
}

/// Status, `grpc-status` and `grpc-message`, all in one head.
fn told(answer: &Answer) -> (u16, &str, &str) {
    let header = |name| answer.headers[name].to_str().unwrap();
    assert!(answer.body.is_empty() && answer.trailers.is_empty());
    assert_eq!(header("content-type"), "application/grpc+proto");
    let status = answer.status.as_u16();
    (status, header("grpc-status"), header("grpc-message"))
}

#[tokio::test]
async fn a_grpc_call_that_waits_too_long_by_its_own_word_ends_with_deadline_exceeded() {
    let stage = Stage::new([hello().build()]);
    let answer = call(&stage, HOST, &[("grpc-timeout", "50m")]).await;
    assert_eq!(told(&answer), (200, "4", "activator request timeout"));
    assert_eq!(
        answer.headers["proxy-status"],
        "penstock-activator; error=http_response_timeout"
    );
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_request_whose_time_is_over_is_never_sent() {
    let pod = Workload::start().await;
    let stage = Bound::before([hello().pod(pod.addr()).build()]).start(Options {
        limit_header: Some(HeaderName::from_static("x-limit-ms")),
        ..Options::default()
    });
    let answer = call(&stage, HOST, &[("grpc-timeout", "0n")]).await;
    assert_eq!(told(&answer).1, "4");
    let mut client = stage.client().await;
    let late = client.ask(request(&[("x-limit-ms", "0")])).await.unwrap();
    let text = "activator request timeout".to_owned();
    assert_eq!(late.brief(), (504, text));
    assert_eq!(pod.total(), 0);
    // What is no gRPC has no gRPC limit, and what is no limit limits nothing.
    let other = [("grpc-timeout", "0n"), ("x-limit-ms", "soon")];
    assert_eq!(client.ask(request(&other)).await.unwrap().status, 200);
    stage.end().await;
}

#[tokio::test]
async fn case_15_a_full_line_is_503_or_429_with_the_time_to_come_back() {
    for (overflow, status, grpc) in [
        (Overflow::Unavailable, 503, "14"),
        (Overflow::TooMany, 429, "8"),
    ] {
        let stage = Bound::before([hello().build()]).start(Options {
            waiting: 1,
            overflow,
            ..Options::default()
        });
        let waiting = stage.getting("/");
        stage.until_load(1, 0).await;
        let refused = get(stage.addr, "/").await;
        let text = "pending request queue full\n".to_owned();
        assert_eq!(refused.brief(), (status, text));
        let by_grpc = call(&stage, HOST, &[]).await;
        assert_eq!(told(&by_grpc), (200, grpc, "pending request queue full"));
        for answer in [refused, by_grpc] {
            // No pod is known to have started, ever.
            assert_eq!(answer.headers["retry-after"], "1");
            assert_eq!(
                answer.headers["proxy-status"],
                "penstock-activator; error=connection_limit_reached"
            );
        }
        waiting.abort();
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn memory_for_waiting_requests_is_shared_and_free_again_when_a_caller_leaves() {
    let other = "other-00001.default.svc.cluster.local";
    let revisions = [hello().build(), revision("other-00001").build()];
    // A request without a body takes a little more than 4 KiB.
    let stage = Bound::before(revisions).start(Options {
        waiting_bytes: 11_000,
        ..Options::default()
    });
    let mut first = RawClient::connect(stage.addr).await;
    let ask = |host| format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    first.send(ask(HOST)).await;
    stage.until_load(1, 0).await;
    let refused = get(stage.addr, "/").await;
    let text = "no memory left for requests that wait\n".to_owned();
    assert_eq!(refused.brief(), (503, text));
    assert!(refused.headers.contains_key("retry-after"));
    // There is a share left for another.
    let mut second = RawClient::connect(stage.addr).await;
    second.send(ask(other)).await;
    let waiting = |stage: &Stage| {
        let all = stage.running.handle().revisions();
        all.iter().map(|load| load.waiting).sum::<usize>()
    };
    until(|| waiting(&stage) == 2).await;
    drop((first, second));
    until(|| waiting(&stage) == 0).await;
    let mut again = RawClient::connect(stage.addr).await;
    again.send(ask(HOST)).await;
    stage.until_load(1, 0).await;
    drop(again);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn grpc_callers_learn_in_grpc_that_nobody_is_there_or_that_a_pod_failed() {
    let closing = RawWorkload::start([Turn::close("")]).await;
    let stage = Stage::new([hello().pod(closing.addr()).build()]);
    let nobody = call(&stage, "no-00001.default.svc.cluster.local", &[]).await;
    let (status, grpc, message) = told(&nobody);
    assert_eq!((status, grpc), (200, "12"));
    assert!(message.contains("\"no-00001\" not found"), "{message}");
    let failed = call(&stage, HOST, &[]).await;
    assert_eq!(told(&failed), (200, "14", "the workload did not answer"));
    stage.end().await;
}

#[tokio::test]
async fn a_refused_caller_learns_how_fast_the_line_moves() {
    let pod = Workload::start().await;
    let stage = Bound::before([hello().concurrency(1).pod(pod.addr()).build()]).start(Options {
        waiting: 1,
        ..Options::default()
    });
    // Whoever comes while two are there is refused; nobody leaves the line.
    let inside = stage.getting("/hold");
    within(pod.until_inside(1)).await;
    let waiting = stage.getting("/hold");
    stage.until_load(1, 1).await;
    let told = |answer: Answer| -> u64 {
        assert_eq!(answer.status, 503);
        answer.headers["retry-after"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    let first = told(get(stage.addr, "/").await);
    let mut later = first;
    while later <= first {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        later = told(get(stage.addr, "/").await);
    }
    assert!((2..=300).contains(&later), "{first}, then {later}");
    pod.release(2);
    for answer in [inside, waiting] {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    stage.end().await;
}
