//! What the policies come to, on the shapes of the golden vectors and on a step.
//!
//! Counts in virtual time: they do not depend on the machine. Each case's load is served by
//! pods that hold its total (at least one request) and take two seconds to start.
//!
//! All cases together are ten million requests, which take a minute without optimisation. So each run
//! of the tests has those of up to [`FEW`] requests, and the whole table is asked for by
//!
//! ```text
//! cargo test --release -p penstock figures -- --include-ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_autoscaler::PolicyKind;
use penstock_scaling::config::Config;
use penstock_scaling::spec::{Metric, Spec};
use penstock_testkit::vectors;
use penstock_types::{Reachability, Slots};
use serde::Deserialize;

use crate::simulate::chance::Time;
use crate::simulate::model::{Outcome, PodRules, Setup, Waits, run};
use crate::simulate::traffic::{SECOND, Spacing, Stretch, Traffic, Volume};

/// The shapes that are not steady.
const MOVING: [&str; 10] = [
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
];
/// Most requests of a case that is in each run of the tests.
const FEW: f64 = 30_000.0;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Vectors {
    cases: Vec<Case>,
}

/// What is needed of a case; the whole form is told in the vectors' README.
#[derive(Deserialize)]
struct Case {
    shape: String,
    base_unix_ms: f64,
    ready_at_creation: Option<u32>,
    spec: CaseSpec,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    updates: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct CaseSpec {
    metric: String,
    target_value: f64,
    total_value: f64,
    stable_window_ms: u64,
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

impl Case {
    fn is_rps(&self) -> bool {
        self.spec.metric == "rps"
    }

    /// The load of each second: all that was reported in it, less what came by an activator.
    fn load(&self) -> Vec<f64> {
        let stats = &self.stats;
        let (all, proxied) = if self.is_rps() {
            (&stats.req, &stats.proxied_req)
        } else {
            (&stats.conc, &stats.proxied_conc)
        };
        let figure = |of: &Option<Vec<f64>>, index: usize| {
            let figure = of.as_ref().and_then(|of| of.get(index));
            figure.copied().unwrap_or(0.0)
        };
        let mut seconds: BTreeMap<u64, f64> = BTreeMap::new();
        for (index, t) in stats.t_ms.iter().flatten().enumerate() {
            let second = (self.base_unix_ms + t) as u64 / 1000;
            *seconds.entry(second).or_default() += figure(all, index) - figure(proxied, index);
        }
        let (from, to) = (seconds.keys().min().unwrap(), seconds.keys().max().unwrap());
        (*from..=*to)
            .map(|second| seconds.get(&second).copied().unwrap_or(0.0).max(0.0))
            .collect()
    }

    /// Slots of a pod, and seconds of a request: as many requests at once, or per second, as the
    /// case's pods are said to take.
    fn pod(&self) -> (u32, f64) {
        let total = self.spec.total_value;
        if self.is_rps() {
            let slots = (total / 10.0).ceil().max(10.0);
            (slots as u32, slots / total.max(0.1))
        } else {
            (total.round().max(1.0) as u32, 1.0)
        }
    }

    /// What it says of scaling. Its bounds and rates are left out: they would hold both policies
    /// to the same pods.
    fn setup(&self, begin: u32) -> Setup {
        let (slots, _) = self.pod();
        let slots = Slots::from_concurrency(slots);
        let mut spec = spec(slots);
        if self.is_rps() {
            spec.metric = Metric::Rps;
        }
        (spec.target, spec.total) = (self.spec.target_value, self.spec.total_value);
        spec.stable_window = Duration::from_millis(self.spec.stable_window_ms);
        spec.panic_window = (spec.stable_window / 10).max(Duration::from_secs(1));
        setup(spec, slots, begin)
    }

    fn traffic(&self, load: &[f64]) -> Traffic {
        let (_, work) = self.pod();
        traffic(load.iter().copied(), work)
    }
}

/// All cases of one shape that have reports and keep their parameters, with their loads of up to
/// `most` requests.
fn cases(shape: &str, most: f64) -> Vec<(Case, Vec<f64>)> {
    let vectors: Vectors = vectors::read("autoscaler.json");
    let cases = vectors.cases.into_iter();
    let cases = cases
        .filter(|case| case.shape == shape && case.stats.t_ms.is_some() && case.updates.is_empty());
    let cases = cases.map(|case| {
        let load = case.load();
        (case, load)
    });
    let cases: Vec<(Case, Vec<f64>)> = cases
        .filter(|(_, load)| load.iter().sum::<f64>() <= most)
        .collect();
    let some = !cases.is_empty() || !vectors::are_ours();
    assert!(some, "no case of shape {shape}");
    cases
}

fn spec(slots: Slots) -> Spec {
    let config = Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    };
    Spec::derive(&config, &BTreeMap::new(), slots, Reachability::Reachable)
}

fn setup(spec: Spec, slots: Slots, begin: u32) -> Setup {
    Setup {
        spec,
        slots,
        patience: Duration::from_secs(300),
        pods: PodRules {
            begin,
            start: Time::Fixed(Duration::from_secs(2)),
            capacity: None,
            nodes: None,
        },
        seed: 1,
        decisions: false,
    }
}

/// One rate per second; each request takes `work` seconds.
fn traffic(rates: impl Iterator<Item = f64>, work: f64) -> Traffic {
    let stretches = (1..).zip(rates).map(|(second, rps)| Stretch {
        until: second * SECOND,
        volume: Volume::Rate(rps),
        work: Time::Fixed(Duration::from_secs_f64(work)),
    });
    Traffic {
        name: String::new(),
        stretches: stretches.collect(),
        spacing: Spacing::Even,
    }
}

/// What all cases of a shape come to.
#[derive(Default)]
struct Sum {
    requests: u64,
    /// Those that were never served.
    refused: u64,
    waits: Waits,
    pod_seconds: f64,
    changes: u64,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.requests += outcome.requests;
        self.refused += outcome.turned_away + outcome.late;
        self.waits.merge(&outcome.waits);
        self.pod_seconds += outcome.pod_seconds;
        self.changes += outcome.changes;
    }

    /// `None` if there was no request.
    fn p99(&self) -> Option<Duration> {
        self.waits.quantile(0.99)
    }
}

/// Both policies on every case of a shape of up to `most` requests.
fn compare(shape: &str, most: f64, begin: impl Fn(&Case, &[f64]) -> u32) -> [Sum; 2] {
    let mut sums = [Sum::default(), Sum::default()];
    let cases = cases(shape, most);
    let count = cases.len();
    for (case, load) in cases {
        let (setup, traffic) = (case.setup(begin(&case, &load)), case.traffic(&load));
        for (sum, policy) in sums
            .iter_mut()
            .zip([PolicyKind::Knative, PolicyKind::Demand])
        {
            sum.add(&run(&setup, &traffic, policy));
        }
    }
    let [knative, demand] = &sums;
    let seconds = |sum: &Sum| sum.p99().map_or(f64::NAN, |p99| p99.as_secs_f64());
    println!(
        "{shape:15} {count:3} cases {:>8} requests  p99 {:>6.3} {:>6.3} s  refused {:>6} {:>6}  \
         pod-seconds {:>7.0} {:>7.0}  changes {:>4} {:>4}",
        knative.requests,
        seconds(knative),
        seconds(demand),
        knative.refused,
        demand.refused,
        knative.pod_seconds,
        demand.pod_seconds,
        knative.changes,
        demand.changes
    );
    sums
}

#[test]
fn demand_has_shorter_waits_on_every_moving_shape_and_no_more_pod_seconds() {
    moving_shapes(FEW);
}

#[test]
#[ignore = "ten million requests; see above"]
fn demand_has_shorter_waits_on_every_case_of_every_moving_shape() {
    moving_shapes(f64::INFINITY);
}

fn moving_shapes(most: f64) {
    let (mut theirs, mut ours) = (0.0, 0.0);
    let mut wrong = Vec::new();
    for shape in MOVING {
        let begin = |case: &Case, _: &[f64]| case.ready_at_creation.unwrap_or(0);
        let [knative, demand] = compare(shape, most, begin);
        theirs += knative.pod_seconds;
        ours += demand.pod_seconds;
        match (knative.p99(), demand.p99()) {
            (Some(long), Some(short)) if short >= long => {
                wrong.push(format!("{shape}: {short:?}, under knative {long:?}"));
            }
            (Some(_), Some(_)) => {}
            // Vectors of somebody else need not have every shape.
            none => assert_eq!(none, (None, None), "{shape}"),
        }
    }
    println!(
        "pod-seconds in all {theirs:.0} {ours:.0}, {:.3} times",
        ours / theirs
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(
        ours <= theirs * 1.15,
        "{ours} pod-seconds, under knative {theirs}"
    );
}

#[test]
fn steady_loads_bring_no_more_changes_than_under_knative() {
    steady_shape(FEW);
}

#[test]
#[ignore = "ten million requests; see above"]
fn every_steady_load_brings_no_more_changes_than_under_knative() {
    steady_shape(f64::INFINITY);
}

fn steady_shape(most: f64) {
    // Which has its pods: what happens before is a burst from zero.
    let [knative, demand] = compare("steady", most, |case, load| {
        let mean = load.iter().sum::<f64>() / load.len() as f64;
        (mean / case.spec.target_value).ceil() as u32
    });
    let (theirs, ours) = (knative.changes, demand.changes);
    assert!(ours <= theirs, "{ours} changes, {theirs} under knative");
}

#[test]
fn a_step_of_half_as_much_again_is_followed_in_three_seconds_at_a_tenth_more_than_an_oracle() {
    const STEP: usize = 300;
    let slots = Slots::from_concurrency(10);
    let rates = (0..600).map(|second| if second < STEP { 70.0 } else { 105.0 });
    let setup = setup(spec(slots), slots, 10);
    let outcome = run(&setup, &traffic(rates, 1.0), PolicyKind::Demand);
    let wanted: Vec<u32> = outcome.samples.iter().map(|second| second.wanted).collect();
    assert_eq!(wanted[STEP - 1], 10);
    assert!(wanted[STEP + 2] >= 15, "{:?}", &wanted[STEP..STEP + 6]);
    let oracle = (STEP * 10 + (600 - STEP) * 15) as f64;
    let ratio = outcome.pod_seconds / oracle;
    println!("{ratio:.3} times the pod-seconds of an oracle");
    assert!(ratio <= 1.1, "{ratio}");
}
