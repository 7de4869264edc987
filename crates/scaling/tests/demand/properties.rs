//! What holds for every load.

use std::time::Duration;

use penstock_scaling::demand::{Decider, Load};
use penstock_scaling::spec::Spec;
use penstock_types::Slots;
use proptest::prelude::*;

use crate::model::{run, spec};

/// Stable window of the default configuration, in seconds.
const WINDOW: usize = 60;

prop_compose! {
    /// Parameters with and without a hard limit, with and without bounds.
    fn any_spec()(
        slots in prop_oneof![Just(0_u32), 1..50_u32],
        target in prop::option::of(1..200_u32),
        min in 0..4_u32,
        room in prop::option::of(0..30_u32),
        window in 6..90_u32,
        rps in any::<bool>(),
    ) -> (Spec, Slots) {
        let target = target.map(|target| target.to_string());
        let (min, max) = (min.to_string(), room.map(|room| (min + room).max(1).to_string()));
        let window = format!("{window}s");
        let mut annotations = vec![("min-scale", min.as_str()), ("window", window.as_str())];
        annotations.extend(target.as_deref().map(|target| ("target", target)));
        annotations.extend(max.as_deref().map(|max| ("max-scale", max)));
        if rps {
            annotations.push(("metric", "rps"));
        }
        spec(slots, &annotations)
    }
}

/// A load that jumps, rests, and has seconds without a report.
fn any_load(seconds: usize) -> impl Strategy<Value = Vec<Option<f64>>> {
    let figure = prop_oneof![
        3 => Just(Some(0.0)),
        1 => Just(None),
        4 => (0.0..50.0).prop_map(Some),
        2 => (0.0..3000.0).prop_map(Some),
    ];
    let stretch = (figure, 1..20_usize).prop_map(|(figure, len)| vec![figure; len]);
    prop::collection::vec(stretch, 1..20).prop_map(move |stretches| {
        let mut load = stretches.concat();
        load.truncate(seconds);
        load
    })
}

proptest! {
    #[test]
    fn the_bounds_are_never_exceeded(
        (spec, slots) in any_spec(),
        load in any_load(300),
        begin in 0..20_u32,
    ) {
        let run = run(&spec, slots, begin, &load);
        for (second, &pods) in run.pods.iter().enumerate() {
            // Before the first tick nothing was decided.
            if second > 0 {
                prop_assert!(pods >= spec.min_scale, "{pods} in second {second}");
                prop_assert!(spec.max_scale.is_none_or(|max| pods <= max), "{pods}");
            }
        }
    }

    #[test]
    fn more_load_never_means_fewer_pods(
        (spec, slots) in any_spec(),
        past in any_load(120),
        begin in 0..20_u32,
        less in (0.0..500.0, 0..300_u32, 0..300_u32),
        more in (0.0..100.0, 0..50_u32, 0..50_u32),
        ready in 0..30_u32,
    ) {
        let epoch = Duration::from_secs(1_700_000_000);
        let mut decider = Decider::new(spec, slots, begin, epoch);
        let mut now = epoch;
        for average in past {
            now += Duration::from_secs(1);
            if let Some(average) = average {
                decider.observe(Load { average: Some(average), waiting: 0, in_flight: 0 }, ready, now);
                decider.decide(ready, now);
            }
        }
        now += Duration::from_secs(1);
        let load = |average, waiting, in_flight| Load { average: Some(average), waiting, in_flight };
        let mut other = decider.clone();
        decider.observe(load(less.0, less.1, less.2), ready, now);
        other.observe(load(less.0 + more.0, less.1 + more.1, less.2 + more.2), ready, now);
        let (pods, most) = (decider.decide(ready, now).pods, other.decide(ready, now).pods);
        prop_assert!(pods <= most, "{pods} for less, {most} for more");
    }

    #[test]
    fn a_constant_load_comes_to_rest(
        (spec, slots) in any_spec(),
        past in any_load(120),
        load in 0.0..2000.0,
    ) {
        let window = spec.stable_window.as_secs() as usize;
        // The past leaves the window in one, the pods follow within two more.
        let settle = past.len() + 3 * window + 120;
        let mut loads = past;
        loads.resize(settle + 2 * window, Some(load));
        let run = run(&spec, slots, 0, &loads);
        prop_assert_eq!(run.changes(settle..loads.len()), 0, "{:?}", run.pods);
    }

    #[test]
    fn zero_comes_only_after_a_stable_window_without_demand(
        slots in 0..20_u32,
        load in any_load(400),
        begin in 1..10_u32,
    ) {
        let (spec, slots) = spec(slots, &[]);
        let run = run(&spec, slots, begin, &load);
        for (second, two) in run.pods.windows(2).enumerate() {
            if two == [0, 0] || two[1] > 0 {
                continue;
            }
            let second = second + 1;
            prop_assert!(second >= WINDOW, "zero in second {second}");
            let lately = &load[second - WINDOW + 1..=second];
            prop_assert!(lately.iter().all(|load| load.unwrap_or(0.0) == 0.0), "{lately:?}");
        }
    }

    #[test]
    fn a_line_is_given_its_slots_at_once(waiting in 1..5000_u32, slots in 1..100_u32) {
        let (spec, slots) = spec(slots, &[]);
        let total = spec.total;
        let now = Duration::from_secs(1_700_000_000);
        let mut decider = Decider::new(spec, slots, 0, now);
        decider.observe(Load { average: None, waiting, in_flight: 0 }, 0, now);
        let pods = f64::from(decider.decide(0, now).pods);
        let enough = (f64::from(waiting) / total).ceil().min(1000.0);
        prop_assert_eq!(pods, enough);
    }
}
