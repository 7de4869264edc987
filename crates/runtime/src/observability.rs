//! The ConfigMap `config-observability`, for the programs of the control plane.
//!
//! How metrics and spans leave is read at the start; OpenTelemetry's variables win. What is asked for
//! and not there is told ([`Observability::missing`]), and so are keys that nobody reads ([`unread`]).
//!
//! Source: spec/activator.md §1.3.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::otlp::{Signal, Wanted};
use crate::trace::{Traces, Way};
use crate::vars::{BadVars, Vars, go, parsed};

/// Time between two pushes of metrics, unless something else is said.
const PUSH_INTERVAL: Duration = Duration::from_secs(60);

/// All keys that some program reads: those of requests and their lines are for the queue-proxy and the
/// activator.
const KEYS: [&str; 16] = [
    "_example",
    "logging.enable-probe-request-log",
    "logging.enable-request-log",
    "logging.enable-var-log-collection",
    "logging.request-log-template",
    "metrics-endpoint",
    "metrics-export-interval",
    "metrics-protocol",
    "request-metrics-endpoint",
    "request-metrics-export-interval",
    "request-metrics-protocol",
    "runtime-export-interval",
    "runtime-profiling",
    "tracing-endpoint",
    "tracing-protocol",
    "tracing-sampling-rate",
];

/// Variables of OpenTelemetry that are obeyed.
pub const OTEL: [&str; 19] = [
    "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
];

/// How a process tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observability {
    /// Whether metrics can be scraped.
    pub prometheus: bool,
    /// Where they are pushed to, if they are, and how often.
    pub push: Option<(Wanted, Duration)>,
    /// Where spans go.
    pub traces: Option<Traces>,
    /// Whether profiles are to be served.
    pub profiling: bool,
}

impl Observability {
    /// Reads the map; `otel` are OpenTelemetry's variables, which win.
    ///
    /// # Errors
    ///
    /// All entries that are wrong.
    pub fn read(
        map: &BTreeMap<String, String>,
        otel: &BTreeMap<&'static str, String>,
    ) -> Result<Self, BadVars> {
        let mut vars = Vars::new(|name: &str| map.get(name.split_once(' ')?.1).cloned());
        let metrics = vars.read(
            "config-observability metrics-protocol",
            None,
            "none, prometheus, http/protobuf or grpc",
            |text| match text {
                "" | "none" => Some(None),
                "prometheus" | "http/protobuf" | "grpc" => Some(Some(text.to_owned())),
                _ => None,
            },
        );
        let traces = vars.read(
            "config-observability tracing-protocol",
            None,
            "none, http/protobuf, grpc or stdout",
            |text| match text {
                "" | "none" => Some(None),
                "http/protobuf" | "grpc" | "stdout" => Some(Some(text.to_owned())),
                _ => None,
            },
        );
        let rate = vars.read(
            "config-observability tracing-sampling-rate",
            0.0,
            "a number from 0 to 1",
            |text| parsed(text).filter(|rate| (0.0..=1.0).contains(rate)),
        );
        let profiling = vars.read(
            "config-observability runtime-profiling",
            false,
            "enabled or disabled",
            |text| match text {
                "enabled" => Some(true),
                "disabled" | "" => Some(false),
                _ => None,
            },
        );
        let interval = vars.read(
            "config-observability metrics-export-interval",
            PUSH_INTERVAL,
            "a duration above 0, such as 60s",
            |text| match text {
                "" => Some(PUSH_INTERVAL),
                text => go::duration(text).filter(|it| !it.is_zero()),
            },
        );
        let endpoint = |key| map.get(key).map_or("", String::as_str);
        let given = Vars::new(|name: &str| otel.get(name).cloned());
        let push = metrics.as_deref().and_then(|protocol| {
            let endpoint = endpoint("metrics-endpoint");
            let mut wanted = Wanted::new(protocol, endpoint, Signal::Metrics)?;
            wanted.read(Signal::Metrics, &given);
            let millis = given.text("OTEL_METRIC_EXPORT_INTERVAL");
            let millis = millis.and_then(|text| parsed(&text)).filter(|it| *it > 0);
            Some((wanted, millis.map_or(interval, Duration::from_millis)))
        });
        let endpoint = endpoint("tracing-endpoint");
        let traces = traces.map(|protocol| {
            let mut traces = Traces::new(&protocol, endpoint, rate);
            traces.read(&mut Vars::new(|name: &str| otel.get(name).cloned()));
            traces
        });
        vars.finish(Self {
            prometheus: metrics.as_deref() == Some("prometheus"),
            push,
            traces,
            profiling,
        })
    }

    /// What was asked for and is not there, each with what there is in its place.
    pub fn missing(&self) -> Vec<String> {
        let push = self.push.iter();
        let push = push.flat_map(|(wanted, _)| wanted.missing.iter().cloned());
        #[cfg(not(feature = "otlp"))]
        let push = push.chain(self.push.iter().map(|_| {
            let why = crate::otlp::WITHOUT_OTLP;
            format!("pushing metrics ({why}; they can be scraped, with the protocol prometheus)")
        }));
        let traces = self.traces.as_ref().and_then(|traces| match traces.way() {
            Way::None(_) => traces.missing(),
            _ => None,
        });
        let profiles = "profiles on port 8008 (perf can take them from the node)";
        let profiles = self.profiling.then(|| profiles.to_owned());
        push.chain(traces).chain(profiles).collect()
    }
}

/// Keys of the map that no program reads: misspelt, or of an installation before 1.19.
pub fn unread(map: &BTreeMap<String, String>) -> Vec<&str> {
    let keys = map.keys().map(String::as_str);
    keys.filter(|key| !KEYS.contains(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        entries.iter().map(owned).collect()
    }

    fn read(entries: &[(&str, &str)]) -> Result<Observability, BadVars> {
        Observability::read(&map(entries), &BTreeMap::new())
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_told() {
        assert_eq!(read(&[]).unwrap().missing(), [""; 0]);
        let scraped = read(&[("metrics-protocol", "prometheus")]).unwrap();
        assert!(scraped.prometheus && scraped.missing().is_empty());
        let all = read(&[
            ("metrics-protocol", "grpc"),
            ("metrics-endpoint", "http://one:4317"),
            ("runtime-profiling", "enabled"),
        ]);
        let missing = all.unwrap().missing().join("; ");
        assert!(missing.contains("profiles on port 8008"), "{missing}");
        let pushes = cfg!(feature = "otlp");
        assert_eq!(missing.contains("pushing metrics"), !pushes, "{missing}");
    }

    #[test]
    fn keys_that_nobody_reads_are_named() {
        let map = map(&[
            ("_example", "metrics-protocol: x"),
            ("request-metrics-protocol", "prometheus"),
            ("metrics-protokol", "prometheus"),
            ("metrics.backend-destination", "prometheus"),
        ]);
        let want = ["metrics-protokol", "metrics.backend-destination"];
        assert_eq!(unread(&map), want);
    }
}
