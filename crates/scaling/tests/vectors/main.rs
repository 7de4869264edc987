//! Golden vectors: the arithmetic against what Knative Serving was observed to do.
//!
//! The files lie in `tests/vectors` of the repository, or where `PENSTOCK_VECTORS` says.

mod autoscaler;
mod buckets;
mod config;
mod derived;
mod reconcile;
mod sampling;
mod scrape;
mod windows;

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_testkit::vectors::{Number, check, close, read, same, within};
use penstock_types::Reachability;

/// Keys and values of a ConfigMap or of annotations.
type Strings = BTreeMap<String, String>;

/// The moment `offset_ms` after (or before) the base.
fn moment(base_unix_ms: u64, offset_ms: f64) -> Duration {
    Duration::from_micros((base_unix_ms as f64 * 1e3 + offset_ms * 1e3).round() as u64)
}

/// A duration; parts of a millisecond count.
fn ms(value: f64) -> Duration {
    Duration::from_nanos((value * 1e6).round() as u64)
}

/// Reachability by the contract's name.
fn reachability(name: &str) -> Reachability {
    match name {
        "" => Reachability::Unknown,
        "Reachable" => Reachability::Reachable,
        "Unreachable" => Reachability::Unreachable,
        other => panic!("{other:?} is no reachability"),
    }
}
