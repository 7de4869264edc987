//! The program in a cluster: its listeners, and the way from the signal to the end.
//!
//! | Listener | For |
//! |---|---|
//! | http1, h2c | requests and probes, HTTP/1.1 and HTTP/2 on both, on the workers' threads |
//! | https | the same over TLS, if the cluster has that on |
//! | profiling | 404: there are no profiles |
//! | metrics | Prometheus, if asked for |
//!
//! ```text
//! signal ── probes fail ── lame duck, still serving ── listeners close ── line and streams end ──┐
//!           what does not end in time is cut ── leave of the autoscaler ── last spans ── exit ◄──┘
//! ```
//!
//! [`World`] is what the cluster gives. Source: spec/activator.md §1, §6.

mod watched;
mod world;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::Cluster;
use penstock_relay::listen::{ListenError, NoListener, at};
use penstock_relay::tls::{self, CertificateError, ClientError, ServerError, TlsError};
use penstock_relay::workers::Workers;
use penstock_runtime::admin::{Admin, Page, Routes};
use penstock_runtime::drain::{Drained, Times};
use penstock_runtime::log::LiveFilter;
use penstock_runtime::metrics::{self, Gather};
#[cfg(feature = "otlp")]
use penstock_runtime::otlp;
use penstock_runtime::request_log::{Lines, RequestLog};
use penstock_runtime::signal::Stops;
use penstock_runtime::trace::Spans;
use penstock_runtime::vars::BadVars;
use prometheus::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use penstock_runtime::drain::Ended;
pub use world::{Material, Secured, World};

use crate::bind::{Activator, Running, ToPods};
use crate::env::{ClusterKind, Identity, Settings};
use crate::metrics::{Metrics, Names};
use crate::report::{Link, LinkMetrics};
use crate::request_log::RequestLines;
use watched::Watched;

/// Batches of demand that may wait for the connection to the autoscaler.
const DEMAND: usize = 1024;

/// Limits for heads on the listeners for profiles and metrics (§1.2).
const PROFILING_HEAD: Duration = Duration::from_secs(15);
const METRICS_HEAD: Duration = Duration::from_secs(5);

/// Why the program does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// ConfigMaps are wrong.
    #[error("{0}")]
    Config(#[from] BadVars),
    /// The listeners that could not be had, all of them.
    #[error("{}", lines(.0))]
    Listeners(Vec<NoListener>),
    /// The cluster wants TLS, and has no certificate for it.
    #[error("system-internal-tls is on, and there is no secret routing-serving-certs")]
    NoSecret,
    /// The certificate that the cluster has is bad.
    #[error("system-internal-tls is on, and the secret routing-serving-certs is bad: {0}")]
    Certificate(#[from] CertificateError),
    /// The choices of TLS cannot be made.
    #[error("cannot start with TLS: {0}")]
    Tls(#[from] ServerError),
    /// TLS with pods cannot be had.
    #[error("cannot start with TLS to pods: {0}")]
    PodTls(#[from] ClientError),
    /// The certificate of the metrics is bad.
    #[error("cannot start with TLS for metrics: {0}")]
    MetricsTls(#[from] TlsError),
    /// The system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A label cannot be one.
    #[error("cannot start: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn lines(all: &[NoListener]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// Addresses of the listeners.
#[derive(Clone, Copy, Debug)]
pub struct Addrs {
    /// Requests.
    pub http1: SocketAddr,
    /// Requests, too.
    pub h2c: SocketAddr,
    /// Requests with TLS.
    pub https: Option<SocketAddr>,
    /// Profiles, which there are none of.
    pub profiling: SocketAddr,
    /// Metrics.
    pub metrics: Option<SocketAddr>,
}

/// An activator with all its listeners, serving.
#[derive(Debug)]
pub struct Program {
    running: Running,
    addrs: Addrs,
    profiling: Admin,
    metrics: Option<(Admin, Gather)>,
    metrics_tls: Option<tls::Loaded>,
    spans: Spans,
    #[cfg(feature = "otlp")]
    push: Option<otlp::Push>,
    watched: Watched,
    reporting: Option<(Link, mpsc::Receiver<Vec<penstock_types::demand::Demand>>)>,
    drain: Times,
    /// What it serves is looked at for as long as this is held.
    _cluster: Looking,
    _workers: Workers,
}

impl Program {
    /// Binds all listeners and serves what `world` has; `level` is the filter of the log, which a
    /// ConfigMap may change. Has to be called within a runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was served then.
    pub fn start(
        settings: Settings,
        world: World,
        level: Option<LiveFilter>,
    ) -> Result<Self, StartError> {
        let maps = Arc::clone(&world.config.borrow());
        let network = maps.network()?;
        let telemetry = maps.observability(&settings.otel)?;
        let template = maps.request_log_template()?.to_owned();
        warn_of_missing(&telemetry);
        let secured = match network.internal_tls {
            true => Some(Secured::start(&settings, world.material.as_ref())?),
            false => None,
        };
        let metrics_tls = settings.metrics_tls.as_ref();
        let metrics_tls = metrics_tls.filter(|_| telemetry.prometheus);
        let metrics_tls = metrics_tls.map(|it| it.load(&["http/1.1"])).transpose()?;
        let bound = Bound::of(&settings, secured.is_some(), telemetry.prometheus)?;
        let addrs = bound.addrs()?;

        let stdout = Lines::to_stdout()?;
        let resource = resource(&settings);
        let spans = telemetry.traces.as_ref();
        let spans = spans.map(|traces| Spans::start(traces, Some(&stdout), &resource));
        let spans = spans.unwrap_or_default();
        let log = Arc::new(RequestLog::new(stdout));
        let lines = RequestLines::to(Arc::clone(&log));
        let watched = Watched {
            config: world.config,
            level,
            log,
            secured: secured.clone().zip(world.material),
        };
        watched.take_template(&template);

        let registry = Registry::new();
        let series = Metrics::register_as(&registry, settings.names, &settings.identity.pod)?;
        let link = LinkMetrics::register(&registry)?;
        metrics::register_process(&registry)?;
        if settings.names == Names::Current && telemetry.prometheus {
            metrics::register_target_info(&registry, &resource)?;
        }
        let gather = Gather::default();
        gather.add(registry);
        #[cfg(feature = "otlp")]
        let push = telemetry.push.and_then(|(wanted, interval)| {
            let push = otlp::Push::open(&wanted.collector, gather.clone(), interval, &resource);
            push.inspect_err(|error| tracing::error!(%error, "metrics are not pushed"))
                .ok()
        });

        let (demand, reports) = mpsc::channel(DEMAND);
        let mut activator = Activator::on(bound.http1)?
            .also(bound.h2c, None)
            .telling(lines, spans.tracer.clone());
        if let Some((listener, secured)) = bound.https.zip(secured) {
            activator = activator
                .also(listener, Some(secured.server))
                .secured(ToPods::new(secured.client));
        }
        let seed = settings.options.seed;
        let link = settings
            .autoscaler
            .map(|host| Link::new(host, settings.identity.pod, seed, link));
        if let Some(link) = &link {
            activator = activator.healthy_while(link.connected());
        }
        let workers = Workers::start(settings.workers)?;
        let cluster = world.cluster;
        let mut options = settings.options;
        options.discovery.mesh = network.mesh;
        options.discovery.passthrough = network.passthrough;
        options.explains_removal = world.kind == ClusterKind::Deployments;
        let running = activator.start(&workers, &cluster, demand, series, options)?;
        let metrics = bound.metrics.map(Admin::on).transpose()?.map(|admin| {
            let admin = admin.head_timeout(METRICS_HEAD);
            (guarded(admin, metrics_tls.as_ref()), gather)
        });
        Ok(Self {
            running,
            addrs,
            profiling: Admin::on(bound.profiling)?.head_timeout(PROFILING_HEAD),
            metrics,
            metrics_tls,
            spans,
            #[cfg(feature = "otlp")]
            push,
            watched,
            reporting: link.map(|link| (link, reports)),
            drain: settings.drain,
            _cluster: Looking(cluster),
            _workers: workers,
        })
    }

    /// Where it listens.
    pub fn addrs(&self) -> Addrs {
        self.addrs
    }

    /// Serves until a signal, drains and ends; a second signal ends it at once.
    pub async fn run(self, stops: Stops) -> Ended {
        tracing::info!(addrs = ?self.addrs, "serving");
        let stop = CancellationToken::new();
        tokio::select! {
            ended = self.serve(stop.clone()) => ended,
            _second = stops.watch(stop) => Ended::AtOnce,
        }
    }

    /// Serves until `stop`, drains and ends.
    pub async fn serve(self, stop: CancellationToken) -> Ended {
        let tasks = TaskTracker::new();
        // What serves until the last request has ended, and then takes leave.
        let last = CancellationToken::new();
        tasks.spawn(self.profiling.run(no_profiles(), last.clone()));
        if let Some((metrics, gather)) = self.metrics {
            tasks.spawn(metrics.run(metrics_routes(gather), last.clone()));
        }
        let ended = last.clone();
        tasks.spawn(async move {
            if let Some(tls) = self.metrics_tls {
                ended.run_until_cancelled(tls.watch(tls::POLL)).await;
            }
        });
        let ended = last.clone();
        tasks.spawn(async move {
            ended.run_until_cancelled(self.watched.follow()).await;
        });
        if let Some((link, reports)) = self.reporting {
            let present = self.running.handle();
            tasks.spawn(link.run(reports, move || present.present(), last.clone()));
        }
        tasks.spawn(self.spans.deliver(last.clone()));
        #[cfg(feature = "otlp")]
        if let Some(push) = self.push {
            tasks.spawn(push.run(last.clone()));
        }
        tasks.close();
        let dead = self.running.dies();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = dead => return Ended::Died,
        }
        let drained = self.running.drain(self.drain.lame_duck, self.drain.grace);
        let drained = drained.await;
        if let Drained::Cut { left } = drained {
            tracing::warn!(left, "what did not end in time was cut off");
        }
        last.cancel();
        tasks.wait().await;
        Ended::Drained(drained)
    }
}

/// A cluster that is kept up to date for as long as this is held.
struct Looking(#[expect(dead_code, reason = "held, not used")] Arc<dyn Cluster>);

impl std::fmt::Debug for Looking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looking").finish_non_exhaustive()
    }
}

/// The sockets, all of them or none.
struct Bound {
    http1: TcpListener,
    h2c: TcpListener,
    https: Option<TcpListener>,
    profiling: TcpListener,
    metrics: Option<TcpListener>,
}

impl Bound {
    fn of(settings: &Settings, https: bool, metrics: bool) -> Result<Self, StartError> {
        let ports = &settings.ports;
        let mut bad = Vec::new();
        let mut bind = |what, host: &str, port: u16| {
            at(host, port)
                .map_err(|source| {
                    let addr = ([0, 0, 0, 0], port).into();
                    let source = ListenError { addr, source };
                    bad.push(NoListener { what, source });
                })
                .ok()
        };
        let http1 = bind("http1", &ports.host, ports.http1);
        let h2c = bind("h2c", &ports.host, ports.h2c);
        let https = https.then(|| bind("https", &ports.host, ports.https));
        let profiling = bind("profiling", &ports.host, ports.profiling);
        let metrics = metrics.then(|| bind("metrics", &ports.metrics_host, ports.metrics));
        match (http1, h2c, profiling, bad.is_empty()) {
            (Some(http1), Some(h2c), Some(profiling), true) => Ok(Self {
                http1,
                h2c,
                https: https.flatten(),
                profiling,
                metrics: metrics.flatten(),
            }),
            _ => Err(StartError::Listeners(bad)),
        }
    }

    fn addrs(&self) -> io::Result<Addrs> {
        let https = self.https.as_ref().map(TcpListener::local_addr);
        let metrics = self.metrics.as_ref().map(TcpListener::local_addr);
        Ok(Addrs {
            http1: self.http1.local_addr()?,
            h2c: self.h2c.local_addr()?,
            https: https.transpose()?,
            profiling: self.profiling.local_addr()?,
            metrics: metrics.transpose()?,
        })
    }
}

/// Speaks TLS on the listener for metrics, if it is to have it.
fn guarded(admin: Admin, tls: Option<&tls::Loaded>) -> Admin {
    let Some(server) = tls.map(|tls| tls.server.clone()) else {
        return admin;
    };
    admin.wrapped(move |stream, limit| {
        let server = server.clone();
        Box::pin(async move {
            let shaken = server.accept(stream, limit).await;
            shaken
                .inspect_err(|error| tracing::debug!(%error, "a scraper without TLS"))
                .map(|stream| Box::new(stream) as _)
                .ok()
        })
    })
}

/// What was asked for and is not there is told once, with what there is in its place.
fn warn_of_missing(telemetry: &crate::config::Observability) {
    let missing = telemetry.missing();
    if !missing.is_empty() {
        tracing::warn!("asked for, and not there: {}", missing.join("; "));
    }
}

/// What is measured, in OpenTelemetry's words (§8).
fn resource(settings: &Settings) -> [(&'static str, &str); 4] {
    let Identity { pod, namespace, .. } = &settings.identity;
    let service = settings.otel.get("OTEL_SERVICE_NAME");
    [
        ("k8s.namespace.name", namespace),
        ("k8s.pod.name", pod),
        ("service.name", service.map_or("activator", String::as_str)),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ]
}

fn no_profiles() -> Routes {
    Routes::default()
}

fn metrics_routes(gather: Gather) -> Routes {
    Routes::default().page("/metrics", move || {
        Page::new(metrics::CONTENT_TYPE, gather.text())
    })
}
