//! `derived.json`: the parameters of one revision.

use penstock_scaling::bounds::activators;
use penstock_scaling::config::Config;
use penstock_scaling::knative::Status;
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::Slots;
use serde::Deserialize;

use crate::{Number, Strings, Vectors, close, ms, reachability, same};

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "in")]
    given: Given,
    out: Wanted,
}

#[derive(Deserialize)]
struct Given {
    configmap: Strings,
    annotations: Strings,
    container_concurrency: u32,
    reachability: String,
}

#[derive(Deserialize)]
struct Wanted {
    spec: Parameters,
    panic_window_ms: f64,
    metric_stable_window_ms: f64,
    bounds: (u32, u32),
    initial_desired: i32,
    initial_ebc: i32,
    activators: Vec<(u32, u32)>,
}

#[derive(Deserialize)]
struct Parameters {
    activation_scale: u32,
    activator_capacity: Number,
    initial_scale: u32,
    max_scale_down_rate: Number,
    max_scale_up_rate: Number,
    metric: String,
    panic_threshold: Number,
    reachable: bool,
    scale_down_delay_ms: f64,
    stable_window_ms: f64,
    target_burst_capacity: Number,
    target_value: Number,
    total_value: Number,
}

#[test]
fn specs() {
    Vectors::open("derived.json").part("cases", run).end();
}

fn run(case: &Case) -> Result<(), String> {
    let config = Config::from_map(&case.given.configmap).map_err(|bad| format!("{bad:?}"))?;
    let got = Spec::derive(
        &config,
        &case.given.annotations,
        Slots::from_concurrency(case.given.container_concurrency),
        reachability(&case.given.reachability)?,
    );
    let want = &case.out.spec;
    let metric = match got.metric {
        Metric::Concurrency => "concurrency",
        Metric::Rps => "rps",
    };
    same("metric", metric, want.metric.as_str())?;
    close("total", got.total, want.total_value)?;
    close("target", got.target, want.target_value)?;
    close("up rate", got.max_scale_up_rate, want.max_scale_up_rate)?;
    close(
        "down rate",
        got.max_scale_down_rate,
        want.max_scale_down_rate,
    )?;
    close("panic threshold", got.panic_threshold, want.panic_threshold)?;
    close(
        "burst capacity",
        got.burst_capacity.as_contract(),
        want.target_burst_capacity,
    )?;
    close(
        "activator capacity",
        got.activator_capacity,
        want.activator_capacity,
    )?;
    same(
        "stable window",
        got.stable_window,
        ms(want.stable_window_ms),
    )?;
    same(
        "stable window of the metric",
        got.stable_window,
        ms(case.out.metric_stable_window_ms),
    )?;
    same(
        "panic window",
        got.panic_window,
        ms(case.out.panic_window_ms),
    )?;
    same("delay", got.scale_down_delay, ms(want.scale_down_delay_ms))?;
    same("reachable", got.is_reachable(), want.reachable)?;
    same("initial scale", got.initial_scale, want.initial_scale)?;
    same(
        "activation scale",
        got.activation_scale.unwrap_or(0),
        want.activation_scale,
    )?;
    same(
        "bounds",
        (got.min_scale, got.max_scale.unwrap_or(0)),
        case.out.bounds,
    )?;

    let status = Status::initial(&got);
    let desired = status.desired.map_or(-1, |pods| pods as i32);
    same("initial desired", desired, case.out.initial_desired)?;
    same(
        "initial excess burst capacity",
        status.excess_burst_capacity,
        case.out.initial_ebc,
    )?;
    for &(ready, want) in &case.out.activators {
        same(
            &format!("activators for {ready} pods"),
            activators(&got, ready),
            want,
        )?;
    }
    Ok(())
}
