//! Telemetry pushed to a collector by OTLP, over HTTP or gRPC, with TLS or without.
//!
//! - `address.rs`: where a collector is, as an operator writes it
//! - `wanted.rs`: what the configuration and the variables of OpenTelemetry say of it
//! - `channel.rs`: one message on its way, again and again until it is taken or there is no time left
//! - `http.rs`, `grpc.rs`: one exchange
//! - `metrics.rs`, `names.rs`: what is scraped, pushed from time to time under OpenTelemetry's names
//! - `spans.rs`: spans, in batches
//!
//! All but the first two is there only with the feature `otlp`. The messages are those of
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

/// The version of the words that attributes are written in (spec/queue-proxy.md §7.2).
#[cfg(feature = "otlp")]
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.41.0";

/// How long a collector may take for all that is left at the end (spec/queue-proxy.md §5).
#[cfg(feature = "otlp")]
const AT_THE_END: std::time::Duration = std::time::Duration::from_secs(10);

/// What is told of, as a message has it. Empty values are left out.
#[cfg(feature = "otlp")]
fn resource(attributes: &[(&str, &str)]) -> opentelemetry_proto::tonic::resource::v1::Resource {
    let told = attributes.iter().filter(|(_, value)| !value.is_empty());
    opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: told
            .map(|(name, value)| attribute(name, words(value)))
            .collect(),
        ..Default::default()
    }
}

#[cfg(feature = "otlp")]
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

#[cfg(feature = "otlp")]
fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(feature = "otlp")]
fn words(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// Nanoseconds since 1970.
#[cfg(feature = "otlp")]
fn nanos(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
