//! What proxies find hard, through the whole of it: activator and queue-proxy.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use penstock_testkit::client::{Client, RawClient, body, with_trailers};

use crate::harness::{Service, Up, program_file, tests};

tests! {
    an_upgraded_connection_carries_bytes_both_ways needs "node";
    events_come_as_they_are_sent needs "node";
    a_body_streams_both_ways_at_once needs "node";
    a_large_body_comes_back_whole needs "node";
    trailers_go_both_ways needs "node";
    early_hints_come_before_the_true_status needs "node";
    an_upload_waits_for_100_continue needs "node";
    grpc_keeps_its_status_in_the_trailers_over_h2c needs "node";
    http2_by_prior_knowledge_reaches_a_program;
}

const HOST: &str = "server.default.example.com";

async fn node() -> (Up, RawClient) {
    let up = Up::with(&[Service::node("server")]).await;
    let client = RawClient::connect(up.gateway.0).await;
    (up, client)
}

async fn an_upgraded_connection_carries_bytes_both_ways() {
    let (up, mut client) = node().await;
    let request = format!(
        "GET /chat HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    client.send(request).await;
    let head = client.read_head().await;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("upgrade"), Some("websocket"));
    for word in ["one", "another"] {
        client.send(word).await;
        assert_eq!(client.read_exact(word.len()).await, word);
    }
    let state = up.state().await;
    assert_eq!(
        state.figure("server-00001", "in_flight"),
        1,
        "it counts while it lasts"
    );
    client.end().await;
    assert_eq!(client.read_to_close().await, "");
    up.until_state("nobody inside", |state| {
        state.figure("server-00001", "in_flight") == 0
    })
    .await;
    up.stop().await;
}

async fn events_come_as_they_are_sent() {
    let (up, mut client) = node().await;
    client
        .send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    let head = client.read_head().await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    client.read_until(b"data: first\n\n").await;
    // The second is not sent before the first was read.
    assert_eq!(up.gateway.text(HOST, "/event").await, "sent\n");
    client.read_until(b"data: second\n\n").await;
    client.read_until(b"0\r\n\r\n").await;
    up.stop().await;
}

async fn a_body_streams_both_ways_at_once() {
    let (up, mut client) = node().await;
    let head = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: ";
    client.send(format!("{head}{HOST}\r\n\r\n")).await;
    client.send("5\r\nfirst\r\n").await;
    assert_eq!(client.read_head().await.status, 200);
    client.read_until(b"first").await;
    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
    client.read_until(b"second").await;
    client.read_until(b"0\r\n\r\n").await;
    up.stop().await;
}

async fn a_large_body_comes_back_whole() {
    let (up, _) = node().await;
    let sent: Bytes = (0..8 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    let request = Request::post("/echo")
        .header("host", HOST)
        .body(body(sent.clone()));
    let mut client = Client::http1(up.gateway.0).await;
    let answer = client.ask(request.unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body == sent, "{} bytes came back", answer.body.len());
    up.stop().await;
}

async fn trailers_go_both_ways() {
    let (up, mut client) = node().await;
    let head = "POST /trailers HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\
                TE: trailers\r\nHost: ";
    client
        .send(format!(
            "{head}{HOST}\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"
        ))
        .await;
    let answer = client.read_response().await;
    assert_eq!(
        (answer.head.status, &answer.body[..]),
        (200, &b"body\n"[..])
    );
    assert_eq!(answer.trailer("x-sum"), Some("42"));
    up.stop().await;
}

async fn early_hints_come_before_the_true_status() {
    let (up, mut client) = node().await;
    client
        .send(format!("GET /hints HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
        .await;
    let answer = client.read_response().await;
    let hints = &answer.informational[0];
    assert_eq!(hints.status, 103);
    assert_eq!(hints.header("link"), Some("</style.css>; rel=preload"));
    assert_eq!(answer.head.status, 404);
    up.stop().await;
}

async fn an_upload_waits_for_100_continue() {
    let (up, mut client) = node().await;
    let head = "POST /echo HTTP/1.1\r\nContent-Length: 6\r\nExpect: 100-continue\r\nHost: ";
    client.send(format!("{head}{HOST}\r\n\r\n")).await;
    assert_eq!(client.read_head().await.status, 100);
    client.send("upload").await;
    let answer = client.read_response().await;
    assert_eq!(
        (answer.head.status, &answer.body[..]),
        (200, &b"upload"[..])
    );
    up.stop().await;
}

async fn grpc_keeps_its_status_in_the_trailers_over_h2c() {
    let service = Service::command("grpc", &["node", &program_file("grpc.js")]);
    let up = Up::with(&[service.container("ports: [{name: h2c, containerPort: 8080}]")]).await;
    let mut client = Client::h2c(up.gateway.0).await;
    // More than a window, so that both sides have to make room for the rest.
    let message: Bytes = (0..3 << 20).map(|at: u32| at.to_le_bytes()[1]).collect();
    let request = Request::post("/test.Greeter/Greet")
        .header("host", "grpc.default.example.com")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(with_trailers(message.clone(), HeaderMap::new()));
    let answer = client.ask(request.unwrap()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(
        answer.body == message,
        "{} bytes came back",
        answer.body.len()
    );
    assert_eq!(
        answer.trailers["grpc-status"],
        HeaderValue::from_static("0")
    );
    assert_eq!(
        answer.trailers["grpc-message"],
        HeaderValue::from_static("trailers")
    );
    up.stop().await;
}

async fn http2_by_prior_knowledge_reaches_a_program() {
    let up = Up::with(&[Service::hello("hello")]).await;
    let mut client = Client::h2c(up.gateway.0).await;
    let answer = client.get("hello.default.example.com", "/").await.unwrap();
    assert_eq!(answer.brief(), (200, "Hello World!\n".to_owned()));
    up.stop().await;
}
