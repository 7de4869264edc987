//! From the listener to the drain.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use http::HeaderName;
use penstock_cluster::Cluster;
use penstock_relay::forward::{Keep, Relay};
use penstock_relay::listen::{ListenError, listen};
use penstock_relay::serve::{Most, Port, Stop, serve_all};
use penstock_relay::tls;
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::seldom::Seldom;
use penstock_runtime::trace::Tracer;
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::demand::Reporter;
use crate::discovery::{Discovery, Scout};
use crate::metrics::Metrics;
use crate::probe::Health;
use crate::request::{App, Shared};
use crate::request_log::RequestLines;
use crate::revision::Entry;
use crate::route::Rules;
use crate::subset::Position;
use crate::table::Table;

/// How an activator behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Requests that may wait for one revision; one more gets a 503.
    pub waiting: usize,
    /// Bytes that all waiting requests of the process may hold together; see `budget.rs` for how
    /// revisions share them. The program's default is a quarter of its memory limit.
    pub waiting_bytes: u64,
    /// How many of those who waited go into the first pods of a revision without a concurrency
    /// limit at first; then as many more as answer well, and twice as many every 100 ms in any
    /// case. `None` throws all of them in at once, as the contract has it.
    pub first_window: Option<NonZeroUsize>,
    /// What callers are told for whom there is no room to wait.
    pub overflow: Overflow,
    /// Whether those who wait for a revision that is removed are let go with a 503 that names it;
    /// otherwise it is a 500 without a word, as the contract has it.
    pub explains_removal: bool,
    /// A request header in which a caller may limit the whole time of its request, in
    /// milliseconds. `grpc-timeout` is always obeyed.
    pub limit_header: Option<HeaderName>,
    /// Whether answers to requests that had to wait say where their time went (`Server-Timing`).
    pub server_timing: bool,
    /// How long a browser waits before it is shown a page, where its revision does not say
    /// (`penstock.dev/waiting-page`); `None`: for the answer.
    pub waiting_page: Option<Duration>,
    /// Whether a 404 names the hosts there are. For callers on this machine only.
    pub list_hosts: bool,
    /// The end of service hosts, `NAME.NAMESPACE.svc.` before it.
    pub cluster_domain: String,
    /// Starts the choice among pods without a limit.
    pub seed: u64,
    /// A request that may be repeated (RFC 9110 §9.2.2), and that its pod cut off so shortly after
    /// it was sent, goes to another pod if there is one: this one was about to end. What a pod
    /// had worked at for longer is answered with 502, and so is everything with zero here.
    pub repeat_within: Duration,
    /// How pods are asked whether they take requests, where the cluster wants that.
    pub discovery: Discovery,
    /// Idle connections to pods, of all workers together (spec/activator.md §1.1).
    pub keep: Keep,
    /// At this path a probe of the kubelet passes as long as the process lives, whatever becomes of
    /// the autoscaler.
    pub liveness_path: Option<String>,
    /// Connections of callers at the same time, on all listeners together; who comes beyond that
    /// is told so with a 503, or a GOAWAY. `None`: as many as there are descriptors.
    pub connections: Option<usize>,
}

/// The status for callers for whom there is no room to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// 503, and UNAVAILABLE for gRPC, as the contract has it.
    #[default]
    Unavailable,
    /// 429, and RESOURCE_EXHAUSTED for gRPC.
    TooMany,
}

impl Default for Options {
    /// 10,000 waiting requests in 256 MiB, released by 100 at first, 503 for more, a bare 500 once a revision is removed, no header for limits, no timing told, no hosts told,
    /// `cluster.local`, repeated within 100 ms.
    fn default() -> Self {
        Self {
            waiting: 10_000,
            waiting_bytes: 256 << 20,
            first_window: NonZeroUsize::new(100),
            overflow: Overflow::default(),
            explains_removal: false,
            limit_header: None,
            server_timing: false,
            waiting_page: None,
            list_hosts: false,
            cluster_domain: "cluster.local".to_owned(),
            seed: 0x9e37_79b9_7f4a_7c15,
            repeat_within: Duration::from_millis(100),
            discovery: Discovery::default(),
            keep: Keep {
                total: 1000,
                each: 100,
            },
            liveness_path: None,
            connections: None,
        }
    }
}

/// What callers beyond [`Options::connections`] are told.
const CROWDED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    proxy-status: penstock-activator; error=connection_limit_reached\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 21\r\n\r\n\
    too many connections\n";

/// An activator that listens but does not serve yet.
#[derive(Debug)]
pub struct Activator {
    listener: TcpListener,
    addr: SocketAddr,
    further: Vec<(TcpListener, Option<tls::Server>)>,
    connected: Option<watch::Receiver<bool>>,
    lines: Option<RequestLines>,
    tracer: Option<Arc<Tracer>>,
    pods: Option<ToPods>,
}

/// TLS with pods (spec/activator.md §7).
#[derive(Clone, Debug)]
pub struct ToPods {
    /// Whom to trust.
    pub client: Arc<tls::Client>,
    /// The port where pods speak it.
    pub pod_port: u16,
    /// The port where an address does that stands for all pods of a revision.
    pub service_port: u16,
}

impl ToPods {
    /// At the usual ports.
    pub fn new(client: Arc<tls::Client>) -> Self {
        Self {
            client,
            pod_port: 8112,
            service_port: 443,
        }
    }
}

impl Activator {
    /// Listens on `addr`.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and why it cannot be had.
    pub fn bind(addr: SocketAddr) -> Result<Self, ListenError> {
        let listener = listen(addr)?;
        Self::on(listener).map_err(|source| ListenError { addr, source })
    }

    /// Takes a listener that is bound already, and non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, if the socket has no address.
    pub fn on(listener: TcpListener) -> io::Result<Self> {
        Ok(Self {
            addr: listener.local_addr()?,
            listener,
            further: Vec::new(),
            connected: None,
            lines: None,
            tracer: None,
            pods: None,
        })
    }

    /// Takes requests on `listener` as well, over TLS if `server` is there.
    #[must_use]
    pub fn also(mut self, listener: TcpListener, server: Option<tls::Server>) -> Self {
        self.further.push((listener, server));
        self
    }

    /// Tells of requests in `lines`, and in the spans of `tracer`.
    #[must_use]
    pub fn telling(self, lines: RequestLines, tracer: Option<Arc<Tracer>>) -> Self {
        Self {
            lines: Some(lines),
            tracer,
            ..self
        }
    }

    /// Speaks TLS with pods.
    #[must_use]
    pub fn secured(self, pods: ToPods) -> Self {
        Self {
            pods: Some(pods),
            ..self
        }
    }

    /// Is healthy only while it is `connected` to the autoscaler (spec/activator.md §2.1).
    #[must_use]
    pub fn healthy_while(self, connected: watch::Receiver<bool>) -> Self {
        Self {
            connected: Some(connected),
            ..self
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves on `workers`; follows `cluster` and reports to `demand` from tasks of the current
    /// runtime.
    ///
    /// # Errors
    ///
    /// The system's, if the listener cannot be watched.
    pub fn start(
        self,
        workers: &Workers,
        cluster: &Arc<dyn Cluster>,
        demand: mpsc::Sender<Vec<Demand>>,
        metrics: Metrics,
        options: Options,
    ) -> io::Result<Running> {
        let stop = match options.connections {
            Some(connections) => Stop::with_most(Most {
                connections,
                refusal: CROWDED,
            }),
            None => Stop::default(),
        };
        let beside = TaskTracker::new();
        let scout = Scout::new(options.discovery, beside.clone(), stop.cut.clone());
        let shared = Arc::new(Shared {
            table: Table::new(
                options.waiting,
                options.first_window,
                options.seed,
                metrics.clone(),
                scout.clone(),
            )
            .at_pod_port(self.pods.as_ref().map(|pods| pods.pod_port)),
            rules: Rules {
                cluster_domain: options.cluster_domain,
                list_hosts: options.list_hosts,
            },
            reporter: Reporter::new(demand),
            metrics,
            lines: self.lines,
            tracer: self.tracer,
            pods: self.pods.clone(),
            failures: Seldom::default(),
            scout,
            budget: Budget::new(options.waiting_bytes),
            overflow: options.overflow,
            explains_removal: options.explains_removal,
            limit_header: options.limit_header,
            server_timing: options.server_timing,
            waiting_page: options.waiting_page,
            repeat_within: options.repeat_within,
            health: Health::new(self.connected, options.liveness_path),
            aside: beside.clone(),
            cut: stop.cut.clone(),
        });
        let keep = Keep {
            total: options.keep.total.div_ceil(workers.count()),
            each: options.keep.each.div_ceil(workers.count()),
        };
        let mut relays = Relay::for_workers(workers, keep);
        if let Some(pods) = &self.pods {
            let secured = |relay: Relay| relay.secured(Arc::clone(&pods.client), keep);
            relays = relays.into_iter().map(secured).collect();
        }
        // Before the first request, so that it finds what there is.
        let snapshots = cluster.snapshot();
        shared.table.see(Arc::clone(&snapshots.borrow()), &relays);
        let further = self.further.iter().map(|(listener, tls)| Port {
            listener,
            tls: tls.as_ref(),
        });
        let plain = Port {
            listener: &self.listener,
            tls: None,
        };
        let ports: Vec<Port<'_>> = iter::once(plain).chain(further).collect();
        serve_all(&ports, workers, &stop, |worker| {
            Arc::new(App {
                shared: Arc::clone(&shared),
                relay: relays[worker].clone(),
            })
        })?;
        let (following, cut) = (Arc::clone(&shared), stop.cut.clone());
        beside.spawn(async move {
            let followed = following.table.follow(snapshots, &relays);
            cut.run_until_cancelled(followed).await;
        });
        let (reporting, cut) = (Arc::clone(&shared), stop.cut.clone());
        beside.spawn(async move {
            let reports = reporting.reporter.clone().run(&reporting.table);
            cut.run_until_cancelled(reports).await;
        });
        Ok(Running {
            addr: self.addr,
            shared,
            stop,
            beside,
            _workers: workers.clone(),
        })
    }
}

/// An activator that serves.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Stop,
    beside: TaskTracker,
    /// Else the last of them would end with the listener, and the open requests with it.
    _workers: Workers,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reads the load while it runs.
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Completes if a listener has died, and requests wait there for ever.
    pub fn dies(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stop.died.clone().cancelled_owned()
    }

    /// Fails its probes for `lame_duck`, still serving; then takes no new connection, and returns
    /// once every request is answered, those that wait for a pod among them. What has not ended
    /// `grace` later is cut.
    pub async fn drain(self, lame_duck: Duration, grace: Duration) -> Drained {
        self.shared.health.stops();
        sleep(lame_duck).await;
        self.stop.close.cancel();
        self.stop.tasks.close();
        let ended = timeout(grace, self.stop.tasks.wait()).await;
        let left = self.stop.tasks.len();
        self.stop.cut.cancel();
        self.stop.tasks.wait().await;
        self.beside.close();
        self.beside.wait().await;
        match ended {
            Ok(()) => Drained::Clean,
            Err(_elapsed) => Drained::Cut { left },
        }
    }
}

/// Reads the load of an activator.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// The load of one revision.
#[derive(Clone, Debug)]
pub struct RevisionLoad {
    /// Whose.
    pub revision: RevisionId,
    /// Requests in line.
    pub waiting: usize,
    /// Requests inside pods.
    pub in_flight: usize,
    /// Ready pods by name, with the requests inside each.
    pub pods: Vec<(Arc<str>, usize)>,
}

impl Handle {
    /// Says where this activator stands among those that serve `revision`; `None` if that is not
    /// known, and until it is said: it then serves all pods. Nothing if there is no such revision.
    pub fn stand_at(&self, revision: &RevisionId, position: Option<Position>) {
        if let Some(row) = self.shared.table.known().revisions.get(revision) {
            row.entry.stand_at(position);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        let known = self.shared.table.known();
        known.entries().cloned().collect()
    }

    /// The load of every revision, in no order.
    pub fn revisions(&self) -> Vec<RevisionLoad> {
        let known = self.shared.table.known();
        known
            .entries()
            .map(|entry| RevisionLoad {
                revision: entry.id.clone(),
                waiting: entry.gate.waiting(),
                in_flight: entry.gate.in_flight(),
                pods: entry
                    .gate
                    .places()
                    .into_iter()
                    .map(|(place, inside)| (Arc::clone(place.name()), inside))
                    .collect(),
            })
            .collect()
    }
}
