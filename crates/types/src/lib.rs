//! The words of the domain, shared by every crate: who a request is for, how many may run
//! at once, what is reported about it. No I/O, no runtime; of other crates only prost, for [`stat`].

#![forbid(unsafe_code)]

mod activity;
pub mod annotation;
pub mod choice;
pub mod demand;
pub mod header;
mod kubernetes;
pub mod probe;
pub mod request_stats;
mod revision;
pub mod stat;
pub mod wire;
pub mod workload;

pub use activity::{Activity, Inactive};
pub use kubernetes::KubernetesVersion;
pub use revision::{Protocol, Reachability, RevisionId, Slots, Timeouts};
