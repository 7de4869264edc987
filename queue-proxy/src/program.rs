//! The program in a pod: its listeners, and the way from the signal to the end.
//!
//! | Listener | For |
//! |---|---|
//! | main | requests and probes, on the workers' threads |
//! | TLS | the same, if certificates are there |
//! | admin | the containers' `preStop` hooks |
//! | stats | the autoscaler |
//! | metrics | Prometheus, if asked for |
//! | profiling | who looks what the process is busy with, if asked for |
//!
//! All but the first two are on the thread that calls [`Program::run`], which has nothing else to do.
//!
//! Where its metrics go is in `figures.rs`, what it tells of itself in `profiles.rs`.
//!
//! Source: spec/queue-proxy.md §2, §5.

mod figures;
mod profiles;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use penstock_relay::listen::{NoListener, all};
use penstock_relay::tls::TlsError;
use penstock_relay::workers::Workers;
use penstock_runtime::admin::{Admin, Page, Routes, TEXT};
use penstock_runtime::drain::Drained;
pub use penstock_runtime::drain::Ended;
use penstock_runtime::request_log::Lines;
use penstock_runtime::signal::Stops;
use penstock_runtime::trace::Spans;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::figures::Figures;
use crate::env::{Identity, Setup};
use crate::tls::Tls;
use crate::{Kubelet, QueueProxy, RequestLines, Running, Waited};

/// Limit for a head on the listeners for hooks and the autoscaler.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The same on the one for profiles.
const PROFILING_HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// A hook without a signal within this time is that of a container which is merely restarted.
const SIGNAL_WITHIN: Duration = Duration::from_secs(1);

/// What the autoscaler is answered, whatever it would accept.
const PROTOBUF: &str = "application/protobuf";

/// Why the program could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listeners that could not be had, all of them.
    #[error("{}", lines(.0))]
    Listeners(Vec<NoListener>),
    /// The system refused something else.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A label cannot be one.
    #[error("cannot start: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A certificate is bad.
    #[error("cannot start with TLS: {0}")]
    Tls(#[from] TlsError),
}

fn lines(all: &[NoListener]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    all.join("\n")
}

/// A queue-proxy with all its listeners, serving.
#[derive(Debug)]
pub struct Program {
    proxy: Arc<Running>,
    admin: Admin,
    stats: Admin,
    profiles: Option<Admin>,
    figures: Figures,
    spans: Spans,
    tls: Tls,
    /// Where requests come over TLS, if they may.
    tls_addr: Option<SocketAddr>,
    quiet: Duration,
    grace: Duration,
}

impl Program {
    /// Binds all listeners and serves requests on `workers`. `gateways` are addresses that the
    /// pod's node may speak from. Has to be called within a runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing was served then. A metrics listener that cannot be had is told in
    /// the log, and is no error.
    pub fn start(
        setup: Setup,
        gateways: Vec<IpAddr>,
        workers: &Workers,
    ) -> Result<Self, StartError> {
        let Setup {
            ports,
            container,
            mut choices,
            identity,
            observability,
            tls,
            quiet,
            grace,
            ..
        } = setup;
        let tls = tls.load()?;
        let plain = all(
            ports.host,
            [
                ("main", ports.main),
                ("admin", ports.admin),
                ("statistics", ports.stats),
            ],
        );
        let port = ports.tls.filter(|_| tls.of_requests().is_some());
        let secured = port
            .map(|port| all(ports.host, [("TLS", port)]))
            .transpose();
        let port = observability.profiling.then_some(ports.profiling);
        let profiles = port
            .map(|port| all(ports.host, [("profiling", port)]))
            .transpose();
        let all = both(plain, both(secured, profiles)).map_err(StartError::Listeners)?;
        let ([main, admin, stats], (secured, profiles)) = all;
        if let Kubelet::Node(node) = &mut choices.kubelet {
            node.extend(gateways);
        }
        let stdout = observability.writes_lines().then(Lines::to_stdout);
        let stdout = stdout.transpose()?;
        if let (Some(config), Some(lines)) = (&observability.request_log, stdout.clone()) {
            choices.requests = RequestLines::to(lines, config, &identity);
        }
        let resource = resource(&identity);
        let traces = observability.traces.as_ref();
        let spans = traces.map(|traces| Spans::start(traces, stdout.as_ref(), &resource));
        let spans = spans.unwrap_or_default();
        choices.tracer = spans.tracer.clone();
        let figures = Figures::start(&observability, &tls, &identity, &resource)?;
        let small = |listener| Ok::<_, io::Error>(Admin::on(listener)?.head_timeout(HEAD_TIMEOUT));
        let profiles = profiles.map(|[listener]| small(listener)).transpose()?;
        let container = crate::Config {
            readiness: container.readiness.told(say),
            ..container
        };
        let mut bound = QueueProxy::on(main, container)?.with(choices);
        let mut tls_addr = None;
        if let (Some([listener]), Some(server)) = (secured, tls.of_requests()) {
            tls_addr = Some(listener.local_addr()?);
            bound = bound.secured(listener, server.clone());
        }
        let (admin, stats) = (small(admin)?, small(stats)?);
        Ok(Self {
            proxy: Arc::new(bound.start(workers, figures.series.clone())?),
            admin,
            stats,
            profiles: profiles.map(|it| it.head_timeout(PROFILING_HEAD_TIMEOUT)),
            figures,
            spans,
            tls,
            tls_addr,
            quiet,
            grace,
        })
    }

    /// Where it serves requests.
    pub fn addr(&self) -> SocketAddr {
        self.proxy.addr()
    }

    /// Serves until a signal, drains and ends; a second signal ends it at once.
    pub async fn run(self, stops: Stops) -> Ended {
        tracing::info!(
            main = %self.proxy.addr(),
            tls = self.tls_addr.map(tracing::field::display),
            admin = %self.admin.addr(),
            statistics = %self.stats.addr(),
            profiling = self.profiles.as_ref().map(|it| tracing::field::display(it.addr())),
            metrics = self.figures.page.as_ref().map(|(it, _)| tracing::field::display(it.addr())),
            "serving"
        );
        let stop = CancellationToken::new();
        tokio::select! {
            ended = self.serve(stop.clone()) => ended,
            _second = stops.watch(stop) => Ended::AtOnce,
        }
    }

    async fn serve(mut self, stop: CancellationToken) -> Ended {
        let tasks = TaskTracker::new();
        let close = CancellationToken::new();
        let hook = Arc::new(Hook {
            proxy: Arc::clone(&self.proxy),
            quiet: self.quiet,
            stop: stop.clone(),
            tasks: tasks.clone(),
        });
        let admin = self.admin.run(hook.routes(), close.clone());
        let mut admin = tasks.spawn(admin);
        let stats = self.stats.run(stats_routes(&self.proxy), close.clone());
        let mut stats = tasks.spawn(stats);
        let profiles = self.profiles.take();
        let profiles = profiles.map(|it| it.run(profiles::routes(), close.clone()));
        let mut profiles = pin!(async {
            match profiles {
                Some(profiles) => profiles.await,
                None => close.cancelled().await,
            }
        });
        let proxy = Arc::clone(&self.proxy);
        tasks.spawn(async move { proxy.report_each_second().await });
        tasks.spawn(self.tls.watch());
        let all_told = CancellationToken::new();
        let spans = tasks.spawn(self.spans.deliver(all_told.clone()));
        if let Some((page, gather)) = self.figures.page.take() {
            // It is read until the very end.
            tasks.spawn(page.run(figures::routes(gather), CancellationToken::new()));
        }
        let figures = tasks.spawn(self.figures.deliver(all_told.clone()));
        let quiet = async {
            stop.cancelled().await;
            // A hook may have begun the drain, and be about to take it back.
            while self.proxy.until_quiet(self.quiet).await == Waited::TakenBack {}
        };
        // Without one of these the pod would only look as if it served (§2).
        tokio::select! {
            biased;
            () = quiet => {}
            () = self.proxy.dies() => return Ended::Died,
            _ = &mut admin => return Ended::Died,
            _ = &mut stats => return Ended::Died,
            () = &mut profiles => return Ended::Died,
        }
        tracing::info!("quiet: the listeners close");
        close.cancel();
        let (drained, ..) = tokio::join!(self.proxy.close(self.grace), admin, stats, profiles);
        if let Drained::Cut { left } = drained {
            tracing::warn!(left, "what did not end in time was cut off");
        }
        all_told.cancel();
        let (spans, figures) = tokio::join!(spans, figures);
        if spans.is_err() || figures.is_err() {
            tracing::error!("the last spans or metrics were lost");
        }
        Ended::Drained(drained)
    }
}

/// Both, or what was wrong with either.
fn both<A, B>(
    one: Result<A, Vec<NoListener>>,
    other: Result<B, Vec<NoListener>>,
) -> Result<(A, B), Vec<NoListener>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => {
            let bad = one.err().into_iter().chain(other.err());
            Err(bad.flatten().collect())
        }
    }
}

/// One line on standard error; if nobody can read it, nothing is lost but the line.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What is measured, in OpenTelemetry's words (spec/queue-proxy.md §7.2).
fn resource(of: &Identity) -> Vec<(&str, &str)> {
    let names = [
        &of.telemetry_service,
        &of.service,
        &of.configuration,
        &of.revision,
        &of.host,
    ];
    let named = names.into_iter().find(|name| !name.is_empty());
    let own = [
        ("container.name", "queue-proxy"),
        ("k8s.namespace.name", &of.namespace),
        ("k8s.pod.name", &of.host),
        ("kn.configuration.name", &of.configuration),
        ("kn.revision.name", &of.revision),
        ("kn.service.name", &of.service),
        ("service.instance.id", &of.host),
        ("service.name", named.map_or("", |name| name)),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    // What an operator adds, and not what is known better here.
    let is_own = |name: &str| {
        own.iter()
            .any(|(known, value)| *known == name && !value.is_empty())
    };
    let added = of.telemetry_attributes.iter();
    let added = added.map(|(name, value)| (&**name, &**value));
    let added = added.filter(|(name, _)| !is_own(name));
    own.into_iter().chain(added).collect()
}

/// What the `preStop` hook of a container calls.
struct Hook {
    proxy: Arc<Running>,
    quiet: Duration,
    /// Cancelled by the signal.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Hook {
    fn routes(self: Arc<Self>) -> Routes {
        Routes::default().any("/wait-for-drain", move || Arc::clone(&self).answer())
    }

    /// Answers once the drain is over, so that the container is stopped only then.
    async fn answer(self: Arc<Self>) -> Page {
        tracing::info!("a container is about to stop: draining");
        let this = Arc::clone(&self);
        // Goes on although the caller may leave.
        self.tasks.spawn(async move {
            sleep(SIGNAL_WITHIN).await;
            if !this.stop.is_cancelled() {
                this.proxy.take_back();
            }
        });
        self.proxy.until_quiet(self.quiet).await;
        Page::new(TEXT, "")
    }
}

fn stats_routes(proxy: &Arc<Running>) -> Routes {
    let proxy = Arc::clone(proxy);
    Routes::default().any("/metrics", move || {
        std::future::ready(Page::new(PROTOBUF, proxy.stat()))
    })
}

#[cfg(test)]
mod tests;
