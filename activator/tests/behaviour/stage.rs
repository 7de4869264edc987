//! An activator before a scripted cluster, and what a test wants to know of it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use penstock_activator::{
    Activator, Metrics, Options, RequestLines, RevisionLoad, Running, ToPods,
};
use penstock_cluster::{Cluster, Revision, Routes};
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::metrics::Gather;
use penstock_runtime::trace::Tracer;
use penstock_testkit::client::{Answer, Client, RequestBody, empty};
use penstock_testkit::cluster::{RevisionBuilder, ScriptedCluster, revision};
use penstock_testkit::frames;
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The service host of [`hello`].
pub(crate) const HOST: &str = "hello-00001.default.svc.cluster.local";
/// Far beyond what any machine needs; it only ends a test that would hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The revision of most tests, `default/hello-00001`.
pub(crate) fn hello() -> RevisionBuilder {
    revision("hello-00001")
}

/// The first byte of a head that says `:status: 200` (RFC 7541, appendix A).
pub(crate) const STATUS_200: u8 = 0x88;

/// The head of a request for [`hello`] by HTTP/2.
pub(crate) fn get_by_http2() -> Vec<u8> {
    frames::head(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", HOST),
        (":path", "/"),
    ])
}

/// Its key.
pub(crate) fn hello_id() -> RevisionId {
    RevisionId::new("default", "hello-00001")
}

/// An activator that runs.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<ScriptedCluster>,
    pub(crate) addr: SocketAddr,
    pub(crate) running: Running,
    reports: tokio::sync::Mutex<mpsc::Receiver<Vec<Demand>>>,
    gather: Gather,
}

/// An activator that listens; what is sent to it waits in the kernel.
pub(crate) struct Bound {
    activator: Activator,
    cluster: Arc<ScriptedCluster>,
}

impl Bound {
    pub(crate) fn before(revisions: impl IntoIterator<Item = Revision>) -> Self {
        Self {
            activator: Activator::bind(([127, 0, 0, 1], 0).into()).unwrap(),
            cluster: ScriptedCluster::new(revisions),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.activator.addr()
    }

    /// Speaks TLS with pods.
    pub(crate) fn secured(self, pods: ToPods) -> Self {
        let activator = self.activator.secured(pods);
        Self { activator, ..self }
    }

    /// Tells of requests there.
    pub(crate) fn telling(self, lines: RequestLines, tracer: Arc<Tracer>) -> Self {
        let activator = self.activator.telling(lines, Some(tracer));
        Self { activator, ..self }
    }

    /// As [`Bound::start`], with these hosts known from the start.
    pub(crate) fn start_with_routes(self, routes: Routes) -> Stage {
        self.cluster
            .change(|snapshot| snapshot.routes = Arc::new(routes));
        self.start(Options::default())
    }

    /// Serves with one worker.
    pub(crate) fn start(self, options: Options) -> Stage {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let gather = Gather::default();
        gather.add(registry);
        let (to, reports) = mpsc::channel(1000);
        let cluster: Arc<dyn Cluster> = self.cluster.clone();
        let running = self
            .activator
            .start(&workers, &cluster, to, metrics, options);
        let running = running.unwrap();
        Stage {
            cluster: self.cluster,
            addr: running.addr(),
            running,
            reports: tokio::sync::Mutex::new(reports),
            gather,
        }
    }
}

impl Stage {
    /// An activator for these revisions, with the default options.
    pub(crate) fn new(revisions: impl IntoIterator<Item = Revision>) -> Self {
        Bound::before(revisions).start(Options::default())
    }

    /// A new connection for HTTP/1.1.
    pub(crate) async fn client(&self) -> Client {
        Client::http1(self.addr).await
    }

    /// GET of `path` for [`hello`] over a new connection.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        within(get(self.addr, path)).await
    }

    /// As [`Stage::get`], while the test goes on.
    pub(crate) fn getting(&self, path: &'static str) -> JoinHandle<Answer> {
        tokio::spawn(get(self.addr, path))
    }

    /// The next report about `hello`, whole table or not.
    pub(crate) async fn report(&self) -> Demand {
        loop {
            let batch = self.batch().await;
            let found = batch.into_iter().find(|one| one.revision == hello_id());
            if let Some(report) = found {
                return report;
            }
        }
    }

    /// The next message to the autoscaler.
    pub(crate) async fn batch(&self) -> Vec<Demand> {
        within(async { self.reports.lock().await.recv().await.unwrap() }).await
    }

    /// The load of [`hello`] now.
    pub(crate) fn load(&self) -> Option<RevisionLoad> {
        let all = self.running.handle().revisions();
        all.into_iter().find(|load| load.revision == hello_id())
    }

    /// Waits until so many requests wait at [`hello`] and so many are inside its pods.
    pub(crate) async fn until_load(&self, waiting: usize, in_flight: usize) {
        until(|| {
            self.load()
                .is_some_and(|load| (load.waiting, load.in_flight) == (waiting, in_flight))
        })
        .await;
    }

    /// Waits until the activator has taken the pods of [`hello`] at these addresses, in order.
    pub(crate) async fn until_pods(&self, pods: &[SocketAddr]) {
        let mut names: Vec<_> = pods
            .iter()
            .map(|pod| format!("pod-{}", pod.port()))
            .collect();
        names.sort();
        until(|| {
            let load = self.load().map(|load| load.pods).unwrap_or_default();
            let mut seen: Vec<_> = load.iter().map(|(name, _)| name.to_string()).collect();
            seen.sort();
            seen == names
        })
        .await;
    }

    /// Everything that is scraped.
    pub(crate) fn scrape(&self) -> String {
        self.gather.text()
    }

    /// The value of the first series whose line begins with `name` and has all `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let text = self.scrape();
        let of_name = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        };
        let line = text
            .lines()
            .filter(of_name)
            .find(|line| labels.iter().all(|label| line.contains(label)))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    /// Waits until no trace of a request is left in the gate and in the gauges.
    pub(crate) async fn until_idle(&self) {
        self.until_load(0, 0).await;
        self.until_gauges(0.0, 0.0).await;
    }

    /// Waits until the gauges of [`hello`] say so.
    pub(crate) async fn until_gauges(&self, queued: f64, active: f64) {
        let gauge = |name| self.metric(name, &["kn_revision_name=\"hello-00001\""]);
        until(|| {
            let both = ["kn_revision_request_queued", "kn_revision_request_active"].map(gauge);
            both == [Some(queued), Some(active)]
        })
        .await;
    }

    /// Waits until [`hello`] has been reported with zeros, and then no more.
    pub(crate) async fn until_untracked(&self) {
        while self.reports.lock().await.try_recv().is_ok() {}
        let of_hello = |report: &Demand| report.revision == hello_id();
        while self.batch().await.iter().any(of_hello) {}
    }

    /// Drains: nothing may have leaked, nothing is cut.
    pub(crate) async fn end(self) {
        let drained = within(self.running.drain(Duration::ZERO, LIMIT)).await;
        assert_eq!(drained, Drained::Clean);
    }
}

/// GET of `path` for [`hello`] over a new connection.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> Answer {
    let mut client = Client::http1(addr).await;
    client.get(HOST, path).await.unwrap()
}

/// A request to [`hello`] with a body.
pub(crate) fn post(path: &str, body: RequestBody) -> Request<RequestBody> {
    let request = Request::post(path).header("host", HOST);
    request.body(body).unwrap()
}

/// A GET to [`hello`] to add headers to.
pub(crate) fn request(headers: &[(&str, &str)]) -> Request<RequestBody> {
    let mut request = Request::get("/").header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(empty()).unwrap()
}

/// Waits for something that nothing but a look can tell.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(step: impl Future<Output = T>) -> T {
    let step = tokio::time::timeout(LIMIT, step).await;
    step.expect("it goes on, on any machine")
}

/// An address at which nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
