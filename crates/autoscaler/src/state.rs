//! What the loop shows of itself: the last decisions of each revision, for `/state`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use penstock_types::RevisionId;
use serde::Serialize;

/// Decisions that are kept of each revision.
pub const KEPT: usize = 16;

/// One revision, as the autoscaler sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RevisionState {
    /// Its key, `namespace/name`.
    pub revision: String,
    /// Pods wanted.
    pub wanted: u32,
    /// Policy that decides.
    pub policy: &'static str,
    /// Which part of the policy's rule decided last.
    pub mode: &'static str,
    /// Mean load of the stable window, in units of the metric.
    pub stable: f64,
    /// Load of the short window (`knative`) or of the last second (`demand`).
    pub panic: f64,
    /// Load that is aimed at per pod.
    pub target: f64,
    /// The last changes, newest last; at most [`KEPT`].
    pub decisions: Vec<Decided>,
}

/// One change of the number of pods wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// When, in seconds since the unix epoch.
    pub unix_seconds: u64,
    /// Pods wanted before.
    pub from: u32,
    /// Pods wanted since.
    pub to: u32,
    /// Which figure against which target, and what bounded it.
    pub why: String,
}

/// Reads the loop's state while it runs. Clones read the same.
#[derive(Clone, Debug, Default)]
pub struct Handle {
    revisions: Arc<Mutex<BTreeMap<RevisionId, RevisionState>>>,
}

impl Handle {
    /// All revisions, ordered by key.
    pub fn state(&self) -> Vec<RevisionState> {
        self.lock().values().cloned().collect()
    }

    /// One revision, if there is one.
    pub fn revision(&self, id: &RevisionId) -> Option<RevisionState> {
        self.lock().get(id).cloned()
    }

    /// Changes what is shown of `id`.
    pub(crate) fn update(&self, id: &RevisionId, change: impl FnOnce(&mut RevisionState)) {
        let mut revisions = self.lock();
        match revisions.get_mut(id) {
            Some(state) => change(state),
            None => {
                let mut state = RevisionState {
                    revision: id.to_string(),
                    ..RevisionState::default()
                };
                change(&mut state);
                revisions.insert(id.clone(), state);
            }
        }
    }

    pub(crate) fn forget(&self, id: &RevisionId) {
        self.lock().remove(id);
    }

    /// Nothing that could panic runs under the lock, so a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<RevisionId, RevisionState>> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl RevisionState {
    /// Adds a change, and drops the oldest beyond [`KEPT`].
    pub(crate) fn push(&mut self, decided: Decided) {
        if self.decisions.len() >= KEPT {
            self.decisions.remove(0);
        }
        self.decisions.push(decided);
    }
}
