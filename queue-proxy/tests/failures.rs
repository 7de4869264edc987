//! A container that does not answer as it should.

use http::{Method, Request};
use penstock_testkit::client::{Client, RawClient, body, empty};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Container, OK, Proxy, before, has_line, nobody};

const REFUSED: &str = "connection_refused";
const CLOSED: &str = "connection_terminated";
const BROKEN: &str = "http_protocol_error";

/// Asks once, and expects a 502 for one of these reasons that gives nothing of the pod away.
async fn is_502(proxy: &Proxy, reasons: &[&str], case: &str) {
    let mut client = Client::http1(proxy.addr()).await;
    let answer = client.get("a", "/").await.unwrap();
    assert_eq!(
        answer.brief(),
        (502, "the container did not answer\n".to_owned()),
        "{case}"
    );
    let said = answer.headers["proxy-status"].to_str().unwrap();
    let reason = said.strip_prefix("penstock-queue-proxy; error=").unwrap();
    assert!(reasons.contains(&reason), "{case}: {said}");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn case_104_whatever_fails_before_the_answer_is_502() {
    let proxy = before(nobody().await).slots(1).start();
    for _ in 0..2 {
        is_502(&proxy, &[REFUSED], "nobody listens").await;
    }
    proxy.end().await;
    let table: [(_, _, &[&str]); 7] = [
        // Before anything was written to it, or behind that.
        ("closes at once", vec![], &[REFUSED, CLOSED]),
        ("closes after the request", vec![Turn::close("")], &[CLOSED]),
        (
            "closes in the middle of the head",
            vec![Turn::close("HTTP/1.1 200 OK\r\ncont")],
            &[CLOSED],
        ),
        (
            "closes after an interim answer",
            vec![Turn::close("HTTP/1.1 103 Early Hints\r\n\r\n")],
            &[CLOSED],
        ),
        (
            "is no HTTP",
            vec![Turn::close("\x01\x02 this is not HTTP\r\n\r\n")],
            &[BROKEN],
        ),
        (
            "has two lengths",
            vec![Turn::close(
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
            )],
            &[BROKEN],
        ),
        (
            "speaks another version",
            vec![Turn::close("HTTP/9.9 200 OK\r\n\r\n")],
            &[BROKEN],
        ),
    ];
    for (case, turns, reasons) in table {
        let raw = RawWorkload::start(turns).await;
        let proxy = before(raw.addr()).slots(1).start();
        // Each time, and the slot is free each time.
        for _ in 0..2 {
            is_502(&proxy, reasons, case).await;
        }
        proxy.end().await;
    }
}

#[tokio::test]
async fn case_105_an_answer_that_is_cut_short_is_not_taken_for_whole() {
    let raw = RawWorkload::start([Turn::close(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
    )])
    .await;
    let proxy = before(raw.addr()).slots(1).start();
    for _ in 0..2 {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // Nothing, or fewer bytes than were promised.
        let all = client.read_to_close().await;
        let all = String::from_utf8(all.to_vec()).unwrap();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or(("", ""));
        assert!(
            head.is_empty() || has_line(head, "content-length: 10"),
            "{all}"
        );
        assert!("abc".starts_with(body), "{all}");
    }
    proxy
        .until_value(
            "kn_serving_invocation_duration_seconds_count",
            &["code=\"500\""],
            2.0,
        )
        .await;
    proxy.end().await;
}

#[tokio::test]
async fn an_answer_that_ends_at_any_byte_but_its_last_is_never_whole() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for whole in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: 1\r\n\r\n",
    ] {
        for length in 0..=whole.len() {
            let mut client = RawClient::connect(proxy.addr()).await;
            let asked = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let serve = async {
                let mut wire = container.accept().await;
                wire.head().await;
                wire.write(&whole[..length]).await;
                wire.end().await;
                wire
            };
            client.send(asked).await;
            let (all, _wire) = tokio::join!(client.read_to_close(), serve);
            let all = String::from_utf8(all.to_vec()).unwrap();
            let (head, body) = all.split_once("\r\n\r\n").unwrap_or_default();
            let complete = match head.get(9..12) {
                Some("200") if has_line(head, "content-length: 2") => body == "ok",
                Some("200") => body.ends_with("0\r\nx: 1\r\n\r\n"),
                Some("502") | None => false,
                _ => panic!("{all}"),
            };
            assert_eq!(complete, length == whole.len(), "{length} {all}");
        }
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_106_a_stream_that_breaks_off_is_reset() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let stream = workload.next_stream().await;
    stream.event("one").await;
    client.read_until(b"data: one\n\n").await;
    stream.fail().await;
    let rest = client.read_to_close().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");

    let mut client = Client::h2c(proxy.addr()).await;
    let request = Request::get("/events").body(empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    let stream = workload.next_stream().await;
    stream.event("one").await;
    stream.fail().await;
    assert!(http_body_util::BodyExt::collect(answer).await.is_err());
    // The HTTP/2 connection, and the slot, serve on.
    assert_eq!(client.get("a", "/status/201").await.unwrap().status, 201);
    proxy.end().await;
}

/// What a caller gets for a request over a kept connection that dies under it.
async fn on_a_dying_connection(request: &str) -> u16 {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write(OK).await;
    client.read_response().await;
    client.send(request.replace('\n', "\r\n")).await;
    wire.head().await;
    // The request has come, and dies with its connection.
    drop(wire);
    let again = async {
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write(OK).await;
        wire
    };
    // Repeated or not: whichever comes.
    let answer = async { client.read_response().await };
    let (answer, _) = tokio::select! {
        answer = answer => (answer, None),
        wire = again => (client.read_response().await, Some(wire)),
    };
    drop(client);
    proxy.end().await;
    answer.head.status
}

#[tokio::test]
async fn case_112_what_is_safe_to_repeat_is_repeated_when_a_kept_connection_dies() {
    let table = [
        ("GET / HTTP/1.1\nHost: a\n\n", 200),
        ("OPTIONS / HTTP/1.1\nHost: a\n\n", 200),
        (
            "PUT / HTTP/1.1\nHost: a\nIdempotency-Key: k\nContent-Length: 0\n\n",
            200,
        ),
        (
            "POST / HTTP/1.1\nHost: a\nX-Idempotency-Key: k\nContent-Length: 0\n\n",
            200,
        ),
        ("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n", 502),
        ("DELETE / HTTP/1.1\nHost: a\n\n", 502),
        (
            "PUT / HTTP/1.1\nHost: a\nIdempotency-Key: k\nContent-Length: 2\n\nhi",
            502,
        ),
    ];
    for (request, status) in table {
        assert_eq!(on_a_dying_connection(request).await, status, "{request}");
    }
}

#[tokio::test]
async fn a_request_on_a_fresh_connection_is_never_repeated() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut wire = container.accept().await;
    wire.head().await;
    drop(wire);
    assert_eq!(client.read_response().await.head.status, 502);
    proxy.end().await;
}

#[tokio::test]
async fn a_kept_connection_that_the_container_has_closed_is_not_used() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = Client::http1(proxy.addr()).await;
    for _ in 0..3 {
        let answer = async {
            let request = Request::builder()
                .method(Method::POST)
                .uri("/")
                .body(body("x"));
            client.ask(request.unwrap()).await.unwrap()
        };
        let serve = async {
            let mut wire = container.accept().await;
            wire.head().await;
            wire.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
                .await;
            wire.end().await;
        };
        let (answer, ()) = tokio::join!(answer, serve);
        assert_eq!(answer.brief(), (200, "ok".to_owned()));
    }
    proxy.end().await;
}

#[tokio::test]
async fn over_http2_a_container_that_comes_back_is_reached_again() {
    let first = Workload::start().await;
    let addr = first.addr();
    let proxy = before(addr).start();
    let mut client = Client::h2c(proxy.addr()).await;
    assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
    drop(first);
    // Refused, or the end of the old connection.
    assert_eq!(client.get("a", "/status/200").await.unwrap().status, 502);
    let second = Container::listen_at(addr).await;
    let (answer, ()) = tokio::join!(client.get("a", "/"), async {
        let mut wire = second.accept().await;
        wire.read_until("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    });
    assert_eq!(answer.unwrap().status, 502);
    proxy.end().await;
}

#[tokio::test]
async fn an_early_answer_to_an_upload_that_goes_on_arrives_at_once() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello")
        .await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, &answer.body[..]), (413, &b"no"[..]));
    // The rest of the upload goes nowhere.
    client.read_to_close().await;
    wire.read_to_close().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_receives_ends_the_containers_work() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let stream = workload.next_stream().await;
    stream.event("one").await;
    client.read_until(b"data: one\n\n").await;
    drop(client);
    stream.until_gone().await;

    let mut client = Client::h2c(proxy.addr()).await;
    let request = Request::get("/events").body(empty()).unwrap();
    let answer = client.send(request).await.unwrap();
    let stream = workload.next_stream().await;
    drop(answer);
    stream.until_gone().await;
    assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_that_goes_on_sending_is_not_reset_before_it_has_the_answer() {
    let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    let raw = RawWorkload::start([Turn::close(refusal)]).await;
    let proxy = before(raw.addr()).slots(1).start();
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n";
    client.write_all(head).await.unwrap();
    raw.next_request().await;
    // Without looking whether there is an answer already.
    client.write_all(&vec![b'x'; 5_000_000]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nno"));
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn what_another_proxy_said_of_another_exchange_is_not_handed_on() {
    let said = |by: &str| {
        format!(
            "HTTP/1.1 502 Bad Gateway\r\nproxy-status: {by}; error=connection_refused\r\n\
             content-length: 0\r\n\r\n"
        )
    };
    for (by, kept) in [("penstock-queue-proxy", false), ("a-cdn", true)] {
        let raw = RawWorkload::start([Turn::write(said(by))]).await;
        let proxy = before(raw.addr()).start();
        let answer = Client::http1(proxy.addr())
            .await
            .get("a", "/")
            .await
            .unwrap();
        assert_eq!(answer.status, 502);
        assert_eq!(answer.headers.contains_key("proxy-status"), kept, "{by}");
        proxy.end().await;
    }
}
