//! `buckets.json`: whose a key is, and who is chosen for a target.

use penstock_scaling::bucket::{Buckets, subset};
use serde::Deserialize;

use crate::{check, read, same};

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    /// Buckets, key, name of the bucket.
    owners: Vec<(u32, String, String)>,
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
struct Subset {
    from: Vec<String>,
    n: usize,
    target: String,
    chosen: Vec<String>,
}

#[test]
fn owners() {
    let file: File = read("buckets.json");
    check(
        "buckets.json owners",
        &file.owners,
        |(total, key, _)| format!("{key} in {total}"),
        |(total, key, want)| {
            let buckets = Buckets::new(*total);
            let owner = buckets.owner(key).map(|ordinal| &buckets.names()[ordinal]);
            same("owner", owner, Some(want))
        },
    );
}

#[test]
fn subsets() {
    let file: File = read("buckets.json");
    check(
        "buckets.json subsets",
        &file.subsets,
        |case| format!("{} of {} for {}", case.n, case.from.len(), case.target),
        |case| {
            let mut want: Vec<&str> = case.chosen.iter().map(String::as_str).collect();
            want.sort_unstable();
            same("chosen", subset(&case.from, case.n, &case.target), want)
        },
    );
}
