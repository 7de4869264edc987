//! The edge cases of spec/autoscaler.md §13, "KPA scaling and status".

use penstock_types::annotation::Annotations;
use penstock_types::{Reachability, Slots};

use super::*;
use crate::activity::{Activity, Inactive};
use crate::config::{BurstCapacity, Config};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1_000_000);
const NO_TRAFFIC: Activity = Activity::Inactive(Inactive::NoTraffic);
const TIMED_OUT: Activity = Activity::Inactive(Inactive::TimedOut);

fn spec() -> Spec {
    Spec::derive(
        &Config::default(),
        &Annotations::new(),
        Slots::Unlimited,
        Reachability::Reachable,
    )
}

fn unreachable(spec: Spec) -> Spec {
    Spec {
        reachability: Reachability::Unreachable,
        min_scale: 0,
        retention: Duration::ZERO,
        ..spec
    }
}

/// A revision that has been doing so for `seconds`, and once had its initial pods.
fn state(activity: Activity, seconds: u32) -> State {
    State {
        activity,
        since: NOW - SECOND * seconds,
        initialized: true,
    }
}

/// One pod that is ready, a policy that wants `desired`, an activator that confirms.
fn observed(desired: Option<u32>) -> Observed {
    Observed {
        decided: Status {
            desired,
            excess_burst_capacity: 0,
        },
        replicas: Some(1),
        ready: 1,
        path: Some(Path {
            proxied: false,
            proxied_for: Duration::ZERO,
            confirmed: true,
            published: true,
        }),
    }
}

fn with_path(change: impl FnOnce(&mut Path)) -> Observed {
    let mut observed = observed(Some(0));
    if let Some(path) = &mut observed.path {
        change(path);
    }
    observed
}

fn take(spec: &Spec, mut state: State, observed: &Observed) -> (Step, Activity) {
    let step = step(spec, &mut state, observed, NOW);
    (step, state.activity)
}

#[test]
fn the_last_pod_stays_for_a_stable_window_then_the_activator_takes_over() {
    let (step, activity) = take(&spec(), state(Activity::Active, 59), &observed(Some(0)));
    assert_eq!((step.wanted, step.ask), (Some(1), None));
    assert_eq!(step.again_after, Some(SECOND));
    assert_eq!(activity, Activity::Active);

    let (step, activity) = take(&spec(), state(Activity::Active, 60), &observed(Some(0)));
    assert_eq!((step.wanted, step.ask), (Some(0), None));
    assert_eq!((step.proxied, step.again_after), (true, None));
    assert_eq!(activity, NO_TRAFFIC);

    let proxied = with_path(|path| path.proxied = true);
    let (step, _) = take(&spec(), state(Activity::Active, 60), &proxied);
    assert_eq!(step.again_after, Some(SECOND * 3));
}

#[test]
fn the_window_of_the_revision_counts() {
    let spec = Spec {
        stable_window: SECOND * 90,
        ..spec()
    };
    let (step, _) = take(&spec, state(Activity::Active, 89), &observed(Some(0)));
    assert_eq!((step.wanted, step.again_after), (Some(1), Some(SECOND)));
}

#[test]
fn the_last_pod_goes_after_grace_and_retention() {
    let retention = |seconds| Spec {
        retention: SECOND * seconds,
        ..spec()
    };
    let table = [
        // what it shows, parameters, inactive for, proxied for, pods asked for, again after
        ("grace is over", spec(), 30, 0, Some(0), None),
        ("one second of grace is left", spec(), 29, 0, None, Some(30)),
        (
            "proxied for the grace period",
            spec(),
            29,
            30,
            Some(0),
            None,
        ),
        ("proxied one second less", spec(), 29, 29, None, Some(1)),
        (
            "retention outlasts grace",
            retention(60),
            30,
            30,
            None,
            Some(30),
        ),
        ("retention is over", retention(60), 60, 0, Some(0), None),
        (
            "retention is over, grace by path",
            retention(42),
            42,
            30,
            Some(0),
            None,
        ),
        (
            "shorter retention, grace by path",
            retention(10),
            29,
            30,
            Some(0),
            None,
        ),
        (
            "nobody can call: no retention",
            unreachable(retention(60)),
            30,
            0,
            Some(0),
            None,
        ),
        (
            "nobody can call: but grace",
            unreachable(spec()),
            29,
            0,
            None,
            Some(30),
        ),
    ];
    for (case, spec, inactive, proxied_for, ask, again_after) in table {
        let observed = with_path(|path| path.proxied_for = SECOND * proxied_for);
        let (step, activity) = take(&spec, state(NO_TRAFFIC, inactive), &observed);
        assert_eq!((step.wanted, step.ask), (Some(0), ask), "{case}");
        assert_eq!(step.again_after, again_after.map(|s| SECOND * s), "{case}");
        assert_eq!(activity, NO_TRAFFIC, "{case}");
    }
}

#[test]
fn the_activator_has_to_confirm_unless_it_is_always_in_the_path() {
    let unconfirmed = with_path(|path| path.confirmed = false);
    let (step, _) = take(&spec(), state(NO_TRAFFIC, 300), &unconfirmed);
    assert_eq!((step.wanted, step.ask), (Some(0), None));
    assert!(step.needs_confirmation());

    let always = Spec {
        burst_capacity: BurstCapacity::Unlimited,
        ..spec()
    };
    let (step, _) = take(&always, state(NO_TRAFFIC, 300), &unconfirmed);
    assert_eq!(step.ask, Some(0));
    assert!(!step.needs_confirmation());
}

#[test]
fn first_pods_have_the_progress_deadline_and_a_bit() {
    let quick = Spec {
        progress_deadline: SECOND * 5,
        ..spec()
    };
    let none_ready = Observed {
        ready: 0,
        ..observed(Some(0))
    };
    let table = [
        (spec(), 315, None, Some(630), Activity::Activating),
        (spec(), 630, None, Some(630), Activity::Activating),
        (spec(), 631, Some(0), None, TIMED_OUT),
        (quick, 36, Some(0), None, TIMED_OUT),
    ];
    for (spec, seconds, wanted, again_after, activity) in table {
        let before = state(Activity::Activating, seconds);
        let (step, after) = take(&spec, before, &none_ready);
        assert_eq!((step.wanted, step.ask), (wanted, wanted), "{seconds} s");
        assert_eq!(
            step.again_after,
            again_after.map(|s| SECOND * s),
            "{seconds} s"
        );
        assert_eq!(after, activity, "{seconds} s");
    }
}

#[test]
fn bounds_hold_in_any_state() {
    let min = Spec {
        min_scale: 2,
        ..spec()
    };
    for activity in [Activity::Active, Activity::Activating, NO_TRAFFIC] {
        let (step, _) = take(&min, state(activity, 300), &observed(Some(0)));
        assert_eq!((step.wanted, step.ask), (Some(2), Some(2)), "{activity:?}");
        assert_eq!(step.why, Some(Reason::Bound(Bound::Min)), "{activity:?}");
    }
    let (step, _) = take(
        &unreachable(min),
        state(NO_TRAFFIC, 300),
        &observed(Some(0)),
    );
    assert_eq!(step.ask, Some(0));

    let max = Spec {
        max_scale: Some(8),
        ..spec()
    };
    let (step, _) = take(&max, state(Activity::Active, 1), &observed(Some(10)));
    assert_eq!(
        (step.wanted, step.why),
        (Some(8), Some(Reason::Bound(Bound::Max)))
    );
}

#[test]
fn the_initial_scale_counts_until_it_was_reached() {
    let two = Spec {
        initial_scale: 2,
        ..spec()
    };
    let new = State::new(NOW - SECOND);
    let (step, activity) = take(&two, new, &observed(Some(1)));
    assert_eq!((step.wanted, step.ask), (Some(2), Some(2)));
    assert_eq!(step.why, Some(Reason::Bound(Bound::Initial)));
    assert_eq!(activity, Activity::Activating);

    let reached = Observed {
        replicas: Some(2),
        ready: 2,
        ..observed(Some(1))
    };
    let (step, _) = take(&two, state(Activity::Active, 1), &reached);
    assert_eq!((step.wanted, step.ask), (Some(1), Some(1)));

    let five = Spec {
        initial_scale: 5,
        ..spec()
    };
    let there = Observed {
        replicas: Some(5),
        ..observed(Some(1))
    };
    let (step, _) = take(&five, new, &there);
    assert_eq!((step.wanted, step.ask), (Some(5), None));
}

#[test]
fn twenty_initial_pods_have_to_be_ready_and_published() {
    let twenty = Spec {
        initial_scale: 20,
        ..spec()
    };
    let table = [
        // ready, published, activity, initialized
        (11, true, Activity::Activating, false),
        (20, true, Activity::Active, true),
        (20, false, Activity::Active, false),
    ];
    for (ready, published, activity, initialized) in table {
        let mut observed = Observed {
            ready,
            ..with_path(|path| path.published = published)
        };
        observed.decided.desired = Some(1);
        let mut state = State::new(NOW - SECOND);
        let step = step(&twenty, &mut state, &observed, NOW);
        assert_eq!(step.wanted, Some(20), "{ready} ready");
        assert_eq!(state.activity, activity, "{ready} ready");
        assert_eq!(state.initialized, initialized, "{ready} ready");
    }
}

#[test]
fn an_initial_scale_of_zero_is_inactive_at_once() {
    let zero = Spec {
        initial_scale: 0,
        ..spec()
    };
    for published in [true, false] {
        let mut state = State::new(NOW - SECOND);
        let observed = Observed {
            ready: 0,
            ..with_path(|path| path.published = published)
        };
        step(&zero, &mut state, &observed, NOW);
        assert_eq!((state.activity, state.initialized), (NO_TRAFFIC, published));
    }
}

#[test]
fn without_a_decision_a_running_revision_is_left_alone() {
    for activity in [Activity::Active, NO_TRAFFIC] {
        let (step, after) = take(&spec(), state(activity, 300), &observed(None));
        assert_eq!((step.wanted, step.ask), (None, None));
        assert!(step.proxied);
        assert_eq!(after, activity);
    }
}

#[test]
fn where_scaling_to_zero_is_off_one_pod_stays() {
    let off = Spec {
        scale_to_zero: false,
        ..spec()
    };
    let none = Observed {
        replicas: Some(0),
        ..observed(Some(0))
    };
    let (step, _) = take(&off, state(NO_TRAFFIC, 300), &none);
    assert_eq!((step.wanted, step.ask), (Some(1), Some(1)));

    let (step, _) = take(&off, state(NO_TRAFFIC, 300), &observed(None));
    assert_eq!((step.wanted, step.ask), (None, None));
}

#[test]
fn demand_wakes_an_inactive_revision_through_the_activator() {
    let none = Observed {
        replicas: Some(0),
        ready: 0,
        ..observed(Some(1))
    };
    let (step, activity) = take(&spec(), state(NO_TRAFFIC, 300), &none);
    assert_eq!(
        (step.wanted, step.ask, step.proxied),
        (Some(1), Some(1), false)
    );
    assert_eq!(activity, Activity::Activating);
}

#[test]
fn too_few_pods_for_the_lower_bound_are_not_active_unless_nobody_can_call() {
    let min = Spec {
        min_scale: 2,
        ..spec()
    };
    let (_, activity) = take(&min, state(Activity::Activating, 1), &observed(Some(1)));
    assert_eq!(activity, Activity::Activating);
    let (_, activity) = take(
        &unreachable(min),
        state(Activity::Activating, 1),
        &observed(Some(1)),
    );
    assert_eq!(activity, Activity::Active);
}

#[test]
fn the_activator_leaves_the_path_only_with_pods_and_room_to_spare() {
    let table = [
        // pods wanted, room left, proxied
        (Some(1), 0, false),
        (Some(1), -1, true),
        (Some(0), 5, true),
        (None, 5, true),
    ];
    for (desired, excess_burst_capacity, proxied) in table {
        let mut observed = observed(desired);
        observed.decided.excess_burst_capacity = excess_burst_capacity;
        let (step, _) = take(&spec(), state(Activity::Active, 300), &observed);
        assert_eq!(
            step.proxied, proxied,
            "{desired:?}, {excess_burst_capacity}"
        );
    }
}

#[test]
fn a_revision_without_a_path_is_only_given_one() {
    let unmade = Observed {
        path: None,
        ..observed(Some(10))
    };
    let (step, activity) = take(&spec(), state(Activity::Active, 1), &unmade);
    assert_eq!((step.wanted, step.ask), (None, None));
    assert_eq!((step.proxied, step.activators), (true, 2));
    assert_eq!(activity, Activity::Activating);
}
