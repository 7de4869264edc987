//! A revision under a load: pods start after a while, what does not fit waits, a report is
//! made each second, a tick comes every two.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::config::Config;
use penstock_scaling::demand::{Decider, Load};
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::{Reachability, Slots};

/// Seconds from asking for a pod to its first request.
const START: usize = 2;

/// Any whole second will do.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// The parameters of a revision with these annotations.
pub(crate) fn spec(slots: u32, annotations: &[(&str, &str)]) -> (Spec, Slots) {
    let slots = Slots::from_concurrency(slots);
    let config = Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    };
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| {
            (
                format!("autoscaling.knative.dev/{key}"),
                (*value).to_owned(),
            )
        })
        .collect();
    let spec = Spec::derive(&config, &annotations, slots, Reachability::Reachable);
    (spec, slots)
}

/// What became of a load.
#[derive(Debug)]
pub(crate) struct Run {
    /// Pods wanted at the end of each second.
    pub(crate) pods: Vec<u32>,
    /// Requests waiting at the end of each second.
    pub(crate) waiting: Vec<u32>,
}

impl Run {
    /// Changes of the number of pods wanted in the seconds of `range`.
    pub(crate) fn changes(&self, range: std::ops::Range<usize>) -> usize {
        let pods = &self.pods[range];
        pods.windows(2).filter(|two| two[0] != two[1]).count()
    }

    /// Most changes within any `window` seconds from `start` on.
    pub(crate) fn most_changes(&self, start: usize, window: usize) -> usize {
        (start..self.pods.len())
            .map(|second| self.changes(second..(second + window).min(self.pods.len())))
            .max()
            .unwrap_or(0)
    }

    /// Pods wanted, summed over the seconds.
    pub(crate) fn pod_seconds(&self) -> u64 {
        self.pods.iter().map(|&pods| u64::from(pods)).sum()
    }
}

/// Runs `load` (in units of the metric, one figure per second; `None` is a second without a
/// report) against a revision that begins with `pods` ready pods.
pub(crate) fn run(spec: &Spec, slots: Slots, pods: u32, load: &[Option<f64>]) -> Run {
    let mut decider = Decider::new(spec.clone(), slots, pods, EPOCH);
    let mut asked = vec![pods; START];
    let mut run = Run {
        pods: Vec::with_capacity(load.len()),
        waiting: Vec::with_capacity(load.len()),
    };
    for (second, &load) in load.iter().enumerate() {
        let now = EPOCH + Duration::from_secs(second as u64 + 1);
        // Ready is what was asked for all the time since a start takes.
        let ready = asked[second..].iter().copied().min().unwrap_or(0);
        if let Some(average) = load {
            let (waiting, in_flight) = split(spec, slots, ready, average);
            let load = Load {
                average: Some(average),
                waiting,
                in_flight,
            };
            decider.observe(load, ready, now);
            decider.decide(ready, now);
            run.waiting.push(waiting);
        } else {
            run.waiting.push(0);
        }
        if second % 2 == 1 {
            decider.decide(ready, now);
        }
        asked.push(decider.pods());
        run.pods.push(decider.pods());
    }
    run
}

/// Who waits and who runs, of an average load that is there all the second.
fn split(spec: &Spec, slots: Slots, ready: u32, average: f64) -> (u32, u32) {
    let requests = match spec.metric {
        Metric::Concurrency => average.round() as u32,
        Metric::Rps => (average / 10.0).ceil() as u32,
    };
    let room = match slots {
        Slots::Limited(slots) => ready.saturating_mul(slots.get()),
        Slots::Unlimited if ready == 0 => 0,
        Slots::Unlimited => u32::MAX,
    };
    (requests.saturating_sub(room), requests.min(room))
}
