//! `sampling.json`: how many pods are read, and what they say about all.

use penstock_scaling::sample::{extrapolate, sample_size};
use penstock_types::request_stats::Report;
use serde::Deserialize;

use crate::{Number, Vectors, close, same};

/// Pods (a negative number is none), pods to read.
type Size = (i64, u32);

#[derive(Deserialize)]
struct Merge {
    pods: u32,
    sampled: u32,
    stats: Vec<Fields>,
    merged: Fields,
}

/// Concurrency, the proxied part of it, requests, the proxied part of them.
type Fields = [Number; 4];

#[test]
fn sampling() {
    Vectors::open("sampling.json")
        .part("sample_sizes", run_size)
        .part("merges", run_merge)
        .end();
}

fn run_size(&(pods, want): &Size) -> Result<(), String> {
    let pods = u32::try_from(pods).unwrap_or(0);
    same("sample size", sample_size(pods), want)
}

fn run_merge(case: &Merge) -> Result<(), String> {
    same("sample size", sample_size(case.pods), case.sampled)?;
    let stats: Vec<Report> = case.stats.iter().map(report).collect();
    let got = extrapolate(&stats, case.pods);
    let [concurrency, proxied, requests, proxied_requests] = case.merged;
    close("concurrency", got.average_concurrency, concurrency)?;
    close(
        "proxied concurrency",
        got.average_proxied_concurrency,
        proxied,
    )?;
    close("requests", got.request_count, requests)?;
    close(
        "proxied requests",
        got.proxied_request_count,
        proxied_requests,
    )
}

fn report(fields: &Fields) -> Report {
    let [concurrency, proxied, requests, proxied_requests] = fields.map(|field| field.0);
    Report {
        average_concurrency: concurrency,
        average_proxied_concurrency: proxied,
        request_count: requests,
        proxied_request_count: proxied_requests,
    }
}
