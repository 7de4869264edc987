//! What the loop does at each of its events.

mod calls;
mod path;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_cluster::{Change as Told, Cluster, Holder, Snapshot};
use penstock_scaling::config::Config;
use penstock_types::RevisionId;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Autoscaler;
use crate::confirm::Confirm;
use crate::heard::{Batch, Connection, Heard, Words};
use crate::metrics::Metrics;
use crate::policy::PolicyKind;
use crate::scaler::{APART, Due};
use crate::server::Route;
use crate::state::Handle;
use crate::watched::{Change, Watched};
pub(crate) use calls::Ended;
use path::Agenda;

/// Wishes beside pods that the cluster is told at once: a restart with thousands of revisions must
/// not stand in the way of the first pod of one of them.
const SETTLING: usize = 32;

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

    /// When it will be `at`.
    fn when(&self, at: Duration) -> Instant {
        self.start + at.saturating_sub(self.unix)
    }
}

/// The loop while it runs.
pub(crate) struct Run {
    clock: Clock,
    config: Arc<Config>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    cluster: Arc<dyn Cluster>,
    policy: PolicyKind,
    metrics: Metrics,
    handle: Handle,
    revisions: HashMap<RevisionId, Tracked>,
    pub(crate) calls: JoinSet<Ended>,
    births: u64,
    /// When a table was last heard.
    table: Option<Duration>,
    /// The same for each source that is still there.
    tables: HashMap<Connection, Duration>,
    scraping: bool,
    /// Whether the original's mistakes are kept.
    compatible: bool,
    /// Whose a revision is, where there are other autoscalers.
    route: Option<Route>,
    /// Changes that were carried out but not told yet.
    untold: Vec<(RevisionId, Change)>,
    awaited: Awaited,
    /// Who is to be decided on when, though nothing else happens.
    agenda: Agenda,
    confirm: Arc<dyn Confirm>,
    settling: Arc<Semaphore>,
}

/// Decisions that are due a little later, all together: they are rare, and a moment early does
/// no harm.
#[derive(Default)]
struct Awaited {
    at: Option<Instant>,
    /// For whom, and when the report that waits came in.
    whose: Vec<(RevisionId, Instant)>,
}

/// A revision, and which of its lives it is: a key may go and come back while a call is under way.
struct Tracked {
    birth: u64,
    watched: Watched,
    /// Its place on the agenda.
    due: Option<Duration>,
}

impl Run {
    /// Knows no revision yet; the first snapshot is still to be taken.
    pub(crate) fn new(autoscaler: Autoscaler, config: Arc<Config>) -> Self {
        let Autoscaler {
            cluster,
            policy,
            metrics,
            handle,
            scraping,
            confirm,
            leases,
            compatible,
            ..
        } = autoscaler;
        let mut snapshots = cluster.snapshot();
        snapshots.mark_changed();
        Self {
            clock: Clock::start(),
            config: having(config, compatible),
            snapshots,
            cluster,
            policy,
            metrics,
            handle,
            revisions: HashMap::new(),
            calls: JoinSet::new(),
            births: 0,
            table: None,
            tables: HashMap::new(),
            scraping,
            compatible,
            route: leases.map(Route::new),
            untold: Vec::new(),
            awaited: Awaited::default(),
            agenda: Agenda::new(),
            confirm,
            settling: Arc::new(Semaphore::new(SETTLING)),
        }
    }

    /// Takes what is said, and decides on what cannot wait.
    pub(crate) fn hear(&mut self, batch: Batch) {
        // A first word may overtake the snapshot, or the lease, that its source had already seen.
        let leases = self.route.as_mut().is_some_and(Route::has_changed);
        if leases || self.snapshots.has_changed().unwrap_or(false) {
            self.see();
        }
        let now = self.clock.now();
        match batch.heard {
            Heard::Words(said) => self.hear_words(&said, batch.received, now),
            Heard::Ended(connection) => {
                self.tables.remove(&connection);
                for tracked in self.revisions.values_mut() {
                    tracked.watched.orphan(connection);
                }
            }
            Heard::Scraped(id, report) => {
                if let Some(tracked) = self.revisions.get_mut(&id) {
                    let due = tracked.watched.scraped(report.as_ref(), now);
                    self.react(&id, due, batch.received, now);
                }
            }
        }
    }

    fn hear_words(&mut self, said: &Words, received: Instant, now: Duration) {
        if said.whole {
            self.tables.insert(said.connection, now);
            self.table = Some(now);
        }
        for word in &said.words {
            let id = &word.demand.revision;
            if let Some(tracked) = self.revisions.get_mut(id) {
                let due = tracked.watched.observe(said.connection, word, now);
                self.react(id, due, received, now);
            }
        }
    }

    /// Decides on a report when it is due.
    fn react(&mut self, id: &RevisionId, due: Due, received: Instant, now: Duration) {
        match due {
            Due::Now => {
                self.decide(id, now);
                self.metrics.decided(received.elapsed());
            }
            Due::After(rest) => {
                let Awaited { at, whose } = &mut self.awaited;
                let due = Instant::now() + rest.min(APART);
                *at = Some(at.map_or(due, |at| at.min(due)));
                whose.push((id.clone(), received));
            }
            Due::Later => {}
        }
    }

    /// When decisions are due that a report has to wait for.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.awaited.at
    }

    /// Makes the decisions that were put off.
    pub(crate) fn catch_up(&mut self) {
        let now = self.clock.now();
        for (id, received) in std::mem::take(&mut self.awaited).whose {
            let awaited = self.revisions.get(&id);
            // A tick may have come before.
            if awaited.is_some_and(|tracked| tracked.watched.is_awaited()) {
                self.decide(&id, now);
                self.metrics.decided(received.elapsed());
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
        self.arrange(id, now);
    }

    /// Takes a new snapshot, or new leases: revisions come, change and go. One whose bucket is held
    /// elsewhere is none of ours.
    pub(crate) fn see(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let now = self.clock.now();
        let handle = self.handle.clone();
        let route = &mut self.route;
        let mut is_ours = |id: &RevisionId| match route {
            Some(route) => route.of(id).1 == Holder::Here,
            None => true,
        };
        let agenda = &mut self.agenda;
        self.revisions.retain(|id, tracked| {
            let stays = snapshot
                .revisions
                .get(id)
                .is_some_and(|revision| !tracked.watched.is_reborn(revision))
                && is_ours(id);
            if !stays {
                handle.forget(id);
                if let Some(due) = tracked.due {
                    agenda.remove(&(due, id.clone()));
                }
            }
            stays
        });
        let ours: Vec<_> = snapshot
            .revisions
            .iter()
            .filter(|(id, _)| is_ours(id))
            .collect();
        for (id, revision) in ours {
            let due = match self.revisions.get_mut(id) {
                Some(tracked) if tracked.watched.shows(revision) => continue,
                Some(tracked) => tracked.watched.update(revision, &self.config, now),
                None => {
                    self.births += 1;
                    let watched = Watched::new(
                        self.policy,
                        Arc::clone(revision),
                        &self.config,
                        &handle,
                        self.scraping,
                        now,
                    );
                    let tracked = Tracked {
                        birth: self.births,
                        watched,
                        due: None,
                    };
                    self.revisions.insert(id.clone(), tracked);
                    true
                }
            };
            if due {
                self.decide(id, now);
            }
            if let Some(tracked) = self.revisions.get_mut(id) {
                tracked.watched.show(now);
            }
        }
    }

    /// Derives all parameters anew.
    pub(crate) fn reconfigure(&mut self, config: Arc<Config>) {
        self.config = having(config, self.compatible);
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let now = self.clock.now();
        for (id, revision) in &snapshot.revisions {
            let due = self
                .revisions
                .get_mut(id)
                .is_some_and(|tracked| tracked.watched.update(revision, &self.config, now));
            if due {
                self.decide(id, now);
            }
        }
    }

    /// Decides on everything, and brings what is shown up to date.
    pub(crate) fn tick(&mut self) {
        let now = self.clock.now();
        let mut calls = Vec::new();
        let mut remembered = Vec::new();
        let tables = &self.tables;
        for (id, tracked) in &mut self.revisions {
            let watched = &mut tracked.watched;
            if let Some(change) = watched.tick(self.table, |from| tables.get(&from).copied(), now) {
                self.untold.push((id.clone(), change));
            }
            if let Some(pods) = watched.ask_again(now) {
                calls.push((id.clone(), pods));
            }
            if watched.due() != tracked.due || watched.has_more_to_arrange(now) {
                remembered.push(id.clone());
            }
        }
        for (id, pods) in calls {
            self.call(&id, pods);
        }
        for id in remembered {
            self.arrange(&id, now);
        }
        for tracked in self.revisions.values_mut() {
            tracked.watched.show(now);
        }
    }

    /// Tells of the changes that were carried out.
    pub(crate) fn tell(&mut self) {
        let now = self.clock.now();
        for (id, change) in self.untold.drain(..) {
            if let Some(tracked) = self.revisions.get_mut(&id) {
                let (from, to) = (change.from, change.verdict.pods);
                let why = tracked.watched.tell(change, now);
                self.cluster.told(
                    &id,
                    Told {
                        from,
                        to,
                        why: &why,
                    },
                );
                tracked.watched.show(now);
            }
        }
    }
}

/// The parameters, with what no ConfigMap has.
fn having(config: Arc<Config>, compatible: bool) -> Arc<Config> {
    match config.compatible == compatible {
        true => config,
        false => Arc::new(Config {
            compatible,
            ..(*config).clone()
        }),
    }
}
