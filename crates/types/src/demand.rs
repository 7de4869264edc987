//! Demand: what waits and what runs, as it is reported to the autoscaler.

use crate::RevisionId;

/// One source's report about one revision.
///
/// The first five fields are the contract's `Stat` (spec/autoscaler.md §4.3); `waiting` and
/// `in_flight` are ours: the true numbers at the moment of the report.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Whom it is about.
    pub revision: RevisionId,
    /// Mean number of requests in flight (waiting ones included) since the last report.
    pub average_concurrency: f64,
    /// Of these, the mean number that an activator had forwarded and counts itself.
    pub average_proxied_concurrency: f64,
    /// Requests that arrived since the last report, per second.
    pub request_count: f64,
    /// Of these, the ones that an activator had forwarded.
    pub proxied_request_count: f64,
    /// Requests waiting for a slot now.
    pub waiting: u32,
    /// Requests inside a pod now.
    pub in_flight: u32,
    /// Whether this is the first word of a revision that was not tracked (a "poke").
    pub first: bool,
}
