//! Bodies as they come, both ways, and trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use penstock_testkit::client::{
    Client, RawClient, RequestBody, body, streaming_body, with_trailers,
};
use penstock_testkit::workload::Workload;

use crate::world::{Container, Proxy, before, has_line};

async fn client(proxy: &Proxy, h2: bool) -> Client {
    if h2 {
        Client::h2c(proxy.addr()).await
    } else {
        Client::http1(proxy.addr()).await
    }
}

fn post(path: &str, body: RequestBody) -> Request<RequestBody> {
    Request::post(path).body(body).unwrap()
}

fn checksum() -> HeaderMap {
    HeaderMap::from_iter([(
        "x-checksum".parse().unwrap(),
        HeaderValue::from_static("42"),
    )])
}

async fn data(body: &mut Incoming) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn events_arrive_one_by_one_before_the_stream_ends() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    for h2 in [false, true] {
        let mut client = client(&proxy, h2).await;
        let request = Request::get("/events").body(penstock_testkit::client::empty());
        let answer = client.send(request.unwrap()).await.unwrap();
        let mut body = answer.into_body();
        let stream = workload.next_stream().await;
        for number in 0..3 {
            stream.event(&number.to_string()).await;
            assert_eq!(data(&mut body).await, format!("data: {number}\n\n"));
        }
        drop(stream);
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
        drop(client);
    }
    proxy.end().await;
}

#[tokio::test]
async fn both_ways_flow_at_once() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    for h2 in [false, true] {
        let mut client = client(&proxy, h2).await;
        let (pieces, body) = streaming_body();
        let answer = client.send(post("/echo", body)).await.unwrap();
        let mut answer = answer.into_body();
        for number in 0..3 {
            let piece = Bytes::from(format!("piece {number}"));
            pieces.send(piece.clone()).await.unwrap();
            assert_eq!(data(&mut answer).await, piece);
        }
        drop(pieces);
        assert!(answer.collect().await.unwrap().to_bytes().is_empty());
    }
    proxy.end().await;
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let sent: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    for h2 in [false, true] {
        let mut client = client(&proxy, h2).await;
        for _ in 0..2 {
            let answer = client.ask(post("/echo", body(sent.clone()))).await.unwrap();
            assert!(answer.body == sent, "{} bytes", answer.body.len());
        }
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_108_trailers_of_an_answer_pass() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    for h2 in [false, true] {
        let mut client = client(&proxy, h2).await;
        let request = Request::get("/trailers").header("te", "trailers");
        let request = request.body(penstock_testkit::client::empty()).unwrap();
        let answer = client.ask(request).await.unwrap();
        assert_eq!(
            (answer.text(), &answer.trailers),
            ("body".to_owned(), &checksum())
        );
        assert_eq!(answer.headers["trailer"], "x-checksum");
        drop(client);
    }
    proxy.end().await;
}

#[tokio::test]
async fn trailers_of_a_request_pass() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    for h2 in [false, true] {
        let mut client = client(&proxy, h2).await;
        let request = Request::post("/echo")
            .header("te", "trailers")
            .header("trailer", "x-checksum");
        let request = request.body(with_trailers("body", checksum())).unwrap();
        let answer = client.ask(request).await.unwrap();
        assert_eq!(
            (answer.text(), answer.trailers),
            ("body".to_owned(), checksum()),
            "h2: {h2}"
        );
        drop(client);
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_108_unannounced_trailers_pass_both_ways_over_http_1() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Sent: 1\r\nX-Sent: 2\r\n\r\n",
        )
        .await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert!(has_line(&head, "transfer-encoding: chunked"), "{head}");
    wire.read_until("2\r\nhi\r\n0\r\nx-sent: 1\r\nx-sent: 2\r\n\r\n")
        .await;
    wire.write(
        "HTTP/1.1 200 OK\r\ntrailer: x-a\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nx-a: 1\r\nx-b: 2\r\nContent-Length: 5\r\n\r\n",
    )
    .await;
    let answer = client.read_response().await;
    assert_eq!((answer.complete, &answer.body[..]), (true, &b"ok"[..]));
    assert_eq!(
        (answer.trailer("x-a"), answer.trailer("x-b")),
        (Some("1"), Some("2"))
    );
    // What would frame a message is none.
    assert_eq!(answer.trailer("content-length"), None);
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn a_grpc_call_keeps_its_messages_and_its_status() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut client = Client::h2c(proxy.addr()).await;
    let request = Request::post("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let answer = client
        .ask(request.body(body("message")).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.text(), "message");
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert_eq!(answer.trailers["grpc-status"], "0");
    // Without a message: trailers alone.
    let request = Request::post("/grpc/none").body(body("")).unwrap();
    let answer = client.ask(request).await.unwrap();
    assert_eq!(
        (answer.text(), &answer.trailers["grpc-status"]),
        (String::new(), &HeaderValue::from_static("0"))
    );
    proxy.end().await;
}

#[tokio::test]
async fn the_framing_of_a_body_is_kept() {
    let table = [
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            "content-length: 5",
            "hello",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
            "transfer-encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello",
            "content-length: 5",
            "hello",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n",
            "transfer-encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
            "content-length: 0",
            "",
        ),
        ("DELETE / HTTP/1.1\nHost: a\n\n", "host: a", ""),
    ];
    for (request, framing, body) in table {
        let container = Container::listen().await;
        let proxy = before(container.addr()).start();
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(request.replace('\n', "\r\n")).await;
        let mut wire = container.accept().await;
        let head = wire.head().await;
        assert!(has_line(&head, framing), "{head}");
        if !body.is_empty() {
            wire.read_until(body).await;
        }
        // Not buffered here, and whole: the container may answer when it has it.
        wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.read_response().await.head.status, 204);
        // Nothing else came, so the connection is used again.
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let next = wire.head().await;
        assert!(next.starts_with("GET /next "), "{next}");
        wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.read_response().await.head.status, 204);
        drop(client);
        proxy.end().await;
    }
}

#[tokio::test]
async fn an_upload_in_line_does_not_stop_another_of_the_same_connection() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut client = Client::h2c(proxy.addr()).await;
    let (pieces, inside) = streaming_body();
    let answer = client.send(post("/echo", inside)).await.unwrap();
    let mut echo = answer.into_body();
    // As much as one stream may send unread, and more than that.
    let waiting = post("/echo", body(vec![b'w'; 3 << 20]));
    let waiting = tokio::spawn(async move { client.ask(waiting).await.unwrap() });
    proxy.until_value("kn_serving_queue_depth", &[], 2.0).await;
    for _ in 0..3 {
        pieces.send(Bytes::from(vec![b'i'; 1 << 20])).await.unwrap();
        let mut read = 0;
        while read < 1 << 20 {
            read += data(&mut echo).await.len();
        }
    }
    drop(pieces);
    assert!(echo.collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(waiting.await.unwrap().body.len(), 3 << 20);
    proxy.end().await;
}
