//! The queue-proxy: stands before one container, gives it no more requests at once than it can
//! take, and says when it is ready.
//!
//! Read [`request`] first: the life of a request at the container.
//!
//! - `bind.rs`: [`QueueProxy::bind`] and [`Running`], from the listener to the drain
//! - [`program`]: the program in a pod: all its listeners, and the way from the signal to the end
//! - `cpus.rs`: threads as the pod has room for them
//! - `drain.rs`: when a drain may go on from its first phase
//! - `gate_probe.rs`: probes of kubelet, activator and network, answered before anything else
//! - `kubelet.rs`: whose probes need no slot
//! - `readiness.rs`: whether the container is ready, asked together by all who want to know
//! - [`env`]: the environment as the controller writes it
//! - `json.rs`: JSON in variables, with the way to each place
//! - [`probe_json`]: the containers' probes as the environment has them
//! - `forwarded.rs`: the `Forwarded` header for containers that read it
//! - `refusal.rs`: every answer that is not the container's, with status and reason
//! - `metrics.rs`: what is exported
//! - `request_log.rs`: what is remembered of a request until its line is written
//! - `trace.rs`: the spans of one request
//! - `signs.rs`: which headers can be there, at one look
//! - `stats.rs`: what the autoscaler reads each second
//! - [`tls`]: certificates that the platform mounts, and those of the metrics
//!
//! Source: spec/queue-proxy.md.

#![forbid(unsafe_code)]

mod bind;
mod cpus;
mod drain;
pub mod env;
mod forwarded;
mod gate_probe;
mod json;
mod kubelet;
mod metrics;
pub mod probe_json;
pub mod program;
mod readiness;
mod refusal;
pub mod request;
mod request_log;
mod signs;
mod stats;
pub mod tls;
mod trace;

pub use bind::{Choices, Config, QueueProxy, Running};
pub use cpus::{PACKED, workers};
pub use drain::Waited;
pub use kubelet::{Kubelet, gateways};
pub use metrics::{Metrics, Names};
pub use readiness::{NotReady, Probes};
pub use request_log::RequestLines;
