//! Probes of a workload, as `v1.Probe` describes them.

use std::time::Duration;

/// How to ask a workload whether it is well, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub check: Check,
    /// Time from the start of the container to the first attempt.
    pub initial_delay: Duration,
    /// Time between attempts; `None` is `periodSeconds: 0`: as fast as it helps, until the first success.
    pub period: Option<Duration>,
    /// Limit of one attempt.
    pub timeout: Duration,
    /// Consecutive successes that make it well.
    pub success_threshold: u32,
    /// Consecutive failures that make it unwell.
    pub failure_threshold: u32,
}

impl Probe {
    /// The probe of a workload that declares none: a TCP connect, as fast as it helps.
    ///
    /// Source: spec/queue-proxy.md §4.2, "Default user probe".
    pub fn tcp_default() -> Self {
        Self {
            check: Check::OWN_PORT,
            initial_delay: Duration::ZERO,
            period: None,
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// What one attempt does. A port of `None` is the workload's own (`$PORT`), a host of `None` the
/// one where the workload runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing is said of how to ask, so nothing can pass.
    Nothing,
    /// Connects, and closes.
    Tcp {
        /// Name or address to connect to.
        host: Option<String>,
        /// Port to connect to.
        port: Option<u16>,
    },
    /// GET; a status from 200 to 399 passes.
    Http(HttpGet),
    /// `grpc.health.v1.Health/Check`; SERVING passes.
    Grpc {
        /// Port to ask.
        port: Option<u16>,
        /// Service to ask about; empty for the server itself.
        service: String,
    },
    /// Runs a command in the workload's environment; exit status 0 passes.
    Exec {
        /// Program and arguments.
        command: Vec<String>,
    },
}

impl Check {
    /// Connects to the workload's own port.
    pub const OWN_PORT: Self = Self::Tcp {
        host: None,
        port: None,
    };
}

/// How to ask over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpGet {
    /// Name or address to ask.
    pub host: Option<String>,
    /// Port to ask.
    pub port: Option<u16>,
    /// Path and query, with or without its leading slash.
    pub path: String,
    /// Whether to ask over TLS, with a certificate that the system trusts.
    pub tls: bool,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// Whether to ask over HTTP/2 first, without TLS and by prior knowledge.
    pub detects_http2: bool,
    /// Whether a redirect to another host is followed, as in a queue-proxy. To a kubelet it has
    /// passed.
    pub leaves_host: bool,
}
