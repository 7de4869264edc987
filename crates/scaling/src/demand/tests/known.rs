//! What is known, and what is made of what is not: silence, restarts, absurd words.

use super::*;

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
