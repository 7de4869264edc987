//! §7 and §8: the tables, row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::activity::State;
use penstock_scaling::config::{BurstCapacity, Config};
use penstock_scaling::knative::Status;
use penstock_scaling::reconcile::{Observed, step};
use penstock_scaling::spec::Spec;
use penstock_scaling::zero::Path;
use penstock_types::{Activity, Inactive, Reachability, Slots};
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, Debug)]
struct Given {
    spec: Spec,
    activity: Activity,
    /// Milliseconds in that state.
    lasts: i64,
    initialized: bool,
    decided: i64,
    ebc: i32,
    replicas: Option<u32>,
    ready: u32,
    path: Option<Path>,
}

/// What the tables say.
#[derive(Debug, PartialEq)]
struct Outcome {
    want: i64,
    written: Option<u32>,
    requeue: Option<i64>,
    proxied: bool,
    activity: Activity,
    initialized: bool,
    probed: bool,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

/// §8: the value, whether it is written, when again, whether the activator is asked.
fn to_zero(given: &Given, path: &Path) -> (i64, bool, Option<i64>, bool) {
    let (spec, f) = (&given.spec, given.lasts);
    if !spec.scale_to_zero {
        return (1, true, None, false);
    }
    let deadline = millis(spec.progress_deadline) + 30_000;
    let window = millis(spec.stable_window);
    let (grace, retention) = (millis(spec.grace), millis(spec.retention));
    match given.activity {
        Activity::New | Activity::Activating if f > deadline => (0, true, None, false),
        Activity::New | Activity::Activating => (-1, false, Some(deadline), false),
        Activity::Active if f >= window => (0, false, path.proxied.then_some(3_000), false),
        Activity::Active => (1, true, Some(window - f), false),
        Activity::Inactive(_) => {
            if spec.burst_capacity != BurstCapacity::Unlimited && !path.confirmed {
                return (0, false, None, true);
            }
            let proxied_for = millis(path.proxied_for);
            if f >= grace.max(retention) {
                (0, true, None, false)
            } else if retention > 0 && f < retention {
                (0, false, Some(retention - f), false)
            } else if proxied_for >= grace {
                (0, true, None, false)
            } else {
                (0, false, Some(grace - proxied_for), false)
            }
        }
    }
}

fn model(given: &Given) -> Outcome {
    let spec = &given.spec;
    let reachable = spec.reachability != Reachability::Unreachable;
    let unknown = matches!(given.activity, Activity::New | Activity::Activating);
    let is_false = matches!(given.activity, Activity::Inactive(_));
    let (want, write, requeue, probed) = match &given.path {
        None => (-1, false, None, false),
        Some(_) if given.decided < 0 && !unknown => (-1, false, None, false),
        Some(path) => {
            let mut lo = i64::from(spec.min_scale);
            if spec.initial_scale > 1 && !given.initialized && reachable {
                lo = lo.max(i64::from(spec.initial_scale));
            }
            let max = i64::from(spec.max_scale.unwrap_or(0));
            let mut d = given.decided;
            if d < lo {
                d = lo;
            } else if max != 0 && d > max {
                d = max;
            }
            if d != 0 {
                (d, true, None, false)
            } else {
                to_zero(given, path)
            }
        }
    };
    let current = given.replicas.unwrap_or(1);
    let written = u32::try_from(want).ok().filter(|d| write && *d != current);
    let proxied = !(want > 0 && given.ebc >= 0) || given.path.is_none();

    let threshold = match given.initialized {
        true => spec.min_scale.max(1),
        false => spec.min_scale.max(spec.initial_scale),
    };
    let ready = given.path.as_ref().map_or(0, |_| given.ready);
    let published = given.path.as_ref().is_some_and(|path| path.published);
    let activity = if want == 0 || threshold == 0 {
        match unknown && threshold > 0 {
            true => Activity::Inactive(Inactive::TimedOut),
            false => Activity::Inactive(Inactive::NoTraffic),
        }
    } else if ready < threshold {
        match want > 0 || !is_false {
            true => Activity::Activating,
            false => Activity::Inactive(Inactive::NoTraffic),
        }
    } else if want > 0 || !is_false {
        Activity::Active
    } else {
        given.activity
    };
    Outcome {
        want,
        written,
        requeue,
        proxied,
        activity,
        initialized: given.initialized || (ready >= threshold && published),
        probed,
    }
}

/// Times around what a rule compares with.
fn around(seconds: &'static [i64]) -> impl Strategy<Value = i64> {
    let near = prop_oneof![Just(-1_i64), Just(0), Just(1), -3_000..3_000_i64];
    let at = (prop::sample::select(seconds), near);
    prop_oneof![
        4 => at.prop_map(|(seconds, by)| (seconds * 1000 + by).max(0)),
        1 => 0..900_000_i64,
    ]
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

prop_compose! {
    fn given()(
        (min, max, initial) in (
            prop_oneof![2 => Just(0_u32), 1 => 1..4_u32],
            prop_oneof![2 => Just(None), 1 => (1..9_u32).prop_map(Some)],
            prop_oneof![2 => Just(1_u32), 1 => 0..12_u32],
        ),
        (to_zero, grace, retention) in (
            prop::bool::weighted(0.85),
            prop::sample::select(vec![30_i64, 60]),
            prop::sample::select(vec![0_i64, 0, 45, 120]),
        ),
        tbc in prop::sample::select(vec![-1.0, 0.0, 211.0]),
        reachability in prop::sample::select(vec![
            Reachability::Unknown,
            Reachability::Reachable,
            Reachability::Unreachable,
        ]),
        activity in prop::sample::select(vec![
            Activity::New,
            Activity::Activating,
            Activity::Active,
            Activity::Inactive(Inactive::NoTraffic),
            Activity::Inactive(Inactive::TimedOut),
        ]),
        lasts in around(&[30, 45, 60, 120, 150]),
        initialized in any::<bool>(),
        decided in prop_oneof![3 => Just(0_i64), 1 => Just(-1), 3 => 1..20_i64],
        ebc in prop::sample::select(vec![-43, -1, 0, 1, 100]),
        (replicas, ready) in (prop::option::of(0..12_u32), 0..12_u32),
        path in prop::option::weighted(0.9, (
            any::<bool>(),
            prop_oneof![1 => Just(0), 4 => around(&[30, 60])],
            any::<bool>(),
            any::<bool>(),
        )),
    ) -> Given {
        let derived =
            Spec::derive(&Config::default(), &BTreeMap::new(), Slots::Unlimited, reachability);
        let reachable = reachability != Reachability::Unreachable;
        Given {
            spec: Spec {
                min_scale: if reachable { min } else { 0 },
                max_scale: max,
                initial_scale: initial,
                scale_to_zero: to_zero,
                grace: Duration::from_secs(grace.unsigned_abs()),
                retention: if reachable { duration(retention * 1000) } else { Duration::ZERO },
                burst_capacity: BurstCapacity::from_contract(tbc),
                progress_deadline: Duration::from_secs(120),
                ..derived
            },
            activity,
            lasts,
            initialized,
            decided,
            ebc,
            replicas,
            ready,
            path: path.map(|(proxied, since, confirmed, published)| Path {
                proxied,
                proxied_for: duration(since),
                confirmed,
                published,
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6000))]

    #[test]
    fn steps_are_those_of_the_contract(given in given()) {
        let want = model(&given);
        let mut state = State {
            activity: given.activity,
            since: NOW - duration(given.lasts),
            initialized: given.initialized,
        };
        let before = state;
        let observed = Observed {
            decided: Status {
                desired: u32::try_from(given.decided).ok(),
                excess_burst_capacity: given.ebc,
            },
            replicas: given.replicas,
            ready: given.ready,
            path: given.path,
        };
        let got = step(&given.spec, &mut state, &observed, NOW);
        let outcome = Outcome {
            want: got.wanted.map_or(-1, i64::from),
            written: got.ask,
            requeue: got.again_after.map(millis),
            proxied: got.proxied,
            activity: state.activity,
            initialized: state.initialized,
            probed: got.needs_confirmation(),
        };
        prop_assert_eq!(outcome, want);
        let moved = state.activity != before.activity;
        prop_assert_eq!(state.since, if moved { NOW } else { before.since });
    }
}
