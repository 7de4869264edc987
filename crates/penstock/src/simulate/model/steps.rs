//! Steps of the load, and how long the pods for them were missing.

use std::time::Duration;

use penstock_scaling::spec::{Metric, Spec};

use crate::simulate::traffic::{Micros, Traffic};

/// Growth from one stretch to the next that counts as a step.
const STEP: f64 = 1.3;
/// Part of the pods for a load that is enough: a policy may leave a tenth to the room that the
/// utilisation keeps free.
const ENOUGH: f64 = 0.9;

/// A step up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at: Micros,
    /// When less is needed again, or the traffic ends.
    pub(crate) until: Micros,
    /// Pods that are enough.
    pub(crate) pods: u32,
}

/// Time after a step in which pods were missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    pub(crate) lasted: Duration,
    /// Whether it ended with enough pods, not with the load.
    pub(crate) reached: bool,
}

/// The steps of `traffic`. Its beginning is none.
pub(crate) fn steps(spec: &Spec, traffic: &Traffic) -> Vec<Step> {
    let needs: Vec<(Micros, f64, u32)> = traffic
        .with_beginnings()
        .map(|(at, stretch)| {
            let rps = stretch.rps(stretch.until - at);
            let load = match spec.metric {
                Metric::Concurrency => rps * stretch.work.mean(),
                Metric::Rps => rps,
            };
            (at, load, (load / spec.target * ENOUGH).ceil() as u32)
        })
        .collect();
    let pairs = needs.windows(2).enumerate();
    let steps = pairs.filter_map(|(index, pair)| {
        let [(_, before, fewer), (at, load, pods)] = *pair else {
            return None;
        };
        let later = &needs[index + 2..];
        let end = later.iter().find(|(.., need)| *need < pods);
        (load >= before * STEP && pods > fewer).then_some(Step {
            at,
            until: end.map_or(traffic.end(), |(at, ..)| *at),
            pods,
        })
    });
    steps.collect()
}

/// The longest lack after any of `steps`, where `ready` says how many pods were ready from when
/// on.
pub(super) fn longest_lack(steps: &[Step], ready: &[(Micros, u32)]) -> Option<Lack> {
    let lacks = steps.iter().map(|step| {
        let first = ready.partition_point(|(at, _)| *at <= step.at);
        // The last change before the step still holds.
        let from = &ready[first.saturating_sub(1)..];
        let enough = from.iter().find(|(_, pods)| *pods >= step.pods);
        let end = enough.map_or(Micros::MAX, |(at, _)| *at).max(step.at);
        Lack {
            lasted: Duration::from_micros(end.min(step.until) - step.at),
            reached: end <= step.until,
        }
    });
    lacks.max_by_key(|lack| (lack.lasted, !lack.reached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::traffic::SECOND;

    #[test]
    fn the_longest_lack_is_that_until_enough_pods_or_the_end_of_the_step() {
        let step = |at, until, pods| Step {
            at: at * SECOND,
            until: until * SECOND,
            pods,
        };
        let ready = [(0, 2), (12 * SECOND, 3), (15 * SECOND, 5)];
        let lack =
            |steps: &[Step]| longest_lack(steps, &ready).map(|l| (l.lasted.as_secs(), l.reached));
        assert_eq!(lack(&[]), None);
        assert_eq!(lack(&[step(10, 60, 2)]), Some((0, true)));
        assert_eq!(lack(&[step(10, 60, 3)]), Some((2, true)));
        assert_eq!(lack(&[step(10, 60, 5), step(10, 60, 3)]), Some((5, true)));
        assert_eq!(lack(&[step(10, 60, 6)]), Some((50, false)));
        assert_eq!(lack(&[step(20, 60, 5)]), Some((0, true)));
    }
}
