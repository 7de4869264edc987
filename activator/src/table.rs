//! The revisions of the latest snapshot. One task writes, all requests read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use penstock_cluster::{Phase, Revision, Snapshot};
use penstock_relay::forward::Relay;
use penstock_types::{Protocol, RevisionId, Timeouts};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::discovery::Scout;
use crate::metrics::Metrics;
use crate::revision::Entry;

/// How long the HTTP series of a pod or a revision outlive it: no request of theirs can end
/// later (`timeoutSeconds` is 600 at most), and they are scraped a few more times.
const LINGER: Duration = Duration::from_secs(900);

/// Time after which twice as many of a backlog may be inside a pod without a limit, whether it
/// has answered or not: a pod that answers nobody for long, as by streams, is not held up long.
const DOUBLE_EVERY: Duration = Duration::from_millis(100);

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) revisions: HashMap<RevisionId, Row>,
}

/// A revision, and what is true of it now: beside it, so that requests read both at once.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) entry: Arc<Entry>,
    pub(crate) terms: Terms,
}

/// What a request for a revision goes by. Knative's revisions never change; a Deployment may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) timeouts: Timeouts,
    pub(crate) protocol: Protocol,
    /// The pod is asked for by its address, and a queue-proxy there puts the caller's host back.
    pub(crate) queue_proxy: bool,
}

impl Known {
    /// All of them, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        self.revisions.values().map(|row| &row.entry)
    }
}

/// The picture of now.
#[derive(Debug)]
pub(crate) struct Table {
    known: RwLock<Arc<Known>>,
    waiting: usize,
    window: Option<NonZeroUsize>,
    seed: u64,
    metrics: Metrics,
    scout: Scout,
    /// Where pods are connected to, if not at their own ports.
    pod_port: Option<u16>,
    /// Who has left, since when, in that order, and is still exported.
    left: Mutex<VecDeque<(Instant, Left)>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Left {
    Pod(SocketAddr),
    Revision(RevisionId),
}

impl Table {
    /// An empty table. Each revision may have `waiting` requests in line, released by `window` at
    /// first where there is no concurrency limit.
    pub(crate) fn new(
        waiting: usize,
        window: Option<NonZeroUsize>,
        seed: u64,
        metrics: Metrics,
        scout: Scout,
    ) -> Self {
        Self {
            known: RwLock::default(),
            waiting,
            window,
            seed,
            metrics,
            scout,
            pod_port: None,
            left: Mutex::default(),
        }
    }

    /// Connections to pods are to this port of theirs.
    pub(crate) fn at_pod_port(self, pod_port: Option<u16>) -> Self {
        Self { pod_port, ..self }
    }

    /// Looks at the picture of now, briefly: a new one waits meanwhile. For requests, which
    /// would otherwise all count one `Arc` up and down.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The picture of now; it does not change in the reader's hands.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets the series of those who had left [`LINGER`] before `now` and have not come back:
    /// else each pod there ever was would take up one of a limited number.
    pub(crate) fn forget_left(&self, now: Instant) {
        let mut gone = HashSet::new();
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((since, _)) = left.front()
                && now.saturating_duration_since(*since) >= LINGER
            {
                gone.extend(left.pop_front().map(|(_, who)| who));
            }
        }
        if gone.is_empty() {
            return;
        }
        let known = self.known();
        let pods = addresses(&known.snapshot);
        gone.retain(|who| match who {
            Left::Pod(addr) => !pods.contains(addr),
            Left::Revision(id) => !known.revisions.contains_key(id),
        });
        self.metrics.forget_http(
            |addr| gone.contains(&Left::Pod(addr)),
            |id| gone.contains(&Left::Revision(id)),
        );
    }

    /// Follows the cluster until it is gone, or the future is dropped.
    pub(crate) async fn follow(
        &self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        relays: &[Relay],
    ) {
        let mut ticks = interval(DOUBLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.see(snapshot, relays);
            let mut paced = self.paced();
            loop {
                tokio::select! {
                    changed = snapshots.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    _ = ticks.tick(), if !paced.is_empty() => {
                        paced.retain(|entry| entry.gate.double());
                    }
                }
            }
        }
    }

    /// Takes a snapshot. A revision becomes known before its gate opens; one that is gone lets
    /// those go who wait for it.
    pub(crate) fn see(&self, snapshot: Arc<Snapshot>, relays: &[Relay]) {
        let before = self.known();
        let mut revisions = HashMap::with_capacity(snapshot.revisions.len());
        let mut changed = Vec::new();
        let mut pods = Pods::default();
        for (id, revision) in &snapshot.revisions {
            let old = before.snapshot.revisions.get(id);
            let entry = match before.revisions.get(id) {
                Some(row) => Arc::clone(&row.entry),
                None => {
                    let gauges = self.metrics.of_revision(revision);
                    let how = self.scout.how();
                    let entry = Entry::new(revision, self.waiting, self.seed, gauges, how);
                    if let Some(window) = self.window {
                        entry.gate.pace(window);
                    }
                    entry
                }
            };
            if !old.is_some_and(|old| Arc::ptr_eq(old, revision)) {
                changed.push((Arc::clone(&entry), Arc::clone(revision)));
                pods.were(old);
                pods.are(revision);
            }
            let terms = Terms {
                timeouts: revision.timeouts,
                protocol: revision.protocol,
                queue_proxy: revision.queue_proxy,
            };
            revisions.insert(id.clone(), Row { entry, terms });
        }
        for (id, gone) in &before.revisions {
            if !revisions.contains_key(id) {
                gone.entry.leave();
                self.metrics.forget(&gone.entry.gauges);
                self.has_left(Left::Revision(id.clone()));
                pods.were(before.snapshot.revisions.get(id));
            }
        }
        for addr in pods.before.difference(&pods.now) {
            self.has_left(Left::Pod(*addr));
        }
        let known = Known {
            snapshot,
            revisions,
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        for (entry, revision) in changed {
            entry.see(&revision, &self.scout);
        }
        // After the gates are shut: who goes in from now on opens a connection, if it can. A pod
        // that drains waits for us to close.
        let unused = pods.used_before.difference(&pods.used);
        let unused: HashSet<SocketAddr> = unused
            .map(|addr| SocketAddr::new(addr.ip(), self.pod_port.unwrap_or(addr.port())))
            .collect();
        if !unused.is_empty() {
            for relay in relays {
                relay.let_go(&unused);
            }
        }
    }

    /// Revisions whose backlog is being released.
    fn paced(&self) -> Vec<Arc<Entry>> {
        let known = self.known();
        known
            .entries()
            .filter(|entry| entry.gate.is_paced())
            .cloned()
            .collect()
    }

    fn has_left(&self, who: Left) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push_back((Instant::now(), who));
    }
}

/// Addresses of the pods of those revisions that are not as they were.
#[derive(Debug, Default)]
struct Pods {
    before: HashSet<SocketAddr>,
    now: HashSet<SocketAddr>,
    /// Of them those that got requests, or might have later.
    used_before: HashSet<SocketAddr>,
    used: HashSet<SocketAddr>,
}

impl Pods {
    fn were(&mut self, revision: Option<&Arc<Revision>>) {
        if let Some(revision) = revision {
            fill(&mut self.before, &mut self.used_before, revision);
        }
    }

    fn are(&mut self, revision: &Revision) {
        fill(&mut self.now, &mut self.used, revision);
    }
}

fn fill(all: &mut HashSet<SocketAddr>, used: &mut HashSet<SocketAddr>, revision: &Revision) {
    for pod in revision.pods.iter() {
        all.insert(pod.addr);
        if pod.phase != Phase::Draining {
            used.insert(pod.addr);
        }
    }
}

fn addresses(snapshot: &Snapshot) -> HashSet<SocketAddr> {
    let revisions = snapshot.revisions.values();
    revisions
        .flat_map(|revision| revision.pods.iter().map(|pod| pod.addr))
        .collect()
}

#[cfg(test)]
mod tests;
