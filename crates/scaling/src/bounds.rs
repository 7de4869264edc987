//! Bounds of a revision: fewest, most and first pods, and how many activators it takes.
//!
//! Source: spec/autoscaler.md §7, "Scale(d)" steps 1 and 2, and step 5.

use std::fmt;

use crate::config::BurstCapacity;
use crate::spec::Spec;

/// What a bound made of a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// Pods wanted now.
    pub pods: u32,
    /// What changed the wish, if anything did.
    pub by: Option<Bound>,
}

/// A bound that changed a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `min-scale`.
    Min,
    /// `initial-scale`, until it has once been reached.
    Initial,
    /// `max-scale`.
    Max,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Min => "raised to min-scale",
            Self::Initial => "raised to initial-scale",
            Self::Max => "lowered to max-scale",
        })
    }
}

/// Brings `desired` within the bounds. No wish at all is the lower bound.
///
/// A revision may begin with more pods than it may have later: then a wish below
/// `initial-scale` is raised to that, past `max-scale`.
///
/// `initialized` says whether the revision has once had its initial scale.
pub fn bound(spec: &Spec, initialized: bool, desired: Option<u32>) -> Bounded {
    let awaits_initial = spec.initial_scale > 1 && !initialized && spec.is_reachable();
    let (least, lower) = if awaits_initial && spec.initial_scale > spec.min_scale {
        (spec.initial_scale, Bound::Initial)
    } else {
        (spec.min_scale, Bound::Min)
    };
    let (pods, by) = match (desired, spec.max_scale) {
        (None, _) => (least, (least > 0).then_some(lower)),
        (Some(pods), _) if pods < least => (least, Some(lower)),
        (Some(pods), Some(most)) if pods > most => (most, Some(Bound::Max)),
        (Some(pods), _) => (pods, None),
    };
    Bounded { pods, by }
}

/// Activators of any revision, at least.
pub const FEWEST_ACTIVATORS: u32 = 2;

/// Activators for a revision with so many ready pods: enough to hold the load that its pods
/// can take and the burst that may come on top, and at least
/// [`FEWEST_ACTIVATORS`].
pub fn activators(spec: &Spec, ready: u32) -> u32 {
    let burst = match spec.burst_capacity {
        BurstCapacity::Of(0.0) => return FEWEST_ACTIVATORS,
        BurstCapacity::Of(burst) => burst,
        BurstCapacity::Unlimited => 0.0,
    };
    let load = f64::from(ready) * spec.total + burst;
    ((load / spec.activator_capacity).ceil() as u32).max(FEWEST_ACTIVATORS)
}
