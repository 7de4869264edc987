//! What the loop shows of itself: the figures and the last decisions of each revision.
//!
//! The loop writes numbers into one [`Shown`] per revision; `/state`, `/explain` and the metrics read
//! them there. Words are put together when somebody reads them: ten thousand revisions cost
//! what their numbers need.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_cluster::Revision;
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::RevisionId;
use serde::Serialize;

use crate::policy::{Figures, PolicyKind, Verdict};

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
    revisions: Arc<Mutex<BTreeMap<RevisionId, Arc<Shown>>>>,
}

impl Handle {
    /// All revisions, ordered by key.
    pub fn state(&self) -> Vec<RevisionState> {
        self.all().iter().map(|shown| shown.state()).collect()
    }

    /// One revision, if there is one.
    pub fn revision(&self, id: &RevisionId) -> Option<RevisionState> {
        let shown = lock(&self.revisions).get(id).cloned();
        shown.map(|shown| shown.state())
    }

    /// What is shown of each revision, ordered by key.
    pub(crate) fn all(&self) -> Vec<Arc<Shown>> {
        lock(&self.revisions).values().cloned().collect()
    }

    /// Begins to show a revision, in the place of an earlier one with its key.
    pub(crate) fn add(&self, id: RevisionId, shown: Arc<Shown>) {
        lock(&self.revisions).insert(id, shown);
    }

    pub(crate) fn forget(&self, id: &RevisionId) {
        lock(&self.revisions).remove(id);
    }
}

/// What is shown of one revision.
#[derive(Debug)]
pub(crate) struct Shown(Mutex<Row>);

/// The figures of one revision.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) revision: Arc<Revision>,
    pub(crate) policy: PolicyKind,
    pub(crate) metric: Metric,
    pub(crate) rules: Rules,
    pub(crate) wanted: u32,
    pub(crate) mode: &'static str,
    pub(crate) figures: Figures,
    /// The last changes, newest last; at most [`KEPT`].
    changes: VecDeque<Step>,
    /// The last decision, if it changed nothing.
    latest: Option<Step>,
}

/// A decision, without words.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// When, since the unix epoch.
    pub(crate) at: Duration,
    pub(crate) from: u32,
    pub(crate) ready: u32,
    pub(crate) figures: Figures,
    pub(crate) verdict: Verdict,
}

impl Shown {
    /// Nothing was decided yet.
    pub(crate) fn new(
        revision: Arc<Revision>,
        policy: PolicyKind,
        spec: &Spec,
        wanted: u32,
        figures: Figures,
    ) -> Self {
        Self(Mutex::new(Row {
            revision,
            policy,
            metric: spec.metric,
            rules: Rules::of(spec),
            wanted,
            mode: "",
            figures,
            changes: VecDeque::new(),
            latest: None,
        }))
    }

    /// Looks at the figures.
    pub(crate) fn row(&self) -> MutexGuard<'_, Row> {
        lock(&self.0)
    }

    fn state(&self) -> RevisionState {
        let row = self.row();
        let decisions: Vec<Decided> = row.changes.iter().map(Step::decided).collect();
        let latest = match &row.latest {
            Some(step) => Some(step.decided()),
            None => decisions.last().cloned(),
        };
        RevisionState {
            revision: row.revision.id.to_string(),
            wanted: row.wanted,
            policy: row.policy.as_str(),
            mode: row.mode,
            stable: row.figures.stable,
            panic: row.figures.panic,
            target: row.figures.target,
            decisions,
            latest,
            rules: row.rules.clone(),
        }
    }
}

impl Row {
    /// Adds a decision; of the changes the oldest beyond [`KEPT`] is dropped.
    pub(crate) fn push(&mut self, step: Step) {
        if step.from == step.verdict.pods {
            self.latest = Some(step);
            return;
        }
        self.latest = None;
        if self.changes.len() >= KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(step);
    }
}

impl Step {
    fn decided(&self) -> Decided {
        let Self {
            figures, verdict, ..
        } = self;
        Decided {
            unix_seconds: self.at.as_secs(),
            from: self.from,
            to: verdict.pods,
            mode: verdict.mode,
            why: verdict.words(),
            inputs: Inputs {
                ready: self.ready,
                figure: verdict.figure,
                target: verdict.target,
                stable: figures.stable,
                panic: figures.panic,
                panicking: figures.panicking,
                needed: figures.desired,
                held_by: verdict.held_by(),
            },
        }
    }
}

impl Rules {
    pub(crate) fn of(spec: &Spec) -> Self {
        Self {
            unit: match spec.metric {
                Metric::Concurrency => "in flight",
                Metric::Rps => "per second",
            },
            min_scale: spec.min_scale,
            max_scale: spec.max_scale,
            max_scale_up_rate: spec.max_scale_up_rate,
            max_scale_down_rate: spec.max_scale_down_rate,
            scale_to_zero: spec.scale_to_zero,
            stable_window: spec.stable_window.as_secs_f64(),
            scale_down_delay: spec.scale_down_delay.as_secs_f64(),
            retention: spec.retention.as_secs_f64(),
        }
    }
}

/// Nothing that could panic runs under these locks, so a poisoned one is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
