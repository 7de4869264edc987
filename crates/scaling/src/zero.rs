//! The last pod: when it may go.
//!
//! It goes in two moves. First the activator takes over the path, while the pod still stands
//! and finishes what it has; the pod itself goes after a grace period. In between, the
//! activator has to confirm that it has the path.
//!
//! Source: spec/autoscaler.md §8.

use std::fmt;
use std::time::Duration;

use crate::activity::{Activity, State};
use crate::spec::Spec;

/// Time beyond the progress deadline that first pods are given.
const SLACK: Duration = Duration::from_secs(30);
/// Time after which to look again, when the activator has the path already.
const SOON: Duration = Duration::from_secs(3);

/// Who is in the path of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Whether the activator was last told to be in it (the SKS's mode is `Proxy`).
    pub proxied: bool,
    /// How long all requests have come by the activator.
    pub proxied_for: Duration,
    /// Whether the activator has just confirmed that it answers for the revision.
    pub confirmed: bool,
    /// Whether clients have an address for the revision.
    pub published: bool,
}

/// What becomes of the last pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPod {
    /// Pods wanted; `None` leaves open how many.
    pub wanted: Option<u32>,
    /// Whether so many pods are to be asked for. Otherwise they stay as they are for now.
    pub write: bool,
    /// When to look again, though nothing else happens.
    pub again_after: Option<Duration>,
    /// Why.
    pub why: Why,
}

/// Why the last pod stays or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Scaling to zero is switched off.
    Disabled,
    /// The first pods are still coming up.
    Activating,
    /// The first pods did not come up in time.
    TimedOut,
    /// It was active less than a stable window ago.
    Window,
    /// It goes inactive; the activator takes over the path.
    Idle,
    /// The activator has not confirmed that it has the path. Ask it.
    Unconfirmed,
    /// Its retention period is not over.
    Retention,
    /// The activator has not had the path for the grace period.
    Grace,
    /// Nothing is in the way.
    Over,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "enable-scale-to-zero is false",
            Self::Activating => "the first pods are coming up",
            Self::TimedOut => "the first pods did not come up in time",
            Self::Window => "active within the stable window",
            Self::Idle => "no load for a stable window, the activator takes over",
            Self::Unconfirmed => "the activator has not confirmed that it has the path",
            Self::Retention => "within scale-to-zero-pod-retention-period",
            Self::Grace => "within scale-to-zero-grace-period",
            Self::Over => "no load, and the grace period is over",
        })
    }
}

/// What becomes of the last pod at `now`, when no pod is wanted any more.
pub fn last_pod(spec: &Spec, state: &State, path: Path, now: Duration) -> LastPod {
    if !spec.scale_to_zero {
        return LastPod::ask(1, Why::Disabled);
    }
    let lasts = state.lasts(now);
    match state.activity {
        Activity::New | Activity::Activating => {
            let deadline = spec.progress_deadline.saturating_add(SLACK);
            if lasts > deadline {
                LastPod::ask(0, Why::TimedOut)
            } else {
                LastPod::leave(None, Some(deadline), Why::Activating)
            }
        }
        Activity::Active => match spec.stable_window.checked_sub(lasts) {
            Some(left) if !left.is_zero() => LastPod {
                again_after: Some(left),
                ..LastPod::ask(1, Why::Window)
            },
            _ => LastPod::leave(Some(0), path.proxied.then_some(SOON), Why::Idle),
        },
        Activity::Inactive(_) => remove(spec, lasts, path),
    }
}

/// What becomes of the pod of a revision that `lasts` so long in being inactive.
fn remove(spec: &Spec, lasts: Duration, path: Path) -> LastPod {
    // Where the activator is always in the path there is nothing to confirm.
    if spec.is_scraped() && !path.confirmed {
        return LastPod::leave(Some(0), None, Why::Unconfirmed);
    }
    if lasts >= spec.grace.max(spec.retention) {
        return LastPod::ask(0, Why::Over);
    }
    if lasts < spec.retention {
        return LastPod::leave(Some(0), Some(spec.retention - lasts), Why::Retention);
    }
    match spec.grace.checked_sub(path.proxied_for) {
        Some(left) if !left.is_zero() => LastPod::leave(Some(0), Some(left), Why::Grace),
        _ => LastPod::ask(0, Why::Over),
    }
}

impl LastPod {
    fn ask(pods: u32, why: Why) -> Self {
        Self {
            wanted: Some(pods),
            write: true,
            again_after: None,
            why,
        }
    }

    fn leave(wanted: Option<u32>, again_after: Option<Duration>, why: Why) -> Self {
        Self {
            wanted,
            write: false,
            again_after,
            why,
        }
    }
}
