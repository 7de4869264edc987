//! The `http.server.*` and `http.client.*` histograms, declared once for the activator and the
//! queue-proxy.
//!
//! The label sets differ from series to series (a port only where it is not the usual one, a
//! status or an error), which a vector of the `prometheus` crate cannot express; so this is a
//! collector of its own, over [`Rows`].
//!
//! Hosts are chosen by callers, so the number of label sets and the length of their values are
//! limited; what is beyond goes to one series with `otel_metric_overflow="true"`.
//!
//! Source: spec/queue-proxy.md §7.1, spec/activator.md §8.

mod key;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{MetricFamily, MetricType};

use super::family::{FamilyOf, LabelSet};
use super::rows::{Figures, Rows};
use super::tally::Tally;
use key::{Filed, Key};

pub use key::{address_and_port, address_labels, exchange_labels, known_method, version_name};

/// Upper bounds of duration histograms, in seconds: the semantic conventions' for HTTP.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Upper bounds of size histograms, in bytes: the OpenTelemetry default.
pub const SIZE_BUCKETS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
];

/// Label sets per instrument, the one for the overflow among them.
pub const MAX_LABEL_SETS: usize = 2000;

/// Longest label value in bytes that gets a series of its own: a host name has at most 253.
pub const MAX_LABEL_VALUE: usize = 255;

/// Scope of the HTTP histograms.
pub const HTTP_SCOPE: Scope<'static> = Scope {
    name: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
    version: env!("CARGO_PKG_VERSION"),
    schema_url: "",
};

/// Instrumentation scope, which every series of the contract carries as `otel_scope_*`.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Name that dashboards select by.
    pub name: &'a str,
    /// Version of what measures.
    pub version: &'a str,
    /// Schema of the attributes; may be empty.
    pub schema_url: &'a str,
}

impl Scope<'_> {
    /// As constant labels of a metric.
    pub fn labels(&self) -> HashMap<String, String> {
        [
            ("otel_scope_name", self.name),
            ("otel_scope_version", self.version),
            ("otel_scope_schema_url", self.schema_url),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Its labels, and others that are on each series; the others win.
    pub fn with(&self, constant: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut labels = self.labels();
        for &(name, value) in constant {
            labels.insert(name.to_owned(), value.to_owned());
        }
        labels.into_iter().collect()
    }
}

/// Which end of a request is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Requests that arrive: duration, request and response size.
    Server,
    /// Requests that are sent on: duration and request size.
    Client,
}

/// What one request is filed under. Everything is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct HttpLabels<'a> {
    /// A method that is not of RFC 9110 or PATCH becomes `_OTHER`.
    pub method: &'a Method,
    /// What came of it.
    pub outcome: Outcome,
    /// Protocol version it came or went by.
    pub version: Version,
    /// Whether it came or went over TLS.
    pub scheme: Scheme,
    /// Who was asked.
    pub peer: Peer<'a>,
    /// Further labels with their Prometheus names, always in the same order, such as
    /// `kn_route_tag` or the revision.
    pub further: &'a [(&'static str, &'a str)],
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// `http_response_status_code`.
    Status(StatusCode),
    /// `error_type`: no answer came. From a fixed set of words, never an error's text.
    Error(&'static str),
}

/// `url_scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// Its name, and the port that it implies.
    pub fn name_and_port(self) -> (&'static str, u16) {
        match self {
            Self::Http => ("http", 80),
            Self::Https => ("https", 443),
        }
    }
}

/// `server_address` and `server_port`; the port is left out where the scheme implies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer<'a> {
    /// As a Host header has it: `name`, `name:port`, `[v6]:port`.
    Host(&'a str),
    /// As a connection has it.
    Addr(SocketAddr),
}

/// What was measured of one request.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// First byte of the request to last byte of the response.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body; not kept on [`Side::Client`].
    pub response_bytes: u64,
}

/// The histograms of one side. Clones share them.
#[derive(Clone, Debug)]
pub struct HttpSeries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    instruments: Vec<(FamilyOf, Measure)>,
    rows: Rows<Filed, Measured>,
}

/// What one histogram family is of.
#[derive(Clone, Copy, Debug)]
enum Measure {
    Duration,
    RequestBytes,
    ResponseBytes,
}

/// Everything that was measured under one label set.
#[derive(Clone, Debug, Default)]
struct Measured {
    duration: Tally<14>,
    request_bytes: Tally<15>,
    response_bytes: Tally<15>,
}

impl Figures for Measured {
    fn add(&mut self, other: &Self) {
        self.duration.add(&other.duration);
        self.request_bytes.add(&other.request_bytes);
        self.response_bytes.add(&other.response_bytes);
    }
}

impl Side {
    /// Names and descriptions of the semantic conventions.
    fn instruments(self) -> &'static [(&'static str, &'static str, Measure)] {
        match self {
            Self::Server => &[
                (
                    "http_server_request_duration_seconds",
                    "Duration of HTTP server requests.",
                    Measure::Duration,
                ),
                (
                    "http_server_request_body_size_bytes",
                    "Size of HTTP server request bodies.",
                    Measure::RequestBytes,
                ),
                (
                    "http_server_response_body_size_bytes",
                    "Size of HTTP server response bodies.",
                    Measure::ResponseBytes,
                ),
            ],
            Self::Client => &[
                (
                    "http_client_request_duration_seconds",
                    "Duration of HTTP client requests.",
                    Measure::Duration,
                ),
                (
                    "http_client_request_body_size_bytes",
                    "Size of HTTP client request bodies.",
                    Measure::RequestBytes,
                ),
            ],
        }
    }
}

impl HttpSeries {
    /// Registers the histograms of `side`. `constant` labels are on every series, beside those
    /// of `scope`.
    ///
    /// # Errors
    ///
    /// A constant label is not valid, or the registry has these series already.
    pub fn register(
        registry: &Registry,
        scope: Scope<'_>,
        side: Side,
        constant: &[(&str, &str)],
    ) -> prometheus::Result<Self> {
        let constant = scope.with(constant);
        let instruments = side.instruments().iter().map(|&(name, help, measure)| {
            let family = FamilyOf::new(name, help, MetricType::HISTOGRAM, &constant)?;
            Ok((family, measure))
        });
        let series = Self {
            shared: Arc::new(Shared {
                instruments: instruments.collect::<prometheus::Result<_>>()?,
                // The last place is that of the overflow.
                rows: Rows::new(MAX_LABEL_SETS - 1),
            }),
        };
        registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    /// Counts one request.
    pub fn observe(&self, labels: HttpLabels<'_>, seen: Exchange) {
        self.shared.rows.count(&Key::new(labels), |figures| {
            let duration = seen.duration.as_secs_f64();
            figures.duration.observe(&DURATION_BUCKETS, duration);
            figures
                .request_bytes
                .observe(&SIZE_BUCKETS, bytes(seen.request_bytes));
            figures
                .response_bytes
                .observe(&SIZE_BUCKETS, bytes(seen.response_bytes));
        });
    }

    /// Drops the series for which `gone` is true, and makes room for others. It gets the address
    /// that was asked, if it was one, and the further labels. A later request brings a series
    /// back, from 0.
    pub fn forget(&self, gone: impl Fn(Option<SocketAddr>, &[(&'static str, Box<str>)]) -> bool) {
        self.shared.rows.refile(|filed| match filed {
            Filed::Set(set) if gone(set.addr(), set.further()) => None,
            kept => Some(kept.clone()),
        });
    }
}

/// Bytes as a histogram takes them.
#[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
pub fn bytes(count: u64) -> f64 {
    count as f64
}

impl Collector for HttpSeries {
    fn desc(&self) -> Vec<&Desc> {
        let instruments = self.shared.instruments.iter();
        instruments.map(|(family, _)| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sum = self.shared.rows.sum();
        let rows: Vec<(LabelSet, &Measured)> = sum
            .iter()
            .map(|(filed, figures)| (filed.labels(), figures))
            .collect();
        let family = |(family, measure): &(FamilyOf, Measure)| {
            let rows = rows.iter().cloned();
            match measure {
                Measure::Duration => family.histograms(
                    &DURATION_BUCKETS,
                    rows.map(|(labels, figures)| (labels, &figures.duration)),
                ),
                Measure::RequestBytes => family.histograms(
                    &SIZE_BUCKETS,
                    rows.map(|(labels, figures)| (labels, &figures.request_bytes)),
                ),
                Measure::ResponseBytes => family.histograms(
                    &SIZE_BUCKETS,
                    rows.map(|(labels, figures)| (labels, &figures.response_bytes)),
                ),
            }
        };
        self.shared.instruments.iter().map(family).collect()
    }
}

#[cfg(test)]
mod tests;
