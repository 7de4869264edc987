//! What the system tells a process: stop, stop at once, reload.
//!
//! Nothing here ends the process: `main` decides, with what it is told.
//!
//! ```no_run
//! # async fn serve(_: tokio_util::sync::CancellationToken) {}
//! # async fn main_() -> std::io::Result<std::process::ExitCode> {
//! use penstock_runtime::signal::Stops;
//! let stop = tokio_util::sync::CancellationToken::new();
//! let stops = Stops::install()?;
//! tokio::select! {
//!     () = serve(stop.clone()) => Ok(std::process::ExitCode::SUCCESS),
//!     _second = stops.watch(stop) => Ok(std::process::ExitCode::from(1)),
//! }
//! # }
//! ```

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM and SIGINT, caught from the moment this exists.
#[derive(Debug)]
pub struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

/// Somebody asked twice: exit with status 1 at once, without draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second;

impl Stops {
    /// Takes both signals over.
    ///
    /// # Errors
    ///
    /// The system does not let this process handle signals.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first of the two signals; completes at the second.
    ///
    /// Source: spec/queue-proxy.md §5, spec/activator.md §6.
    pub async fn watch(mut self, stop: CancellationToken) -> Second {
        self.next().await;
        tracing::info!("asked to stop");
        stop.cancel();
        self.next().await;
        tracing::warn!("asked to stop again: ending at once");
        Second
    }

    async fn next(&mut self) {
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            // Both streams ended, which they do not while the runtime lives.
            else => std::future::pending().await,
        }
    }
}

/// SIGHUP, caught from the moment this exists.
#[derive(Debug)]
pub struct Reloads {
    hangup: Signal,
}

impl Reloads {
    /// Takes the signal over; it would end the process otherwise.
    ///
    /// # Errors
    ///
    /// The system does not let this process handle signals.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Completes at the next SIGHUP. Several that come before anybody asks are one. Losing
    /// the future loses no signal.
    pub async fn next(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending().await
        }
    }
}
