//! Callers that mean ill: messages made to hide another one, too much of something, floods. Each is
//! sent to a revision that has a pod and to one that has none: who has to wait meanwhile keeps its
//! place, nobody else suffers, and nothing is left afterwards.

use std::fmt::Write as _;

use penstock_activator::Options;
use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, frame, head, kind};
use penstock_testkit::workload::Workload;

use crate::stage::{Bound, HOST, STATUS_200, Stage, get_by_http2, hello, hello_id, within};

const ENHANCE_YOUR_CALM: u32 = 11;

/// An activator that is attacked while somebody waits there, or is inside the one pod.
struct Attacked {
    stage: Stage,
    pod: Workload,
    has_pod: bool,
    honest: tokio::task::JoinHandle<penstock_testkit::client::Answer>,
}

impl Attacked {
    async fn new(has_pod: bool) -> Self {
        let pod = Workload::start().await;
        let mut revision = hello().concurrency(2);
        if has_pod {
            revision = revision.pod(pod.addr());
        }
        let stage = Stage::new([revision.build()]);
        let honest = stage.getting("/hold");
        let this = Self {
            stage,
            pod,
            has_pod,
            honest,
        };
        this.until_alone().await;
        this
    }

    /// Waits until nobody but the honest one is there.
    async fn until_alone(&self) {
        let (waiting, inside) = if self.has_pod { (0, 1) } else { (1, 0) };
        self.stage.until_load(waiting, inside).await;
    }

    async fn raw(&self) -> RawClient {
        RawClient::connect(self.stage.addr).await
    }

    /// The honest one is served, and so is who comes now.
    async fn end(self) {
        within(self.until_alone()).await;
        if !self.has_pod {
            self.stage.cluster.start_pod(&hello_id(), self.pod.addr());
        }
        within(self.pod.until_inside(1)).await;
        assert_eq!(self.stage.get("/status/204").await.status, 204);
        self.pod.release(1);
        let honest = within(self.honest).await.unwrap();
        assert_eq!(honest.brief(), (200, "held".to_owned()));
        assert_eq!(self.pod.total(), 2, "something else has reached the pod");
        self.stage.until_idle().await;
        self.stage.end().await;
    }
}

#[tokio::test]
async fn heads_that_can_be_read_in_two_ways_are_refused_and_end_the_connection() {
    for has_pod in [false, true] {
        let attacked = Attacked::new(has_pod).await;
        for lines in [
            "Transfer-Encoding : chunked",
            " Transfer-Encoding: chunked",
            "Transfer-Encoding:\u{b}chunked",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding:\r\n chunked",
            "X: 1\r\n folded",
            "X: 1\rTransfer-Encoding: chunked",
            "X: 1\u{0}",
            "X Y: 1",
            "Content-Length: 3, 3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Content-Length: 3\r\nContent-Length: 4",
            "none",
        ] {
            let mut client = attacked.raw().await;
            let smuggled = format!("GET /smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n\r\n{smuggled}");
            client.send(head).await;
            let answer = within(client.read_response()).await.head.status;
            assert!([400, 501].contains(&answer), "{lines:?} {answer}");
            assert!(within(client.read_to_close()).await.is_empty(), "{lines:?}");
        }
        for line in [
            "GET /",
            "GET / HTTP/2.0",
            "GET  / HTTP/1.1",
            "GET / a HTTP/1.1",
            "G\u{0}T / HTTP/1.1",
            "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        ] {
            let mut client = attacked.raw().await;
            client.send(format!("{line}\r\nHost: {HOST}\r\n\r\n")).await;
            let answer = within(client.read_to_close()).await;
            let refused =
                answer.starts_with(b"HTTP/1.1 400 ") || answer.starts_with(b"HTTP/1.1 505 ");
            assert!(refused, "{line:?} {answer:?}");
        }
        attacked.end().await;
    }
}

#[tokio::test]
async fn heads_that_are_too_long_are_431_and_never_a_hang() {
    for has_pod in [false, true] {
        let attacked = Attacked::new(has_pod).await;
        let mut many = String::new();
        for at in 0..20_000 {
            write!(many, "x{at}: \r\n").unwrap();
        }
        for lines in [many, format!("X: {}\r\n", "x".repeat(1 << 20))] {
            let mut client = attacked.raw().await;
            let head = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n");
            client.send(head).await;
            let answer = within(client.read_response()).await;
            assert_eq!(answer.head.status, 431);
        }
        attacked.end().await;
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_400_and_does_not_count_against_the_pod() {
    for body in [
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nokxx\r\n0\r\n\r\n",
        "0\r\nx: 1\r\n folded\r\n\r\n",
        "0\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        for has_pod in [false, true] {
            let pod = Workload::start().await;
            let mut revision = hello().concurrency(1);
            if has_pod {
                revision = revision.pod(pod.addr());
            }
            let stage = Stage::new([revision.build()]);
            let mut client = RawClient::connect(stage.addr).await;
            let head = "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
            client
                .send(format!("{head}Host: {HOST}\r\n\r\n{body}"))
                .await;
            if !has_pod {
                stage.until_load(1, 0).await;
                stage.cluster.start_pod(&hello_id(), pod.addr());
            }
            let all = within(client.read_to_close()).await;
            let text = String::from_utf8_lossy(&all);
            // One answer, or one that is broken off: the pod may have begun to echo.
            assert!(!text.contains("smuggled"), "{body:?}: {text}");
            assert!(!text.ends_with("\r\n0\r\n\r\n"), "{body:?}: {text}");
            if !text.starts_with("HTTP/1.1 200 ") {
                assert!(text.starts_with("HTTP/1.1 400 "), "{body:?}: {text}");
            }
            stage.until_idle().await;
            assert_eq!(stage.get("/status/204").await.status, 204);
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn of_ten_thousand_pipelined_requests_one_waits_and_all_go_with_their_caller() {
    for has_pod in [false, true] {
        let attacked = Attacked::new(has_pod).await;
        let mut greedy = attacked.raw().await;
        let request = format!("GET /hold HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        greedy
            .send_what_is_taken(request.repeat(10_000).as_bytes())
            .await;
        let (waiting, inside) = if has_pod { (0, 2) } else { (2, 0) };
        attacked.stage.until_load(waiting, inside).await;
        // A regular end would wait behind what the sockets do not take.
        greedy.reset();
        attacked.until_alone().await;
        if has_pod {
            // One of them was inside.
            attacked.pod.release(1);
            within(attacked.honest).await.unwrap();
            assert_eq!(attacked.pod.total(), 2);
            attacked.stage.until_idle().await;
            attacked.stage.end().await;
        } else {
            attacked.end().await;
        }
    }
}

/// `first` and then `again` many times, on one connection by HTTP/2, ends it with GOAWAY.
async fn is_calmed(first: &[u8], again: impl Fn(u32) -> Vec<u8>) {
    for has_pod in [false, true] {
        let attacked = Attacked::new(has_pod).await;
        let mut caller = Frames::connect(attacked.stage.addr, &[]).await;
        caller.write(first).await;
        for round in 0..10_000 {
            caller.write(&again(round)).await;
        }
        let word = within(caller.last_word()).await;
        assert_eq!(word, Some(ENHANCE_YOUR_CALM));
        drop(caller);
        attacked.until_alone().await;
        // What came of the flood to the pod is gone, or was never sent.
        let before = attacked.pod.total();
        let Attacked {
            stage, pod, honest, ..
        } = attacked;
        if !has_pod {
            assert_eq!(before, 0);
            stage.cluster.start_pod(&hello_id(), pod.addr());
        }
        assert_eq!(stage.get("/status/204").await.status, 204);
        pod.release(1);
        assert_eq!(within(honest).await.unwrap().status, 200);
        stage.until_idle().await;
        stage.end().await;
    }
}

#[tokio::test]
async fn pings_without_end() {
    let waits = frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &get_by_http2());
    is_calmed(&waits, |_| frame(kind::PING, 0, 0, &[0; 8])).await;
}

#[tokio::test]
async fn settings_without_end() {
    is_calmed(&[], |_| frame(kind::SETTINGS, 0, 0, &[])).await;
}

#[tokio::test]
async fn a_head_of_continuations_without_end() {
    let begins = frame(kind::HEADERS, END_STREAM, 1, &get_by_http2());
    is_calmed(&begins, |_| frame(kind::CONTINUATION, 0, 1, &[])).await;
}

#[tokio::test]
async fn empty_data_of_a_request_without_end() {
    let begins = frame(kind::HEADERS, END_HEADERS, 1, &get_by_http2());
    is_calmed(&begins, |_| frame(kind::DATA, 0, 1, &[])).await;
}

#[tokio::test]
async fn streams_opened_and_reset_without_end() {
    let head = get_by_http2();
    is_calmed(&[], |round| {
        let stream = 2 * round + 1;
        let mut bytes = frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &head);
        bytes.extend(frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    })
    .await;
}

#[tokio::test]
async fn a_list_of_headers_that_unpacks_to_more_than_its_limit_is_refused() {
    for has_pod in [false, true] {
        let attacked = Attacked::new(has_pod).await;
        let mut caller = Frames::connect(attacked.stage.addr, &[]).await;
        // One name and value for the table (RFC 7541 §6.2.1), then a byte for each repetition.
        let mut fields = get_by_http2();
        fields.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
        fields.extend([b'v'; 4000]);
        fields.extend([0x80 | 62; 12_000]);
        caller
            .send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &fields)
            .await;
        let end = loop {
            let next = within(caller.next()).await.expect("a word");
            if [kind::HEADERS, kind::RST_STREAM, kind::GOAWAY].contains(&next.kind) {
                break next;
            }
        };
        assert!(end.kind != kind::HEADERS || end.has(END_STREAM), "{end:?}");
        drop(caller);
        attacked.end().await;
    }
}

#[tokio::test]
async fn nothing_in_an_http2_head_becomes_a_line_of_http1() {
    let attacked = Attacked::new(true).await;
    let base = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", HOST),
        (":path", "/"),
    ];
    for (name, value) in [
        ("x", "1\r\ntransfer-encoding: chunked"),
        ("x", "1\nb: 2"),
        ("x\r\ny", "1"),
        ("x: y", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "x"),
        ("content-length", "5"),
        (":path", "/2"),
        (":authority", "b"),
    ] {
        let mut caller = Frames::connect(attacked.stage.addr, &[]).await;
        let mut fields = base.to_vec();
        fields.push((name, value));
        let flags = END_HEADERS | END_STREAM;
        caller.send(kind::HEADERS, flags, 1, &head(&fields)).await;
        let end = loop {
            let next = within(caller.next()).await.expect("a word");
            if [kind::HEADERS, kind::RST_STREAM, kind::GOAWAY].contains(&next.kind) {
                break next.kind;
            }
        };
        assert_ne!(end, kind::HEADERS, "{name}: {value:?}");
    }
    attacked.end().await;
}

#[tokio::test]
async fn an_answer_that_has_no_window_holds_its_slot_only_as_long_as_its_caller_stays() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().concurrency(1).build()]);
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0.
    let mut caller = Frames::connect(stage.addr, &[0, 4, 0, 0, 0, 0]).await;
    let flags = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, flags, 1, &get_by_http2()).await;
    stage.until_load(1, 0).await;
    stage.cluster.start_pod(&hello_id(), pod.addr());
    let answer = within(caller.of(1)).await;
    assert_eq!(
        (answer.kind, answer.payload[0]),
        (kind::HEADERS, STATUS_200)
    );
    let next = stage.getting("/");
    stage.until_load(1, 1).await;
    drop(caller);
    assert_eq!(within(next).await.unwrap().status, 200);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so_and_those_within_are_served() {
    let pod = Workload::start().await;
    let bound = Bound::before([hello().pod(pod.addr()).build()]);
    let stage = bound.start(Options {
        connections: Some(3),
        ..Options::default()
    });
    let mut idle = Vec::new();
    let mut within_limit = stage.client().await;
    assert_eq!(within_limit.get(HOST, "/").await.unwrap().status, 200);
    for _ in 0..2 {
        idle.push(RawClient::connect(stage.addr).await);
    }
    for _ in 0..200 {
        let mut beyond = RawClient::connect(stage.addr).await;
        beyond
            .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await;
        let refused = within(beyond.read_response()).await;
        assert_eq!((refused.head.status, refused.complete), (503, true));
        assert_eq!(refused.head.header("connection"), Some("close"));
        assert_eq!(
            refused.head.header("proxy-status"),
            Some("penstock-activator; error=connection_limit_reached")
        );
        assert_eq!(&refused.body[..], b"too many connections\n");
        beyond.end().await;
        assert!(within(beyond.read_to_close()).await.is_empty());
    }
    // By HTTP/2: no stream was taken, and there is no error.
    let mut beyond = Frames::connect(stage.addr, &[]).await;
    let word = within(beyond.until(kind::GOAWAY)).await;
    assert_eq!(&word.payload[..], [0; 8]);
    drop(beyond);
    assert_eq!(within_limit.get(HOST, "/").await.unwrap().status, 200);
    // Who leaves makes room.
    drop(idle.pop());
    loop {
        let mut next = RawClient::connect(stage.addr).await;
        next.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))
            .await;
        if within(next.read_response()).await.head.status == 200 {
            break;
        }
    }
    drop((idle, within_limit));
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn a_crowd_that_says_nothing_is_turned_away_as_well() {
    let pod = Workload::start().await;
    let bound = Bound::before([hello().pod(pod.addr()).build()]);
    let stage = bound.start(Options {
        connections: Some(50),
        ..Options::default()
    });
    let mut served = Client::http1(stage.addr).await;
    assert_eq!(served.get(HOST, "/").await.unwrap().status, 200);
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(RawClient::connect(stage.addr).await);
    }
    assert_eq!(served.get(HOST, "/").await.unwrap().status, 200);
    // All but those within the limit are closed.
    let mut closed = 0;
    let mut last = silent.split_off(100);
    for client in &mut last {
        assert!(within(client.read_to_close()).await.is_empty());
        closed += 1;
    }
    assert_eq!(closed, 400);
    assert_eq!(served.get(HOST, "/").await.unwrap().status, 200);
    drop((silent, last, served));
    stage.end().await;
}
