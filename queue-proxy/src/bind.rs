//! From the listener to the drain.

use bytes::Bytes;
use penstock_gate::{Gate, Limits};
use penstock_relay::body::Late;
use penstock_relay::forward::Relay;
use penstock_relay::listen::{ListenError, listen};
use penstock_relay::serve::{Port, Stop, serve_all};
use penstock_relay::tls;
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::seldom::Seldom;
use penstock_runtime::trace::Tracer;
use penstock_types::{Slots, Timeouts};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::drain::{Drain, Waited};
use crate::kubelet::Kubelet;
use crate::metrics::Metrics;
use crate::readiness::{NotReady, Probes, Readiness};
use crate::request::{App, Shared};
use crate::request_log::RequestLines;
use crate::stats::{Stats, Through};

/// Requests that may wait for each slot (spec/queue-proxy.md §3.5).
pub(crate) const WAITING_PER_SLOT: usize = 10;
/// How often it is looked whether requests without a limit are left, if connections are.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Idle connections kept to a container without a limit (spec/queue-proxy.md §3.8).
const IDLE_UNLIMITED: usize = 1000;

/// What a queue-proxy has to know of its container.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the container listens.
    pub user_addr: SocketAddr,
    /// How many requests it takes at once.
    pub slots: Slots,
    /// Time limits of each request.
    pub timeouts: Timeouts,
    /// What has to pass for it to be ready.
    pub readiness: Probes,
}

/// What may be chosen beside what the container needs.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Name of the pod, which statistics are reported under.
    pub pod: String,
    /// Whose probes need no slot.
    pub kubelet: Kubelet,
    /// Whether callers are told in `Proxy-Status` what exactly went wrong, with the addresses.
    pub detail: bool,
    /// How an answer ends that has begun and takes too long.
    pub late: Late,
    /// Lines about requests, if there are to be any.
    pub requests: Option<RequestLines>,
    /// What requests are traced by, if they are to be.
    pub tracer: Option<Arc<Tracer>>,
}

/// A queue-proxy that listens but does not serve yet.
#[derive(Debug)]
pub struct QueueProxy {
    listener: TcpListener,
    addr: SocketAddr,
    secured: Option<(TcpListener, tls::Server)>,
    config: Config,
    choices: Choices,
}

impl QueueProxy {
    /// Listens on `addr`.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and why it cannot be had.
    pub fn bind(addr: SocketAddr, config: Config) -> Result<Self, ListenError> {
        let listener = listen(addr)?;
        let bound = Self::on(listener, config);
        bound.map_err(|source| ListenError { addr, source })
    }

    /// Takes a listener that is bound already, and non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, if the socket has no address.
    pub fn on(listener: TcpListener, config: Config) -> io::Result<Self> {
        Ok(Self {
            addr: listener.local_addr()?,
            listener,
            secured: None,
            config,
            choices: Choices::default(),
        })
    }

    /// Sets what may be chosen.
    #[must_use]
    pub fn with(self, choices: Choices) -> Self {
        Self { choices, ..self }
    }

    /// Takes requests on `listener` as well, over TLS.
    #[must_use]
    pub fn secured(self, listener: TcpListener, server: tls::Server) -> Self {
        Self {
            secured: Some((listener, server)),
            ..self
        }
    }

    /// Where it listens, without TLS.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves on `workers`.
    ///
    /// # Errors
    ///
    /// The system's, if the listener cannot be watched.
    pub fn start(self, workers: &Workers, metrics: Metrics) -> io::Result<Running> {
        let Config {
            user_addr,
            slots,
            timeouts,
            readiness,
        } = self.config;
        let Choices {
            pod,
            kubelet,
            detail,
            late,
            requests,
            tracer,
        } = self.choices;
        let (waiting, idle) = match slots {
            Slots::Limited(limit) => {
                let limit = limit.get() as usize;
                (limit.saturating_mul(WAITING_PER_SLOT), limit)
            }
            Slots::Unlimited => (usize::MAX, IDLE_UNLIMITED),
        };
        // One place, so there is no choice that a seed could steer.
        let gate = Gate::new(slots, Limits { waiting }, 0);
        gate.set_places(&[()]);
        let shared = Arc::new(Shared {
            user_addr,
            slots,
            timeouts,
            gate,
            room: Notify::new(),
            readiness: Readiness::new(readiness, user_addr.port()),
            metrics,
            stats: Stats::new(pod),
            kubelet,
            detail,
            late,
            lines: requests.map(Arc::new),
            tracer,
            failures: Seldom::default(),
            drain: Drain::default(),
        });
        let app = |relay| {
            Arc::new(App {
                shared: Arc::clone(&shared),
                relay,
                cell: shared.stats.cell(),
            })
        };
        let relays = Relay::siblings(workers, idle).into_iter();
        let apps: Vec<Arc<App>> = relays.map(app).collect();
        let serve = |listener, tls| {
            let stop = Stop::default();
            let port = Port { listener, tls };
            let app = |worker: usize| Arc::clone(&apps[worker]);
            serve_all(&[port], workers, &stop, app).map(|()| stop)
        };
        let plain = serve(&self.listener, None)?;
        let secured = match &self.secured {
            Some((listener, server)) => serve(listener, Some(server))?,
            None => Stop::default(),
        };
        Ok(Running {
            addr: self.addr,
            shared,
            plain,
            secured,
        })
    }
}

/// A queue-proxy that serves, until it is drained or dropped.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    shared: Arc<Shared>,
    /// Ends what came without TLS.
    pub(crate) plain: Stop,
    /// Ends what came with it.
    pub(crate) secured: Stop,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether the container is ready now.
    ///
    /// # Errors
    ///
    /// [`NotReady`] with the last failure of its probe.
    pub async fn probe(&self) -> Result<(), NotReady> {
        self.shared.readiness.ask().await
    }

    /// Returns the moment the container passes its probe.
    pub async fn until_ready(&self) {
        self.shared.readiness.until_ready().await;
    }

    /// The statistics for the autoscaler, as of the last second: a `Stat` in protobuf.
    pub fn stat(&self) -> Bytes {
        self.shared.stats.page()
    }

    /// Makes the statistics anew each second, for as long as it is polled.
    pub async fn report_each_second(&self) {
        self.shared.stats.report_each_second().await;
    }

    /// Lets probes fail and serves on until no request has come for `quiet`, or until the drain
    /// is taken back. Who joins a drain that has begun waits for as long as the first said.
    pub async fn until_quiet(&self, quiet: Duration) -> Waited {
        self.shared.drain.until_quiet(quiet).await
    }

    /// As if the drain had not begun.
    pub fn take_back(&self) {
        self.shared.drain.take_back();
    }

    /// Returns if a listener takes nobody any more although nobody has ended it.
    pub async fn dies(&self) {
        tokio::select! {
            () = self.plain.died.cancelled() => {}
            () = self.secured.died.cancelled() => {}
        }
    }

    /// Serves on until no request has come for `quiet`, then takes nothing new and returns once
    /// nothing is inside. What has not ended `grace` later is cut.
    pub async fn drain(&self, quiet: Duration, grace: Duration) -> Drained {
        self.until_quiet(quiet).await;
        close(&self.secured);
        self.end(sleep(grace)).await
    }

    /// Takes nothing new and returns once nothing is inside. HTTP/1 requests end when they end, and
    /// only then the listener with TLS is closed, whose requests end when they end as well; what
    /// then does not end within `grace` (streams of HTTP/2, upgraded connections) is cut.
    ///
    /// Source: spec/queue-proxy.md §5.
    pub async fn close(&self, grace: Duration) -> Drained {
        self.end(async {
            self.until_ended(&self.plain, Through::Plain).await;
            close(&self.secured);
            self.until_ended(&self.secured, Through::Tls).await;
            sleep(grace).await;
        })
        .await
    }

    /// Waits for the requests that came through a listener and have no limit.
    async fn until_ended(&self, stop: &Stop, through: Through) {
        let none = async {
            while self.shared.stats.awaited(through) > 0 {
                sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            () = stop.tasks.wait() => {}
            () = none => {}
        }
    }

    /// Closes the listener without TLS; `too_long` has to close the other one before it is over.
    async fn end(&self, too_long: impl Future<Output = ()>) -> Drained {
        close(&self.plain);
        let both = async {
            self.plain.tasks.wait().await;
            self.secured.tasks.wait().await;
        };
        let clean = tokio::select! {
            biased;
            () = both => true,
            () = too_long => false,
        };
        let left = self.plain.tasks.len() + self.secured.tasks.len();
        for stop in [&self.plain, &self.secured] {
            stop.cut.cancel();
            stop.tasks.wait().await;
        }
        if clean {
            Drained::Clean
        } else {
            Drained::Cut { left }
        }
    }
}

/// Takes nobody new; idle connections end, and others with what is under way.
fn close(stop: &Stop) {
    stop.close.cancel();
    stop.tasks.close();
}

impl Drop for Running {
    fn drop(&mut self) {
        for stop in [&self.plain, &self.secured] {
            stop.close.cancel();
            stop.cut.cancel();
        }
        // In `penstock up` the series outlive the pod; its address will not come again.
        self.shared.metrics.forget(self.shared.user_addr);
    }
}
