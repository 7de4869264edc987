//! What messages with metrics and messages with spans have in common.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The version of the words that attributes are written in (spec/queue-proxy.md §7.2).
pub(super) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.41.0";

/// How long a collector may take for all that is left at the end (spec/queue-proxy.md §5).
pub(super) const AT_THE_END: Duration = Duration::from_secs(10);

/// What is told of. Empty values are left out.
pub(super) fn resource(attributes: &[(&str, &str)]) -> Resource {
    let told = attributes.iter().filter(|(_, value)| !value.is_empty());
    Resource {
        attributes: told
            .map(|(name, value)| attribute(name, words(value)))
            .collect(),
        ..Resource::default()
    }
}

pub(super) fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(super) fn words(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

/// Nanoseconds since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
