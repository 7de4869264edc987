//! Whether a revision is active: the condition that scaling to and from zero goes by.
//!
//! ```text
//! activating ── enough pods ready ──> active ── no pod wanted ──> inactive
//!     ^  └────── none in time ───────────────────────────────────────^ │
//!     └──────────────── pods wanted, too few ready ────────────────────┘
//! ```
//!
//! Source: spec/autoscaler.md §7, step 7.

use std::time::Duration;

use crate::spec::Spec;

pub use penstock_types::{Activity, Inactive};

/// What a revision is doing, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What.
    pub activity: Activity,
    /// Since when.
    pub since: Duration,
    /// Whether it has once had its initial scale (`ScaleTargetInitialized`).
    pub initialized: bool,
}

impl State {
    /// A revision that is new at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            activity: Activity::New,
            since: now,
            initialized: false,
        }
    }

    /// How long it has been doing this.
    pub fn lasts(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// Whether its first pods are still to come.
    pub fn is_coming_up(&self) -> bool {
        matches!(self.activity, Activity::New | Activity::Activating)
    }

    /// Whether it is inactive, for whatever reason.
    pub fn is_inactive(&self) -> bool {
        matches!(self.activity, Activity::Inactive(_))
    }

    /// Moves on, with `wanted` pods (`None`: not known yet), of which `ready` are there.
    ///
    /// `published` says whether clients have an address for the revision; without one it does
    /// not count as initialized.
    pub fn advance(
        &mut self,
        spec: &Spec,
        wanted: Option<u32>,
        ready: u32,
        published: bool,
        now: Duration,
    ) {
        let enough = if self.initialized {
            spec.min_scale.max(1)
        } else {
            spec.min_scale.max(spec.initial_scale)
        };
        if ready >= enough && published {
            self.initialized = true;
        }
        let next = self.next(wanted, ready, enough);
        if next != self.activity {
            self.activity = next;
            self.since = now;
        }
    }

    fn next(&self, wanted: Option<u32>, ready: u32, enough: u32) -> Activity {
        if wanted == Some(0) || enough == 0 {
            return match self.activity {
                Activity::New | Activity::Activating if enough > 0 => {
                    Activity::Inactive(Inactive::TimedOut)
                }
                _ => Activity::Inactive(Inactive::NoTraffic),
            };
        }
        let stirs = wanted.is_some() || !self.is_inactive();
        match (ready < enough, stirs) {
            (true, true) => Activity::Activating,
            (true, false) => Activity::Inactive(Inactive::NoTraffic),
            (false, true) => Activity::Active,
            (false, false) => self.activity,
        }
    }
}
