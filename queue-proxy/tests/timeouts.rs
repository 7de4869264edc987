//! The time limits of a request.
//!
//! A limit that passes once the answer has begun ends it with words, as the original does, or
//! resets the connection (or the HTTP/2 stream): text appended to an answer may be taken for a part
//! of it. The program's default is the former, the library's the latter.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use penstock_queue_proxy::Choices;
use penstock_relay::body::Late;
use penstock_testkit::client::{Client, RawClient, RawResponse, RequestBody, empty};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};

use crate::world::{Container, GET, LATER, Make, NEVER, Proxy, SOON, before};

/// The answer ends with words, as the program has it.
fn told() -> Choices {
    Choices {
        late: Late::Told,
        ..Choices::default()
    }
}

/// Asks for an answer that the test writes piece by piece.
fn events() -> Request<RequestBody> {
    Request::get("/events").body(empty()).unwrap()
}

/// What a caller gets when the container reads a request, writes this and nothing more.
async fn of_silence_after(begins: &str, make: impl FnOnce(Make) -> Make) -> RawResponse {
    let container = Container::listen().await;
    let proxy = make(before(container.addr()).slots(1)).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write(begins).await;
    let answer = client.read_response().await;
    // The request is over for the container, too.
    wire.read_to_close().await;
    drop(client);
    proxy.end().await;
    answer
}

#[tokio::test]
async fn cases_86_91_and_96_each_limit_before_the_answer_is_504() {
    let limits: [fn(Make) -> Make; 3] = [
        |make| make.whole(SOON),
        |make| make.response_start(SOON),
        |make| make.idle(SOON),
    ];
    for limit in limits {
        let answer = of_silence_after("", limit).await;
        assert_eq!(
            (answer.head.status, &answer.body[..]),
            (504, &b"request timeout"[..])
        );
        assert_eq!(
            answer.head.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(answer.head.header("x-content-type-options"), None);
        let status = answer.head.header("proxy-status");
        assert_eq!(
            status,
            Some("penstock-queue-proxy; error=http_response_timeout")
        );
    }
}

#[tokio::test]
async fn case_139_a_whole_limit_of_zero_is_504_for_every_request() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).whole(Duration::ZERO).start();
    let mut client = Client::http1(proxy.addr()).await;
    for _ in 0..2 {
        let answer = client.get("a", "/hold").await.unwrap();
        assert_eq!(answer.brief(), (504, "request timeout".to_owned()));
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_87_an_abort_before_a_limit_is_an_abort_and_after_it_changes_nothing() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).whole(SOON).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    drop(container.accept().await);
    assert_eq!(client.read_response().await.head.status, 502);
    client.send(GET).await;
    let mut wire = container.accept().await;
    assert_eq!(client.read_response().await.head.status, 504);
    wire.read_to_close().await;
    drop((wire, client));
    proxy.end().await;
}

#[tokio::test]
async fn cases_85_and_88_a_start_limit_ends_nothing_that_has_begun() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).response_start(LATER).start();
    let mut client = Client::http1(proxy.addr()).await;
    let answer = client.send(events()).await.unwrap();
    let stream = workload.next_stream().await;
    tokio::time::sleep(LATER + SOON).await;
    stream.send("hi").await;
    drop(stream);
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hi");
    proxy.end().await;
}

#[tokio::test]
async fn case_89_writes_keep_the_idle_limit_away() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).idle(LATER).start();
    let mut client = Client::http1(proxy.addr()).await;
    let answer = client.send(events()).await.unwrap();
    let mut body = answer.into_body();
    let stream = workload.next_stream().await;
    let start = tokio::time::Instant::now();
    while start.elapsed() < 2 * LATER {
        stream.send("x").await;
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "x"
        );
        tokio::time::sleep(LATER / 20).await;
    }
    drop(stream);
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
    proxy.end().await;
}

#[tokio::test]
async fn cases_90_92_and_95_a_limit_within_the_answer_is_told_at_its_end() {
    let limits: [fn(Make) -> Make; 2] = [|make| make.whole(LATER), |make| make.idle(LATER)];
    for limit in limits {
        let workload = Workload::start().await;
        let proxy = limit(before(workload.addr()).slots(1).choices(told())).start();
        for mut client in [
            Client::http1(proxy.addr()).await,
            Client::h2c(proxy.addr()).await,
        ] {
            let answer = client.send(events()).await.unwrap();
            assert_eq!(answer.status(), 200);
            let stream = workload.next_stream().await;
            stream.send("foo").await;
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "foorequest timeout");
            stream.until_gone().await;
            // The connection goes on.
            assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
        }
        proxy.end().await;
    }
}

#[tokio::test]
async fn case_93_a_second_limit_that_passes_adds_nothing() {
    let container = Container::listen().await;
    let make = before(container.addr()).choices(told());
    let proxy = make.whole(SOON).response_start(SOON).idle(SOON).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (begins, body) in [("", "request timeout"), (head, "request timeout")] {
        client.send(GET).await;
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write(begins).await;
        let answer = client.read_response().await;
        assert_eq!(answer.body, body);
        // Whatever it writes now goes nowhere, and the caller reads on at its next answer.
        wire.read_to_close().await;
        tokio::time::sleep(2 * SOON).await;
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let next = client.read_response().await;
    assert_eq!((next.head.status, &next.body[..]), (200, &b""[..]));
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn case_94_what_comes_before_a_limit_is_there_before_the_limit() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).whole(NEVER).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nfoo\r\n")
        .await;
    // An hour before the limit, and before there is more.
    client.read_until(b"foo").await;
    wire.write("0\r\n\r\n").await;
    client.read_until(b"0\r\n\r\n").await;
    drop((client, wire));
    proxy.end().await;
}

#[tokio::test]
async fn cases_95_and_97_the_status_stays_and_a_declared_length_is_cut_short_however_that_is_told()
{
    for late in [Late::Told, Late::Reset] {
        let choices = Choices {
            late,
            ..Choices::default()
        };
        let begins = "HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\npartial";
        let answer = of_silence_after(begins, |make| make.whole(LATER).choices(choices)).await;
        assert_eq!(
            (answer.head.status, &answer.body[..], answer.complete),
            (200, &b"partial"[..], false)
        );
    }
}

#[tokio::test]
async fn a_limit_within_the_answer_resets_it_where_that_is_chosen() {
    let limits: [fn(Make) -> Make; 2] = [|make| make.whole(LATER), |make| make.idle(LATER)];
    for limit in limits {
        let workload = Workload::start().await;
        let proxy = limit(before(workload.addr()).slots(1)).start();

        let mut raw = RawClient::connect(proxy.addr()).await;
        raw.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let stream = workload.next_stream().await;
        stream.send("foo").await;
        // Status and body as far as they came; no end.
        assert_eq!(raw.read_head().await.status, 200);
        raw.read_until(b"3\r\nfoo\r\n").await;
        assert!(raw.read_to_close().await.is_empty());
        stream.until_gone().await;

        let mut h2 = Client::h2c(proxy.addr()).await;
        let mut body = h2.send(events()).await.unwrap().into_body();
        let stream = workload.next_stream().await;
        stream.send("foo").await;
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "foo"
        );
        assert!(body.frame().await.unwrap().is_err());
        stream.until_gone().await;
        // The HTTP/2 connection goes on.
        assert_eq!(h2.get("a", "/status/200").await.unwrap().status, 200);
        drop(h2);
        proxy.end().await;
    }
}

/// The status that a caller gets of a container that says nothing for a time, then answers `head`,
/// and after another time ends the answer. A silence of an hour is one until the limit.
async fn after_silence(make: Make, container: &Container, first: Duration, gap: Duration) -> u16 {
    let proxy = make.start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    let serving = tokio::spawn(async move {
        tokio::time::sleep(first).await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
            .await;
        tokio::time::sleep(gap).await;
        wire.write("k").await;
        wire
    });
    let status = client.read_response().await.head.status;
    serving.abort();
    drop(client);
    proxy.end().await;
    status
}

#[tokio::test]
async fn case_98_an_answer_in_time_passes_and_one_that_is_late_is_504() {
    let container = Container::listen().await;
    let make = || before(container.addr()).slots(1);
    let table = [
        // what it shows, limits, first byte after, then the rest after, status
        (
            "first byte within the start limit",
            make().response_start(NEVER),
            SOON,
            Duration::ZERO,
            200,
        ),
        (
            "first byte beyond it, within the whole limit",
            make().response_start(SOON).whole(NEVER),
            NEVER,
            Duration::ZERO,
            504,
        ),
        (
            "a gap within the idle limit",
            make().idle(NEVER),
            Duration::ZERO,
            SOON,
            200,
        ),
        (
            "silence beyond it",
            make().idle(SOON).whole(NEVER),
            NEVER,
            Duration::ZERO,
            504,
        ),
    ];
    for (case, make, first, gap, want) in table {
        let status = after_silence(make, &container, first, gap).await;
        assert_eq!(status, want, "{case}");
    }
}

#[tokio::test]
async fn case_99_a_slow_upload_is_no_progress_of_the_answer() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).idle(SOON).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello")
        .await;
    let mut wire = container.accept().await;
    wire.read_until("hello").await;
    // The answer does not wait for the rest of the upload.
    let answer = client.read_response().await;
    assert_eq!(
        (answer.head.status, &answer.body[..]),
        (504, &b"request timeout"[..])
    );
    wire.read_to_close().await;
    drop(client);
    proxy.end().await;
}

/// The one request inside ends although nobody takes its answer; the next gets the slot.
async fn until_the_slot_is_free(proxy: &Proxy) {
    let ended = "kn_serving_invocation_duration_seconds_count";
    proxy.until_value(ended, &[], 1.0).await;
    let mut next = RawClient::connect(proxy.addr()).await;
    next.send(GET).await;
    assert_eq!(next.read_head().await.status, 200);
}

#[tokio::test]
async fn a_caller_that_does_not_read_loses_its_slot_at_the_whole_limit() {
    let large = "x".repeat(20_000_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}",
        large.len()
    );
    let raw = RawWorkload::start([Turn::write(answer)]).await;
    let proxy = before(raw.addr()).slots(1).whole(LATER).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    assert_eq!(client.read_head().await.status, 200);
    until_the_slot_is_free(&proxy).await;
    assert!(client.read_to_close().await.len() < large.len());
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_its_stream_loses_its_slot_at_the_whole_limit() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).whole(LATER).start();
    let mut client = Client::h2c(proxy.addr()).await;
    let unread = client.send(events()).await.unwrap();
    let stream = workload.next_stream().await;
    // More than all windows on the way together.
    for _ in 0..16 {
        stream.send(vec![b'x'; 2_000_000]).await;
    }
    stream.until_gone().await;
    until_the_slot_is_free(&proxy).await;
    assert!(unread.into_body().collect().await.is_err());
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn limits_of_one_request_do_not_reach_the_next() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr())
        .whole(LATER)
        .response_start(NEVER)
        .start();
    let mut client = Client::http1(proxy.addr()).await;
    assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
    // The connection idles past the limit of the request that it carried.
    tokio::time::sleep(LATER + SOON).await;
    assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
    drop(client);
    proxy.end().await;
}
