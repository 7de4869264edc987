//! The activator: takes requests for revisions, also for those without a pod, holds them until
//! a pod has a free slot, and reports the demand meanwhile.
//!
//! Read [`request`] first: the life of a request.
//!
//! - `bind.rs`: [`Activator::bind`] and [`Running`], from the listener to the drain
//! - [`program`]: the program: all its listeners, and the way from the signal to the end
//! - [`env`], [`config`]: what it is told by variables, and by ConfigMaps while it runs
//! - `route.rs`: who a request is for: headers, a routed host, a service name
//! - `probe.rs`: probes of kubelet, network and autoscaler, answered before anything else
//! - `table.rs`: the revisions of the latest snapshot, each with its gate
//! - `revision.rs`: what is kept for one revision: gate, pods, demand
//! - `discovery/`: which pods take requests, found out by asking them
//! - `aside.rs`: pods that refused a request or cut one off, until they answer a probe
//! - `own_limit.rs`: the time that a caller gives its own request
//! - `budget.rs`: the memory that waiting requests may hold, shared fairly
//! - `pace.rs`: when a refused caller is told to come back
//! - `demand.rs`: reports to the autoscaler, at once at zero and every second
//! - [`report`]: the way to an autoscaler in another process
//! - `subset.rs`: which pods this activator serves if there are several
//! - `choices.rs`: what the owner of a revision chooses by annotations
//! - `idle.rs`: streams that are open and stand still
//! - `cold_start.rs`: how long each stage of a cold start took
//! - `server_timing.rs`: the same, for the one who waited
//! - `waiting.rs`: answers that begin before there is a pod
//! - `kube.rs`: the world of an activator on Kubernetes, with the feature `kube`
//! - `refusal.rs`: every answer that is not a pod's, with status and reason
//! - `metrics.rs`: what is exported
//! - `request_log.rs`: a line for each request
//! - `trace.rs`: the spans of a request
//!
//! Source: spec/activator.md; design.md, decisions 3 to 5.

#![forbid(unsafe_code)]

mod aside;
mod bind;
mod budget;
mod choices;
mod cold_start;
pub mod config;
mod demand;
mod discovery;
pub mod env;
mod idle;
#[cfg(feature = "kube")]
pub mod kube;
mod metrics;
mod own_limit;
mod pace;
mod probe;
pub mod program;
mod refusal;
pub mod report;
pub mod request;
mod request_log;
mod revision;
mod route;
mod server_timing;
mod subset;
mod table;
mod trace;
mod waiting;

pub use bind::{Activator, Handle, Options, Overflow, RevisionLoad, Running, ToPods};
pub use choices::{CHOICES, rejected, waiting_page};
pub use discovery::{Discovery, Mesh};
pub use env::quantity;
pub use metrics::{Metrics, Names};
pub use request_log::RequestLines;
pub use subset::Position;
