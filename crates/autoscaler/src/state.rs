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
    /// The last decision, whether it changed anything or not.
    pub latest: Option<Decided>,
    /// What it obeyed.
    pub rules: Rules,
}

/// What a decision looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Inputs {
    /// Pods that took requests.
    pub ready: u32,
    /// The figure that decided, in units of the metric.
    pub figure: f64,
    /// What a pod is meant to take of it.
    pub target: f64,
    /// Mean load of the stable window.
    pub stable: f64,
    /// Load of the short window (`knative`) or of the last second (`demand`).
    pub panic: f64,
    /// Whether there was panic.
    pub panicking: bool,
    /// Pods that the load asked for, before bounds and rates.
    pub needed: f64,
    /// What held the number up or down, last: a bound, a rate, a delay.
    pub held_by: Option<String>,
}

/// The parameters of a revision that its decisions obey.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rules {
    /// What the load is counted in.
    pub unit: &'static str,
    /// Fewest pods.
    pub min_scale: u32,
    /// Most pods.
    pub max_scale: Option<u32>,
    /// Growth that one decision may bring, as a multiple of the ready pods.
    pub max_scale_up_rate: f64,
    /// Loss that one decision may bring, as a divisor.
    pub max_scale_down_rate: f64,
    /// Whether the last pod may go.
    pub scale_to_zero: bool,
    /// Time over which the stable mean is taken, in seconds.
    pub stable_window: f64,
    /// Time for which demand has to be low before pods go, in seconds.
    pub scale_down_delay: f64,
    /// Time for which the last pod stays beyond the stable window, in seconds.
    pub retention: f64,
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
    /// Which part of the policy's rule decided.
    pub mode: &'static str,
    /// Which figure against which target, and what bounded it.
    pub why: String,
    /// What was looked at.
    pub inputs: Inputs,
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
