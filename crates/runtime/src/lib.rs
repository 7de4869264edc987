//! What every process needs, and nothing that only one of them needs.
//!
//! - [`vars`]: typed variables, all mistakes reported at once
//! - [`cgroup`]: the processors and the memory that the process has
//! - [`drain`]: the phases of a shutdown that loses no request
//! - [`signal`]: stop, stop at once, reload
//! - [`limits`]: what the system lets it have
//! - [`log`]: lines for a person or for a machine
//! - [`seldom`]: what is worth a line only now and then
//! - [`metrics`]: what is scraped, gathered from several registries
//! - [`observability`]: how a process tells of itself, as a ConfigMap has it
//! - [`request_log`]: a line for each request, by a template
//! - [`otlp`]: metrics and spans pushed to a collector
//! - [`trace`]: spans of a request, told to standard output or to a collector
//! - [`admin`]: the listener for metrics, health and state
//!
//! It is part of the queue-proxy, which stands beside every pod, so its tree stays small.

#![forbid(unsafe_code)]

pub mod admin;
pub mod cgroup;
pub mod drain;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod observability;
pub mod otlp;
pub mod request_log;
pub mod resolver;
pub mod seldom;
pub mod signal;
pub mod trace;
pub mod vars;
