//! The `http.server.*` and `http.client.*` histograms, declared once for the activator and the
//! queue-proxy.
//!
//! The label sets differ from series to series (a port only where it is not the usual one, a
//! status or an error), which a vector of the `prometheus` crate cannot express; so this is a
//! collector of its own. One request costs one hash, one read lock and two or three
//! observations: nothing is allocated for a label set that was seen before.
//!
//! Hosts are chosen by callers, so the number of label sets and the length of their values are
//! limited; what is beyond goes to one series with `otel_metric_overflow="true"`.
//!
//! Source: spec/queue-proxy.md §7.1, spec/activator.md §8.

mod key;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode, Version};
use prometheus::core::{Collector, Desc, Metric as _};
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, Registry};

use key::{Key, OwnedKey};

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
    fn name_and_port(self) -> (&'static str, u16) {
        match self {
            Self::Http => ("http", 80),
            Self::Https => ("https", 443),
        }
    }
}

/// `server_address` and `server_port`; the port is left out where the scheme implies it.
#[derive(Clone, Copy, Debug)]
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
    instruments: Vec<Instrument>,
    constant: HashMap<String, String>,
    hasher: RandomState,
    series: RwLock<Table>,
    overflow: Handles,
}

/// One histogram family.
#[derive(Debug)]
struct Instrument {
    desc: Desc,
    measures: Measure,
}

#[derive(Clone, Copy, Debug)]
enum Measure {
    Duration,
    RequestBytes,
    ResponseBytes,
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

/// Handles by the hash of their label set; the list is for sets whose hashes collide.
#[derive(Debug, Default)]
struct Table {
    by_hash: HashMap<u64, Vec<(OwnedKey, Handles)>>,
    len: usize,
}

/// One histogram per instrument, in the instruments' order.
type Handles = Box<[Histogram]>;

impl HttpSeries {
    /// Registers the histograms of `side`. `constant` labels are on every series, beside those
    /// of `scope` (usually [`HTTP_SCOPE`]).
    ///
    /// # Errors
    ///
    /// A label name is not valid, or the registry has these histograms already.
    pub fn register(
        registry: &Registry,
        scope: Scope<'_>,
        side: Side,
        constant: &[(&str, &str)],
    ) -> prometheus::Result<Self> {
        let mut labels = scope.labels();
        for &(name, value) in constant {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let instruments = side
            .instruments()
            .iter()
            .map(|&(name, help, measures)| {
                let desc = Desc::new(name.into(), help.into(), Vec::new(), labels.clone())?;
                Ok(Instrument { desc, measures })
            })
            .collect::<prometheus::Result<Vec<_>>>()?;
        let overflow = handles(
            &instruments,
            &labels,
            [("otel_metric_overflow".to_owned(), "true".to_owned())].into(),
        )?;
        let series = Self {
            shared: Arc::new(Shared {
                instruments,
                constant: labels,
                hasher: RandomState::new(),
                series: RwLock::default(),
                overflow,
            }),
        };
        registry.register(Box::new(series.clone()))?;
        Ok(series)
    }

    /// Counts one request.
    pub fn observe(&self, labels: HttpLabels<'_>, seen: Exchange) {
        let shared = &*self.shared;
        let key = Key::new(labels);
        let hash = shared.hasher.hash_one(&key);
        {
            let table = shared.series.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(handles) = table.get(hash, &key) {
                return shared.record(handles, seen);
            }
            if table.is_full() || key.is_too_long() {
                return shared.record(&shared.overflow, seen);
            }
        }
        let mut table = shared
            .series
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        shared.add(&mut table, hash, &key);
        let handles = table.get(hash, &key).unwrap_or(&shared.overflow);
        shared.record(handles, seen);
    }

    /// Drops the series for which `gone` is true, and makes room for others. It gets the address
    /// that was asked, if it was one, and the further labels. A later request brings a series
    /// back, from 0.
    pub fn forget(&self, gone: impl Fn(Option<SocketAddr>, &[(&'static str, Box<str>)]) -> bool) {
        let mut table = self
            .shared
            .series
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for sets in table.by_hash.values_mut() {
            sets.retain(|(key, _)| !gone(key.addr(), key.further()));
        }
        table.by_hash.retain(|_, sets| !sets.is_empty());
        table.len = table.by_hash.values().map(Vec::len).sum();
    }
}

impl Shared {
    /// Adds `key`, unless another thread has added it, or the last place, between the two locks.
    fn add(&self, table: &mut Table, hash: u64, key: &Key<'_>) {
        if table.get(hash, key).is_some() || table.is_full() {
            return;
        }
        match handles(&self.instruments, &self.constant, key.labels()) {
            Ok(handles) => {
                let sets = table.by_hash.entry(hash).or_default();
                sets.push((key.to_owned(), handles));
                table.len += 1;
            }
            Err(error) => tracing::debug!(%error, "a label set cannot be a series"),
        }
    }

    fn record(&self, handles: &Handles, seen: Exchange) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 8 PiB")]
        for (instrument, histogram) in self.instruments.iter().zip(handles) {
            histogram.observe(match instrument.measures {
                Measure::Duration => seen.duration.as_secs_f64(),
                Measure::RequestBytes => seen.request_bytes as f64,
                Measure::ResponseBytes => seen.response_bytes as f64,
            });
        }
    }
}

impl Table {
    /// The last place is that of the overflow.
    fn is_full(&self) -> bool {
        self.len + 1 >= MAX_LABEL_SETS
    }

    fn get(&self, hash: u64, key: &Key<'_>) -> Option<&Handles> {
        let sets = self.by_hash.get(&hash)?;
        sets.iter()
            .find(|(set, _)| set.is(key))
            .map(|(_, handles)| handles)
    }
}

fn handles(
    instruments: &[Instrument],
    constant: &HashMap<String, String>,
    mut labels: HashMap<String, String>,
) -> prometheus::Result<Handles> {
    for (name, value) in constant {
        labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    instruments
        .iter()
        .map(|instrument| {
            let buckets = match instrument.measures {
                Measure::Duration => DURATION_BUCKETS.to_vec(),
                Measure::RequestBytes | Measure::ResponseBytes => SIZE_BUCKETS.to_vec(),
            };
            let desc = &instrument.desc;
            let opts = HistogramOpts::new(&desc.fq_name, &desc.help).buckets(buckets);
            Histogram::with_opts(opts.const_labels(labels.clone()))
        })
        .collect()
}

impl Collector for HttpSeries {
    fn desc(&self) -> Vec<&Desc> {
        let instruments = self.shared.instruments.iter();
        instruments.map(|instrument| &instrument.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let table = self
            .shared
            .series
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        // The overflow shows up only once something went there.
        let used = |handles: &&Handles| handles.iter().any(|one| one.get_sample_count() > 0);
        let all: Vec<&Handles> = table
            .by_hash
            .values()
            .flatten()
            .map(|(_, handles)| handles)
            .chain(Some(&self.shared.overflow).filter(used))
            .collect();
        let family = |(place, instrument): (usize, &Instrument)| {
            let mut family = MetricFamily::default();
            family.set_name(instrument.desc.fq_name.clone());
            family.set_help(instrument.desc.help.clone());
            family.set_field_type(MetricType::HISTOGRAM);
            family.set_metric(all.iter().map(|handles| handles[place].metric()).collect());
            family
        };
        self.shared
            .instruments
            .iter()
            .enumerate()
            .map(family)
            .collect()
    }
}

#[cfg(test)]
mod tests;
