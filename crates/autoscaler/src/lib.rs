//! The autoscaler: the thin loop between reports of demand and calls for pods.
//!
//! ```text
//!  activators ── demand ──► observe ─► decide ─► Cluster::scale
//!  cluster ───── snapshot ─►  (one policy per revision)   │
//!  clock ─────── tick, 2 s ─►                             └─► log line, /state, gauges
//! ```
//!
//! All arithmetic is in `penstock-scaling`; this crate keeps one [`policy`] per revision of the
//! snapshot, feeds it, and carries its answers out. One task owns everything, so a report is
//! taken, decided on and asked for without a lock, a timer or another task in between. What
//! is told about it (log, gauges, state) comes after the call.
//!
//! Calls: one at a time per revision, and the newest number wins, so that a slow cluster is
//! never asked faster than it answers. A failed call is tried again with a growing wait; it
//! is said once that it fails, and once that it works again.
//!
//! Silence: a source sends its whole table each second, an empty one included. So a revision that is
//! not in the tables of the last [`ABSENCE`] has no load. Without any table nothing is known,
//! and policy `demand` leaves the pods of a revision whose last report was not zero as they are.

#![forbid(unsafe_code)]

mod metrics;
mod policy;
mod state;
mod watched;

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use penstock_cluster::{Cluster, ScaleError, Snapshot};
use penstock_scaling::config::Config;
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use metrics::Metrics;
use watched::{Change, Watched};

pub use policy::PolicyKind;
pub use state::{Decided, Handle, KEPT, RevisionState};

/// Time between two ticks (spec/autoscaler.md §10).
pub const TICK: Duration = Duration::from_secs(2);

/// Time for which a revision has to be missing from the tables of a source that speaks, before
/// it counts as without load: a table may have been made just before its first request.
pub const ABSENCE: Duration = Duration::from_secs(3);

/// The loop, made but not yet running.
pub struct Autoscaler {
    cluster: Arc<dyn Cluster>,
    config: watch::Receiver<Arc<Config>>,
    policy: PolicyKind,
    metrics: Metrics,
    handle: Handle,
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
        Ok(Self {
            cluster,
            config,
            policy,
            metrics: Metrics::register(registry)?,
            handle: Handle::default(),
        })
    }

    /// Reads the state of the loop while it runs, for `/state`.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Scales until `stop`, or until the cluster is gone. Each message of `demand` is either
    /// the whole table of the source (once a second, also when it is empty) or the first words
    /// of revisions that it did not track.
    pub async fn run(self, demand: mpsc::Receiver<Vec<Demand>>, stop: CancellationToken) {
        let Self {
            cluster,
            mut config,
            policy,
            metrics,
            handle,
        } = self;
        let mut demand = Some(demand);
        let mut snapshots = cluster.snapshot();
        snapshots.mark_changed();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut run = Run {
            clock: Clock::start(),
            config: Arc::clone(&config.borrow_and_update()),
            snapshots,
            cluster,
            policy,
            metrics,
            handle,
            revisions: HashMap::new(),
            calls: JoinSet::new(),
            births: 0,
            table: None,
            untold: Vec::new(),
        };
        let mut configured = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                batch = next(&mut demand) => match batch {
                    Some(batch) => run.hear(&batch),
                    // No source any more: nothing is known from now on.
                    None => demand = None,
                },
                Some(Ok(ended)) = run.calls.join_next() => run.ended(ended),
                changed = run.snapshots.changed() => match changed {
                    Ok(()) => run.see(),
                    Err(_) => return,
                },
                changed = config.changed(), if configured => {
                    configured = changed.is_ok();
                    run.config = Arc::clone(&config.borrow_and_update());
                    run.reconfigure();
                }
                _ = ticks.tick() => run.tick(),
            }
            run.tell();
        }
    }
}

/// The next batch; never, once there is no source any more.
async fn next(demand: &mut Option<mpsc::Receiver<Vec<Demand>>>) -> Option<Vec<Demand>> {
    match demand {
        Some(demand) => demand.recv().await,
        None => std::future::pending().await,
    }
}

/// The time of day, read once and then counted on: it never steps back.
struct Clock {
    start: Instant,
    /// Whole seconds since the unix epoch at `start`.
    unix: Duration,
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start: Instant::now(),
            unix: Duration::from_secs(unix.as_secs()),
        }
    }

    fn now(&self) -> Duration {
        self.unix + self.start.elapsed()
    }
}

/// The loop while it runs.
struct Run {
    clock: Clock,
    config: Arc<Config>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    cluster: Arc<dyn Cluster>,
    policy: PolicyKind,
    metrics: Metrics,
    handle: Handle,
    revisions: HashMap<RevisionId, Tracked>,
    calls: JoinSet<Ended>,
    births: u64,
    /// When a table was last heard.
    table: Option<Duration>,
    /// Changes that were carried out but not told yet.
    untold: Vec<(RevisionId, Change)>,
}

/// A revision, and which of its lives it is: a key may go and come back while a call is under way.
struct Tracked {
    birth: u64,
    watched: Watched,
}

/// A call that came to an end.
struct Ended {
    revision: RevisionId,
    birth: u64,
    what: What,
}

enum What {
    Call {
        pods: u32,
        result: Result<(), ScaleError>,
    },
    Wait,
}

impl Run {
    /// Takes reports, and decides on those that cannot wait.
    fn hear(&mut self, batch: &[Demand]) {
        // A first word may overtake the snapshot that its source had already seen.
        if self.snapshots.has_changed().unwrap_or(false) {
            self.see();
        }
        let now = self.clock.now();
        if batch.is_empty() || batch.iter().any(|report| !report.first) {
            self.table = Some(now);
        }
        for report in batch {
            if let Some(tracked) = self.revisions.get_mut(&report.revision)
                && tracked.watched.observe(report, now)
            {
                self.decide(&report.revision, now);
            }
        }
    }

    /// Decides, and asks the cluster at once if there is something to ask.
    fn decide(&mut self, id: &RevisionId, now: Duration) {
        let Some(tracked) = self.revisions.get_mut(id) else {
            return;
        };
        if let Some(change) = tracked.watched.decide(now) {
            self.untold.push((id.clone(), change));
        }
        if let Some(pods) = tracked.watched.ask() {
            self.call(id, pods);
        }
    }

    /// Asks the cluster for `pods`. The call begins here, before anything else is done; only
    /// what the cluster cannot answer at once goes on in a task.
    fn call(&mut self, id: &RevisionId, pods: u32) {
        let Some(birth) = self.revisions.get(id).map(|tracked| tracked.birth) else {
            return;
        };
        let (cluster, revision) = (Arc::clone(&self.cluster), id.clone());
        let mut call = Box::pin(async move {
            let result = cluster.scale(&revision, pods).await;
            Ended {
                revision,
                birth,
                what: What::Call { pods, result },
            }
        });
        // The task polls it again first thing, with a waker that wakes.
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => self.ended(ended),
            Poll::Pending => {
                self.calls.spawn(call);
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let now = self.clock.now();
        let id = ended.revision;
        let Some(tracked) = self.revisions.get_mut(&id) else {
            return;
        };
        if tracked.birth != ended.birth {
            return;
        }
        let watched = &mut tracked.watched;
        match ended.what {
            What::Call {
                pods,
                result: Ok(()),
            } => {
                let failures = watched.taken(pods, now);
                if failures > 0 {
                    tracing::info!(revision = %id, pods, failures, "the cluster scales {id} again");
                }
            }
            What::Call {
                pods,
                result: Err(error),
            } => {
                let retry = watched.failed(now);
                if retry.first {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        revision = %id,
                        pods,
                        error,
                        "{id} was not scaled to {pods}, trying again until it is: {error}"
                    );
                }
                self.calls.spawn(async move {
                    sleep(retry.after).await;
                    Ended {
                        revision: id,
                        birth: ended.birth,
                        what: What::Wait,
                    }
                });
                return;
            }
            What::Wait => watched.waited(),
        }
        // The number may have changed while the call was under way.
        if let Some(pods) = watched.ask() {
            self.call(&id, pods);
        }
    }

    /// Takes a new snapshot: revisions come, change and go.
    fn see(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let now = self.clock.now();
        let handle = self.handle.clone();
        self.revisions.retain(|id, _| {
            let stays = snapshot.revisions.contains_key(id);
            if !stays {
                handle.forget(id);
            }
            stays
        });
        for (id, revision) in &snapshot.revisions {
            let due = match self.revisions.get_mut(id) {
                Some(tracked) if tracked.watched.shows(revision) => false,
                Some(tracked) => tracked
                    .watched
                    .update(revision, &self.config, &self.metrics, now),
                None => {
                    self.births += 1;
                    let watched = Watched::new(
                        self.policy,
                        Arc::clone(revision),
                        &self.config,
                        &self.metrics,
                        now,
                    );
                    watched.show(now, &handle);
                    let tracked = Tracked {
                        birth: self.births,
                        watched,
                    };
                    self.revisions.insert(id.clone(), tracked);
                    true
                }
            };
            if due {
                self.decide(id, now);
            }
        }
    }

    /// Derives all parameters anew.
    fn reconfigure(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let now = self.clock.now();
        for (id, revision) in &snapshot.revisions {
            let due = self.revisions.get_mut(id).is_some_and(|tracked| {
                tracked
                    .watched
                    .update(revision, &self.config, &self.metrics, now)
            });
            if due {
                self.decide(id, now);
            }
        }
    }

    /// Decides on everything, and brings what is shown up to date.
    fn tick(&mut self) {
        let now = self.clock.now();
        let mut calls = Vec::new();
        for (id, tracked) in &mut self.revisions {
            let watched = &mut tracked.watched;
            if let Some(table) = self.table
                && table.saturating_sub(watched.heard()) >= ABSENCE
            {
                watched.absent(table);
            }
            if let Some(change) = watched.decide(now) {
                self.untold.push((id.clone(), change));
            }
            if let Some(pods) = watched.ask_again(now) {
                calls.push((id.clone(), pods));
            }
        }
        for (id, pods) in calls {
            self.call(&id, pods);
        }
        for tracked in self.revisions.values() {
            tracked.watched.show(now, &self.handle);
        }
    }

    /// Tells of the changes that were carried out.
    fn tell(&mut self) {
        let now = self.clock.now();
        for (id, change) in self.untold.drain(..) {
            if let Some(tracked) = self.revisions.get(&id) {
                tracked.watched.tell(&change, now, &self.handle);
                tracked.watched.show(now, &self.handle);
            }
        }
    }
}
