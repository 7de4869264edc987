//! One step of scaling: from a policy's wish to the pods that are asked for.
//!
//! The wish goes through the bounds; a wish for no pod at all through the rule for the last
//! pod. From what comes out follow who is in the path and whether the revision is active.
//!
//! Source: spec/autoscaler.md §7.

use std::fmt;
use std::time::Duration;

use crate::activity::{Activity, State};
use crate::bounds::{Bound, FEWEST_ACTIVATORS, activators, bound};
use crate::knative::Status;
use crate::spec::Spec;
use crate::zero::{Path, Why, last_pod};

/// What is known of a revision beside its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the policy decided last.
    pub decided: Status,
    /// Pods that were last asked for; `None` if nobody has asked.
    pub replicas: Option<u32>,
    /// Pods that are ready.
    pub ready: u32,
    /// Who is in the path; `None` while there is none.
    pub path: Option<Path>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pods wanted; `None` leaves open how many.
    pub wanted: Option<u32>,
    /// Pods to ask for, if that changes anything.
    pub ask: Option<u32>,
    /// Whether the activator is to be in the path.
    pub proxied: bool,
    /// How many activators.
    pub activators: u32,
    /// When to take the next step, though nothing else happens.
    pub again_after: Option<Duration>,
    /// What made `wanted` differ from the wish, or the last pod stay.
    pub why: Option<Reason>,
}

impl Step {
    /// Whether the last pod waits for the activator's word. Ask it, and take the step again
    /// with [`Path::confirmed`].
    pub fn needs_confirmation(&self) -> bool {
        self.why == Some(Reason::LastPod(Why::Unconfirmed))
    }
}

/// What made the result differ from the wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A bound.
    Bound(Bound),
    /// The rule for the last pod.
    LastPod(Why),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(bound) => bound.fmt(f),
            Self::LastPod(why) => why.fmt(f),
        }
    }
}

/// Takes one step at `now`.
pub fn step(spec: &Spec, state: &mut State, observed: &Observed, now: Duration) -> Step {
    let Some(path) = observed.path else {
        state.advance(spec, None, 0, false, now);
        return Step {
            wanted: None,
            ask: None,
            proxied: true,
            activators: FEWEST_ACTIVATORS,
            again_after: None,
            why: None,
        };
    };
    let scale = scale(spec, state, observed, path, now);
    state.advance(spec, scale.wanted, observed.ready, path.published, now);
    let serves =
        scale.wanted.is_some_and(|pods| pods > 0) && observed.decided.excess_burst_capacity >= 0;
    Step {
        wanted: scale.wanted,
        ask: scale.ask,
        proxied: !serves,
        activators: activators(spec, observed.ready),
        again_after: scale.again_after,
        why: scale.why,
    }
}

/// The part of a step that is about pods.
struct Scale {
    wanted: Option<u32>,
    ask: Option<u32>,
    again_after: Option<Duration>,
    why: Option<Reason>,
}

fn scale(spec: &Spec, state: &State, observed: &Observed, path: Path, now: Duration) -> Scale {
    // Before the first decision only a revision that is coming up is touched.
    if observed.decided.desired.is_none() && !state.is_coming_up() {
        return Scale {
            wanted: None,
            ask: None,
            again_after: None,
            why: None,
        };
    }
    let bounded = bound(spec, state.initialized, observed.decided.desired);
    // A Deployment that says nothing has one pod.
    let current = observed.replicas.unwrap_or(1);
    let differs = |pods: u32| (pods != current).then_some(pods);
    if bounded.pods > 0 {
        return Scale {
            wanted: Some(bounded.pods),
            ask: differs(bounded.pods),
            again_after: None,
            why: bounded.by.map(Reason::Bound),
        };
    }
    let last = last_pod(spec, state, path, now);
    Scale {
        wanted: last.wanted,
        ask: last.wanted.filter(|_| last.write).and_then(differs),
        again_after: last.again_after,
        why: Some(Reason::LastPod(last.why)),
    }
}

/// How a revision's scaling stands, as Kubernetes writes it: a condition is true, false or open.
///
/// Source: spec/autoscaler.md §7, steps 1, 6 and 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Whether it is active (`Active`).
    pub active: Option<bool>,
    /// Whether it once had its initial scale (`ScaleTargetInitialized`).
    pub initialized: Option<bool>,
    /// Whether requests find their way (`SKSReady`).
    pub path_ready: Option<bool>,
}

impl Conditions {
    /// Those of a revision in `state`; `path_ready` says whether its way is there and whole.
    pub fn new(state: &State, path_ready: bool) -> Self {
        Self {
            active: match state.activity {
                Activity::New | Activity::Activating => None,
                Activity::Active => Some(true),
                Activity::Inactive(_) => Some(false),
            },
            initialized: state.initialized.then_some(true),
            path_ready: path_ready.then_some(true),
        }
    }

    /// All of them together (`Ready`): one that is false decides, then one that is open.
    pub fn ready(&self) -> Option<bool> {
        let all = [self.active, self.initialized, self.path_ready];
        if all.contains(&Some(false)) {
            Some(false)
        } else if all.contains(&None) {
            None
        } else {
            Some(true)
        }
    }
}

#[cfg(test)]
mod tests;
