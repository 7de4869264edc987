//! A running loop, and the words to drive it with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use penstock_autoscaler::{Autoscaler, Handle, Names, PolicyKind, RevisionState};
use penstock_cluster::Cluster;
use penstock_scaling::config::Config;
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const SECOND: Duration = Duration::from_secs(1);

/// Gives every thread somebody who listens, before its first event. Where an event comes for the
/// first time while nobody does, it may be taken for one that nobody ever wants, and then a test
/// on another thread that does listen misses it.
fn keep_events_on() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let anyone = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(anyone).expect("nobody else sets it");
    });
}

/// A running loop.
pub(crate) struct Bench {
    demand: Option<mpsc::Sender<Vec<Demand>>>,
    config: watch::Sender<Arc<Config>>,
    handle: Handle,
    pub(crate) registry: Registry,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Bench {
    /// Starts a loop and lets it take its first look at the cluster.
    pub(crate) async fn start<C: Cluster>(
        cluster: &Arc<C>,
        config: Config,
        policy: PolicyKind,
    ) -> Self {
        Self::begin(cluster, config, policy, Names::Current, |it| it).await
    }

    /// The same, with gauges of these names.
    pub(crate) async fn named<C: Cluster>(
        cluster: &Arc<C>,
        config: Config,
        policy: PolicyKind,
        names: Names,
    ) -> Self {
        Self::begin(cluster, config, policy, names, |it| it).await
    }

    /// The same, with a loop that `change` has changed.
    pub(crate) async fn start_with<C: Cluster>(
        cluster: &Arc<C>,
        config: Config,
        policy: PolicyKind,
        change: impl FnOnce(Autoscaler) -> Autoscaler,
    ) -> Self {
        Self::begin(cluster, config, policy, Names::Current, change).await
    }

    async fn begin<C: Cluster>(
        cluster: &Arc<C>,
        config: Config,
        policy: PolicyKind,
        names: Names,
        change: impl FnOnce(Autoscaler) -> Autoscaler,
    ) -> Self {
        keep_events_on();
        let (config, configs) = watch::channel(Arc::new(config));
        let registry = Registry::new();
        let cluster = Arc::clone(cluster) as _;
        let autoscaler =
            Autoscaler::with_names(cluster, configs, policy, &registry, names).unwrap();
        let autoscaler = change(autoscaler);
        let handle = autoscaler.handle();
        let (demand, reports) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let bench = Self {
            running: tokio::spawn(autoscaler.run(reports, stop.clone())),
            demand: Some(demand),
            config,
            handle,
            registry,
            stop,
        };
        bench.settle().await;
        bench
    }

    /// Sends one batch.
    pub(crate) async fn send(&self, batch: Vec<Demand>) {
        let demand = self.demand.as_ref().expect("the source was not dropped");
        demand.send(batch).await.unwrap();
    }

    /// Lets the loop do all that it can do now.
    pub(crate) async fn settle(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    /// Lets so many seconds pass in silence.
    pub(crate) async fn wait(&self, seconds: u64) {
        sleep(SECOND * u32::try_from(seconds).unwrap()).await;
    }

    /// Lets so many seconds pass with an empty table in each.
    pub(crate) async fn empty_tables(&self, seconds: u32) {
        for _ in 0..seconds {
            self.send(Vec::new()).await;
            sleep(SECOND).await;
        }
    }

    pub(crate) fn configure(&self, config: Config) {
        self.config.send_replace(Arc::new(config));
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::now()
    }

    pub(crate) fn states(&self) -> Vec<RevisionState> {
        self.handle.state()
    }

    pub(crate) fn state(&self, revision: &str) -> RevisionState {
        let mut states = self.states().into_iter();
        states
            .find(|state| state.revision == revision)
            .expect("the loop watches the revision")
    }

    /// Drops the sending end of the reports.
    pub(crate) fn without_source(mut self) -> Self {
        self.demand = None;
        self
    }

    /// Ends the loop.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

/// Addresses for so many pods.
pub(crate) fn addrs(pods: u16) -> Vec<SocketAddr> {
    (1..=pods)
        .map(|port| (Ipv4Addr::LOCALHOST, port).into())
        .collect()
}

/// A report of one second.
pub(crate) fn report(id: &RevisionId, average: f64, waiting: u32, in_flight: u32) -> Demand {
    Demand {
        revision: id.clone(),
        average_concurrency: average,
        average_proxied_concurrency: 0.0,
        request_count: average,
        proxied_request_count: 0.0,
        waiting,
        in_flight,
        first: false,
    }
}

/// A report of a second without load.
pub(crate) fn nothing(id: &RevisionId) -> Demand {
    report(id, 0.0, 0, 0)
}

/// The first word about a revision, with so many requests waiting already.
pub(crate) fn first(id: &RevisionId, waiting: u32) -> Demand {
    Demand {
        first: true,
        ..report(id, 1.0, waiting, 0)
    }
}
