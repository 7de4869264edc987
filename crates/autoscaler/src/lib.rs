//! The autoscaler: the thin loop between reports of demand and calls for pods.
//!
//! ```text
//!  activators ── demand ──► observe ─► decide ─► Cluster::scale
//!  cluster ───── snapshot ─►  (one policy per revision)   │
//!  clock ─────── tick, 2 s ─►                             ├─► Cluster::settle: path, conditions
//!                                                         └─► log line, /state, gauges, Events
//! ```
//!
//! All arithmetic is in `penstock-scaling`; this crate keeps one policy per revision of the
//! snapshot, feeds it, and carries its answers out. One task owns everything, so a report is
//! taken, decided on and asked for without a lock, a timer or another task in between. What
//! is told about it (log, gauges, state) comes after the call.
//!
//! Calls: one at a time per revision, and the newest number wins, so that a slow cluster is
//! never asked faster than it answers. A failed call is tried again with a growing wait; it
//! is said once that it fails, and once that it works again.
//!
//! Path: where the cluster arranges who is in the path of requests (Kubernetes), it is told beside
//! the number of pods how the revision stands, by calls that never stand in the way of those for
//! pods. Its last pod goes only when an activator has confirmed that it has the path (`confirm.rs`).
//! A restarted loop goes on from what the cluster remembers.
//!
//! Silence: a source sends its whole table each second, an empty one included. So a revision that is
//! not in the tables of three seconds has no load. Without any table nothing is known,
//! and policy `demand` leaves the pods of a revision whose last report was not zero as they are.

#![forbid(unsafe_code)]

mod confirm;
pub mod env;
mod explain;
mod heard;
#[cfg(feature = "kube")]
pub mod kube;
pub mod live;
pub mod maps;
mod metrics;
mod policy;
pub mod program;
mod run;
mod scaler;
mod scrape;
mod server;
mod settling;
mod sources;
mod state;
mod watched;

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Cluster, Leases};
use penstock_runtime::metrics::Gather;
use penstock_scaling::config::Config;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

pub use confirm::{Confirm, Probe};
use metrics::Metrics;
use run::Run;

pub use heard::Batch;
pub use metrics::Names;
pub use policy::{PolicyKind, Verdict};
pub use scaler::{Due, Scaler};
pub use scrape::{Scraper, Scraping, Targets};
pub use server::{Peers, Serving, StatServer};
pub use state::{Decided, Handle, Inputs, KEPT, RevisionState, Rules};

/// Time between two ticks (spec/autoscaler.md §10).
pub const TICK: Duration = Duration::from_secs(2);

/// The loop, made but not yet running.
pub struct Autoscaler {
    cluster: Arc<dyn Cluster>,
    config: watch::Receiver<Arc<Config>>,
    policy: PolicyKind,
    metrics: Metrics,
    handle: Handle,
    scraping: bool,
    confirm: Arc<dyn Confirm>,
    leases: Option<watch::Receiver<Arc<Leases>>>,
    compatible: bool,
}

impl Autoscaler {
    /// Makes the loop. `config` may be replaced while it runs; its sender may go, and the last
    /// value then stays. The gauges are added to `registry`.
    ///
    /// # Errors
    ///
    /// If `registry` has the gauges of an autoscaler already.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        config: watch::Receiver<Arc<Config>>,
        policy: PolicyKind,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        Self::with_names(cluster, config, policy, registry, Names::Current)
    }

    /// As [`Autoscaler::new`]; the gauges have these names.
    ///
    /// # Errors
    ///
    /// If `registry` has the gauges of an autoscaler already.
    pub fn with_names(
        cluster: Arc<dyn Cluster>,
        config: watch::Receiver<Arc<Config>>,
        policy: PolicyKind,
        registry: &Registry,
        names: Names,
    ) -> prometheus::Result<Self> {
        let handle = Handle::default();
        let metrics = Metrics::register(registry, None, names, &handle)?;
        Ok(Self::measured(cluster, config, policy, metrics, handle))
    }

    /// As [`Autoscaler::with_names`], for a cluster with thousands of revisions: `gather` makes
    /// their gauges one family after the other, and `registry` has the loop's own series alone.
    ///
    /// # Errors
    ///
    /// If `registry` has these already.
    pub fn for_many(
        cluster: Arc<dyn Cluster>,
        config: watch::Receiver<Arc<Config>>,
        policy: PolicyKind,
        (registry, gather): (&Registry, &Gather),
        names: Names,
    ) -> prometheus::Result<Self> {
        let handle = Handle::default();
        let metrics = Metrics::register(registry, Some(gather), names, &handle)?;
        Ok(Self::measured(cluster, config, policy, metrics, handle))
    }

    fn measured(
        cluster: Arc<dyn Cluster>,
        config: watch::Receiver<Arc<Config>>,
        policy: PolicyKind,
        metrics: Metrics,
        handle: Handle,
    ) -> Self {
        Self {
            cluster,
            config,
            policy,
            metrics,
            handle,
            scraping: false,
            confirm: Arc::new(Probe::default()),
            leases: None,
            compatible: false,
        }
    }

    /// Pods are asked for their figures as well, and missing ones are not taken for zeros.
    #[must_use]
    pub fn with_scraping(mut self) -> Self {
        self.scraping = true;
        self
    }

    /// Asks in another way than over HTTP who is in the path of a revision.
    #[must_use]
    pub fn with_confirm(mut self, confirm: Arc<dyn Confirm>) -> Self {
        self.confirm = confirm;
        self
    }

    /// Keeps what the original was observed to get wrong, under policy `knative`.
    #[must_use]
    pub fn compatible(mut self, compatible: bool) -> Self {
        self.compatible = compatible;
        self
    }

    /// Looks after the revisions whose buckets are held here, and after no others.
    #[must_use]
    pub fn with_leases(mut self, leases: watch::Receiver<Arc<Leases>>) -> Self {
        self.leases = Some(leases);
        self
    }

    /// Reads the state of the loop while it runs, for `/state`.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Scales until `stop`, or until the cluster is gone. Each message of `demand` is either
    /// the whole table of the source (once a second, also when it is empty) or the first words
    /// of revisions that it did not track.
    ///
    /// A source that is not in this process speaks through a [`StatServer`].
    pub async fn run<B: Into<Batch>>(self, demand: mpsc::Receiver<B>, stop: CancellationToken) {
        let (mut config, mut leases) = (self.config.clone(), self.leases.clone());
        let mut demand = Some(demand);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first = Arc::clone(&config.borrow_and_update());
        let mut run = Run::new(self, first);
        let mut configured = true;
        loop {
            let (due, next_due) = (run.due(), run.next_due());
            tokio::select! {
                () = stop.cancelled() => return,
                batch = next(&mut demand) => match batch {
                    Some(batch) => run.hear(batch.into()),
                    // No source any more: nothing is known from now on.
                    None => demand = None,
                },
                Some(ended) = run.calls.join_next() => match ended {
                    Ok(ended) => run.ended(ended),
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    Err(_) => {}
                },
                changed = run.snapshots.changed() => match changed {
                    Ok(()) => run.see(),
                    Err(_) => return,
                },
                Ok(()) = next_leases(&mut leases) => run.see(),
                changed = config.changed(), if configured => {
                    configured = changed.is_ok();
                    let config = Arc::clone(&config.borrow_and_update());
                    run.reconfigure(config);
                }
                () = until(due) => run.catch_up(),
                () = until(next_due) => run.take_due(),
                _ = ticks.tick() => run.tick(),
            }
            run.tell();
        }
    }
}

/// The next batch; never, once there is no source any more.
async fn next<B>(demand: &mut Option<mpsc::Receiver<B>>) -> Option<B> {
    match demand {
        Some(demand) => demand.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever, where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The next leases; never, where there are none.
async fn next_leases(
    leases: &mut Option<watch::Receiver<Arc<Leases>>>,
) -> Result<(), watch::error::RecvError> {
    match leases {
        Some(leases) => leases.changed().await,
        None => std::future::pending().await,
    }
}
