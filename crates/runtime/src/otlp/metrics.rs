//! What is scraped, pushed: the same series, from the same rows, at the same moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use super::address::{Collector, Signal};
use super::channel::{BadCollector, Channel};
use super::message::{AT_THE_END, SCHEMA, nanos};
use super::names;
use crate::metrics::Gather;

/// Pushes what would be scraped.
#[derive(Debug)]
pub struct Push {
    gather: Gather,
    channel: Channel,
    interval: Duration,
    resource: Resource,
    /// Since when is counted.
    since: SystemTime,
}

/// Who measures: the labels that Prometheus has for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    name: String,
    version: String,
    schema_url: String,
}

impl Push {
    /// The way of all that is in `gather` to `collector`, each `interval`, which is not 0; `resource`
    /// is what it is of.
    ///
    /// # Errors
    ///
    /// [`BadCollector`] says what is wrong with its address or its certificates.
    pub fn open(
        collector: &Collector,
        gather: Gather,
        interval: Duration,
        resource: &[(&str, &str)],
    ) -> Result<Self, BadCollector> {
        Ok(Self {
            gather,
            channel: Channel::open(collector, Signal::Metrics)?,
            interval,
            resource: super::message::resource(resource),
            since: SystemTime::now(),
        })
    }

    /// Pushes until `stop`, and then a last time. Within a runtime of tokio.
    pub async fn run(self, stop: CancellationToken) {
        let too_late = async {
            stop.cancelled().await;
            sleep(AT_THE_END).await;
        };
        tokio::select! {
            () = self.deliver(&stop) => {}
            () = too_late => {
                tracing::warn!("the last metrics were dropped: the collector is too slow");
            }
        }
    }

    async fn deliver(&self, stop: &CancellationToken) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.push(stop).await;
        }
        self.push(stop).await;
    }

    async fn push(&self, stop: &CancellationToken) {
        let times = Times {
            since: nanos(self.since),
            now: nanos(SystemTime::now()),
        };
        let metrics = all_of(self.gather.families(), times);
        let count = metrics.iter().map(|scope| scope.metrics.len()).sum();
        let message = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: metrics,
                schema_url: SCHEMA.to_owned(),
            }],
        };
        let told = (count, "metrics");
        self.channel.deliver(&message, told, stop).await;
    }
}

/// Nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Times {
    since: u64,
    now: u64,
}

/// The families by who measures them.
fn all_of(families: impl Iterator<Item = MetricFamily>, times: Times) -> Vec<ScopeMetrics> {
    let mut scopes: BTreeMap<Scope, Vec<Metric>> = BTreeMap::new();
    for family in families {
        let mut by_scope: BTreeMap<Scope, Vec<&proto::Metric>> = BTreeMap::new();
        for metric in family.get_metric() {
            by_scope.entry(Scope::of(metric)).or_default().push(metric);
        }
        for (scope, metrics) in by_scope {
            if let Some(metric) = metric(&family, &metrics, times) {
                scopes.entry(scope).or_default().push(metric);
            }
        }
    }
    let scope = |(scope, metrics): (Scope, _)| ScopeMetrics {
        scope: Some(InstrumentationScope {
            name: scope.name,
            version: scope.version,
            ..InstrumentationScope::default()
        }),
        metrics,
        schema_url: scope.schema_url,
    };
    scopes.into_iter().map(scope).collect()
}

impl Scope {
    fn of(metric: &proto::Metric) -> Self {
        let mut scope = Self::default();
        for label in metric.get_label() {
            let text = label.value().to_owned();
            match label.name() {
                "otel_scope_name" => scope.name = text,
                "otel_scope_version" => scope.version = text,
                "otel_scope_schema_url" => scope.schema_url = text,
                _ => {}
            }
        }
        scope
    }

    fn is_of(label: &LabelPair) -> bool {
        label.name().starts_with("otel_scope_")
    }
}

/// One family; none of a type that no collector of ours makes.
fn metric(family: &MetricFamily, all: &[&proto::Metric], times: Times) -> Option<Metric> {
    let (name, unit) = names::of_family(family.name());
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(all, times, |metric| metric.get_counter().get_value()),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: numbers(all, times, |metric| metric.get_gauge().get_value()),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: all.iter().map(|metric| histogram(metric, times)).collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: name.to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

fn numbers(
    all: &[&proto::Metric],
    times: Times,
    value: impl Fn(&proto::Metric) -> f64,
) -> Vec<NumberDataPoint> {
    let point = |metric: &&proto::Metric| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        value: Some(Value::AsDouble(value(metric))),
        ..NumberDataPoint::default()
    };
    all.iter().map(point).collect()
}

fn histogram(metric: &proto::Metric, times: Times) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let buckets = histogram.get_bucket();
    // Here each has its own alone, and the last one what is beyond all bounds.
    let so_far = buckets.iter().map(|bucket| bucket.cumulative_count());
    let mut before = 0;
    let own = so_far.chain([count]).map(|so_far| {
        let own = so_far.saturating_sub(before);
        before = so_far;
        own
    });
    HistogramDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: own.collect(),
        explicit_bounds: buckets.iter().map(|bucket| bucket.upper_bound()).collect(),
        ..HistogramDataPoint::default()
    }
}

fn attributes(metric: &proto::Metric) -> Vec<opentelemetry_proto::tonic::common::v1::KeyValue> {
    let labels = metric.get_label().iter();
    let own = labels.filter(|label| !Scope::is_of(label));
    own.map(names::of_label).collect()
}

#[cfg(test)]
mod tests;
