//! The shapes of the golden vectors, and synthetic ones: how often the pods change, how soon
//! they follow.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::spec::{Metric, Spec};
use penstock_testkit::vectors;
use penstock_types::Slots;
use serde::Deserialize;

use crate::model::{Run, run, spec};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Vectors {
    cases: Vec<Case>,
}

/// What is needed of a case; the whole form is told in the vectors' README.
#[derive(Deserialize)]
struct Case {
    id: String,
    shape: String,
    base_unix_ms: f64,
    ready_at_creation: Option<u32>,
    spec: CaseSpec,
    bounds: Option<Bounds>,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    updates: Vec<serde::de::IgnoredAny>,
    out: Out,
}

#[derive(Deserialize)]
struct CaseSpec {
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    metric: String,
    target_value: f64,
    total_value: f64,
    stable_window_ms: u64,
    scale_down_delay_ms: u64,
}

#[derive(Deserialize)]
struct Bounds {
    min: u32,
    max: u32,
}

/// Parallel lists; `null` where nothing was ever reported.
#[derive(Default, Deserialize)]
struct Stats {
    t_ms: Option<Vec<f64>>,
    conc: Option<Vec<f64>>,
    proxied_conc: Option<Vec<f64>>,
    req: Option<Vec<f64>>,
    proxied_req: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct Out {
    desired: Vec<u32>,
}

/// All cases of one shape that have reports and keep their parameters.
fn cases(shape: &str) -> Vec<Case> {
    let vectors: Vectors = vectors::read("autoscaler.json");
    let cases = vectors.cases.into_iter();
    let cases: Vec<Case> = cases
        .filter(|case| case.shape == shape && case.stats.t_ms.is_some() && case.updates.is_empty())
        .collect();
    let some = !cases.is_empty() || !vectors::are_ours();
    assert!(some, "no case of shape {shape}");
    cases
}

impl Case {
    fn spec(&self) -> (Spec, Slots) {
        let (mut spec, slots) = spec(0, &[]);
        let case = &self.spec;
        if case.metric == "rps" {
            spec.metric = Metric::Rps;
        }
        spec.target = case.target_value;
        spec.total = case.total_value;
        spec.stable_window = Duration::from_millis(case.stable_window_ms);
        spec.scale_down_delay = Duration::from_millis(case.scale_down_delay_ms);
        spec.max_scale_up_rate = case.max_scale_up_rate;
        spec.max_scale_down_rate = case.max_scale_down_rate;
        if let Some(bounds) = &self.bounds {
            spec.min_scale = bounds.min;
            spec.max_scale = (bounds.max > 0).then_some(bounds.max);
        }
        (spec, slots)
    }

    /// The load of each second: all that was reported in it, less what came by an activator.
    /// A second without a report is one without load: the vectors have no lost reports.
    fn load(&self) -> Vec<Option<f64>> {
        let stats = &self.stats;
        let (all, proxied) = match self.spec.metric.as_str() {
            "rps" => (&stats.req, &stats.proxied_req),
            _ => (&stats.conc, &stats.proxied_conc),
        };
        let figure = |of: &Option<Vec<f64>>, index: usize| {
            of.as_ref()
                .and_then(|of| of.get(index))
                .map_or(0.0, |figure| *figure)
        };
        let mut seconds: BTreeMap<u64, f64> = BTreeMap::new();
        for (index, t) in stats.t_ms.iter().flatten().enumerate() {
            let second = (self.base_unix_ms + t) as u64 / 1000;
            *seconds.entry(second).or_default() += figure(all, index) - figure(proxied, index);
        }
        let (from, to) = (seconds.keys().min().unwrap(), seconds.keys().max().unwrap());
        (*from..=*to)
            .map(|second| Some(seconds.get(&second).copied().unwrap_or(0.0).max(0.0)))
            .collect()
    }

    fn run(&self) -> Run {
        let (spec, slots) = self.spec();
        run(
            &spec,
            slots,
            self.ready_at_creation.unwrap_or(0),
            &self.load(),
        )
    }

    fn window(&self) -> usize {
        (self.spec.stable_window_ms / 1000) as usize
    }

    /// Changes that Knative's policy made, within the same bounds.
    fn changes_of_knative(&self) -> usize {
        let bounded = |pods: u32| match &self.bounds {
            Some(Bounds { min, max: 0 }) => pods.max(*min),
            Some(Bounds { min, max }) => pods.min(*max).max(*min),
            None => pods,
        };
        let pods = &self.out.desired;
        pods.windows(2)
            .filter(|two| bounded(two[0]) != bounded(two[1]))
            .count()
    }
}

#[test]
fn a_steady_load_brings_at_most_one_change_per_stable_window() {
    for case in cases("steady") {
        let run = case.run();
        // The load begins in the first window, and the pods with it.
        let most = run.most_changes(case.window().min(30), case.window());
        assert!(most <= 1, "{}: {most} changes: {:?}", case.id, run.pods);
    }
}

#[test]
fn steady_loads_bring_no_more_changes_than_under_knative() {
    let cases = cases("steady");
    let ours: usize = cases
        .iter()
        .map(|case| {
            let run = case.run();
            run.changes(0..run.pods.len())
        })
        .sum();
    let theirs: usize = cases.iter().map(Case::changes_of_knative).sum();
    assert!(ours <= theirs, "{ours} changes, {theirs} under knative");
}

#[test]
fn every_shape_stays_within_its_bounds_and_has_room_for_its_load() {
    for shape in [
        "steady",
        "poisson",
        "walk",
        "step",
        "ramp",
        "spike",
        "sawtooth",
        "onoff",
        "trickle",
        "decay",
        "burst-from-zero",
    ] {
        for case in cases(shape) {
            let (spec, _) = case.spec();
            let (run, load) = (case.run(), case.load());
            let id = &case.id;
            for (second, &pods) in run.pods.iter().enumerate().skip(1) {
                assert!(pods >= spec.min_scale, "{id}: {pods} in second {second}");
                let max = spec.max_scale.unwrap_or(u32::MAX).max(spec.min_scale);
                assert!(pods <= max, "{id}: {pods} in second {second}");
                // Where growth is not limited, what was reported has its pods at once, but
                // for the band; a load that never waited does not start the first pod.
                if spec.max_scale_up_rate >= 1000.0 && pods > 0 && run.pods[second - 1] > 9 {
                    let need = load[second].unwrap() / spec.target;
                    let room = f64::from(pods) * 1.1 + 1e-6;
                    assert!(
                        need <= room || pods == max,
                        "{id}: {pods} of {need} in {second}"
                    );
                }
            }
        }
    }
}

/// Runs `load` at 10 slots a pod, which is aimed at 7.
fn at_ten_slots(load: impl Iterator<Item = f64>) -> Run {
    let (spec, slots) = spec(10, &[]);
    let load: Vec<Option<f64>> = load.map(Some).collect();
    run(&spec, slots, 0, &load)
}

/// A repeatable number from -1 to 1 for each second.
fn noise(second: u32) -> f64 {
    let mixed = second.wrapping_mul(2_654_435_761).rotate_left(13);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
    f64::from(mixed ^ (mixed >> 13)) / f64::from(u32::MAX) * 2.0 - 1.0
}

#[test]
fn noise_within_the_band_changes_nothing_wherever_the_load_lies() {
    for load in [0.5, 6.9, 7.0, 7.1, 35.0, 69.0, 70.0, 71.0, 700.0, 1400.0] {
        let run = at_ten_slots((0..900).map(|second| load * (1.0 + 0.03 * noise(second))));
        let most = run.most_changes(60, 60);
        assert!(most <= 1, "load {load}: {most} changes: {:?}", run.pods);
        assert!(run.changes(120..900) <= 2, "load {load}: {:?}", run.pods);
    }
}

#[test]
fn a_step_is_followed_within_two_seconds_and_costs_little_more_than_knowing_it() {
    for (factor, enough) in [(1.3, 13), (1.5, 15), (1.8, 18)] {
        let step = 300;
        let run = at_ten_slots((0..600).map(|second| {
            let factor = if second < step { 1.0 } else { factor };
            70.0 * factor
        }));
        let step = step as usize;
        assert_eq!(run.pods[step - 1], 10);
        assert!(
            run.pods[step + 1] >= enough,
            "{:?}",
            &run.pods[step..step + 5]
        );
        let oracle = (300 * 10 + 300 * u64::from(run.pods[599])) as f64;
        let ratio = run.pod_seconds() as f64 / oracle;
        assert!(ratio <= 1.1, "{ratio} times the pod-seconds of an oracle");
    }
}

#[test]
fn a_step_whose_first_second_is_a_mixed_one_is_followed_to_its_end() {
    let before = std::iter::repeat_n(20.0, 100);
    let run = at_ten_slots(before.chain([26.7]).chain(std::iter::repeat_n(30.0, 100)));
    assert_eq!(run.pods[99], 3);
    // 30 requests at 7 a pod are 4.3 pods: no more than a band above the 4 of the first second.
    assert!(run.pods[102] >= 5, "{:?}", &run.pods[98..110]);
    assert_eq!(run.changes(105..201), 0, "{:?}", run.pods);
}

#[test]
fn a_load_that_comes_and_goes_keeps_its_pods_in_short_gaps() {
    let run = at_ten_slots((0..600).map(|second| if second % 20 < 10 { 100.0 } else { 0.0 }));
    assert_eq!(run.changes(60..600), 0, "{:?}", run.pods);
}

#[test]
fn a_spike_is_over_long_before_a_held_peak_would_be() {
    let run = at_ten_slots((0..300).map(|second| {
        if (100..105).contains(&second) {
            200.0
        } else {
            20.0
        }
    }));
    assert!(run.pods[100] >= 20, "{:?}", &run.pods[99..110]);
    assert!(run.pods[135] <= 7, "{:?}", &run.pods[105..160]);
    assert_eq!(run.pods[199], 3, "{:?}", &run.pods[105..200]);
    assert_eq!(run.waiting[110..].iter().sum::<u32>(), 0);
}
