//! Pods that refuse, break, crash or close: what is tried again, and what is not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use penstock_testkit::client::{Client, body, empty, streaming_body};
use penstock_testkit::cluster::pod;
use penstock_testkit::frames::{Frames, kind};
use penstock_testkit::workload::{RawWorkload, Seen, Turn, Workload};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{HOST, Stage, closed_port, hello, hello_id, post, within};

/// A queue-proxy whose container refuses connections.
const UNREACHED: &str = "HTTP/1.1 502 Bad Gateway\r\n\
    proxy-status: penstock-queue-proxy; error=connection_refused\r\n\
    content-length: 0\r\n\r\n";

#[tokio::test]
async fn a_pod_that_refuses_connections_is_set_aside_and_another_answers() {
    for concurrency in [0, 1, 10] {
        let well = Workload::start().await;
        let revision = hello().concurrency(concurrency);
        let revision = revision
            .pod(closed_port())
            .pod(well.addr())
            .pod(closed_port());
        let stage = Stage::new([revision.build()]);
        let mut client = stage.client().await;
        for _ in 0..20 {
            assert_eq!(client.get(HOST, "/").await.unwrap().status, 200);
        }
        assert_eq!(well.total(), 20);
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn a_request_that_no_pod_takes_waits_for_the_next_one_with_its_body_intact() {
    let refusing = RawWorkload::start([Turn::write(UNREACHED), Turn::close(UNREACHED)]).await;
    for first in [closed_port(), refusing.addr()] {
        let stage = Stage::new([hello().concurrency(1).pod(first).build()]);
        let mut client = stage.client().await;
        let long = Bytes::from("0123456789".repeat(6000));
        let sent = post("/path", body(long.clone()));
        let waiting = tokio::spawn(async move { client.ask(sent).await });
        stage.until_load(1, 0).await;
        let well = Workload::start().await;
        stage.cluster.start_pod(&hello_id(), well.addr());
        let answer = within(waiting).await.unwrap().unwrap();
        let seen = Seen::parse(&answer.body);
        assert_eq!((&*seen.method, &*seen.target), ("POST", "/path"));
        assert_eq!(seen.header("content-length"), Some("60000"));
        assert_eq!(seen.body, long);
        assert_eq!(well.total(), 1);
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn what_a_pod_refuses_by_http2_or_leaves_out_at_its_goodbye_goes_to_another_with_its_body() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    // The last stream that was taken is 0, there is no error.
    const GOODBYE: [u8; 8] = [0; 8];
    for says_goodbye in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = hello().concurrency(1).pod(listener.local_addr().unwrap());
        let stage = Stage::new([refusing.build()]);
        let mut client = Client::h2c(stage.addr).await;
        let sent = post("/echo", body("ping"));
        let waiting = tokio::spawn(async move { client.ask(sent).await });
        let mut taken = within(Frames::accept(&listener, &[])).await;
        // Nor does it take another connection.
        drop(listener);
        let refusing = tokio::spawn(async move {
            // To the end: who closes with something unread takes back what it has said.
            while let Some(frame) = taken.next().await {
                if frame.kind != kind::HEADERS {
                    continue;
                }
                match says_goodbye {
                    true => taken.send(kind::GOAWAY, 0, 0, &GOODBYE).await,
                    false => {
                        let stream = frame.stream;
                        taken
                            .send(kind::RST_STREAM, 0, stream, &REFUSED_STREAM)
                            .await;
                    }
                }
            }
        });
        stage.until_load(1, 0).await;
        let well = Workload::start().await;
        stage.cluster.set_pods(&hello_id(), [pod(well.addr())]);
        let answer = within(waiting).await.unwrap().unwrap();
        assert_eq!(answer.brief(), (200, "ping".to_owned()));
        assert_eq!(well.total(), 1);
        stage.until_idle().await;
        stage.end().await;
        within(refusing).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_is_still_being_sent_goes_to_the_next_pod_from_its_beginning() {
    let refusing = RawWorkload::start([Turn::close(UNREACHED)]).await;
    let stage = Stage::new([hello().pod(refusing.addr()).build()]);
    let mut client = stage.client().await;
    let (pieces, sent) = streaming_body();
    pieces.send("one, ".into()).await.unwrap();
    let waiting = tokio::spawn(async move { client.ask(post("/", sent)).await });
    within(refusing.next_request()).await;
    stage.until_load(1, 0).await;
    let well = Workload::start().await;
    stage.cluster.set_pods(&hello_id(), [pod(well.addr())]);
    within(well.until_inside(1)).await;
    pieces.send("two".into()).await.unwrap();
    drop(pieces);
    let answer = within(waiting).await.unwrap().unwrap();
    assert_eq!(&Seen::parse(&answer.body).body[..], b"one, two");
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_body_longer_than_is_kept_is_502_and_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let first = listener.local_addr().unwrap();
    let length = 100_000;
    let reads_all = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while read.len() < length {
            assert!(socket.read_buf(&mut read).await.unwrap() > 0);
        }
        socket.write_all(UNREACHED.as_bytes()).await.unwrap();
        // Nothing more comes on a second connection.
        listener
    });
    let stage = Stage::new([hello().concurrency(1).pod(first).build()]);
    let mut client = stage.client().await;
    let sent = post("/", body(vec![b'x'; length]));
    let asked = tokio::spawn(async move { client.ask(sent).await });
    let listener = within(reads_all).await.unwrap();
    let answer = within(asked).await.unwrap().unwrap();
    assert_eq!(answer.status, 502);
    stage.until_idle().await;
    stage.end().await;
    // The pod may have been probed meanwhile; that is no request again.
    while let Ok(Ok((mut other, _))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await
    {
        let mut read = Vec::new();
        let _ = other.read_to_end(&mut read).await;
        assert!(!read.starts_with(b"POST"), "it was sent twice");
    }
}

#[tokio::test]
async fn a_502_of_the_container_itself_is_passed_on() {
    let own = RawWorkload::start([Turn::close(
        "HTTP/1.1 502 Bad Gateway\r\nproxy-status: other; error=connection_refused\r\n\
         content-length: 4\r\n\r\nmine",
    )])
    .await;
    let stage = Stage::new([hello().pod(own.addr()).build()]);
    assert_eq!(stage.get("/").await.brief(), (502, "mine".to_owned()));
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_comes_back_at_the_same_address_is_used_without_a_new_picture() {
    let addr = closed_port();
    let stage = Stage::new([hello().concurrency(1).pod(addr).build()]);
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    let listener = TcpListener::bind(addr).await.unwrap();
    // Its probe, and the request.
    for _ in 0..2 {
        let (socket, _) = within(listener.accept()).await.unwrap();
        answer_one(socket).await;
    }
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.end().await;
}

/// Reads one request and answers it.
async fn answer_one(mut socket: TcpStream) -> TcpStream {
    let mut read = Vec::new();
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        assert!(socket.read_buf(&mut read).await.unwrap() > 0);
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    socket.write_all(answer).await.unwrap();
    socket
}

#[tokio::test]
async fn an_idle_connection_that_the_pod_has_closed_is_not_used_for_a_post() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stage = Stage::new([hello().pod(listener.local_addr().unwrap()).build()]);
    let mut client = stage.client().await;
    for _ in 0..10 {
        let (answer, socket) = tokio::join!(client.ask(post("/", empty())), async {
            let (socket, _) = within(listener.accept()).await.unwrap();
            answer_one(socket).await
        });
        assert_eq!(answer.unwrap().status, 200);
        // Closed without a word, and before the next request is sent.
        drop(socket);
    }
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_refuses_is_asked_by_one_probe_at_a_time_not_by_all_who_wait() {
    let callers = 50;
    let turns = std::iter::repeat_n(Turn::write(UNREACHED), 1000);
    let refusing = RawWorkload::start(turns).await;
    let stage = Stage::new([hello().pod(refusing.addr()).build()]);
    let waiting: Vec<_> = (0..callers).map(|_| stage.getting("/")).collect();
    let (mut requests, mut probes) = (0, 0);
    let start = Instant::now();
    while probes < 8 {
        let head = within(refusing.next_request()).await;
        match head.starts_with(b"GET /healthz ") {
            true => probes += 1,
            false => requests += 1,
        }
    }
    // Who was on the way there when the first was refused asks once.
    assert!(requests <= callers, "{requests}");
    // 5 ms, 10 ms, and so on.
    assert!(start.elapsed() >= Duration::from_millis(600), "in a row");
    let well = Workload::start().await;
    stage.cluster.set_pods(&hello_id(), [pod(well.addr())]);
    for answer in waiting {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn case_120_pods_that_are_killed_fail_only_what_is_inside_them() {
    let stage = Stage::new([hello().concurrency(1).build()]);
    for _ in 0..10 {
        let short_lived = Workload::start().await;
        let addr = short_lived.addr();
        stage.cluster.set_pods(&hello_id(), [pod(addr)]);
        stage.until_pods(&[addr]).await;
        let mut client = stage.client().await;
        let inside = tokio::spawn(async move { client.ask(post("/hold", empty())).await });
        within(short_lived.until_inside(1)).await;
        let waiting = [stage.getting("/"), stage.getting("/")];
        stage.until_load(2, 1).await;
        drop(short_lived);
        assert_eq!(within(inside).await.unwrap().unwrap().status, 502);
        let well = Workload::start().await;
        stage.cluster.set_pods(&hello_id(), [pod(well.addr())]);
        for answer in waiting {
            assert_eq!(within(answer).await.unwrap().status, 200);
        }
    }
    stage.until_idle().await;
    stage.end().await;
}
