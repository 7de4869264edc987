//! The rule, one decision at a time.

use std::collections::BTreeMap;

use penstock_types::Reachability;

use super::*;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// A configuration under which a revision begins without a pod.
fn config() -> Config {
    Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    }
}

/// Names without their prefix, and values.
type Annotations<'a> = &'a [(&'a str, &'a str)];

fn spec(slots: u32, annotations: Annotations) -> (Spec, Slots) {
    derive(&config(), slots, annotations, Reachability::Reachable)
}

fn derive(
    config: &Config,
    slots: u32,
    annotations: Annotations,
    reachability: Reachability,
) -> (Spec, Slots) {
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| {
            (
                format!("autoscaling.knative.dev/{key}"),
                (*value).to_owned(),
            )
        })
        .collect();
    let slots = Slots::from_concurrency(slots);
    (
        Spec::derive(config, &annotations, slots, reachability),
        slots,
    )
}

fn begin((spec, slots): (Spec, Slots), pods: u32) -> Decider {
    Decider::new(spec, slots, pods, NOW)
}

fn at(second: u32) -> Duration {
    NOW + SECOND * second
}

fn first(waiting: u32) -> Load {
    Load {
        average: None,
        waiting,
        in_flight: 0,
    }
}

fn running(requests: u32) -> Load {
    Load {
        average: Some(f64::from(requests)),
        waiting: 0,
        in_flight: requests,
    }
}

const NOTHING: Load = Load {
    average: Some(0.0),
    waiting: 0,
    in_flight: 0,
};

#[test]
fn the_first_decision_at_zero_counts_everything_that_waits() {
    let table: [(&str, u32, Annotations, u32, u32); 11] = [
        // what it shows, slots, annotations, waiting, pods
        ("a hard limit is what a pod holds", 10, &[], 200, 20),
        ("a part of a pod is a pod", 10, &[], 201, 21),
        ("without a limit the target counts", 0, &[], 500, 8),
        ("a target below the limit", 10, &[("target", "5")], 200, 40),
        ("a target above the limit", 10, &[("target", "50")], 200, 20),
        (
            "utilisation is for what comes",
            10,
            &[("target-utilization-percentage", "50")],
            200,
            20,
        ),
        (
            "requests per second, limited",
            10,
            &[("metric", "rps")],
            200,
            20,
        ),
        ("max-scale", 10, &[("max-scale", "7")], 200, 7),
        ("min-scale", 10, &[("min-scale", "3")], 1, 3),
        ("activation-scale", 10, &[("activation-scale", "5")], 1, 5),
        ("nobody waits any more", 10, &[], 0, 0),
    ];
    for (case, slots, annotations, waiting, want) in table {
        let mut decider = begin(spec(slots, annotations), 0);
        decider.observe(first(waiting), 0, NOW);
        assert_eq!(decider.decide(0, NOW).pods, want, "{case}");
    }
}

#[test]
fn growth_and_loss_per_decision_are_limited_by_the_rates() {
    let config = Config {
        max_scale_up_rate: 2.0,
        max_scale_down_rate: 4.0,
        ..config()
    };
    let spec = derive(&config, 10, &[], Reachability::Reachable);
    let mut decider = begin(spec, 0);
    decider.observe(first(200), 0, NOW);
    for (ready, want) in [(0, 2), (0, 2), (2, 4), (4, 8)] {
        assert_eq!(decider.decide(ready, NOW).pods, want, "{ready} ready");
    }
    decider.observe(NOTHING, 8, at(1));
    let decision = decider.decide(8, at(20));
    assert_eq!(decision.pods, 2, "{decision}");
    assert_eq!(decision.clipped, Some((1, Clip::DownRate)));
}

#[test]
fn a_burst_that_got_its_slots_asks_for_room_beside_them_only_if_it_stays() {
    let mut decider = begin(spec(10, &[]), 0);
    decider.observe(first(200), 0, NOW);
    assert_eq!(decider.decide(0, NOW).pods, 20);
    for (second, want) in [(1, 20), (2, 20), (3, 29), (4, 29)] {
        decider.observe(running(200), 20, at(second));
        let pods = decider.decide(20, at(second)).pods;
        assert_eq!(pods, want, "200 at 10 a pod, then at 7: second {second}");
    }
}

#[test]
fn a_line_that_waits_for_starting_pods_is_not_counted_twice() {
    for slots in [10, 0] {
        let mut decider = begin(spec(slots, &[]), 0);
        decider.observe(first(200), 0, NOW);
        let pods = decider.decide(0, NOW).pods;
        for second in 1..10 {
            let load = Load {
                average: Some(200.0),
                waiting: 200,
                in_flight: 0,
            };
            decider.observe(load, 0, at(second));
            assert_eq!(decider.decide(0, at(second)).pods, pods, "{slots} slots");
        }
    }
}

#[test]
fn a_growing_line_brings_few_calls_and_is_followed_to_its_end() {
    let mut decider = begin(spec(1, &[]), 0);
    let mut pods = Vec::new();
    // One more request each tenth of a second, before the first pod is there.
    for waiting in 1..=40 {
        let now = NOW + Duration::from_millis(100) * waiting;
        decider.observe(first(waiting), 0, now);
        pods.push(decider.decide(0, now).pods);
    }
    pods.dedup();
    assert_eq!(pods, [1, 2, 3, 5, 8, 12, 18, 27, 37]);
    let later = NOW + SECOND * 5;
    decider.observe(first(40), 0, later);
    assert_eq!(
        decider.decide(0, later).pods,
        40,
        "a second after the last raise"
    );
}

#[test]
fn a_step_is_followed_after_its_first_full_second() {
    for (factor, want) in [(1.3, 13), (1.5, 15), (1.8, 18)] {
        let mut decider = begin(spec(0, &[]), 10);
        for second in 1..100 {
            decider.observe(running(700), 10, at(second));
            assert_eq!(decider.decide(10, at(second)).pods, 10);
        }
        decider.observe(running((700.0 * factor) as u32), 10, at(100));
        assert_eq!(decider.decide(10, at(100)).pods, want, "x{factor}");
    }
}

#[test]
fn a_load_inside_the_band_is_followed_once_per_stable_window() {
    let mut decider = begin(spec(0, &[]), 10);
    let pods: Vec<u32> = (1..=180)
        .map(|second| {
            decider.observe(running(740), 10, at(second));
            decider.decide(10, at(second)).pods
        })
        .collect();
    assert_eq!(pods[..58], [10; 58]);
    assert_eq!(pods[60..], [11; 120], "740 at 70 a pod");
}

#[test]
fn a_peak_decays_and_the_last_pod_stays_for_a_window_without_demand() {
    let mut decider = begin(spec(10, &[]), 0);
    decider.observe(first(200), 0, NOW);
    let mut pods = vec![decider.decide(0, NOW).pods];
    for second in 1..=80 {
        decider.observe(NOTHING, 20, at(second));
        pods.push(decider.decide(20, at(second)).pods);
    }
    assert_eq!(pods[14], 20, "held");
    assert_eq!(
        (pods[15], pods[21], pods[27]),
        (10, 5, 2),
        "halved each 6 s"
    );
    assert_eq!((pods[60], pods[61]), (1, 0));
}

#[test]
fn retention_keeps_the_last_pod_longer_and_scale_to_zero_can_be_off() {
    let zero_after = |spec: (Spec, Slots)| {
        let mut decider = begin(spec, 1);
        decider.observe(NOTHING, 1, NOW);
        (0..400).find(|&second| decider.decide(1, at(second)).pods == 0)
    };
    let retention = ("scale-to-zero-pod-retention-period", "100s");
    assert_eq!(zero_after(spec(0, &[])), Some(60));
    assert_eq!(zero_after(spec(0, &[("window", "30s")])), Some(30));
    assert_eq!(zero_after(spec(0, &[retention])), Some(160));
    assert_eq!(zero_after(spec(0, &[("min-scale", "1")])), None);
    let off = Config {
        scale_to_zero: false,
        ..config()
    };
    assert_eq!(
        zero_after(derive(&off, 0, &[], Reachability::Reachable)),
        None
    );
    // Nobody can reach it: neither retention nor the lower bound counts.
    let gone = derive(
        &config(),
        0,
        &[retention, ("min-scale", "1")],
        Reachability::Unreachable,
    );
    assert_eq!(zero_after(gone), Some(60));
}

#[test]
fn the_activation_scale_stays_while_the_window_has_load() {
    let mut decider = begin(spec(10, &[("activation-scale", "4")]), 0);
    decider.observe(first(1), 0, NOW);
    assert_eq!(decider.decide(0, NOW).pods, 4);
    decider.observe(running(1), 4, at(1));
    decider.observe(NOTHING, 4, at(2));
    let pods: Vec<u32> = (2..80).map(|s| decider.decide(4, at(s)).pods).collect();
    assert_eq!(pods[..58], [4; 58]);
    assert_eq!(pods[77], 0);
}

#[test]
fn a_request_that_is_over_before_it_is_told_of_still_counts_as_demand() {
    let mut decider = begin(spec(10, &[]), 1);
    decider.observe(NOTHING, 1, at(1));
    decider.decide(1, at(1));
    decider.observe(first(0), 1, at(50));
    decider.observe(NOTHING, 1, at(51));
    let zero = (51..200).find(|&second| decider.decide(1, at(second)).pods == 0);
    assert_eq!(zero, Some(110));
}

#[test]
fn the_scale_down_delay_keeps_the_pods_while_the_revision_is_reachable() {
    for (reachability, before) in [
        (Reachability::Reachable, 10),
        (Reachability::Unreachable, 1),
    ] {
        let spec = derive(&config(), 10, &[("scale-down-delay", "5m")], reachability);
        let mut decider = begin(spec, 0);
        decider.observe(first(100), 0, NOW);
        assert_eq!(decider.decide(0, NOW).pods, 10);
        decider.observe(running(1), 10, at(1));
        for second in (3..299).step_by(2) {
            decider.observe(running(1), 10, at(second));
            decider.decide(10, at(second));
        }
        assert_eq!(decider.pods(), before, "{reachability:?}");
        decider.observe(running(1), 10, at(301));
        assert!(decider.decide(10, at(301)).pods < 10);
    }
}

#[test]
fn silence_after_load_leaves_the_pods_and_silence_after_nothing_does_not() {
    let mut decider = begin(spec(10, &[]), 0);
    decider.observe(first(100), 0, NOW);
    decider.decide(0, NOW);
    for second in 1..1000 {
        let decision = decider.decide(10, at(second));
        assert_eq!(decision.pods, 10, "after {second} s");
    }
    assert_eq!(decider.decide(10, at(1000)).mode, Mode::Silent);
    decider.absent(at(1001));
    let zero = (1001..1100).find(|&second| decider.decide(10, at(second)).pods == 0);
    assert_eq!(zero, Some(1061));
}

#[test]
fn a_restart_begins_with_the_current_scale() {
    let mut decider = begin(spec(10, &[]), 12);
    assert_eq!(decider.decide(0, NOW).pods, 12, "nothing was heard yet");
    decider.observe(running(7), 12, at(1));
    assert_eq!(
        decider.decide(12, at(1)).pods,
        12,
        "too early to take any away"
    );
    decider.observe(running(7), 12, at(16));
    assert_eq!(decider.decide(12, at(16)).pods, 6);
}

#[test]
fn after_a_restart_pods_that_the_last_second_needed_stay() {
    let mut decider = begin(spec(10, &[("window", "10s")]), 10);
    // The first second was cut short: the mean of those that are known is too low.
    for (second, average) in [(1, 5.0), (2, 60.0), (3, 70.0)] {
        let load = Load {
            average: Some(average),
            ..running(70)
        };
        decider.observe(load, 10, at(second));
        assert_eq!(
            decider.decide(10, at(second)).pods,
            10,
            "in second {second}"
        );
    }
}

#[test]
fn a_load_at_the_edge_of_its_pods_does_not_flap_in_a_short_window() {
    let mut decider = begin(spec(7, &[("window", "6s"), ("target", "7")]), 14);
    let mut pods = Vec::new();
    for second in 1..=120 {
        // 98 slots, and now and then a request more.
        let waiting = u32::from(second % 10 == 0);
        let load = Load {
            average: Some(97.0),
            waiting,
            in_flight: 97 + waiting,
        };
        decider.observe(load, decider.pods(), at(second));
        pods.push(decider.decide(decider.pods(), at(second)).pods);
    }
    pods.dedup();
    assert!(pods.len() <= 4, "{pods:?}");
}

#[test]
fn a_new_revision_begins_with_its_initial_scale_until_it_was_reached() {
    let begun = |reachability| {
        let spec = derive(
            &Config::default(),
            0,
            &[("initial-scale", "3")],
            reachability,
        );
        begin(spec, 0)
    };
    let mut decider = begun(Reachability::Reachable);
    assert_eq!(decider.decide(0, NOW).pods, 3);
    decider.observe(NOTHING, 2, at(1));
    assert_eq!(decider.decide(2, at(40)).pods, 3, "one is still missing");
    assert_eq!(decider.decide(3, at(42)).pods, 1, "it was reached");
    assert_eq!(begun(Reachability::Unreachable).decide(0, NOW).pods, 0);
    let mut stuck = begun(Reachability::Reachable);
    stuck.decide(0, NOW);
    stuck.observe(NOTHING, 0, at(1));
    assert_eq!(stuck.decide(0, at(630)).pods, 3, "within the deadline");
    assert_eq!(stuck.decide(0, at(631)).pods, 1, "it never came up");
}

#[test]
fn the_lower_bound_wins_over_the_upper_one() {
    let mut spec = spec(0, &[]);
    (spec.0.min_scale, spec.0.max_scale) = (5, Some(2));
    assert_eq!(begin(spec, 0).decide(0, NOW).pods, 5);
}

#[test]
fn absurd_figures_are_missing_figures() {
    for average in [f64::NAN, f64::INFINITY] {
        let mut decider = begin(spec(0, &[]), 3);
        decider.observe(running(200), 3, at(1));
        for requests in [200, 0] {
            let load = Load {
                average: Some(average),
                ..running(requests)
            };
            decider.observe(load, 3, at(2));
        }
        assert_eq!(decider.stable(at(3)), 200.0, "{average}");
        for second in 2..200 {
            assert_eq!(decider.decide(3, at(second)).pods, 3, "{average}");
        }
    }
    for average in [-1.0, f64::NEG_INFINITY] {
        let mut decider = begin(spec(0, &[]), 1);
        let load = Load {
            average: Some(average),
            ..NOTHING
        };
        decider.observe(load, 1, NOW);
        assert_eq!(decider.stable(NOW), 0.0, "{average}");
    }
    let mut decider = begin(spec(0, &[]), 3);
    let load = Load {
        average: Some(1e308),
        waiting: u32::MAX,
        in_flight: u32::MAX,
    };
    decider.observe(load, 3, NOW);
    assert_eq!(decider.decide(3, NOW).pods, 3000, "max-scale-up-rate");
}

#[test]
fn a_clock_that_steps_back_takes_nothing_away_and_breaks_nothing() {
    let mut decider = begin(spec(0, &[]), 3);
    decider.observe(running(200), 3, at(3600));
    decider.decide(3, at(3600));
    decider.observe(running(1), 3, NOW);
    assert_eq!(decider.decide(3, NOW).pods, 3);
    decider.observe(running(400), 3, at(1));
    assert_eq!(decider.decide(3, at(1)).pods, 6);
}

#[test]
fn new_parameters_count_from_the_next_decision_on() {
    let mut decider = begin(spec(10, &[]), 0);
    decider.observe(first(100), 0, NOW);
    assert_eq!(decider.decide(0, NOW).pods, 10);
    let (new, slots) = spec(10, &[("max-scale", "4")]);
    decider.set_spec(new, slots);
    assert_eq!(decider.decide(0, NOW).pods, 4);
    let (new, slots) = spec(5, &[]);
    decider.set_spec(new, slots);
    assert_eq!(decider.decide(0, NOW).pods, 20);
}

#[test]
fn every_decision_says_why() {
    let mut decider = begin(spec(10, &[("max-scale", "15")]), 0);
    assert_eq!(decider.decide(0, NOW).to_string(), "no report");
    decider.observe(first(200), 0, NOW);
    assert_eq!(
        decider.decide(0, NOW).to_string(),
        "200 waiting + 0 in flight, 10 a pod; 20 lowered to 15 by max-scale"
    );
    decider.observe(NOTHING, 15, at(1));
    assert_eq!(
        decider.decide(15, at(15)).to_string(),
        "0 on average, 7 a pod; 1 raised to 7 by max-scale-down-rate"
    );
    let mut decider = begin(spec(0, &[]), 2);
    decider.observe(running(210), 2, at(1));
    assert_eq!(
        decider.decide(2, at(1)).to_string(),
        "210 in the last second, 70 a pod"
    );
    let full = Load {
        average: Some(105.0),
        waiting: 5,
        in_flight: 100,
    };
    let mut limited = begin(spec(10, &[]), 10);
    for second in 1..4 {
        limited.observe(running(70), 10, at(second));
        limited.decide(10, at(second));
    }
    limited.observe(full, 10, at(4));
    assert_eq!(
        limited.decide(10, at(4)).to_string(),
        "105 in the last second, 7 a pod",
        "the line alone asks for 11"
    );
    assert_eq!(limited.pods(), 15);
    decider.observe(NOTHING, 3, at(2));
    for second in 3..62 {
        decider.decide(3, at(second));
    }
    assert_eq!(decider.decide(3, at(62)).to_string(), "no demand for 60 s");
}
