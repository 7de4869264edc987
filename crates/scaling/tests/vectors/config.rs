//! `config.json`: ConfigMaps and annotations, right and wrong.

use std::time::Duration;

use penstock_scaling::annotation::validate;
use penstock_scaling::config::Config;
use serde::Deserialize;

use crate::{Number, Strings, Vectors, close, same};

#[derive(Deserialize)]
struct Map {
    data: Strings,
    valid: bool,
    parsed: Option<Parsed>,
}

#[derive(Deserialize)]
struct Parsed {
    activator_capacity: Number,
    allow_zero_initial_scale: bool,
    container_concurrency_target_default: Number,
    container_concurrency_target_fraction: Number,
    enable_scale_to_zero: bool,
    initial_scale: u32,
    max_scale: u32,
    max_scale_down_rate: Number,
    max_scale_limit: u32,
    max_scale_up_rate: Number,
    min_scale: u32,
    panic_threshold_percentage: Number,
    panic_window_percentage: Number,
    pod_autoscaler_class: String,
    rps_target_default: Number,
    scale_down_delay_ms: u64,
    scale_to_zero_grace_period_ms: u64,
    scale_to_zero_pod_retention_period_ms: u64,
    stable_window_ms: u64,
    target_burst_capacity: Number,
}

#[derive(Deserialize)]
struct Annotated {
    config: Cluster,
    annotations: Strings,
    valid: bool,
    #[serde(default)]
    paths: Vec<String>,
}

#[derive(Deserialize)]
struct Cluster {
    pod_autoscaler_class: String,
    allow_zero_initial_scale: bool,
    max_scale_limit: u32,
}

#[test]
fn config() {
    Vectors::open("config.json")
        .part("configmaps", run_map)
        .part("annotations", run_annotations)
        .end();
}

fn run_map(case: &Map) -> Result<(), String> {
    let read = Config::from_map(&case.data);
    let Some(want) = &case.parsed else {
        return same("validity", read.is_ok(), case.valid);
    };
    let got = read.map_err(|bad| format!("{bad:?}"))?;
    let limit = |limit: Option<u32>| limit.unwrap_or(0);
    close(
        "activator capacity",
        got.activator_capacity,
        want.activator_capacity,
    )?;
    close(
        "concurrency target",
        got.concurrency_target,
        want.container_concurrency_target_default,
    )?;
    close(
        "target fraction",
        got.target_fraction,
        want.container_concurrency_target_fraction,
    )?;
    close(
        "down rate",
        got.max_scale_down_rate,
        want.max_scale_down_rate,
    )?;
    close("up rate", got.max_scale_up_rate, want.max_scale_up_rate)?;
    close(
        "panic threshold",
        got.panic_threshold_percentage,
        want.panic_threshold_percentage,
    )?;
    close(
        "panic window",
        got.panic_window_percentage,
        want.panic_window_percentage,
    )?;
    close("rps target", got.rps_target, want.rps_target_default)?;
    close(
        "burst capacity",
        got.burst_capacity.as_contract(),
        want.target_burst_capacity,
    )?;
    same(
        "zero initial scale",
        got.allow_zero_initial_scale,
        want.allow_zero_initial_scale,
    )?;
    same(
        "scale to zero",
        got.scale_to_zero,
        want.enable_scale_to_zero,
    )?;
    same("initial scale", got.initial_scale, want.initial_scale)?;
    same("min scale", got.min_scale, want.min_scale)?;
    same("max scale", limit(got.max_scale), want.max_scale)?;
    same("limit", limit(got.max_scale_limit), want.max_scale_limit)?;
    same("class", &got.class, &want.pod_autoscaler_class)?;
    // The file has whole milliseconds, a duration may have less.
    let whole = |duration: Duration| duration.as_millis() as u64;
    same(
        "delay",
        whole(got.scale_down_delay),
        want.scale_down_delay_ms,
    )?;
    same(
        "grace",
        whole(got.grace),
        want.scale_to_zero_grace_period_ms,
    )?;
    same(
        "retention",
        whole(got.retention),
        want.scale_to_zero_pod_retention_period_ms,
    )?;
    same(
        "stable window",
        whole(got.stable_window),
        want.stable_window_ms,
    )
}

fn run_annotations(case: &Annotated) -> Result<(), String> {
    let limit = case.config.max_scale_limit;
    let config = Config {
        class: case.config.pod_autoscaler_class.clone(),
        allow_zero_initial_scale: case.config.allow_zero_initial_scale,
        max_scale_limit: (limit > 0).then_some(limit),
        ..Config::default()
    };
    let rejected = validate(&case.annotations, &config);
    same("validity", rejected.is_empty(), case.valid)?;
    let mut keys: Vec<_> = rejected.into_iter().flat_map(|one| one.keys).collect();
    keys.sort();
    keys.dedup();
    same("rejected keys", &keys, &case.paths)
}
