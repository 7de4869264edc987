//! The revisions of the latest snapshot. One task writes, all requests read.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use penstock_cluster::Snapshot;
use penstock_relay::forward::Relay;
use penstock_types::RevisionId;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::revision::Entry;

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) revisions: HashMap<RevisionId, Arc<Entry>>,
}

/// The picture of now.
#[derive(Debug)]
pub(crate) struct Table {
    known: RwLock<Arc<Known>>,
    waiting: usize,
    seed: u64,
    metrics: Metrics,
}

impl Table {
    /// An empty table. Each revision may have `waiting` requests in line.
    pub(crate) fn new(waiting: usize, seed: u64, metrics: Metrics) -> Self {
        Self {
            known: RwLock::default(),
            waiting,
            seed,
            metrics,
        }
    }

    /// The picture of now; it does not change in the reader's hands.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the cluster until it is gone, or the future is dropped.
    pub(crate) async fn follow(
        &self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        relays: &[Relay],
    ) {
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            self.see(snapshot, relays);
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    }

    /// Takes a snapshot. A revision becomes known before its gate opens; one that is gone leaves
    /// those who wait for it to their deadlines.
    pub(crate) fn see(&self, snapshot: Arc<Snapshot>, relays: &[Relay]) {
        let before = self.known();
        let mut revisions = HashMap::with_capacity(snapshot.revisions.len());
        let mut changed = Vec::new();
        for (id, revision) in &snapshot.revisions {
            let old = before.snapshot.revisions.get(id);
            let entry = match before.revisions.get(id) {
                Some(entry) => Arc::clone(entry),
                None => {
                    let gauges = self.metrics.of_revision(revision);
                    Entry::new(revision, self.waiting, self.seed, gauges)
                }
            };
            if !old.is_some_and(|old| Arc::ptr_eq(old, revision)) {
                changed.push((Arc::clone(&entry), Arc::clone(revision), old.cloned()));
            }
            revisions.insert(id.clone(), entry);
        }
        for (id, gone) in &before.revisions {
            if !revisions.contains_key(id) {
                gone.gate.set_places(&[]);
                self.metrics.forget(&gone.gauges);
            }
        }
        let left = pods_left(&before.snapshot, &snapshot);
        let known = Known {
            snapshot,
            revisions,
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        for (entry, revision, old) in changed {
            entry.see(&revision, old.as_deref());
        }
        if !left.is_empty() {
            for relay in relays {
                relay.retain(|addr| !left.contains(&addr));
            }
        }
    }
}

/// Addresses of pods that were there and are not any more.
fn pods_left(before: &Snapshot, now: &Snapshot) -> HashSet<SocketAddr> {
    let addresses = |snapshot: &Snapshot| -> HashSet<SocketAddr> {
        let revisions = snapshot.revisions.values();
        revisions
            .flat_map(|revision| revision.pods.iter().map(|pod| pod.addr))
            .collect()
    };
    addresses(before)
        .difference(&addresses(now))
        .copied()
        .collect()
}
