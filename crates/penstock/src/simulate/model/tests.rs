//! The model on loads that can be worked out by hand.

use std::collections::BTreeMap;

use penstock_scaling::config::Config;
use penstock_types::Reachability;

use super::*;
use crate::simulate::chance::Time;
use crate::simulate::traffic::{Spacing, Stretch, Volume};

const DEMAND: PolicyKind = PolicyKind::Demand;
const KNATIVE: PolicyKind = PolicyKind::Knative;

/// A revision whose pods have `slots` and take two seconds to start.
fn setup(slots: u32) -> Setup {
    let config = Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    };
    let slots = Slots::from_concurrency(slots);
    Setup {
        spec: Spec::derive(&config, &BTreeMap::new(), slots, Reachability::Reachable),
        slots,
        patience: Duration::from_secs(300),
        pods: PodRules {
            begin: 0,
            start: Time::Fixed(Duration::from_secs(2)),
            capacity: None,
            nodes: None,
        },
        seed: 1,
        decisions: true,
    }
}

/// Stretches of seconds and requests per second, each request taking `work` milliseconds.
fn traffic(work: u64, rates: &[(u64, f64)]) -> Traffic {
    let mut until = 0;
    let stretches = rates.iter().map(|(seconds, rps)| {
        until += seconds * SECOND;
        Stretch {
            until,
            volume: Volume::Rate(*rps),
            work: Time::Fixed(Duration::from_millis(work)),
        }
    });
    Traffic {
        name: String::new(),
        stretches: stretches.collect(),
        spacing: Spacing::Even,
    }
}

#[test]
fn a_lone_request_waits_for_its_pod_which_goes_after_a_window() {
    let outcome = run(&setup(10), &traffic(100, &[(1, 1.0), (199, 0.0)]), DEMAND);
    assert_eq!((outcome.requests, outcome.cold), (1, 1));
    let waited = outcome.waits.max().unwrap();
    // The first word, a millisecond after it came, then the start.
    assert_eq!(waited, Duration::from_millis(2_001));
    let scale: Vec<(u32, u32)> = outcome.decisions.iter().map(|c| (c.from, c.to)).collect();
    assert_eq!(scale, [(0, 1), (1, 0)]);
    // Asked for at 0.5 s, gone when nothing was reported for 60 s.
    assert!(
        (60.0..66.0).contains(&outcome.pod_seconds),
        "{}",
        outcome.pod_seconds
    );
    assert_eq!(outcome.samples.len(), 200);
}

#[test]
fn five_hundred_at_zero_bring_eight_pods_in_the_first_decision() {
    // All within a millisecond, which is a burst that has not settled.
    let burst = [Stretch {
        until: SECOND / 2000,
        volume: Volume::Count(500),
        work: Time::Fixed(Duration::from_secs(1)),
    }];
    let mut all = traffic(1000, &[(60, 0.0)]);
    all.stretches.splice(0..0, burst);
    let outcome = run(&setup(0), &all, DEMAND);
    assert_eq!((outcome.decisions[0].from, outcome.decisions[0].to), (0, 8));
    assert_eq!(
        outcome.decisions[0].why,
        "500 waiting + 0 in flight, 70 a pod"
    );
}

#[test]
fn requests_beyond_the_slots_wait_in_line_and_beyond_the_capacity_inside() {
    let mut setup = setup(2);
    setup.pods.begin = 1;
    (setup.spec.min_scale, setup.spec.max_scale) = (1, Some(1));
    // Four at once, each a second: the pod takes two of them at a time.
    let four = |setup: &Setup| {
        let mut all = traffic(1000, &[(20, 0.0)]);
        all.stretches[0].until = SECOND / 1000;
        all.stretches[0].volume = Volume::Count(4);
        run(setup, &all, DEMAND)
    };
    let seconds = |outcome: &Outcome| {
        let wait = |part| outcome.waits.quantile(part).unwrap().as_secs_f64().round();
        [0.25, 0.5, 0.75, 1.0].map(wait)
    };
    assert_eq!(seconds(&four(&setup)), [0.0, 0.0, 1.0, 1.0]);
    setup.slots = Slots::Unlimited;
    assert_eq!(seconds(&four(&setup)), [0.0; 4]);
    setup.pods.capacity = Some(1);
    assert_eq!(seconds(&four(&setup)), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn who_waits_too_long_or_finds_the_line_full_is_refused_and_nobody_is_lost() {
    for capacity in [None, Some(1)] {
        let mut setup = setup(if capacity.is_some() { 0 } else { 1 });
        setup.spec.max_scale = Some(1);
        setup.patience = Duration::from_secs(10);
        setup.pods.capacity = capacity;
        let outcome = run(&setup, &traffic(1000, &[(60, 4.0)]), KNATIVE);
        assert_eq!(outcome.requests, 240);
        let longest = outcome.waits.max().unwrap();
        assert!(longest <= Duration::from_secs(10), "{longest:?}");
        assert!((150..200).contains(&outcome.late), "{}", outcome.late);
        assert_eq!(outcome.waits.count() + outcome.late, 240);
    }
    let mut setup = setup(1);
    setup.spec.max_scale = Some(1);
    let outcome = run(&setup, &traffic(1000, &[(3, 5_000.0), (1, 0.0)]), DEMAND);
    assert_eq!(outcome.requests, 15_000);
    // One second of work is done before the traffic ends.
    assert!(
        (4_990..=5_000).contains(&outcome.turned_away),
        "{}",
        outcome.turned_away
    );
    assert_eq!(
        outcome.waits.count() + outcome.late + outcome.turned_away,
        15_000
    );
}

#[test]
fn pods_without_room_wait_for_a_node() {
    let mut setup = setup(1);
    setup.pods.nodes = Some(Nodes {
        pods: 2,
        begin: 1,
        start: Time::Fixed(Duration::from_secs(30)),
    });
    let outcome = run(&setup, &traffic(900, &[(120, 3.0)]), DEMAND);
    let ready = |second: usize| outcome.samples[second].ready;
    assert_eq!((ready(10), ready(28)), (2, 2), "as many as fit");
    assert!(ready(40) >= 3, "{}", ready(40));
    assert!(outcome.samples[10].wanted > 2);
    let longest = outcome.waits.max().unwrap();
    assert!(longest > Duration::from_secs(9), "{longest:?}");
}

#[test]
fn a_step_is_measured_from_the_change_of_the_load_to_enough_pods() {
    let mut setup = setup(10);
    setup.pods.begin = 10;
    let all = traffic(1000, &[(60, 70.0), (120, 105.0), (60, 70.0)]);
    let steps = steps(&setup.spec, &all);
    let places: Vec<(Micros, Micros, u32)> = steps
        .iter()
        .map(|step| (step.at, step.until, step.pods))
        .collect();
    assert_eq!(places, [(60 * SECOND, 180 * SECOND, 14)]);
    let lack = run(&setup, &all, DEMAND).lack.unwrap();
    assert!(lack.reached);
    assert!(lack.lasted <= Duration::from_secs(5), "{lack:?}");
    setup.spec.max_scale = Some(12);
    let lack = run(&setup, &all, DEMAND).lack.unwrap();
    assert_eq!(
        (lack.lasted, lack.reached),
        (Duration::from_secs(120), false)
    );
}

#[test]
fn an_hour_of_a_quiet_service_costs_few_events_and_keeps_every_second() {
    let outcome = run(&setup(0), &traffic(50, &[(3600, 0.01)]), KNATIVE);
    assert_eq!(outcome.samples.len(), 3600);
    assert_eq!(outcome.requests, 36);
    let arrived: u32 = outcome.samples.iter().map(|second| second.arrived).sum();
    assert_eq!(arrived, 36);
}
