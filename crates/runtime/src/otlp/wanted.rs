//! What an operator wants of a collector: what the platform's configuration says of it, and the
//! variables of OpenTelemetry, which win over it.
//!
//! A variable of OpenTelemetry that makes no sense is ignored and told, as its SDKs do.
//!
//! Source: spec/queue-proxy.md §1, §1.1.

use std::time::Duration;

use super::address::{Collector, Protocol, Signal, pairs};
use crate::vars::{Vars, parsed};

/// A collector, and what was asked for of the way there and is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where to, and how.
    pub collector: Collector,
    /// Each as an entry of a list.
    pub missing: Vec<String>,
}

impl Wanted {
    /// By `protocol`, `http/protobuf` or `grpc`, to `endpoint`, which may be empty; `None` if there is
    /// no collector of that protocol. An endpoint that is none is told where it is opened.
    pub fn new(protocol: &str, endpoint: &str, signal: Signal) -> Option<Self> {
        let protocol = match protocol {
            "http/protobuf" => Protocol::Http,
            "grpc" => Protocol::Grpc,
            _ => return None,
        };
        let mut collector = Collector::nearby(protocol, signal);
        if !endpoint.is_empty() {
            let url = Collector::url(endpoint, signal);
            collector.url = url.unwrap_or_else(|| endpoint.to_owned());
        }
        Some(Self {
            collector,
            missing: Vec::new(),
        })
    }

    /// Notes that what the variable `name` says is not followed.
    pub fn ignores(&mut self, name: &str, text: &str) {
        self.missing.push(ignored(name, text));
    }

    /// What OpenTelemetry's variables change in it.
    pub fn read<G: Fn(&str) -> Option<String>>(&mut self, signal: Signal, vars: &Vars<G>) {
        let mut given = Given {
            vars,
            infix: match signal {
                Signal::Metrics => "METRICS_",
                Signal::Traces => "TRACES_",
            },
            missing: &mut self.missing,
        };
        let own = given.own("ENDPOINT", |text| Collector::url(text, signal));
        let all = || given.common("ENDPOINT", |text| Collector::url_under(text, signal));
        let collector = &mut self.collector;
        if let Some(url) = own.or_else(all) {
            collector.url = url;
        }
        let millis = |text: &str| parsed(text).map(Duration::from_millis);
        if let Some(patience) = given.either("TIMEOUT", millis) {
            collector.patience = patience;
        }
        collector.certificate = given.either("CERTIFICATE", |text| Some(text.into()));
        if let Some((headers, bad)) = given.either("HEADERS", |text| Some(pairs(text))) {
            collector.headers = headers;
            let told = bad.iter().map(|name| {
                format!("{name:?} of OTEL_EXPORTER_OTLP_HEADERS (it is not name=value)")
            });
            given.missing.extend(told);
        }
        let plain = |text: &str| (text == "none").then_some(());
        given.either("COMPRESSION", plain);
    }
}

fn ignored(name: &str, text: &str) -> String {
    format!("{name}={text:?} (it is ignored)")
}

/// The variables of one signal, and of all signals where it has none of its own.
struct Given<'a, G> {
    vars: &'a Vars<G>,
    infix: &'static str,
    missing: &'a mut Vec<String>,
}

impl<G: Fn(&str) -> Option<String>> Given<'_, G> {
    fn own<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(format!("OTEL_EXPORTER_OTLP_{}{name}", self.infix), parse)
    }

    fn common<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(format!("OTEL_EXPORTER_OTLP_{name}"), parse)
    }

    fn either<T>(&mut self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let own = self.own(name, &parse);
        own.or_else(|| self.common(name, parse))
    }

    fn read<T>(&mut self, name: String, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.vars.text(&name).filter(|text| !text.is_empty())?;
        let read = parse(&text);
        if read.is_none() {
            self.missing
                .push(format!("{name}={text:?} (it is ignored)"));
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

    fn read(signal: Signal, url: &str, vars: &[(&str, &str)]) -> Wanted {
        let get = |name: &str| {
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let mut wanted = Wanted::new("grpc", url, signal).unwrap();
        wanted.read(signal, &Vars::new(get));
        wanted
    }

    #[test]
    fn the_variables_of_the_endpoint_win_over_the_configured_one() {
        let table = [
            // for traces, for all, what counts
            ("", "", "http://c/own"),
            ("", "http://all/", "http://all/v1/traces"),
            ("http://t/own", "http://all", "http://t/own"),
            ("http://t", "", "http://t/v1/traces"),
        ];
        for (traces, all, want) in table {
            let vars = [(TRACES, traces), (ALL, all)];
            let got = read(Signal::Traces, "http://c/own", &vars);
            assert_eq!(got.collector.url, want);
            assert!(got.missing.is_empty());
        }
    }

    #[test]
    fn what_is_for_one_signal_wins_over_what_is_for_all_and_is_not_for_the_other() {
        let vars = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=2"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ];
        let metrics = read(Signal::Metrics, "http://c", &vars);
        let traces = read(Signal::Traces, "http://c", &vars);
        let header = |value: &str| vec![("a".to_owned(), value.to_owned())];
        assert_eq!(metrics.collector.headers, header("2"));
        assert_eq!(traces.collector.headers, header("1"));
        for wanted in [&metrics, &traces] {
            assert_eq!(wanted.collector.patience, Duration::from_secs(2));
        }
        assert_eq!(metrics.collector.certificate, None);
        assert_eq!(traces.collector.certificate, Some("/ca.pem".into()));
        let gzip = "OTEL_EXPORTER_OTLP_COMPRESSION=\"gzip\" (it is ignored)";
        let soon = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=\"soon\" (it is ignored)";
        assert_eq!(metrics.missing, [soon, gzip]);
        let b = "\"b\" of OTEL_EXPORTER_OTLP_HEADERS (it is not name=value)";
        assert_eq!(traces.missing, [b, gzip]);
    }

    #[test]
    fn an_endpoint_that_is_none_is_told_and_the_configured_one_counts() {
        let got = read(Signal::Traces, "http://c/own", &[(ALL, "10.1.2.3:4318")]);
        assert_eq!(got.collector.url, "http://c/own");
        let told = "OTEL_EXPORTER_OTLP_ENDPOINT=\"10.1.2.3:4318\" (it is ignored)";
        assert_eq!(got.missing, [told]);
    }
}
