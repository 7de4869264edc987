//! A Knative install end to end: the real programs with the environment and the rights that a stock
//! install gives them, among the objects that Knative's controller writes.
//!
//! - `stages`: all three are ours: from zero, growing, out of the path, to zero, and gone
//! - `alone`: one is ours, the others are Knative's
//! - `buckets`: several autoscalers, several activators
//! - `settings`: ConfigMaps that change
//! - `outage`: the API server is away
//! - `install`: the install and what of it is ours
//! - `objects`: what Knative's controller writes
//! - `peers`: Knative's own programs, by script
//! - `pod`: pods with the sidecar that it puts into them

mod alone;
mod buckets;
mod install;
mod objects;
mod outage;
mod peers;
mod pod;
mod settings;
mod stages;

pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
    let all = [
        stages::tests(),
        alone::tests(),
        buckets::tests(),
        settings::tests(),
        outage::tests(),
    ];
    all.into_iter().flatten().collect()
}
