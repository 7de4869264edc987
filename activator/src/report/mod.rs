//! Reports to an autoscaler in another process, over a WebSocket.
//!
//! ```text
//! demand.rs ── batches ──► outbox ──► one connection ──► ws://autoscaler...:8080/
//!                             ▲ what is there now, at once after each connect
//! ```
//!
//! Whoever reports never waits: batches are taken as they come, whatever the other side does. While
//! there is no connection they are dropped. A slow reader gets the newest table and the newest first
//! words, not all of them late. After a connect the true numbers of now are said at once, so that
//! what came meanwhile is not lost until it comes again.
//!
//! To an autoscaler that says in the handshake that it knows [`wire`](penstock_types::wire)'s
//! additions, what waits and what runs is told as well, and that a table is whole.
//!
//! Source: spec/activator.md §5.3, spec/autoscaler.md §4.4.

mod backoff;
mod connection;
mod metrics;
mod outbox;

use std::time::Duration;

use penstock_types::demand::Demand;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Error;
use tokio_util::sync::CancellationToken;

use crate::bind::Handle;
use crate::demand::now_of;
use backoff::Backoff;
use connection::{Connection, Ended};
use outbox::Outbox;

pub use metrics::Metrics as LinkMetrics;

/// Limit for a connection to be there, handshake included.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// The way to one autoscaler.
#[derive(Debug)]
pub struct Link {
    host: String,
    pod_name: String,
    seed: u64,
    connected: watch::Sender<bool>,
    metrics: LinkMetrics,
}

impl Link {
    /// To the autoscaler at `host` (`name:port` or `ip:port`), from the pod `pod_name`. `seed`
    /// spreads the attempts of many activators.
    pub fn new(
        host: impl Into<String>,
        pod_name: impl Into<String>,
        seed: u64,
        metrics: LinkMetrics,
    ) -> Self {
        Self {
            host: host.into(),
            pod_name: pod_name.into(),
            seed,
            connected: watch::Sender::new(false),
            metrics,
        }
    }

    /// Whether there is a connection: what the original's health goes by.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    /// Reports what comes in `reports` until `stop` or until nobody reports any more, then takes
    /// leave. `present` says what is there now.
    pub async fn run(
        self,
        mut reports: mpsc::Receiver<Vec<Demand>>,
        present: impl Fn() -> Vec<Demand>,
        stop: CancellationToken,
    ) {
        let mut backoff = Backoff::new(self.seed);
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = self.connect(&mut backoff) => connected,
                () = drop_all(&mut reports) => return,
            };
            backoff.reset();
            self.is_connected(true);
            tracing::info!(
                host = self.host,
                additions = connected.additions,
                "connected to the autoscaler"
            );
            let mut outbox = Outbox::new(&self.pod_name, connected.additions);
            outbox.add(present());
            let ended = connected.run(outbox, &mut reports, &stop).await;
            self.is_connected(false);
            match ended {
                Ended::Told => return,
                Ended::Lost(error) => {
                    self.metrics.lost();
                    let error: &dyn std::error::Error = &*error;
                    tracing::warn!(host = self.host, error, "lost the autoscaler: {error}");
                }
            }
        }
    }

    /// Tries until there is a connection.
    async fn connect(&self, backoff: &mut Backoff) -> Connection {
        let mut failures = 0_u32;
        loop {
            let error = match timeout(HANDSHAKE, Connection::open(&self.host)).await {
                Ok(Ok(connection)) => return connection,
                Ok(Err(error)) => error,
                Err(_elapsed) => Error::Io(std::io::ErrorKind::TimedOut.into()),
            };
            failures += 1;
            if failures == 1 {
                tracing::warn!(host = self.host, %error, "no autoscaler, trying again: {error}");
            }
            sleep(backoff.next_wait()).await;
        }
    }

    fn is_connected(&self, connected: bool) {
        self.connected.send_replace(connected);
        self.metrics.reachable(connected);
    }
}

/// Takes what nobody can be told of. Ends when nobody reports any more.
async fn drop_all(reports: &mut mpsc::Receiver<Vec<Demand>>) {
    let mut dropped = 0_u64;
    while reports.recv().await.is_some() {
        dropped += 1;
        tracing::debug!(
            dropped,
            "a demand report was dropped: there is no autoscaler"
        );
    }
}

impl Handle {
    /// The requests that are here now, as a report: for [`Link::run`]. Its averages are the numbers
    /// of now, for an autoscaler that reads nothing else.
    pub fn present(&self) -> Vec<Demand> {
        self.entries()
            .iter()
            .map(|entry| now_of(entry, 0.0, 0.0, false))
            .filter(|now| now.waiting + now.in_flight > 0)
            .map(|now| Demand {
                average_concurrency: f64::from(now.waiting) + f64::from(now.in_flight),
                ..now
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
