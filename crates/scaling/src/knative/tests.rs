//! The edge cases of spec/autoscaler.md §13, "Decision" and "Decider registry".

use penstock_types::annotation::Annotations;
use penstock_types::{Reachability, Slots};

use super::*;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);

/// A moment; windows cut nothing here.
fn at(seconds: u32) -> Duration {
    SECOND * (1_000_000 + seconds)
}

/// Target 10 of 13.33, burst capacity 100, panic from twice the capacity, rates of 10.
fn spec() -> Spec {
    let derived = Spec::derive(
        &Config::default(),
        &Annotations::new(),
        Slots::Unlimited,
        Reachability::Reachable,
    );
    Spec {
        target: 10.0,
        total: 40.0 / 3.0,
        burst_capacity: BurstCapacity::Of(100.0),
        max_scale_up_rate: 10.0,
        max_scale_down_rate: 10.0,
        ..derived
    }
}

fn target(target: f64) -> Spec {
    Spec { target, ..spec() }
}

/// No panic, whatever comes.
fn calm() -> Spec {
    Spec {
        panic_threshold: 1e9,
        ..spec()
    }
}

fn unreachable(spec: Spec) -> Spec {
    Spec {
        reachability: Reachability::Unreachable,
        ..spec
    }
}

fn load(stable: f64, panic: f64) -> Averages {
    Averages { stable, panic }
}

#[test]
fn load_over_target_is_the_number_of_pods() {
    let table = [
        // what it shows, parameters, ready, stable, panic, pods
        ("no load", spec(), 1, 0.0, 0.0, 0),
        ("the stable average decides", spec(), 1, 50.0, 10.0, 5),
        ("as many as the rate allows", spec(), 1, 100.0, 100.0, 10),
        ("no pod counts as one", spec(), 0, 1000.0, 1000.0, 10),
        (
            "the larger average decides in a panic",
            spec(),
            1,
            50.0,
            100.0,
            10,
        ),
        (
            "the larger average decides",
            target(1.0),
            10,
            50.0,
            30.0,
            50,
        ),
        ("a rest of load is a pod", spec(), 8, 1.0, 0.0, 1),
        ("a negative load is none", spec(), 8, -3.0, -1.0, 0),
    ];
    for (case, spec, ready, stable, panic, want) in table {
        let mut decider = Decider::new(spec, 1, at(0));
        let decision = decider.decide(load(stable, panic), ready, at(2));
        assert_eq!(decision.desired, want, "{case}: {decision}");
    }
}

#[test]
fn eight_pods_follow_the_load_down() {
    let mut decider = Decider::new(spec(), 1, at(0));
    for (second, both, want) in [(2, 100.0, 10), (4, 50.0, 5), (6, 0.0, 0)] {
        let decision = decider.decide(load(both, both), 8, at(second));
        assert_eq!(decision.desired, want, "{decision}");
    }
}

#[test]
fn a_panic_grows_with_the_load_and_is_refreshed() {
    let spec = Spec {
        max_scale_up_rate: 10.0,
        ..target(1.0)
    };
    let mut decider = Decider::new(spec, 1, at(0));
    let mut ready = 1;
    for (index, wanted) in [6, 36, 216, 1296].into_iter().enumerate() {
        let now = at(2 * index as u32);
        let decision = decider.decide(load(f64::from(wanted), f64::from(wanted)), ready, now);
        assert_eq!((decision.desired, decision.mode), (wanted, Mode::Panic));
        assert_eq!(decider.panic_since, Some(now));
        ready = wanted;
    }
}

#[test]
fn a_panic_ends_a_stable_window_after_it_was_last_justified() {
    let mut decider = Decider::new(target(1.0), 1, at(0));
    assert_eq!(decider.decide(load(10.0, 25.0), 10, at(0)).desired, 25);
    assert_eq!(decider.decide(load(10.0, 41.0), 40, at(30)).desired, 41);
    assert_eq!(decider.panic_since, Some(at(0)), "41 on 40 justify none");

    let decision = decider.clone().decide(load(50.0, 41.0), 41, at(60));
    assert_eq!(
        decision.mode,
        Mode::Panic,
        "at exactly the window it goes on"
    );
    let decision = decider.clone().decide(load(50.0, 41.0), 41, at(62));
    assert_eq!((decision.desired, decision.mode), (50, Mode::Stable));

    decider.decide(load(50.0, 80.0), 40, at(30));
    assert_eq!(decider.panic_since, Some(at(30)), "80 on 40 do");
}

#[test]
fn a_panic_takes_no_pod_away() {
    let mut decider = Decider::new(target(1.0), 10, at(0));
    assert_eq!(decider.decide(load(100.0, 1000.0), 10, at(2)).desired, 100);
    let held = decider.decide(load(1.0, 1.0), 100, at(30));
    assert_eq!((held.desired, held.held), (100, Some(Held::Peak)));
    let over = decider.decide(load(1.0, 1.0), 10, at(63));
    assert_eq!((over.desired, over.held), (1, None));
}

#[test]
fn rates_hold_both_ways() {
    let slow = Spec {
        max_scale_up_rate: 1.1,
        max_scale_down_rate: 1.1,
        ..calm()
    };
    let table = [
        // what it shows, parameters, ready, pods by load, pods, why
        ("up by 10", calm(), 1, 1000.0, 10, Some(Held::UpRate)),
        (
            "up by 10 again",
            calm(),
            10,
            1000.0,
            100,
            Some(Held::UpRate),
        ),
        ("always one more at least", slow.clone(), 2, 3.0, 3, None),
        ("down by 10", calm(), 100, 1.0, 10, Some(Held::DownRate)),
        ("down by 10 again", calm(), 10, 1.0, 1, None),
        ("down by a tenth", slow, 100, 1.0, 90, Some(Held::DownRate)),
        (
            "at once if nobody can call",
            unreachable(calm()),
            100,
            1.0,
            1,
            None,
        ),
    ];
    for (case, spec, ready, wanted, want, why) in table {
        let mut decider = Decider::new(spec, 1, at(0));
        let decision = decider.decide(load(wanted * 10.0, wanted * 10.0), ready, at(2));
        assert_eq!(decision.desired, want, "{case}: {decision}");
        assert_eq!(decision.held, why, "{case}: {decision}");
    }
}

#[test]
fn the_first_pods_come_together_and_no_load_is_still_none() {
    let spec = Spec {
        activation_scale: Some(2),
        ..spec()
    };
    for (stable, want) in [(0.0, 0), (1.0, 2), (25.0, 3)] {
        let mut decider = Decider::new(spec.clone(), 1, at(0));
        let decision = decider.decide(load(stable, 0.0), 1, at(2));
        assert_eq!(decision.desired, want, "{decision}");
    }
}

#[test]
fn what_is_left_for_a_burst_is_counted_in_load() {
    let of = |burst_capacity| Spec {
        burst_capacity,
        ..spec()
    };
    let table = [
        // what it shows, burst capacity, ready, panic load, left
        ("never in the path", BurstCapacity::Of(0.0), 1, 10.0, 0),
        ("always in the path", BurstCapacity::Unlimited, 1, 10.0, -1),
        (
            "less than is wanted",
            BurstCapacity::Of(100.0),
            1,
            10.0,
            -97,
        ),
        (
            "no pod holds nothing",
            BurstCapacity::Of(100.0),
            0,
            10.0,
            -110,
        ),
        (
            "more than is wanted",
            BurstCapacity::Of(100.0),
            12,
            10.0,
            50,
        ),
    ];
    for (case, burst, ready, panic, want) in table {
        let mut decider = Decider::new(of(burst), 1, at(0));
        let decision = decider.decide(load(0.0, panic), ready, at(2));
        assert_eq!(decision.excess_burst_capacity, want, "{case}");
    }
}

fn delayed(seconds: u32) -> Spec {
    Spec {
        scale_down_delay: SECOND * seconds,
        ..calm()
    }
}

#[test]
fn pods_stay_for_the_delay() {
    let table = [(2, 40.0, 4), (300, 0.0, 4), (302, 0.0, 0)];
    let mut decider = Decider::new(delayed(300), 1, at(0));
    for (second, stable, want) in table {
        let decision = decider.decide(load(stable, stable), 4, at(second));
        assert_eq!(decision.desired, want, "at {second} s: {decision}");
    }
}

#[test]
fn a_gradual_decline_is_delayed_step_by_step() {
    let mut decider = Decider::new(delayed(300), 1, at(0));
    let table = [
        (0, 40.0, 4),
        (10, 30.0, 4),
        (100, 0.0, 4),
        (300, 0.0, 3),
        (310, 0.0, 0),
    ];
    for (second, stable, want) in table {
        let decision = decider.decide(load(stable, stable), 4, at(second));
        assert_eq!(decision.desired, want, "at {second} s: {decision}");
    }
}

#[test]
fn nothing_is_delayed_if_nobody_can_call_or_no_delay_was_asked_for_at_first() {
    let mut decider = Decider::new(delayed(300), 1, at(0));
    decider.decide(load(40.0, 40.0), 4, at(2));
    decider.update(unreachable(delayed(300)));
    assert_eq!(decider.decide(load(0.0, 0.0), 4, at(4)).desired, 0);

    let mut decider = Decider::new(delayed(0), 1, at(0));
    decider.update(delayed(300));
    decider.decide(load(40.0, 40.0), 4, at(2));
    assert_eq!(decider.decide(load(0.0, 0.0), 4, at(4)).desired, 0);
}

#[test]
fn a_decider_that_finds_pods_begins_in_panic() {
    for (ready, panics) in [(0, false), (1, false), (2, true)] {
        let mut decider = Decider::new(spec(), ready, at(0));
        assert_eq!((decider.is_panicking(), decider.peak()), (panics, ready));
        let desired = decider.decide(load(0.0, 0.0), ready, at(2)).desired;
        assert_eq!(desired, if panics { ready } else { 0 });
    }
}

#[test]
fn a_new_target_counts_from_the_next_decision() {
    let mut decider = Decider::new(spec(), 1, at(0));
    assert_eq!(decider.decide(load(100.0, 0.0), 10, at(2)).desired, 10);
    decider.update(target(1.0));
    assert_eq!(decider.decide(load(100.0, 0.0), 10, at(4)).desired, 100);
}

#[test]
fn a_decision_says_why() {
    let mut decider = Decider::new(spec(), 1, at(0));
    let stable = decider.decide(load(15.0, 0.0), 1, at(2)).to_string();
    assert_eq!(stable, "stable: 15.00 in flight, target 10.00 per pod");
    let panic = decider.decide(load(50.0, 400.0), 1, at(4)).to_string();
    assert_eq!(
        panic,
        "panic: 400.00 (stable 50.00) in flight, target 10.00 per pod, held down by max-scale-up-rate"
    );
}

#[test]
fn before_the_first_decision_the_status_expects_the_initial_pods() {
    for (burst_capacity, want) in [
        (BurstCapacity::Of(0.0), 0),
        (BurstCapacity::Unlimited, -1),
        (BurstCapacity::Of(42.0), 8),
    ] {
        let status = Status::initial(&Spec {
            burst_capacity,
            initial_scale: 2,
            total: 25.0,
            ..spec()
        });
        assert_eq!(status.desired, None);
        assert_eq!(status.excess_burst_capacity, want);
    }
}

#[test]
fn only_pods_and_the_sign_of_what_is_left_are_news() {
    let table = [
        // desired and excess before, desired and excess after, news
        ((1, 5), (1, 5), false),
        ((1, 5), (2, 5), true),
        ((1, 0), (1, 1), false),
        ((1, 0), (1, -42), true),
        ((1, -1984), (1, -1988), false),
    ];
    let mut decision = Decider::new(spec(), 1, at(0)).decide(load(0.0, 0.0), 1, at(2));
    for (before, after, news) in table {
        let mut status = Status {
            desired: Some(before.0),
            excess_burst_capacity: before.1,
        };
        (decision.desired, decision.excess_burst_capacity) = after;
        assert_eq!(status.update(&decision), news, "{before:?} to {after:?}");
        assert_eq!(status.excess_burst_capacity, after.1);
    }
}

#[test]
fn only_load_at_zero_wakes() {
    let table = [
        (Some(0), 1.0, true),
        (Some(0), 0.0, false),
        (Some(1), 1.0, false),
        (None, 1.0, false),
    ];
    for (desired, concurrency, wakes) in table {
        let status = Status {
            desired,
            excess_burst_capacity: 0,
        };
        assert_eq!(status.is_woken_by(concurrency), wakes, "{desired:?}");
    }
}
