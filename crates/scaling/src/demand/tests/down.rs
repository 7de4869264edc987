//! Fewer pods: peaks that pass, the last pod, and what keeps it.

use super::*;

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
