//! What identifies a revision, and what of it the request path has to know.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Key of a revision: an immutable version of a workload. Shown as `namespace/name`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RevisionId {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl RevisionId {
    /// Makes the key; both parts are taken verbatim.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace, such as `hello-00001`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How many requests one container may hold at once (`containerConcurrency`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slots {
    /// No limit; `containerConcurrency: 0`.
    Unlimited,
    /// Exactly so many.
    Limited(NonZeroU32),
}

impl Slots {
    /// Reads `containerConcurrency`, where 0 says "no limit".
    pub fn from_concurrency(limit: u32) -> Self {
        NonZeroU32::new(limit).map_or(Self::Unlimited, Self::Limited)
    }

    /// Whether another request fits beside `in_flight` others.
    pub fn has_room(self, in_flight: usize) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Limited(limit) => in_flight < limit.get() as usize,
        }
    }

    /// The limit as the contract writes it: 0 for none.
    pub fn as_concurrency(self) -> u32 {
        match self {
            Self::Unlimited => 0,
            Self::Limited(limit) => limit.get(),
        }
    }
}

/// The time limits of a request, all counted from its arrival, waiting included.
///
/// Source: spec/activator.md §2.11, spec/queue-proxy.md §3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The whole request (`timeoutSeconds`).
    pub whole: Duration,
    /// Until the response begins (`responseStartTimeoutSeconds`).
    pub response_start: Option<Duration>,
    /// Since the last byte of the response (`idleTimeoutSeconds`).
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    /// 300 s for the whole request, nothing else: what Knative's webhook fills in.
    fn default() -> Self {
        Self {
            whole: Duration::from_secs(300),
            response_start: None,
            idle: None,
        }
    }
}

/// What a workload speaks on its port (the port's name, `http1` or `h2c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// Whether traffic can reach a revision (spec/autoscaler.md §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Not known yet; counts as reachable.
    #[default]
    Unknown,
    /// A route leads here.
    Reachable,
    /// No route leads here: bounds below and delays are off.
    Unreachable,
}
