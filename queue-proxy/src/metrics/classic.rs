//! Series with the names that they had before OpenTelemetry (spec/queue-proxy.md §10).

use std::time::Duration;

use http::StatusCode;
use penstock_runtime::metrics::{self, FamilyOf, LabelSet, Tally, bytes};
use prometheus::core::Desc;
use prometheus::proto::{MetricFamily, MetricType};

use super::Seen;
use super::filed::{Filed, Tag};

/// Upper bounds in milliseconds.
const BUCKETS: [f64; 26] = [
    5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0,
    500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100000.0,
];

/// What is kept of the requests of one row, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    whole: Tally<26>,
    inside: Tally<26>,
}

impl Figures {
    pub(super) fn count(&mut self, seen: Seen) {
        self.whole.observe(&BUCKETS, whole_millis(seen.whole));
        self.inside.observe(&BUCKETS, whole_millis(seen.inside));
    }
}

/// What is left of a millisecond is cut off.
fn whole_millis(time: Duration) -> f64 {
    bytes(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl metrics::Figures for Figures {
    fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.inside.add(&other.inside);
    }
}

/// The labels that each series has. A service without a name is `unknown`.
pub(super) fn constant(given: &[(&str, &str)]) -> Vec<(String, String)> {
    let named = given.iter().map(|&(name, value)| match (name, value) {
        ("service_name", "") => (name, "unknown"),
        other => other,
    });
    named
        .chain([("container_name", "queue-proxy")])
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[derive(Debug)]
pub(super) struct Families {
    count: FamilyOf,
    latencies: FamilyOf,
    app_count: FamilyOf,
    app_latencies: FamilyOf,
}

impl Families {
    pub(super) fn new(constant: &[(String, String)]) -> prometheus::Result<Self> {
        let family = |name, help, kind| FamilyOf::new(name, help, kind, constant);
        Ok(Self {
            count: family(
                "revision_request_count",
                "Requests that came",
                MetricType::COUNTER,
            )?,
            latencies: family(
                "revision_request_latencies",
                "Arrival to last byte in milliseconds",
                MetricType::HISTOGRAM,
            )?,
            app_count: family(
                "revision_app_request_count",
                "Requests that reached the container",
                MetricType::COUNTER,
            )?,
            app_latencies: family(
                "revision_app_request_latencies",
                "Time inside the container in milliseconds",
                MetricType::HISTOGRAM,
            )?,
        })
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        [
            &self.count,
            &self.latencies,
            &self.app_count,
            &self.app_latencies,
        ]
        .map(FamilyOf::desc)
        .into()
    }

    pub(super) fn collect(&self, rows: &[(Filed, Figures)]) -> Vec<MetricFamily> {
        let shown = rows.iter().filter(|(filed, _)| !filed.probe);
        let all = shown.clone().map(|(filed, figures)| {
            let mut labels = codes(filed.status_of_run());
            labels.push(("route_tag", tag(&filed.tag).to_owned()));
            (labels, &figures.whole)
        });
        let inside = shown
            .filter(|(filed, _)| filed.reached)
            .map(|(filed, figures)| (codes(filed.status_of_run()), &figures.inside));
        let counts = |(labels, tally): (LabelSet, &Tally<26>)| (labels, tally.count());
        vec![
            self.count.counters(all.clone().map(counts)),
            self.latencies.histograms(&BUCKETS, all),
            self.app_count.counters(inside.clone().map(counts)),
            self.app_latencies.histograms(&BUCKETS, inside),
        ]
    }
}

fn codes(status: StatusCode) -> LabelSet {
    vec![
        ("response_code", status.as_str().to_owned()),
        (
            "response_code_class",
            format!("{}xx", status.as_u16() / 100),
        ),
    ]
}

fn tag(tag: &Tag<Box<str>>) -> &str {
    match tag {
        Tag::Disabled => "DISABLED",
        Tag::Default => "DEFAULT",
        Tag::Undefined => "UNDEFINED",
        Tag::Named(tag) => tag,
        Tag::Overflow => "OVERFLOW",
    }
}
