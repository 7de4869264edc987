//! Whether the activator is in the path: it enters at once, and leaves only for good.
//!
//! Excess burst capacity (spec/autoscaler.md §5, step 8) is what still fits into the ready pods
//! beside the load and the target burst capacity. Below zero the activator has to help. At a
//! load near that boundary every report would move it in or out, and each move changes the
//! endpoints that all callers follow. So it leaves once, for [`HOLD`], a [`BAND`]th part of the
//! pods' capacity was free besides: then noise no longer reaches the boundary.

use std::time::Duration;

use super::{BAND, HOLD};
use crate::config::BurstCapacity;
use crate::spec::Spec;

/// What is remembered of the room that the pods had.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Path {
    /// Whether the activator has left it.
    out: bool,
    /// Since when there has been room enough to leave it.
    roomy: Option<Duration>,
    excess: i32,
}

impl Path {
    /// Before the first decision: the activator is in the path unless it never is to be.
    pub(super) fn new(spec: &Spec) -> Self {
        let out = spec.burst_capacity == BurstCapacity::Of(0.0);
        Self {
            out,
            roomy: None,
            excess: if out { 0 } else { -1 },
        }
    }

    /// Begins outside the path if the activator was `out` already.
    pub(super) fn resume(&mut self, out: bool) {
        if out {
            (self.out, self.excess) = (true, 0);
        }
    }

    /// The load of the last second, and the pods that were ready for it.
    pub(super) fn watch(&mut self, spec: &Spec, load: f64, ready: u32, now: Duration) {
        let capacity = f64::from(ready) * spec.total;
        let (excess, margin) = match spec.burst_capacity {
            BurstCapacity::Unlimited => (-1.0, 0.0),
            BurstCapacity::Of(0.0) => (0.0, 0.0),
            BurstCapacity::Of(room) => ((capacity - room - load).floor(), BAND * capacity),
        };
        if excess < margin {
            self.roomy = None;
        } else if margin == 0.0 {
            // Nothing depends on the load.
            self.roomy = Some(Duration::ZERO);
        } else {
            // A clock that stepped back begins anew.
            let since = self.roomy.filter(|since| *since <= now);
            self.roomy = Some(since.unwrap_or(now));
        }
        let lasts = self.roomy.map(|since| now.saturating_sub(since));
        self.out = excess >= 0.0 && (self.out || lasts.is_some_and(|lasts| lasts >= HOLD));
        // The sign is what is acted on; `as` saturates.
        self.excess = if self.out {
            excess as i32
        } else {
            (excess as i32).min(-1)
        };
    }

    /// Excess burst capacity in units of the metric; below zero, and only then, the activator is
    /// in the path.
    pub(super) fn excess(self) -> i32 {
        self.excess
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use penstock_types::{Reachability, Slots};

    use super::*;
    use crate::config::Config;

    /// Pods of 100, and room for 200 more.
    fn spec(room: BurstCapacity) -> Spec {
        let config = Config {
            burst_capacity: room,
            ..Config::default()
        };
        Spec::derive(
            &config,
            &BTreeMap::new(),
            Slots::Unlimited,
            Reachability::Reachable,
        )
    }

    const ROOM: BurstCapacity = BurstCapacity::Of(200.0);

    /// What is said in each second of these loads, with 10 ready pods.
    fn excess(room: BurstCapacity, loads: impl Iterator<Item = f64>) -> Vec<i32> {
        let spec = spec(room);
        let mut path = Path::new(&spec);
        let seconds = (1_700_000_000..).map(Duration::from_secs);
        let watch = |(now, load)| {
            path.watch(&spec, load, 10, now);
            path.excess()
        };
        seconds.zip(loads).map(watch).collect()
    }

    #[test]
    fn a_load_at_the_boundary_moves_the_activator_once() {
        // 1000 - 200 - 800 is zero, give or take 3%.
        let noise = [0.0, 20.0, -24.0, 10.0, -5.0];
        let noisy = (0..100).map(|second| 800.0 + noise[second % 5]);
        let said = excess(ROOM, std::iter::repeat_n(500.0, 20).chain(noisy));
        let moves = said.windows(2).filter(|two| (two[0] < 0) != (two[1] < 0));
        assert_eq!(
            moves.count(),
            2,
            "out after a while, in again, no more: {said:?}"
        );
        assert!(said[25..].iter().all(|excess| *excess < 0), "{said:?}");
    }

    #[test]
    fn it_enters_at_once_and_leaves_after_a_while_with_room_to_spare() {
        let loads = [500.0; 20].into_iter().chain([900.0]).chain([500.0; 20]);
        let said = excess(ROOM, loads);
        assert_eq!(said[..15], [-1; 15]);
        assert_eq!(said[15..20], [300; 5]);
        assert_eq!(said[20], -100);
        assert_eq!(said[21..36], [-1; 15]);
        assert_eq!(said[36..], [300; 5]);
        // 60 free are less than a tenth of 1000: not enough to leave, enough to stay out.
        let said = excess(ROOM, [500.0; 16].into_iter().chain([740.0; 60]));
        assert_eq!(said[75], 60);
        assert_eq!(excess(ROOM, [740.0; 60].into_iter())[59], -1);
    }

    #[test]
    fn always_and_never_do_not_depend_on_the_load() {
        assert_eq!(
            excess(BurstCapacity::Of(0.0), [0.0, 1e9].into_iter()),
            [0, 0]
        );
        assert_eq!(
            excess(BurstCapacity::Unlimited, [0.0, 1e9].into_iter()),
            [-1, -1]
        );
        assert_eq!(Path::new(&spec(BurstCapacity::Of(0.0))).excess(), 0);
        assert_eq!(Path::new(&spec(ROOM)).excess(), -1);
    }
}
