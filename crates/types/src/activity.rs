//! Whether a revision is active, in the words of its condition.
//!
//! Source: spec/autoscaler.md §7, step 7.

/// What a revision is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing yet: no step was taken (`Active` is `Unknown`, without a reason).
    New,
    /// Waits for its first pods (`Active` is `Unknown`, reason `Queued`).
    Activating,
    /// Has enough pods (`Active` is `True`).
    Active,
    /// Needs no pod (`Active` is `False`).
    Inactive(Inactive),
}

/// Why a revision is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inactive {
    /// Nobody calls (reason `NoTraffic`).
    NoTraffic,
    /// Its first pods did not come up in time (reason `TimedOut`).
    TimedOut,
}
