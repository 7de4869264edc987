//! Requests that are wrong, or mean two things: refused, or made to mean one.

use penstock_testkit::client::{RawClient, raw_http1};
use penstock_testkit::workload::Workload;

use crate::world::{Container, before, has_line, nobody};

/// Who says that a request is none, and why (RFC 9209).
const MALFORMED: &str = "penstock-queue-proxy; error=http_request_error";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let proxy = before(nobody().await).start();
    let table = [
        (
            "two lengths",
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 6\n\nhello!",
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5, 6\n\nhello!",
        ),
        (
            "a signed length",
            "POST / HTTP/1.1\nHost: a\nContent-Length: +5\n\nhello",
        ),
        (
            "a coding that is not chunked",
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip\n\nhello",
        ),
        (
            "chunked is not the last",
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked, gzip\n\n0\n\n",
        ),
        (
            "chunked in HTTP/1.0",
            "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n0\n\n",
        ),
        (
            "space before the colon",
            "GET / HTTP/1.1\nHost: a\nContent-Length : 5\n\nhello",
        ),
        (
            "a folded line",
            "GET / HTTP/1.1\nHost: a\nX-A: 1\n folded\n\n",
        ),
        (
            "a header without a name",
            "GET / HTTP/1.1\nHost: a\n: 5\n\n",
        ),
        (
            "a line without a colon",
            "GET / HTTP/1.1\nHost: a\nNonsense\n\n",
        ),
        (
            "a control character",
            "GET / HTTP/1.1\nHost: a\nX-A: a\u{0}b\n\n",
        ),
        ("no method", " / HTTP/1.1\nHost: a\n\n"),
        ("two spaces", "GET  / HTTP/1.1\nHost: a\n\n"),
        ("a space in the target", "GET /a b HTTP/1.1\nHost: a\n\n"),
    ];
    for (case, request) in table {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(request.replace('\n', "\r\n")).await;
        let answer = client.read_response().await;
        assert_eq!(
            (answer.head.status, answer.head.header("proxy-status")),
            (400, Some(MALFORMED)),
            "{case}"
        );
        // Whatever follows is not taken for a request.
        assert!(client.read_to_close().await.is_empty(), "{case}");
    }
    for (request, status) in [
        ("GET / HTTP/3.0\nHost: a\n\n", 505),
        ("GET / HTTP/0.9\nHost: a\n\n", 505),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked\n\n0\n\n",
            501,
        ),
    ] {
        let all = raw_http1(proxy.addr(), request.replace('\n', "\r\n")).await;
        let line = format!("HTTP/1.1 {status} ");
        assert!(
            all.starts_with(line.as_bytes()),
            "case 114: {request:?} {all:?}"
        );
    }
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nX-A: a\rB: c\r\n\r\n")
        .await;
    assert_eq!(client.read_response().await.head.status, 400, "a bare CR");
    drop(client);
    proxy.end().await;
}

/// All that the container gets of `request`, which ends with its connection.
async fn all_that_comes(request: &str) -> String {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(request.replace('\n', "\r\n")).await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    wire.write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        .await;
    client.read_response().await;
    drop(client);
    let rest = wire.read_to_close().await;
    drop(wire);
    proxy.end().await;
    head + &String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn chunked_wins_over_a_length_and_the_container_gets_one_of_them() {
    for request in [
        "POST / HTTP/1.1\nHost: a\nContent-Length: 6\nTransfer-Encoding: chunked\n\n0\n\nGET /smuggled HTTP/1.1\nHost: a\n\n",
        "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: 6\n\n0\n\nGET /smuggled HTTP/1.1\nHost: a\n\n",
    ] {
        let all = all_that_comes(request).await;
        assert!(
            !has_line(&all, "content-length: 6") && !all.contains("smuggled"),
            "{all}"
        );
    }
}

#[tokio::test]
async fn a_repeated_length_is_sent_once() {
    let all =
        all_that_comes("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 5\n\nhello")
            .await;
    let lengths = all
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("content-length"));
    assert_eq!(lengths.count(), 1, "{all}");
}

#[tokio::test]
async fn connection_cannot_name_what_frames_the_message() {
    let all = all_that_comes(
        "POST / HTTP/1.1\nHost: a\nConnection: content-length, host\nContent-Length: 5\n\nhello",
    )
    .await;
    assert!(has_line(&all, "host: a"), "{all}");
    let length = has_line(&all, "content-length: 5");
    let chunked = has_line(&all, "transfer-encoding: chunked");
    assert!(length != chunked, "{all}");
}

#[tokio::test]
async fn bare_line_feeds_are_made_regular() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET /x HTTP/1.1\nHost: a\nX-A: 1\n\n").await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert!(
        has_line(&head, "x-a: 1") && head.matches('\n').count() == head.matches("\r\n").count(),
        "{head:?}"
    );
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.read_response().await;
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn case_114_a_head_beyond_a_mebibyte_is_431_and_one_below_passes() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    let line = format!("X-A: {}\r\n", "x".repeat(65_000));
    let request = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    client.send(request(&line.repeat(17))).await;
    let refused = client.read_response().await.head;
    assert_eq!(
        (refused.status, refused.header("proxy-status")),
        (431, Some(MALFORMED))
    );
    drop(client);
    // Almost as large as may be, and with many lines.
    let mut client = RawClient::connect(proxy.addr()).await;
    let lines = line.repeat(15) + &"X-N: 1\r\n".repeat(1000);
    client.send(request(&lines)).await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert_eq!(head.matches("x-n: 1\r\n").count(), 1000);
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read_response().await.head.status, 204);
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn the_container_gets_one_reading_to_the_byte() {
    let table = [
        (
            "blanks, an empty line before it, and the case of names",
            "\nGET /p?q HTTP/1.1\nHOST:  a \nX-A:\t1 \n\n",
            "GET /p?q HTTP/1.1\nhost: a\nx-a: 1\nx-forwarded-for: 127.0.0.1\n\n",
        ),
        (
            "a later version, a target with an authority",
            "GET http://b/p HTTP/1.9\nHost: a\n\n",
            "GET /p HTTP/1.1\nhost: b\nx-forwarded-for: 127.0.0.1\n\n",
        ),
        (
            "chunks with extensions, and both framings",
            "POST / HTTP/1.1\nHost: a\nContent-Length: 3\nTransfer-Encoding: chunked\n\n003;x=y\nabc\n0;z\nT: 1\n\n",
            "POST / HTTP/1.1\nhost: a\nx-forwarded-for: 127.0.0.1\ntransfer-encoding: chunked\n\n3\nabc\n0\nt: 1\n\n",
        ),
        (
            "a length twice, and a request behind the body",
            "POST / HTTP/1.1\nHost: a\nConnection: close\nContent-Length: 2\nContent-Length: 2\n\nokGET /smuggled HTTP/1.1\nHost: a\n\n",
            "POST / HTTP/1.1\nhost: a\nx-forwarded-for: 127.0.0.1\ncontent-length: 2\n\nok",
        ),
        (
            "HTTP/1.0",
            "GET /x HTTP/1.0\nHost: a\n\n",
            "GET /x HTTP/1.1\nhost: a\nx-forwarded-for: 127.0.0.1\n\n",
        ),
    ];
    for (case, request, want) in table {
        let all = all_that_comes(request).await;
        assert_eq!(all.replace("\r\n", "\n"), want, "{case}");
    }
}

#[tokio::test]
async fn a_body_that_turns_out_to_be_none_is_400_and_never_ends_for_the_container() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for rest in ["zz\r\n", "2\r\nabc", "-1\r\n", "1\nx"] {
        let mut client = RawClient::connect(proxy.addr()).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
        client.send(head).await;
        let mut wire = container.accept().await;
        wire.read_until("2\r\nok\r\n").await;
        client.send(rest).await;
        let answer = client.read_response().await;
        let status = answer.head.header("proxy-status");
        assert_eq!(
            (answer.head.status, answer.head.header("connection"), status),
            (400, Some("close"), Some(MALFORMED)),
            "{rest:?}"
        );
        assert!(client.read_to_close().await.is_empty());
        let all = wire.read_to_close().await;
        assert!(!all.ends_with(b"0\r\n\r\n"), "{all:?}");
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_114_a_host_that_is_none_is_400() {
    let proxy = before(nobody().await).start();
    for host in ["a b", "a/b", "u@a", "a, b", "a\"", "\u{e4}"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(request).await;
        assert_eq!(client.read_response().await.head.status, 400, "{host}");
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_113_an_http_1_0_caller_may_keep_its_connection() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    for _ in 0..2 {
        client
            .send("GET /status/201 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let status = client.read_until(b"\r\n").await;
        assert_eq!(status, "HTTP/1.0 201 Created\r\n");
        let head = client.read_until(b"\r\n\r\n").await;
        let head = String::from_utf8(head.to_vec()).unwrap();
        assert!(has_line(&head, "connection: keep-alive"), "{head}");
    }
    proxy.end().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let requests = "GET /status/201 HTTP/1.1\nHost: a\n\nPOST /echo HTTP/1.1\nHost: a\nContent-Length: 5\n\nhelloGET /status/202 HTTP/1.1\nHost: a\n\nGET /status/203 HTTP/1.1\nHost: a\nConnection: close\n\n";
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(requests.replace('\n', "\r\n")).await;
    for (status, body) in [(201, ""), (200, "hello"), (202, ""), (203, "")] {
        let answer = client.read_response().await;
        assert_eq!(
            (answer.head.status, &answer.body[..]),
            (status, body.as_bytes())
        );
    }
    assert!(client.read_to_close().await.is_empty());
    proxy.end().await;
}

#[tokio::test]
async fn what_is_no_http_gets_a_refusal_at_most() {
    let proxy = before(nobody().await).start();
    for (bytes, status) in [
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n", 400),
        ("SSH-2.0-x\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 505),
    ] {
        let all = raw_http1(proxy.addr(), bytes).await;
        let line = format!("HTTP/1.1 {status} ");
        assert!(all.starts_with(line.as_bytes()), "{bytes:?} {all:?}");
    }
    proxy.end().await;
}
