//! From the listener to the drain.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use penstock_gate::{Gate, Limits};
use penstock_relay::forward::{Keep, Relay};
use penstock_relay::listen::{ListenError, listen};
use penstock_relay::serve::{Stop, serve};
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::seldom::Seldom;
use penstock_types::{Slots, Timeouts};
use tokio::time::timeout;

use crate::drain::Drain;
use crate::metrics::Metrics;
use crate::readiness::{NotReady, Probes, Readiness};
use crate::request::{App, Shared};

/// Requests that may wait for each slot (spec/queue-proxy.md §3.5).
pub(crate) const WAITING_PER_SLOT: usize = 10;
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

/// A queue-proxy that listens but does not serve yet.
#[derive(Debug)]
pub struct QueueProxy {
    listener: TcpListener,
    addr: SocketAddr,
    config: Config,
}

impl QueueProxy {
    /// Listens on `addr`.
    ///
    /// # Errors
    ///
    /// [`ListenError`] names the address and why it cannot be had.
    pub fn bind(addr: SocketAddr, config: Config) -> Result<Self, ListenError> {
        let listener = listen(addr)?;
        let addr = listener
            .local_addr()
            .map_err(|source| ListenError { addr, source })?;
        Ok(Self {
            listener,
            addr,
            config,
        })
    }

    /// Where it listens.
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
            readiness: Readiness::new(readiness, user_addr.port()),
            metrics,
            failures: Seldom::default(),
            drain: Drain::default(),
        });
        let stop = Stop::default();
        let keep = Keep {
            total: idle.div_ceil(workers.count()),
            each: idle.div_ceil(workers.count()),
        };
        serve(&self.listener, workers, &stop, || App {
            shared: Arc::clone(&shared),
            relay: Relay::new(keep, stop.tasks.clone(), stop.cut.clone()),
        })?;
        Ok(Running {
            addr: self.addr,
            shared,
            stop,
        })
    }
}

/// A queue-proxy that serves, until it is drained or dropped.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Stop,
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

    /// Serves on until no request has come for `quiet`, then takes nothing new and returns once
    /// nothing is inside. What has not ended `grace` later is cut.
    ///
    /// Source: spec/queue-proxy.md §5.
    pub async fn drain(&self, quiet: Duration, grace: Duration) -> Drained {
        self.shared.drain.until_quiet(quiet).await;
        self.stop.close.cancel();
        self.stop.tasks.close();
        let ended = timeout(grace, self.stop.tasks.wait()).await;
        let left = self.stop.tasks.len();
        self.stop.cut.cancel();
        self.stop.tasks.wait().await;
        match ended {
            Ok(()) => Drained::Clean,
            Err(_elapsed) => Drained::Cut { left },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.close.cancel();
        self.stop.cut.cancel();
        // In `penstock up` the series outlive the pod; its address will not come again.
        self.shared.metrics.forget(self.shared.user_addr);
    }
}
