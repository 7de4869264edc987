//! What a cluster remembers of a revision's scaling, and what it is told to remember.
//!
//! Where the cluster keeps it (Kubernetes: in objects), an autoscaler that starts anew goes on
//! from there, and who is in the path is the cluster's to arrange. Where it keeps nothing, as
//! with child processes, the activator is always in the path.
//!
//! Source: spec/autoscaler.md §7 to §9.

use std::time::{Duration, SystemTime};

use penstock_types::Activity;

/// How a revision's scaling stands in the cluster's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it is doing.
    pub activity: Activity,
    /// Since when.
    pub since: SystemTime,
    /// Whether it has once had its initial scale.
    pub initialized: bool,
    /// Who is in the path of its requests; `None` until that is arranged.
    pub way: Option<Way>,
    /// What the cluster tells others of the way is not so any more: it is to be told again, though
    /// nothing else is wished.
    pub stale: bool,
}

/// The way of requests to a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether activators were last told to be in it.
    pub proxied: bool,
    /// Since when all requests have come by activators; `None` while they do not.
    pub proxied_since: Option<SystemTime>,
    /// Host and port where clients reach the revision; `None` until there is one. An activator
    /// in the path answers its probe there (spec/activator.md §2.3).
    pub public: Option<std::sync::Arc<str>>,
}

/// What the autoscaler wants beside pods: how a revision is to stand from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Pods wanted; `None` leaves open how many.
    pub wanted: Option<u32>,
    /// Pods that were ready when it was decided.
    pub ready: u32,
    /// Whether activators are to be in the path.
    pub proxied: bool,
    /// How many of them.
    pub activators: u32,
    /// What it is doing now.
    pub activity: Activity,
    /// Whether it has had its initial scale.
    pub initialized: bool,
    /// Length of the stable window.
    pub stable_window: Duration,
    /// Length of the panic window.
    pub panic_window: Duration,
    /// Whether its pods are asked for their figures.
    pub scraped: bool,
}

/// One change of scale, for whoever watches the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Pods that were wanted before.
    pub from: u32,
    /// Pods that are wanted now.
    pub to: u32,
    /// Why: which figure against which target, and what bounded it.
    pub why: &'a str,
}
