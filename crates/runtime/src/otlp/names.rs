//! What series, units and labels are called in OpenTelemetry: Prometheus has a `_` for each dot, so
//! that there is no way back but a table.
//!
//! Source: spec/queue-proxy.md §7.1.

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prometheus::proto::LabelPair;

use super::message::{attribute, words};

/// A family's name with Prometheus, its name here, its unit.
const FAMILIES: [(&str, &str, &str); 7] = [
    (
        "kn_serving_invocation_duration_seconds",
        "kn.serving.invocation.duration",
        "s",
    ),
    (
        "kn_serving_queue_depth",
        "kn.serving.queue.depth",
        "{request}",
    ),
    (
        "http_server_request_duration_seconds",
        "http.server.request.duration",
        "s",
    ),
    (
        "http_server_request_body_size_bytes",
        "http.server.request.body.size",
        "By",
    ),
    (
        "http_server_response_body_size_bytes",
        "http.server.response.body.size",
        "By",
    ),
    (
        "http_client_request_duration_seconds",
        "http.client.request.duration",
        "s",
    ),
    (
        "http_client_request_body_size_bytes",
        "http.client.request.body.size",
        "By",
    ),
];

/// A label's name with Prometheus, its name here, whether its value is a number.
const LABELS: [(&str, &str, bool); 9] = [
    ("http_request_method", "http.request.method", false),
    (
        "http_response_status_code",
        "http.response.status_code",
        true,
    ),
    ("kn_route_tag", "kn.route.tag", false),
    ("network_protocol_name", "network.protocol.name", false),
    (
        "network_protocol_version",
        "network.protocol.version",
        false,
    ),
    ("server_address", "server.address", false),
    ("server_port", "server.port", true),
    ("url_scheme", "url.scheme", false),
    ("error_type", "error.type", false),
];

/// The mark of the series of what has no room of its own, here and there.
const OVERFLOW: (&str, &str) = ("otel_metric_overflow", "otel.metric.overflow");

/// Name and unit of a family. What has no name here keeps its own.
pub(super) fn of_family(prometheus: &str) -> (&str, &'static str) {
    let known = FAMILIES.iter().find(|(name, ..)| *name == prometheus);
    known.map_or((prometheus, ""), |&(_, name, unit)| (name, unit))
}

/// A label as an attribute.
pub(super) fn of_label(label: &LabelPair) -> KeyValue {
    let (name, value) = (label.name(), label.value());
    if name == OVERFLOW.0 {
        return attribute(OVERFLOW.1, Value::BoolValue(true));
    }
    let known = LABELS.iter().find(|(known, ..)| *known == name);
    let &(_, name, is_number) = known.unwrap_or(&(name, name, false));
    let number = value.parse().ok().filter(|_| is_number);
    attribute(name, number.map_or_else(|| words(value), Value::IntValue))
}
