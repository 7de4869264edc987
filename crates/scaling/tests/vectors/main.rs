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
use std::path::PathBuf;
use std::time::Duration;

use penstock_types::Reachability;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Keys and values of a ConfigMap or of annotations.
type Strings = BTreeMap<String, String>;

/// Reads a file of vectors.
fn read<T: DeserializeOwned>(file: &str) -> T {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests may have vectors of their own"
    )]
    let folder = std::env::var("PENSTOCK_VECTORS").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"),
        PathBuf::from,
    );
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{} is not as expected: {error}", path.display()))
}

/// Runs every case, prints how many passed and which did not, and fails if any did not.
#[expect(
    clippy::print_stdout,
    reason = "the counts are for whoever runs the tests"
)]
fn check<C>(
    file: &str,
    cases: &[C],
    id: impl Fn(&C) -> String,
    run: impl Fn(&C) -> Result<(), String>,
) {
    let failed: Vec<_> = cases
        .iter()
        .filter_map(|case| run(case).err().map(|why| format!("{}: {why}", id(case))))
        .collect();
    let passed = cases.len() - failed.len();
    println!("{file}: {passed} passed, {} failed", failed.len());
    for case in &failed {
        println!("  {case}");
    }
    assert!(!cases.is_empty(), "{file} holds no case");
    assert!(failed.is_empty(), "{file}: {} cases failed", failed.len());
}

/// Fails with both values unless they are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, not {want:?}"))
    }
}

/// Fails unless the numbers are equal but for rounding, relative or absolute.
fn close(what: &str, got: f64, want: Number) -> Result<(), String> {
    within(what, got, want, 1e-9 * got.abs().max(want.0.abs()).max(1.0))
}

/// Fails unless the numbers are at most `tolerance` apart.
fn within(what: &str, got: f64, want: Number, tolerance: f64) -> Result<(), String> {
    let want = want.0;
    if got == want || (got - want).abs() <= tolerance || (got.is_nan() && want.is_nan()) {
        Ok(())
    } else {
        Err(format!("{what} is {got}, not {want}"))
    }
}

/// A double; one that is not finite is written as a word.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Word")]
struct Number(f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(f64),
    Text(String),
}

impl TryFrom<Word> for Number {
    type Error = std::num::ParseFloatError;

    fn try_from(word: Word) -> Result<Self, Self::Error> {
        Ok(Self(match word {
            Word::Number(number) => number,
            Word::Text(text) => text.parse()?,
        }))
    }
}

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
