//! `buckets.json`: whose a key is, and who is chosen for a target.

use penstock_scaling::bucket::{Buckets, subset};
use serde::Deserialize;

use crate::{Vectors, same};

/// Buckets, key, name of the bucket.
type Owner = (u32, String, String);

#[derive(Deserialize)]
struct Subset {
    from: Vec<String>,
    n: usize,
    target: String,
    chosen: Vec<String>,
}

#[test]
fn buckets() {
    Vectors::open("buckets.json")
        .part("owners", run_owner)
        .part("subsets", run_subset)
        .end();
}

fn run_owner((total, key, want): &Owner) -> Result<(), String> {
    let buckets = Buckets::new(*total);
    let owner = buckets.owner(key).map(|ordinal| &buckets.names()[ordinal]);
    same("owner", owner, Some(want))
}

fn run_subset(case: &Subset) -> Result<(), String> {
    let mut want: Vec<&str> = case.chosen.iter().map(String::as_str).collect();
    want.sort_unstable();
    same("chosen", subset(&case.from, case.n, &case.target), want)
}
