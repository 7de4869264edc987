//! The workloads, seen by the clients: each is the other's test.

use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;

use super::*;
use crate::client::{Client, RawClient, body, empty, raw_http1, streaming_body, with_trailers};

#[tokio::test]
async fn a_request_is_described_as_it_was_seen() {
    let workload = Workload::start().await;
    for (version, mut client) in [
        ("HTTP/1.1", Client::http1(workload.addr()).await),
        ("HTTP/2.0", Client::h2c(workload.addr()).await),
    ] {
        let request = Request::post("/a?b=c").header("x-two", "1");
        let request = request.header("x-two", "2").body(body("hello")).unwrap();
        let seen = Seen::parse(&client.ask(request).await.unwrap().body);
        assert_eq!(
            (seen.method.as_str(), seen.version.as_str()),
            ("POST", version)
        );
        assert!(seen.target.ends_with("/a?b=c"), "{}", seen.target);
        assert_eq!(seen.all("X-Two").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(seen.body, "hello");
    }
    assert_eq!((workload.total(), workload.connections()), (2, 2));
}

#[tokio::test]
async fn held_requests_are_counted_and_let_go_by_the_test() {
    let workload = Workload::start().await;
    let mut one = Client::http1(workload.addr()).await;
    let mut two = Client::http1(workload.addr()).await;
    let both = async { tokio::join!(one.get("a", "/hold"), two.get("a", "/hold")) };
    let test = async {
        workload.until_inside(2).await;
        workload.release(2);
        workload.until_inside(0).await;
    };
    let ((first, second), ()) = tokio::join!(both, test);
    assert_eq!(first.unwrap().brief(), (200, "held".to_owned()));
    assert_eq!(second.unwrap().status, 200);
    assert_eq!((workload.most_inside(), workload.total()), (2, 2));
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_no_longer_inside() {
    let workload = Workload::start().await;
    let mut client = RawClient::connect(workload.addr()).await;
    client.send("GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    drop(client);
    workload.until_inside(0).await;
}

#[tokio::test]
async fn a_body_is_echoed_while_it_is_sent_and_trailers_come_back() {
    let workload = Workload::start().await;
    let mut client = Client::h2c(workload.addr()).await;
    let (pieces, request) = streaming_body();
    let request = Request::post("/echo").body(request).unwrap();
    pieces.send("one".into()).await.unwrap();
    let mut answer = client.send(request).await.unwrap().into_body();
    let frame = answer.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    pieces.send("two".into()).await.unwrap();
    let frame = answer.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "two");

    let sum = || HeaderMap::from_iter([("x-sum".parse().unwrap(), HeaderValue::from_static("7"))]);
    for mut client in [client, Client::http1(workload.addr()).await] {
        let request = Request::post("/echo").header("trailer", "x-sum");
        let request = request.header("te", "trailers");
        let request = request.body(with_trailers("body", sum())).unwrap();
        let answer = client.ask(request).await.unwrap();
        assert_eq!((answer.text().as_str(), &answer.trailers), ("body", &sum()));
    }
}

#[tokio::test]
async fn fixed_trailers_are_read_from_the_wire() {
    let workload = Workload::start().await;
    let mut client = RawClient::connect(workload.addr()).await;
    client
        .send("GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\n\r\n")
        .await;
    let answer = client.read_response().await;
    assert!(answer.complete);
    assert_eq!(answer.body, "body");
    assert_eq!(answer.trailer("X-Checksum"), Some("42"));
}

#[tokio::test]
async fn a_grpc_call_ends_with_its_status() {
    let workload = Workload::start().await;
    let mut client = Client::h2c(workload.addr()).await;
    let request = Request::post("/grpc.Test/Echo").body(body("\0\0\0\0\x01x"));
    let answer = client.ask(request.unwrap()).await.unwrap();
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(answer.body, "\0\0\0\0\x01x");
}

#[tokio::test]
async fn events_are_written_by_the_test() {
    let workload = Workload::start().await;
    let mut client = Client::http1(workload.addr()).await;
    let request = Request::get("/events").body(empty()).unwrap();
    let (answer, stream) = tokio::join!(client.send(request), workload.next_stream());
    let mut answer = answer.unwrap().into_body();
    for data in ["one", "two"] {
        stream.event(data).await;
        let frame = answer.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {data}\n\n"));
    }
    assert_eq!(workload.inside(), 1);
    drop((answer, client));
    stream.until_gone().await;
    workload.until_inside(0).await;
}

#[tokio::test]
async fn a_stream_that_is_broken_off_is_not_complete() {
    let workload = Workload::start().await;
    let mut client = RawClient::connect(workload.addr()).await;
    client.send("GET /events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let stream = workload.next_stream().await;
    stream.event("one").await;
    stream.fail().await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, answer.complete), (200, false));
}

#[tokio::test]
async fn an_upgraded_connection_echoes_and_ends_with_the_workload() {
    let workload = Workload::start().await;
    let mut client = RawClient::connect(workload.addr()).await;
    client
        .send("GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let answer = client.read_response().await;
    assert_eq!(answer.head.status, 101);
    assert_eq!(answer.head.header("upgrade"), Some("websocket"));
    client.send("ping").await;
    assert_eq!(client.read_exact(4).await, "ping");
    drop(workload);
    assert_eq!(client.read_to_close().await, "");
}

#[tokio::test]
async fn early_hints_are_read_before_the_answer() {
    for (bytes, status, text) in [(EARLY_HINTS_200, 200, "ok"), (EARLY_HINTS_404, 404, "no")] {
        let workload = RawWorkload::start([Turn::write(bytes)]).await;
        let mut client = RawClient::connect(workload.addr()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = client.read_response().await;
        assert_eq!(answer.informational.len(), 1);
        assert_eq!(answer.informational[0].status, 103);
        assert_eq!(
            (answer.head.status, &answer.body[..]),
            (status, text.as_bytes())
        );
        assert!(workload.next_request().await.starts_with(b"GET / HTTP/1.1"));
    }
}

#[tokio::test]
async fn a_raw_workload_takes_its_turns_and_closes() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let workload = RawWorkload::start([Turn::write(ok), Turn::close("")]).await;
    let mut client = RawClient::connect(workload.addr()).await;
    client.send("GET /1 HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.read_response().await.head.status, 200);
    client.send("GET /2 HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.read_to_close().await, "");

    let closing = RawWorkload::closing().await;
    assert_eq!(raw_http1(closing.addr(), "").await, "");
    let garbage = RawWorkload::garbage().await;
    let answer = raw_http1(garbage.addr(), "GET / HTTP/1.1\r\n\r\n").await;
    assert!(!answer.starts_with(b"HTTP/"));
}

#[tokio::test]
async fn a_short_body_is_seen_as_incomplete() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let workload = RawWorkload::start([Turn::close(short)]).await;
    let mut client = RawClient::connect(workload.addr()).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    let answer = client.read_response().await;
    assert_eq!((&answer.body[..], answer.complete), (&b"abc"[..], false));
}

#[tokio::test]
async fn any_status_can_be_asked_for() {
    let workload = Workload::start().await;
    let mut client = Client::http1(workload.addr()).await;
    for status in [204, 404, 503] {
        let answer = client.get("a", &format!("/status/{status}")).await.unwrap();
        assert_eq!(answer.brief(), (status, String::new()));
    }
}
