//! 1xx answers, and `Expect: 100-continue`.

use penstock_testkit::client::RawClient;
use penstock_testkit::workload::{EARLY_HINTS_200, EARLY_HINTS_404, RawWorkload, Turn};

use crate::world::{Container, GET, SOON, before, has_line};

const UPLOAD: &str =
    "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[tokio::test]
async fn case_107_interim_then_final_status() {
    for (bytes, status, body) in [(EARLY_HINTS_200, 200, "ok"), (EARLY_HINTS_404, 404, "no")] {
        let raw = RawWorkload::start([Turn::write(bytes), Turn::write(bytes)]).await;
        let proxy = before(raw.addr()).start();
        let mut client = RawClient::connect(proxy.addr()).await;
        for _ in 0..2 {
            client.send(GET).await;
            let answer = client.read_response().await;
            assert_eq!(answer.informational.len(), 1);
            assert_eq!(answer.informational[0].status, 103);
            assert_eq!(
                answer.informational[0].header("link"),
                Some("</s.css>; rel=preload")
            );
            assert_eq!(
                (answer.head.status, &answer.body[..]),
                (status, body.as_bytes())
            );
        }
        let code = format!("status_code=\"{status}\"");
        proxy
            .until_value(
                "kn_serving_invocation_duration_seconds_count",
                &[&code],
                2.0,
            )
            .await;
        proxy.end().await;
    }
}

#[tokio::test]
async fn an_interim_answer_arrives_before_the_final_one_is_there() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    for status in [102, 103, 103] {
        wire.write(format!("HTTP/1.1 {status} X\r\nlink: </{status}>\r\n\r\n"))
            .await;
        let interim = client.read_head().await;
        assert_eq!(interim.status, status);
        assert_eq!(interim.header("link"), Some(&*format!("</{status}>")));
    }
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read_head().await.status, 204);
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_of_http_1_0_gets_no_interim_answers() {
    let raw = RawWorkload::start([Turn::write(EARLY_HINTS_200)]).await;
    let proxy = before(raw.addr()).start();
    let answer = penstock_testkit::client::raw_http1(proxy.addr(), "GET / HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    assert!(
        answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("ok"),
        "{answer}"
    );
    proxy.end().await;
}

#[tokio::test]
async fn the_containers_100_continue_asks_the_caller_once_for_its_body() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(UPLOAD).await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert!(has_line(&head, "expect: 100-continue"), "{head}");
    wire.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        .await;
    assert_eq!(client.read_head().await.status, 100);
    client.send("hello").await;
    wire.read_until("hello").await;
    wire.write("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, answer.informational.len()), (201, 0));
    // The connections serve on.
    client.send(GET).await;
    wire.head().await;
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read_response().await.head.status, 204);
    proxy.end().await;
}

#[tokio::test]
async fn case_107_a_refused_upload_is_never_asked_for() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(UPLOAD).await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, &answer.body[..]), (404, &b"no"[..]));
    assert!(answer.informational.is_empty());
    // What the caller would send now could be the body or a request: nothing more is taken,
    // on either side, and the container never gets a body.
    assert!(client.read_to_close().await.is_empty());
    assert!(wire.read_to_close().await.is_empty());
    proxy.end().await;
}

#[tokio::test]
async fn a_container_that_says_nothing_gets_the_body_after_a_while() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(UPLOAD).await;
    let mut wire = container.accept().await;
    wire.head().await;
    assert_eq!(client.read_head().await.status, 100);
    client.send("hello").await;
    wire.read_until("hello").await;
    // Late: the caller was asked already.
    wire.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, answer.informational.len()), (200, 0));
    proxy.end().await;
}

#[tokio::test]
async fn a_limit_that_passes_before_100_continue_asks_for_no_body() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).whole(SOON).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(UPLOAD).await;
    let mut wire = container.accept().await;
    wire.head().await;
    let answer = client.read_response().await;
    assert_eq!(answer.head.status, 504);
    // Whether the body was asked for depends on which passes first, the limit or the second;
    // the container got none in either case.
    assert!(wire.read_to_close().await.is_empty());
    proxy.end().await;
}
