//! `autoscaler.json`: decisions of the policy `knative`, each decider from its creation on.

use std::time::Duration;

use penstock_scaling::bounds::bound;
use penstock_scaling::config::{BurstCapacity, Config};
use penstock_scaling::knative::Decider;
use penstock_scaling::load::{Averages, Load};
use penstock_scaling::spec::{Aggregation, Metric, Spec};
use penstock_types::request_stats::Report;
use penstock_types::{Reachability, Slots};
use serde::Deserialize;

use crate::{Number, Vectors, aggregation, close, moment, ms, same, within};

#[derive(Deserialize)]
struct Case {
    base_unix_ms: u64,
    /// `None` if that could not be looked up.
    ready_at_creation: Option<u32>,
    spec: Parameters,
    panic_window_ms: Option<f64>,
    aggregation: Option<String>,
    has_scrape_target: Option<bool>,
    bounds: Option<Bounds>,
    #[serde(default)]
    updates: Vec<Update>,
    stats: Option<Stats>,
    #[serde(rename = "in")]
    given: Given,
    out: Wanted,
}

#[derive(Deserialize)]
struct Parameters {
    max_scale_up_rate: f64,
    max_scale_down_rate: f64,
    metric: String,
    target_value: f64,
    total_value: f64,
    target_burst_capacity: f64,
    panic_threshold: f64,
    stable_window_ms: f64,
    scale_down_delay_ms: f64,
    reachable: bool,
    activation_scale: u32,
}

#[derive(Deserialize)]
struct Bounds {
    min: u32,
    max: u32,
}

#[derive(Deserialize)]
struct Update {
    t_ms: f64,
    spec: Parameters,
    panic_window_ms: Option<f64>,
}

/// `None` where all is zero.
type Column<T> = Option<Vec<T>>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stats {
    t_ms: Column<f64>,
    conc: Column<Number>,
    proxied_conc: Column<Number>,
    req: Column<Number>,
    proxied_req: Column<Number>,
}

#[derive(Deserialize)]
struct Given {
    t_ms: Vec<f64>,
    ready: Vec<Option<i64>>,
    stable: Column<Option<Number>>,
    panic: Column<Option<Number>>,
}

#[derive(Deserialize)]
struct Wanted {
    valid: Vec<u8>,
    desired: Vec<u32>,
    ebc: Vec<i32>,
    in_panic: Vec<u8>,
    max_panic_pods: Vec<u32>,
    bounded: Column<Option<u32>>,
    stable: Column<Number>,
    panic: Column<Number>,
}

#[test]
fn decisions() {
    Vectors::open("autoscaler.json").part("cases", run).end();
}

fn run(case: &Case) -> Result<(), String> {
    let spec = case.spec_of(&case.spec, case.panic_window_ms)?;
    let created = moment(case.base_unix_ms, 0.0);
    let ready = case.ready_at_creation.unwrap_or(0);
    let mut decider = Decider::new(spec.clone(), ready, created);
    let mut pipeline = case.stats.as_ref().map(|stats| Pipeline {
        load: Load::new(&spec),
        stats,
        next: 0,
    });
    let mut updates = case.updates.iter().peekable();

    for (index, &t) in case.given.t_ms.iter().enumerate() {
        while let Some(update) = updates.next_if(|update| update.t_ms <= t) {
            let spec = case.spec_of(
                &update.spec,
                update.panic_window_ms.or(case.panic_window_ms),
            )?;
            if let Some(pipeline) = &mut pipeline {
                pipeline.record_while(case, |at| at < update.t_ms);
                let now = moment(case.base_unix_ms, update.t_ms);
                pipeline.load.resize(&spec, now);
            }
            decider.update(spec);
        }
        if let Some(pipeline) = &mut pipeline {
            pipeline.record_while(case, |at| at <= t);
        }
        let now = moment(case.base_unix_ms, t);
        let averages = match &pipeline {
            Some(pipeline) => {
                let scraped = case.has_scrape_target.unwrap_or(true);
                pipeline.load.averages(decider.spec().metric, scraped, now)
            }
            None => case.given.averages(index),
        };
        decide(case, &mut decider, averages, index, now)
            .map_err(|why| format!("at {t} ms: {why}"))?;
    }
    Ok(())
}

fn decide(
    case: &Case,
    decider: &mut Decider,
    averages: Option<Averages>,
    index: usize,
    now: Duration,
) -> Result<(), String> {
    // -1 says "not found", which is no pod; null says "not known".
    let ready = case.given.ready[index].map(|ready| u32::try_from(ready).unwrap_or(0));
    let decision = averages
        .zip(ready)
        .map(|(averages, ready)| decider.decide(averages, ready, now));

    let want = &case.out;
    same("validity", decision.is_some(), want.valid[index] == 1)?;
    if let Some(decision) = &decision {
        same("desired", decision.desired, want.desired[index])?;
        same(
            "excess burst capacity",
            decision.excess_burst_capacity,
            want.ebc[index],
        )?;
        if let (Some(stable), Some(panic)) = (&want.stable, &want.panic) {
            let close = |what, got, want| match decider.spec().aggregation {
                Aggregation::Linear => within(what, got, want, 1.1e-6),
                Aggregation::Weighted => close(what, got, want),
            };
            close("stable average", decision.load.stable, stable[index])?;
            close("panic average", decision.load.panic, panic[index])?;
        }
        if let (Some(bounds), Some(bounded)) = (&case.bounds, &want.bounded) {
            let spec = Spec {
                min_scale: bounds.min,
                max_scale: (bounds.max > 0).then_some(bounds.max),
                ..decider.spec().clone()
            };
            let got = bound(&spec, true, Some(decision.desired)).pods;
            same("bounded", Some(got), bounded[index])?;
        }
    }
    same("panic", decider.is_panicking(), want.in_panic[index] == 1)?;
    same("peak", decider.peak(), want.max_panic_pods[index])
}

/// Reports that go through the windows.
struct Pipeline<'a> {
    load: Load,
    stats: &'a Stats,
    next: usize,
}

impl Pipeline<'_> {
    fn record_while(&mut self, case: &Case, due: impl Fn(f64) -> bool) {
        while let Some(t) = at(&self.stats.t_ms, self.next).filter(|&t| due(t)) {
            let at = |column| at(column, self.next).map_or(0.0, |number: Number| number.0);
            let report = Report {
                average_concurrency: at(&self.stats.conc),
                average_proxied_concurrency: at(&self.stats.proxied_conc),
                request_count: at(&self.stats.req),
                proxied_request_count: at(&self.stats.proxied_req),
            };
            self.load.record(moment(case.base_unix_ms, t), &report);
            self.next += 1;
        }
    }
}

fn at<T: Copy>(column: &Column<T>, index: usize) -> Option<T> {
    column.as_ref()?.get(index).copied()
}

impl Given {
    fn averages(&self, index: usize) -> Option<Averages> {
        Some(Averages {
            stable: at(&self.stable, index)??.0,
            panic: at(&self.panic, index)??.0,
        })
    }
}

impl Case {
    fn spec_of(
        &self,
        parameters: &Parameters,
        panic_window_ms: Option<f64>,
    ) -> Result<Spec, String> {
        let stable_window = ms(parameters.stable_window_ms);
        let derived = Spec::derive(
            &Config {
                compatible: true,
                ..Config::default()
            },
            &crate::Strings::new(),
            Slots::Unlimited,
            if parameters.reachable {
                Reachability::Reachable
            } else {
                Reachability::Unreachable
            },
        );
        Ok(Spec {
            metric: match parameters.metric.as_str() {
                "rps" => Metric::Rps,
                _ => Metric::Concurrency,
            },
            total: parameters.total_value,
            target: parameters.target_value,
            aggregation: match &self.aggregation {
                Some(name) => aggregation(name)?,
                None => Aggregation::Linear,
            },
            stable_window,
            panic_window: panic_window_ms.map_or(derived.panic_window, ms),
            panic_threshold: parameters.panic_threshold,
            max_scale_up_rate: parameters.max_scale_up_rate,
            max_scale_down_rate: parameters.max_scale_down_rate,
            burst_capacity: BurstCapacity::from_contract(parameters.target_burst_capacity),
            activation_scale: (parameters.activation_scale > 1)
                .then_some(parameters.activation_scale),
            scale_down_delay: ms(parameters.scale_down_delay_ms),
            ..derived
        })
    }
}
