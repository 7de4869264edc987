//! Telemetry pushed to a collector by OTLP, over HTTP or gRPC, with TLS or without.
//!
//! - `address.rs`: where a collector is, as an operator writes it
//! - `wanted.rs`: what the configuration and the variables of OpenTelemetry say of it
//! - `channel.rs`: one message on its way, again and again until it is taken or there is no time left
//! - `http.rs`, `grpc.rs`: one exchange
//! - `message.rs`: what metrics and spans have in common
//! - `metrics.rs`, `names.rs`: what is scraped, pushed from time to time under OpenTelemetry's names
//! - `spans.rs`: spans, in batches
//!
//! All but the first two are there only with the feature `otlp`. The messages are those of
//! `opentelemetry-proto`. Their way out is hyper's and h2's, which a process has anyway: tonic would
//! bring a stack of its own for two calls, and OpenTelemetry's own exporter takes no figures that
//! are added up already, knows HTTP only without TLS, and reads the environment by itself.
//!
//! Source: the OTLP specification (opentelemetry.io/docs/specs/otlp), spec/queue-proxy.md §1.1, §7.

mod address;
#[cfg(feature = "otlp")]
mod channel;
#[cfg(feature = "otlp")]
mod grpc;
#[cfg(feature = "otlp")]
mod http;
#[cfg(feature = "otlp")]
mod message;
#[cfg(feature = "otlp")]
mod metrics;
#[cfg(feature = "otlp")]
mod names;
#[cfg(feature = "otlp")]
mod spans;
mod wanted;

pub use address::{Collector, Protocol, Signal, pairs};
#[cfg(feature = "otlp")]
pub use channel::BadCollector;
#[cfg(feature = "otlp")]
pub use metrics::Push;
#[cfg(feature = "otlp")]
pub use spans::{Batches, Queue};
pub use wanted::Wanted;

/// Why nothing gets to a collector.
#[cfg(not(feature = "otlp"))]
pub const WITHOUT_OTLP: &str = "this program was built without the feature otlp";
