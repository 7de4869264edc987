//! The decisions about one revision: no clock, no cluster, no task.
//!
//! The loop drives it with the time of day; `penstock simulate` with a time of its own.

use std::time::Duration;

use penstock_cluster::Standing;
use penstock_scaling::spec::Spec;
use penstock_types::Slots;
use penstock_types::demand::Demand;

use crate::policy::{Figures, Policy, PolicyKind, Stood, Verdict};

/// Shortest time between two decisions that no waiting request asks for: a thousand sources that
/// speak each second bring fifty. It is also how long a report may have to wait for its decision,
/// of the 100 ms in which that is to come.
pub(crate) const APART: Duration = Duration::from_millis(20);

/// Time for which a revision has to be missing from the tables of a source that speaks, before
/// it counts as without load: a table may have been made just before its first request.
const ABSENCE: Duration = Duration::from_secs(3);

/// When a report is to be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// So much later: there was a decision just before.
    After(Duration),
    /// Not for its own sake: the next decision takes it in.
    Later,
}

/// The policy of one revision, and when it is to be asked.
#[derive(Debug)]
pub struct Scaler {
    policy: Policy,
    /// When a report that nobody waits on last brought a decision. Decisions on a tick do not
    /// count: tick and report may come in step, and the tick just before a report knows less.
    reacted: Option<Duration>,
    /// A report waits for a decision that is due before the next tick.
    awaited: bool,
    heard: Duration,
}

impl Scaler {
    /// Begins at `now` (since the unix epoch) with the pods that are `wanted` and `ready` already.
    pub fn new(
        kind: PolicyKind,
        spec: Spec,
        slots: Slots,
        wanted: u32,
        ready: u32,
        now: Duration,
    ) -> Self {
        Self::remembered(kind, spec, slots, wanted, ready, None, now)
    }

    /// As [`Scaler::new`], where the cluster arranges the path and may remember how the revision
    /// stands.
    pub(crate) fn remembered(
        kind: PolicyKind,
        spec: Spec,
        slots: Slots,
        wanted: u32,
        ready: u32,
        standing: Option<&Standing>,
        now: Duration,
    ) -> Self {
        Self {
            policy: Policy::new(kind, spec, slots, wanted, ready, standing, now),
            reacted: None,
            awaited: false,
            heard: now,
        }
    }

    /// Pods are asked for their figures, unless the activator sees everything: then an empty window
    /// of the policy `knative` is missing data, not an absence of load.
    #[must_use]
    pub(crate) fn scraped(mut self, scraped: bool) -> Self {
        self.policy.set_scraped(scraped);
        self
    }

    /// Takes a report, while `ready` pods take requests. Returns when a decision is due for it.
    pub fn observe(&mut self, report: &Demand, ready: u32, now: Duration) -> Due {
        self.heard = now;
        if self.policy.observe(report, ready, now) {
            return Due::Now;
        }
        if self.awaited || !self.policy.is_event_driven() {
            return Due::Later;
        }
        let since = self.reacted.map(|reacted| now.saturating_sub(reacted));
        match since.and_then(|since| APART.checked_sub(since)) {
            Some(rest) if !rest.is_zero() => {
                self.awaited = true;
                Due::After(rest)
            }
            _ => {
                self.reacted = Some(now);
                Due::Now
            }
        }
    }

    /// Whether the decision that a report was promised is still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited
    }

    /// Before the decision of a tick: the last whole table of a source was heard at `table`. If
    /// the revision was not in it for long enough, there is nothing.
    pub fn look_for_absence(&mut self, table: Duration) {
        if table.saturating_sub(self.heard) >= ABSENCE {
            self.policy.absent(table);
        }
    }

    /// Pods wanted at `now`, while `ready` pods take requests.
    pub fn decide(&mut self, ready: u32, now: Duration) -> Verdict {
        if std::mem::take(&mut self.awaited) {
            self.reacted = Some(now);
        }
        self.policy.decide(ready, now)
    }

    pub(crate) fn stood(&self) -> Option<&Stood> {
        self.policy.stood()
    }

    pub(crate) fn see(&mut self, standing: &Standing) {
        self.policy.see(standing);
    }

    pub(crate) fn confirm(&mut self, now: Duration) {
        self.policy.confirm(now);
    }

    /// The policy itself.
    #[cfg(test)]
    pub(crate) fn policy(&mut self) -> &mut Policy {
        &mut self.policy
    }

    pub(crate) fn kind(&self) -> PolicyKind {
        self.policy.kind()
    }

    pub(crate) fn spec(&self) -> &Spec {
        self.policy.spec()
    }

    pub(crate) fn set_spec(&mut self, spec: Spec, slots: Slots, now: Duration) {
        self.policy.set_spec(spec, slots, now);
    }

    pub(crate) fn figures(&self, now: Duration) -> Figures {
        self.policy.figures(now)
    }
}
