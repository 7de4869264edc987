use std::sync::atomic::{AtomicUsize, Ordering};

use penstock_testkit::cluster::{ScriptedCluster, revision};
use penstock_testkit::vectors::{Vectors, same};
use penstock_types::stat::Stat;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A queue-proxy, or a Service, that gives one answer to everything.
struct Played {
    addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Played {
    async fn answering(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut head = [0; 1024];
                    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                            break;
                        }
                    }
                    // An empty answer is none at all, for as long as anybody waits.
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { addr, connections }
    }

    async fn with(pod: &str, concurrency: f64) -> Self {
        let stat = Stat {
            pod_name: pod.to_owned(),
            average_concurrent_requests: concurrency,
            process_uptime: 3600.0,
            ..Stat::default()
        };
        Self::answering(answer(200, "application/protobuf", &stat.encode_to_vec())).await
    }

    async fn refusing(status: u16) -> Self {
        Self::answering(answer(status, "text/plain", b"no")).await
    }
}

fn answer(status: u16, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Pods are asked where they are said to be, and one Service stands for all.
struct Here(Option<String>);

impl Targets for Here {
    fn pod(&self, pod: &Pod) -> SocketAddr {
        pod.addr
    }

    fn service(&self, _: &Revision) -> Option<String> {
        self.0.clone()
    }
}

/// The next thing that a scraper says about these pods.
async fn heard(batches: &mut mpsc::Receiver<Batch>) -> Option<f64> {
    match batches.recv().await.unwrap().heard {
        Heard::Scraped(_, report) => report.map(|report| report.average_concurrency),
        other => panic!("not a scrape: {other:?}"),
    }
}

struct Bench {
    batches: mpsc::Receiver<Batch>,
    registry: Registry,
    cluster: Arc<ScriptedCluster>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start(pods: &[&Played], mesh: Mesh, service: Option<&Played>) -> Self {
        let one = revision("hello-00001");
        let one = pods.iter().fold(one, |one, pod| one.pod(pod.addr));
        let cluster = ScriptedCluster::new([one.build()]);
        let (_, config) = watch::channel(Arc::new(Config::default()));
        let (_, leases) = watch::channel(Arc::new(Leases::alone()));
        let (to, batches) = mpsc::channel(16);
        let scraping = Scraping {
            targets: Arc::new(Here(service.map(|it| it.addr.to_string()))),
            mesh,
            passthrough: false,
            seed: 7,
        };
        let registry = Registry::new();
        let scraper =
            Scraper::new(scraping, config, leases, to, &registry, Names::Current).unwrap();
        let stop = CancellationToken::new();
        let snapshots = penstock_cluster::Cluster::snapshot(&*cluster);
        let running = tokio::spawn(scraper.run(snapshots, stop.clone()));
        Self {
            batches,
            registry,
            cluster,
            stop,
            running,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test]
async fn three_pods_are_added_up_over_connections_that_stay() {
    let pods = [
        Played::with("a", 3.0).await,
        Played::with("b", 5.0).await,
        Played::with("c", 3.0).await,
    ];
    let mut bench = Bench::start(&pods.each_ref(), Mesh::Auto, None);
    for _ in 0..2 {
        assert_eq!(heard(&mut bench.batches).await, Some(11.0));
    }
    for pod in &pods {
        assert_eq!(pod.connections.load(Ordering::Relaxed), 1);
    }
    let series = bench.registry.gather();
    assert_eq!(series[0].name(), "kn_autoscaler_scrape_duration_seconds");
    bench.end().await;
}

#[tokio::test]
async fn where_a_mesh_refuses_every_pod_the_service_is_asked_and_from_then_on_first() {
    let pod = Played::refusing(503).await;
    let service = Played::with("a", 4.0).await;
    let mut bench = Bench::start(&[&pod], Mesh::Auto, Some(&service));
    for _ in 0..2 {
        assert_eq!(heard(&mut bench.batches).await, Some(4.0));
    }
    assert_eq!(pod.connections.load(Ordering::Relaxed), 1);
    bench.end().await;
}

#[tokio::test]
async fn without_a_pod_there_is_nothing_to_tell() {
    let mut bench = Bench::start(&[], Mesh::Auto, None);
    assert_eq!(heard(&mut bench.batches).await, None);
    let pod = Played::with("a", 2.0).await;
    let id = RevisionId::new("default", "hello-00001");
    bench.cluster.start_pod(&id, pod.addr);
    assert_eq!(heard(&mut bench.batches).await, Some(2.0));
    bench.end().await;
}

/// Asks `played` once.
async fn ask(played: &Played) -> Result<Stat, penstock_scaling::scrape::Refused> {
    Links::default().ask(played.addr, None).await
}

#[tokio::test]
async fn answers_that_are_none_are_refused_and_only_a_meshs_as_a_mesh() {
    use penstock_scaling::scrape::Refused;
    let right = "application/protobuf";
    let table = [
        (answer(502, right, b""), Refused::Mesh),
        (answer(503, right, b""), Refused::Mesh),
        (answer(403, right, b""), Refused::Other),
        (answer(200, "text/html", b""), Refused::Other),
        (
            answer(200, "application/protobuf; q=1", b""),
            Refused::Other,
        ),
        (answer(200, right, &[0xff; 12]), Refused::Other),
        (answer(200, right, &[0xff; 100_000]), Refused::Other),
        (b"garbage\r\n\r\n".to_vec(), Refused::Other),
    ];
    for (bytes, why) in table {
        let shown = String::from_utf8_lossy(&bytes[..20.min(bytes.len())]).into_owned();
        let played = Played::answering(bytes).await;
        assert_eq!(ask(&played).await, Err(why), "{shown}");
    }
}

#[tokio::test]
async fn of_a_gigabyte_a_few_hundred_bytes_are_read() {
    let head = "HTTP/1.1 200 X\r\nContent-Type: application/protobuf\r\n\
                Content-Length: 1000000000\r\n\r\n";
    let bytes = [head.as_bytes(), &[0xff; 1000]].concat();
    // The rest never comes; whoever waits for it waits for ever.
    let played = Played::answering(bytes).await;
    let start = Instant::now();
    assert!(ask(&played).await.is_err());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_queue_proxy_that_does_not_answer_is_given_up_after_three_seconds() {
    let played = Played::answering(Vec::new()).await;
    let start = Instant::now();
    assert!(ask(&played).await.is_err());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2_990), "{took:?}");
}

/// `protobuf.json`: which bodies count and which do not.
#[test]
fn bodies_are_taken_and_refused_as_the_vectors_say() {
    Vectors::open("protobuf.json scrapes")
        .part("stat", |case: &Body| {
            let digits = |at: usize| u8::from_str_radix(&case.hex[at..at + 2], 16).unwrap();
            let body: Vec<u8> = (0..case.hex.len()).step_by(2).map(digits).collect();
            let cut = &body[..body.len().min(336)];
            // What cannot be figures of a pod is refused further on, and not the vectors' subject.
            let taken = Stat::decode(cut).is_ok() || http1::stat(&body).is_some();
            if case.optional {
                return Ok(());
            }
            same("refused", !taken, case.scrape_error)
        })
        .end();
}

#[derive(serde::Deserialize)]
struct Body {
    hex: String,
    #[serde(default)]
    scrape_error: bool,
    #[serde(default)]
    optional: bool,
}
