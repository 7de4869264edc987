use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use penstock_types::RevisionId;
use penstock_types::header::DEMAND_EXTENSION;
use penstock_types::wire::Frame;
use prometheus::Registry;
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::*;

/// An autoscaler that a test plays.
struct Played {
    listener: TcpListener,
    /// Whether it knows the additions.
    ours: bool,
}

impl Played {
    async fn bind(ours: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self { listener, ours }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection.
    async fn take(&self) -> WebSocketStream<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        #[expect(
            clippy::result_large_err,
            reason = "the shape of the library's callback"
        )]
        let answer = |request: &Request, mut response: Response| {
            if self.ours {
                let version = request.headers()[DEMAND_EXTENSION].clone();
                response.headers_mut().insert(DEMAND_EXTENSION, version);
            }
            Ok(response)
        };
        accept_hdr_async(stream, answer).await.unwrap()
    }
}

/// The next frame; pings and pongs are none.
async fn frame(socket: &mut WebSocketStream<TcpStream>) -> Frame {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => return Frame::decode(bytes).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
}

struct Reporting {
    to: mpsc::Sender<Vec<Demand>>,
    connected: watch::Receiver<bool>,
    registry: Registry,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

/// Starts to report to `addr`; `present` is what is there.
fn report_to(addr: SocketAddr, present: Arc<Mutex<Vec<Demand>>>) -> Reporting {
    let registry = Registry::new();
    let metrics = LinkMetrics::register(&registry).unwrap();
    let link = Link::new(addr.to_string(), "act", 1, metrics);
    let (to, reports) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let connected = link.connected();
    let present = move || present.lock().unwrap().clone();
    let running = tokio::spawn(link.run(reports, present, stop.clone()));
    Reporting {
        to,
        connected,
        registry,
        stop,
        running,
    }
}

fn nothing() -> Arc<Mutex<Vec<Demand>>> {
    Arc::default()
}

fn demand(name: &str, waiting: u32, first: bool) -> Demand {
    Demand {
        revision: RevisionId::new("default", name),
        average_concurrency: 1.0,
        average_proxied_concurrency: 0.0,
        request_count: 1.0,
        proxied_request_count: 0.0,
        waiting,
        in_flight: 0,
        first,
    }
}

fn names(frame: &Frame) -> Vec<&str> {
    frame.messages.iter().map(|it| it.name.as_str()).collect()
}

#[tokio::test]
async fn case_101_batches_arrive_as_binary_frames_with_the_pods_name() {
    let played = Played::bind(false).await;
    let mut reporting = report_to(played.addr(), nothing());
    let mut socket = played.take().await;
    reporting.connected.wait_for(|it| *it).await.unwrap();
    let batches = [vec![demand("a", 5, true)], vec![demand("b", 0, false)]];
    for batch in batches {
        reporting.to.send(batch).await.unwrap();
    }
    let (one, two) = (frame(&mut socket).await, frame(&mut socket).await);
    assert_eq!((names(&one), names(&two)), (vec!["a"], vec!["b"]));
    let stat = one.messages[0].stat.as_ref().unwrap();
    assert_eq!(stat.pod_name, "act");
    // Knative's autoscaler gets none of our additions.
    assert_eq!(one.messages[0].present, None);
    assert!(!one.whole && !two.whole);
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test]
async fn our_own_autoscaler_is_told_what_waits_and_that_a_table_is_whole() {
    let played = Played::bind(true).await;
    let mut reporting = report_to(played.addr(), nothing());
    let mut socket = played.take().await;
    reporting.connected.wait_for(|it| *it).await.unwrap();
    assert!(frame(&mut socket).await.whole, "what is there: nothing");
    reporting
        .to
        .send(vec![demand("a", 200, true)])
        .await
        .unwrap();
    let said = frame(&mut socket).await;
    let present = said.messages[0].present.unwrap();
    assert!(present.first && present.waiting == 200 && !said.whole);
    reporting.to.send(Vec::new()).await.unwrap();
    assert!(frame(&mut socket).await.whole);
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test]
async fn after_a_reconnect_the_true_numbers_are_said_at_once() {
    let played = Played::bind(true).await;
    let present = nothing();
    let mut reporting = report_to(played.addr(), Arc::clone(&present));
    let mut socket = played.take().await;
    frame(&mut socket).await;
    reporting.connected.wait_for(|it| *it).await.unwrap();
    // It restarts, and meanwhile requests come: their first words find nobody.
    *present.lock().unwrap() = vec![demand("a", 77, false)];
    let restart = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 1012.into(),
        reason: "".into(),
    };
    socket.close(Some(restart)).await.unwrap();
    let mut again = played.take().await;
    let said = frame(&mut again).await;
    assert_eq!(said.messages[0].present.unwrap().waiting, 77);
    let series = reporting.registry.gather();
    let value = |name: &str| {
        let family = series.iter().find(|it| it.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    };
    assert_eq!(value("kn_activator_stats_conn_errors_total"), 1.0);
    reporting.connected.wait_for(|it| *it).await.unwrap();
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_an_autoscaler_that_is_gone() {
    // Nobody listens there any more.
    let addr = Played::bind(true).await.addr();
    let reporting = report_to(addr, nothing());
    for _ in 0..1000 {
        // The channel holds sixteen: it would stand still if nobody took them.
        reporting.to.send(vec![demand("a", 1, true)]).await.unwrap();
    }
    assert!(!*reporting.connected.borrow());
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_an_autoscaler_that_does_not_read() {
    let played = Played::bind(true).await;
    let mut reporting = report_to(played.addr(), nothing());
    let mut socket = played.take().await;
    reporting.connected.wait_for(|it| *it).await.unwrap();
    frame(&mut socket).await;
    let many: Vec<Demand> = (0..5000)
        .map(|n| demand(&format!("r{n}"), n, false))
        .collect();
    // Far more than the system's buffers hold: 200 tables of about 200 KB.
    for _ in 0..200 {
        reporting.to.send(many.clone()).await.unwrap();
    }
    reporting
        .to
        .send(vec![demand("last", 9, false)])
        .await
        .unwrap();
    // Once it reads again, it gets what was under way and then the newest.
    let mut tables = 0;
    while names(&frame(&mut socket).await) != ["last"] {
        tables += 1;
    }
    assert!(tables < 200, "{tables} old tables were kept");
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_pongs_is_dead_after_ten_seconds_and_pings_come_before() {
    let played = Played::bind(true).await;
    let mut reporting = report_to(played.addr(), nothing());
    let (silent, _) = played.listener.accept().await.unwrap();
    let mut silent = tokio_tungstenite::accept_async(silent).await.unwrap();
    reporting.connected.wait_for(|it| *it).await.unwrap();
    let start = tokio::time::Instant::now();
    // Nobody reads, so nobody answers a ping.
    reporting.connected.wait_for(|it| !*it).await.unwrap();
    let lasted = start.elapsed();
    assert!((9_900..10_100).contains(&lasted.as_millis()), "{lasted:?}");
    let pings = AtomicU32::new(0);
    while let Some(Ok(message)) = silent.next().await {
        if message.is_ping() {
            pings.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert!(pings.into_inner() >= 2);
    reporting.stop.cancel();
    reporting.running.await.unwrap();
}

#[tokio::test]
async fn who_stops_takes_leave() {
    let played = Played::bind(false).await;
    let mut reporting = report_to(played.addr(), nothing());
    let mut socket = played.take().await;
    reporting.connected.wait_for(|it| *it).await.unwrap();
    reporting.stop.cancel();
    let last = loop {
        if let Message::Close(close) = socket.next().await.unwrap().unwrap() {
            break close.unwrap();
        }
    };
    assert_eq!(u16::from(last.code), 1001);
    reporting.running.await.unwrap();
    let _ = socket.close(None).await;
}

/// An autoscaler of ours, over real sockets, that stops with `stop`.
async fn our_autoscaler(
    addr: SocketAddr,
    cluster: &Arc<penstock_testkit::cluster::ScriptedCluster>,
    stop: CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    use penstock_autoscaler::{Autoscaler, Peers, PolicyKind, StatServer};
    use penstock_scaling::config::Config;
    let server = StatServer::bind(addr).unwrap();
    let addr = server.addr();
    let config = Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    };
    let (_, configs) = watch::channel(Arc::new(config));
    let (_, leases) = watch::channel(Arc::new(penstock_cluster::Leases::alone()));
    let cluster = Arc::clone(cluster) as _;
    let policy = PolicyKind::Demand;
    let autoscaler = Autoscaler::new(cluster, configs, policy, &Registry::new()).unwrap();
    let (serving, _, batches) = server.start(leases, Peers::default(), stop.clone());
    let running = tokio::spawn(async move {
        tokio::join!(autoscaler.run(batches, stop), serving.ended());
    });
    (addr, running)
}

#[tokio::test]
async fn a_restarted_autoscaler_learns_at_once_what_came_meanwhile() {
    use penstock_testkit::cluster::{ScriptedCluster, revision};
    let cluster = ScriptedCluster::new([revision("a").concurrency(10).build()]);
    let stop = CancellationToken::new();
    let any = ([127, 0, 0, 1], 0).into();
    let (addr, running) = our_autoscaler(any, &cluster, stop.clone()).await;
    let present = nothing();
    let mut reporting = report_to(addr, Arc::clone(&present));
    reporting.connected.wait_for(|it| *it).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    reporting.connected.wait_for(|it| !*it).await.unwrap();
    // Two hundred come while nobody listens.
    let lost = vec![demand("a", 200, true)];
    reporting.to.send(lost).await.unwrap();
    *present.lock().unwrap() = vec![demand("a", 200, false)];
    let stop = CancellationToken::new();
    let (_, running) = our_autoscaler(addr, &cluster, stop.clone()).await;
    let (_, pods) = cluster.next_scale().await;
    assert_eq!(pods, 20);
    reporting.stop.cancel();
    reporting.running.await.unwrap();
    stop.cancel();
    running.await.unwrap();
}
