//! The activator through real sockets: what a caller, a pod and the autoscaler see of it.
//!
//! Numbers in names of tests are those of the cases in spec/activator.md §11.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test whose world fails has failed"
)]

mod asked;
mod chain;
mod choice;
mod cold_start;
mod demand;
mod discovery;
mod drain;
mod dying_pods;
mod failing_pods;
mod faults;
mod forwarding;
mod hostile;
mod metrics;
mod probes;
mod program;
mod refusals;
mod routing;
mod stage;
mod streams;
mod telling;
mod timeouts;
mod tls;
mod together;
mod waiting;
