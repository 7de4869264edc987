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

#[cfg(test)]
mod tests {
    use penstock_types::annotation::Annotations;
    use penstock_types::{Reachability, Slots};

    use super::*;
    use crate::config::Config;

    fn spec() -> Spec {
        Spec::derive(
            &Config::default(),
            &Annotations::new(),
            Slots::Unlimited,
            Reachability::Reachable,
        )
    }

    #[test]
    fn a_wish_is_brought_within_the_bounds() {
        let bounded = Spec {
            min_scale: 2,
            max_scale: Some(8),
            initial_scale: 12,
            ..spec()
        };
        let table = [
            // what it shows, initialized, wish, pods, by
            ("too few", true, Some(1), 2, Some(Bound::Min)),
            ("no wish", true, None, 2, Some(Bound::Min)),
            ("as it is", true, Some(5), 5, None),
            ("too many", true, Some(9), 8, Some(Bound::Max)),
            ("to begin with", false, Some(1), 12, Some(Bound::Initial)),
            (
                "more than to begin with",
                false,
                Some(13),
                8,
                Some(Bound::Max),
            ),
        ];
        for (case, initialized, wish, pods, by) in table {
            let want = Bounded { pods, by };
            assert_eq!(bound(&bounded, initialized, wish), want, "{case}");
        }
        let free = bound(&spec(), true, Some(1_000_000));
        assert_eq!((free.pods, free.by), (1_000_000, None));
        let none = bound(&spec(), true, None);
        assert_eq!((none.pods, none.by), (0, None));
    }

    #[test]
    fn nobody_waits_for_the_initial_pods_of_an_unreachable_revision() {
        let unreachable = Spec {
            initial_scale: 12,
            reachability: Reachability::Unreachable,
            ..spec()
        };
        assert_eq!(bound(&unreachable, false, Some(1)).pods, 1);
    }

    #[test]
    fn activators_hold_what_the_pods_can_take_and_the_burst() {
        let of = |burst_capacity, total| Spec {
            burst_capacity,
            total,
            activator_capacity: 100.0,
            ..spec()
        };
        let table = [
            // burst capacity, load per pod, ready pods, activators
            (BurstCapacity::Of(200.0), 100.0, 0, 2),
            (BurstCapacity::Of(200.0), 100.0, 1, 3),
            (BurstCapacity::Of(200.0), 100.0, 15, 17),
            (BurstCapacity::Of(0.0), 100.0, 500, 2),
            (BurstCapacity::Unlimited, 100.0, 5, 5),
        ];
        for (burst, total, ready, want) in table {
            assert_eq!(
                activators(&of(burst, total), ready),
                want,
                "{burst:?}, {ready}"
            );
        }
    }
}
