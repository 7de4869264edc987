//! More pods: what waits, what runs, and how fast.

use super::*;

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
