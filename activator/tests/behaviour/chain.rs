//! Everything HTTP can do, through both hops: activator, queue-proxy, container.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::BodyExt;
use penstock_queue_proxy::{Config, Metrics, QueueProxy, Running};
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_testkit::client::{Client, RawClient, body, empty, streaming_body, with_trailers};
use penstock_testkit::cluster::pod;
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, head, kind};
use penstock_testkit::workload::{EARLY_HINTS_200, RawWorkload, Seen, Turn, Workload};
use penstock_types::probe::Probe;
use penstock_types::{Slots, Timeouts};
use prometheus::Registry;
use tokio::net::TcpListener;

use crate::stage::{
    HOST, STATUS_200, Stage, closed_port, get_by_http2, hello, hello_id, post, within,
};

/// A queue-proxy before a container.
pub(crate) struct QueueProxied {
    running: Running,
    _workers: Workers,
}

impl QueueProxied {
    pub(crate) fn before(user_addr: SocketAddr) -> Self {
        Self::with_slots(user_addr, 100)
    }

    pub(crate) fn with_slots(user_addr: SocketAddr, concurrency: u32) -> Self {
        let config = Config {
            user_addr,
            slots: Slots::from_concurrency(concurrency),
            timeouts: Timeouts::default(),
            readiness: Probe::tcp_default().into(),
        };
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let bound = QueueProxy::bind(([127, 0, 0, 1], 0).into(), config).unwrap();
        let metrics = Metrics::register(&Registry::new(), &[]).unwrap();
        Self {
            running: bound.start(&workers, metrics).unwrap(),
            _workers: workers,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    pub(crate) async fn end(self) {
        let drained = self.running.drain(Duration::ZERO, Duration::from_secs(60));
        assert_eq!(within(drained).await, Drained::Clean);
    }
}

/// Both hops before a container.
struct Chain {
    stage: Stage,
    proxy: QueueProxied,
}

impl Chain {
    fn before(user_addr: SocketAddr) -> Self {
        let proxy = QueueProxied::before(user_addr);
        let stage = Stage::new([hello().concurrency(100).pod(proxy.addr()).build()]);
        Self { stage, proxy }
    }

    async fn raw(&self) -> RawClient {
        RawClient::connect(self.stage.addr).await
    }

    async fn h2c(&self) -> Client {
        Client::h2c(self.stage.addr).await
    }

    async fn end(self) {
        self.stage.until_idle().await;
        self.stage.end().await;
        self.proxy.end().await;
    }
}

#[tokio::test]
async fn case_17_the_container_sees_the_host_that_the_caller_sent() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    for mut client in [chain.stage.client().await, chain.h2c().await] {
        let answer = client.get(HOST, "/a?b=c").await.unwrap();
        let seen = Seen::parse(&answer.body);
        let host = seen.header("host").unwrap_or(&seen.target);
        assert!(host.contains(HOST), "{host}");
        assert!(seen.target.ends_with("/a?b=c"), "{}", seen.target);
        assert_eq!(seen.header("k-original-host"), None);
        assert_eq!(seen.header("k-proxy-request"), Some("activator"));
        let nodes = seen.header("x-forwarded-for");
        assert_eq!(nodes, Some("127.0.0.1, 127.0.0.1"));
    }
    chain.end().await;
}

#[tokio::test]
async fn case_121_an_upgraded_connection_carries_bytes_both_ways_until_either_side_ends() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let mut client = chain.raw().await;
    // Bytes of the new protocol may come along with the request.
    let request = format!(
        "GET /chat HTTP/1.1\r\nhost: {HOST}\r\nconnection: keep-alive, Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nfirst"
    );
    client.send(request).await;
    let head = within(client.read_head()).await;
    assert_eq!(
        (head.status, head.header("upgrade")),
        (101, Some("websocket"))
    );
    assert_eq!(&within(client.read_exact(5)).await[..], b"first");
    for size in [1, 100_000] {
        let sent = vec![b'x'; size];
        client.send(&sent).await;
        assert_eq!(within(client.read_exact(size)).await, sent);
    }
    chain.stage.until_load(0, 1).await;
    client.end().await;
    assert!(within(client.read_to_close()).await.is_empty());
    chain.end().await;
}

#[tokio::test]
async fn server_sent_events_arrive_one_by_one() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let mut client = chain.raw().await;
    let request = format!("GET /events HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    client.send(request).await;
    let events = within(container.next_stream()).await;
    for event in ["one", "two", "three"] {
        events.event(event).await;
        within(client.read_until(format!("data: {event}\n\n").as_bytes())).await;
    }
    drop(client);
    within(events.until_gone()).await;
    chain.end().await;
}

#[tokio::test]
async fn case_121_grpc_like_calls_stream_both_ways_and_end_with_trailers() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let mut client = chain.h2c().await;
    let unary = client.ask(post("/grpc.Echo/Say", body("hello"))).await;
    let unary = unary.unwrap();
    assert_eq!(unary.brief(), (200, "hello".to_owned()));
    assert_eq!(unary.trailers["grpc-status"], "0");

    let (pieces, sent) = streaming_body();
    pieces.send("0".into()).await.unwrap();
    let request = Request::post("/grpc.Echo/Stream")
        .header("host", HOST)
        .header("te", "trailers")
        .body(sent);
    let mut answer = within(client.send(request.unwrap())).await.unwrap();
    // Each message is answered before the next is sent.
    for round in 1..100 {
        let frame = within(answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), (round - 1).to_string());
        pieces.send(round.to_string().into()).await.unwrap();
    }
    drop(pieces);
    let rest = within(answer.into_body().collect()).await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
    chain.end().await;
}

#[tokio::test]
async fn http1_streams_both_ways_at_once() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let mut client = chain.raw().await;
    let request =
        format!("POST /echo HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send(request).await;
    client.send("2\r\nab\r\n").await;
    assert_eq!(within(client.read_head()).await.status, 200);
    within(client.read_until(b"ab\r\n")).await;
    client.send("2\r\ncd\r\n").await;
    within(client.read_until(b"cd\r\n")).await;
    client.send("0\r\n\r\n").await;
    within(client.read_until(b"0\r\n\r\n")).await;
    chain.end().await;
}

#[tokio::test]
async fn case_23_many_callers_echo_bodies_at_the_same_time() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let addr = chain.stage.addr;
    let callers: Vec<_> = (0..32_u8)
        .map(|caller| {
            tokio::spawn(async move {
                let mut client = match caller % 2 {
                    0 => Client::http1(addr).await,
                    _ => Client::h2c(addr).await,
                };
                let sent = Bytes::from(vec![caller; 32 * 1024]);
                for _ in 0..20 {
                    let answer = client.ask(post("/echo", body(sent.clone()))).await.unwrap();
                    assert_eq!(answer.status, 200);
                    assert!(answer.body == sent, "another body came back");
                }
            })
        })
        .collect();
    for caller in callers {
        within(caller).await.unwrap();
    }
    chain.end().await;
}

#[tokio::test]
async fn long_bodies_pass_both_ways() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let sent = Bytes::from(vec![7; 5_000_000]);
    for mut client in [chain.stage.client().await, chain.h2c().await] {
        let asked = client.ask(post("/echo", body(sent.clone())));
        let answer = within(asked).await.unwrap();
        assert!(answer.body == sent, "{} bytes came back", answer.body.len());
    }
    chain.end().await;
}

#[tokio::test]
async fn trailers_pass_in_both_directions_and_both_protocols() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let trailers = HeaderMap::from_iter([(
        HeaderName::from_static("x-sum"),
        HeaderValue::from_static("6"),
    )]);
    for mut client in [chain.stage.client().await, chain.h2c().await] {
        let answer = Request::get("/trailers")
            .header("host", HOST)
            .header("te", "trailers");
        let answer = client.ask(answer.body(empty()).unwrap()).await.unwrap();
        assert_eq!(answer.brief(), (200, "body".to_owned()));
        assert_eq!(answer.trailers["x-checksum"], "42");

        let request = Request::post("/echo")
            .header("host", HOST)
            .header("te", "trailers")
            .header("trailer", "x-sum")
            .body(with_trailers("1+2+3", trailers.clone()));
        let answer = client.ask(request.unwrap()).await.unwrap();
        assert_eq!(answer.brief(), (200, "1+2+3".to_owned()));
        assert_eq!(answer.trailers["x-sum"], "6");
    }
    chain.end().await;
}

#[tokio::test]
async fn a_caller_that_expects_100_continue_gets_it_from_the_container() {
    let container = Workload::start().await;
    let chain = Chain::before(container.addr());
    let mut client = chain.raw().await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n"
    );
    client.send(&request).await;
    assert_eq!(within(client.read_head()).await.status, 100);
    client.send("body").await;
    let answer = within(client.read_response()).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(&Seen::parse(&answer.body).body[..], b"body");
    chain.end().await;

    // A container that does not want it: no 100, and no body is sent.
    let refusing =
        RawWorkload::start([Turn::close("HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n")]).await;
    let chain = Chain::before(refusing.addr());
    let mut client = chain.raw().await;
    client.send(&request).await;
    let answer = within(client.read_response()).await;
    assert_eq!(answer.head.status, 417);
    assert!(answer.informational.is_empty());
    drop(client);
    chain.end().await;
}

#[tokio::test]
async fn early_hints_come_before_the_answer_by_http2_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chain = Chain::before(listener.local_addr().unwrap());
    let mut caller = Frames::connect(chain.stage.addr, &[]).await;
    let whole = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, whole, 1, &get_by_http2()).await;
    let mut container = within(Frames::accept(&listener, &[])).await;
    let asked = within(container.until(kind::HEADERS)).await.stream;
    let hints = head(&[(":status", "103"), ("link", "</s.css>")]);
    container
        .send(kind::HEADERS, END_HEADERS, asked, &hints)
        .await;
    // There is no final one yet.
    let heard = within(caller.of(1)).await;
    assert_eq!((heard.kind, heard.flags), (kind::HEADERS, END_HEADERS));
    assert_ne!(heard.payload[0], STATUS_200);
    let last = head(&[(":status", "200")]);
    container.send(kind::HEADERS, whole, asked, &last).await;
    let heard = within(caller.of(1)).await;
    assert_eq!((heard.flags, heard.payload[0]), (whole, STATUS_200));
    drop(caller);
    chain.end().await;
}

#[tokio::test]
async fn early_hints_come_before_the_answer() {
    let container = RawWorkload::start([Turn::close(EARLY_HINTS_200)]).await;
    let chain = Chain::before(container.addr());
    let mut client = chain.raw().await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let answer = within(client.read_response()).await;
    assert_eq!((answer.head.status, &answer.body[..]), (200, &b"ok"[..]));
    let [hints] = &answer.informational[..] else {
        panic!("{:?}", answer.informational)
    };
    assert_eq!(hints.status, 103);
    assert_eq!(hints.header("link"), Some("</s.css>; rel=preload"));
    chain.end().await;
}

#[tokio::test]
async fn a_request_whose_container_is_gone_is_repeated_at_the_next_pod_in_both_protocols() {
    let gone = QueueProxied::before(closed_port());
    let stage = Stage::new([hello().concurrency(100).pod(gone.addr()).build()]);
    let sent = Bytes::from(vec![7; 60_000]);
    let clients = [stage.client().await, Client::h2c(stage.addr).await];
    let mut asked = Vec::new();
    for mut client in clients {
        let sent = sent.clone();
        asked.push(tokio::spawn(async move {
            client.ask(post("/echo", body(sent))).await
        }));
    }
    // A stream that goes on while the request waits.
    let mut client = Client::h2c(stage.addr).await;
    let (pieces, streamed) = streaming_body();
    pieces.send("one, ".into()).await.unwrap();
    let streamed = tokio::spawn(async move { client.ask(post("/echo", streamed)).await });
    stage.until_load(3, 0).await;
    pieces.send("two".into()).await.unwrap();
    let container = Workload::start().await;
    let next = QueueProxied::before(container.addr());
    stage.cluster.set_pods(&hello_id(), [pod(next.addr())]);
    for answer in asked {
        let answer = within(answer).await.unwrap().unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.body == sent, "{} bytes came back", answer.body.len());
    }
    drop(pieces);
    let answer = within(streamed).await.unwrap().unwrap();
    assert_eq!(answer.brief(), (200, "one, two".to_owned()));
    assert_eq!(container.total(), 3);
    stage.until_idle().await;
    stage.end().await;
    next.end().await;
}

#[tokio::test]
async fn case_120_pods_that_drain_lose_no_request_of_either_protocol() {
    let container = Workload::start().await;
    let stage = Stage::new([hello().concurrency(100).build()]);
    let addr = stage.addr;
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            tokio::spawn(async move {
                let mut client = match caller % 2 {
                    0 => Client::http1(addr).await,
                    _ => Client::h2c(addr).await,
                };
                for _ in 0..100 {
                    let answer = client.ask(post("/echo", body("ping"))).await.unwrap();
                    let told = &answer.headers;
                    assert_eq!(answer.brief(), (200, "ping".to_owned()), "{told:?}");
                }
            })
        })
        .collect();
    let mut last: Option<QueueProxied> = None;
    for round in 1..=10 {
        let next = QueueProxied::before(container.addr());
        stage.cluster.set_pods(&hello_id(), [pod(next.addr())]);
        stage.until_pods(&[next.addr()]).await;
        if let Some(last) = last.replace(next) {
            last.end().await;
        }
        within(container.until_total(round * 60)).await;
    }
    for caller in callers {
        within(caller).await.unwrap();
    }
    assert_eq!(container.total(), 800);
    stage.until_idle().await;
    stage.end().await;
    if let Some(last) = last {
        last.end().await;
    }
}
