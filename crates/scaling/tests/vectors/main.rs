//! Golden vectors: the arithmetic against what Knative Serving was observed to do.
//!
//! The files lie in `tests/vectors` of the repository, or where `PENSTOCK_VECTORS` says.

mod autoscaler;
mod buckets;
mod config;
mod derived;
mod door;
mod reconcile;
mod sampling;
mod scrape;
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::spec::Aggregation;
use penstock_testkit::vectors::{
    Number, Vectors, close, ms, reachability, same, tell_of_strangers, within,
};

/// Keys and values of a ConfigMap or of annotations.
type Strings = BTreeMap<String, String>;

/// The moment `offset_ms` after (or before) the base.
fn moment(base_unix_ms: u64, offset_ms: f64) -> Duration {
    Duration::from_micros((base_unix_ms as f64 * 1e3 + offset_ms * 1e3).round() as u64)
}

/// How figures of a window become one, by the name that a case has for it.
fn aggregation(name: &str) -> Result<Aggregation, String> {
    match name {
        "linear" => Ok(Aggregation::Linear),
        "weighted" | "weighted-exponential" => Ok(Aggregation::Weighted),
        other => Err(format!("{other:?} is no way to average")),
    }
}

#[test]
fn what_no_test_reads_is_told() {
    tell_of_strangers();
}
