//! What the autoscaler exports: gauges of each revision, for as long as the revision exists, and
//! how late decisions are.
//!
//! The gauges are made from what the loop shows ([`Handle`]) when somebody scrapes: a gauge that is
//! kept costs a kilobyte of labels, and there are eleven for each revision.
//!
//! Source: spec/autoscaler.md §11. `penstock_autoscaler_decision_latency_seconds` is added.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Phase, Pod, Revision};
use penstock_runtime::metrics::{Families, Gather};
use penstock_scaling::spec::Metric;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, Opts, Registry};

use crate::state::{Handle, Row, Shown};

/// Value of `otel_scope_name`.
const SCOPE: &str = "knative.dev/serving/pkg/autoscaler";

/// From a report that finds the loop idle to one that waits for a large table before it: a decision
/// is meant to come within 100 ms.
const LATENCY: [f64; 14] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

/// From a pod nearby to one that does not answer within the limit of 3 s, and beyond.
const SCRAPES: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Under which names the figures are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those of OpenTelemetry (spec/autoscaler.md §11, "Prometheus now").
    #[default]
    Current,
    /// `autoscaler_*`, the time of a scrape in milliseconds (§11, "classic Prometheus").
    Classic,
}

/// One gauge that every revision has, or every revision that is scaled by `by`.
struct Gauge {
    current: &'static str,
    classic: &'static str,
    help: &'static str,
    by: Option<Metric>,
    value: fn(&Row) -> f64,
}

const GAUGES: [Gauge; 14] = [
    Gauge {
        current: "kn_revision_pods_desired",
        classic: "autoscaler_desired_pods",
        help: "Pods that the load asks for",
        by: None,
        value: |row| row.figures.desired,
    },
    Gauge {
        current: "kn_revision_pods_requested",
        classic: "autoscaler_requested_pods",
        help: "Pods asked of the cluster",
        by: None,
        value: |row| f64::from(row.wanted),
    },
    Gauge {
        current: "kn_revision_pods_count",
        classic: "autoscaler_actual_pods",
        help: "Pods that take requests",
        by: None,
        value: |row| pods(row, |pod| pod.phase == Phase::Ready),
    },
    Gauge {
        current: "kn_revision_pods_not_ready_count",
        classic: "autoscaler_not_ready_pods",
        help: "Pods that take no requests, whatever the reason",
        by: None,
        value: |row| unplaced(row) + pods(row, |pod| pod.phase != Phase::Ready),
    },
    Gauge {
        current: "kn_revision_pods_pending_count",
        classic: "autoscaler_pending_pods",
        help: "Pods whose container was not started yet",
        by: None,
        value: |row| {
            let pending = |pod: &Pod| pod.phase == Phase::Starting && pod.started.is_none();
            unplaced(row) + pods(row, pending)
        },
    },
    Gauge {
        current: "kn_revision_pods_terminating_count",
        classic: "autoscaler_terminating_pods",
        help: "Pods that finish what they have",
        by: None,
        value: |row| pods(row, |pod| pod.phase == Phase::Draining),
    },
    Gauge {
        current: "kn_revision_capacity_excess",
        classic: "autoscaler_excess_burst_capacity",
        help: "Load that fits beside the target burst capacity; below zero the activator stays in the path",
        by: None,
        value: |row| row.figures.excess,
    },
    Gauge {
        current: "kn_revision_panic_mode",
        classic: "autoscaler_panic_mode",
        help: "1 while there is panic, else 0",
        by: None,
        value: |row| f64::from(u8::from(row.figures.panicking)),
    },
    Gauge {
        current: "kn_revision_concurrency_stable",
        classic: "autoscaler_stable_request_concurrency",
        help: "Requests in flight, mean of the stable window",
        by: Some(Metric::Concurrency),
        value: |row| row.figures.stable,
    },
    Gauge {
        current: "kn_revision_concurrency_panic",
        classic: "autoscaler_panic_request_concurrency",
        help: "Requests in flight, mean of the short window",
        by: Some(Metric::Concurrency),
        value: |row| row.figures.panic,
    },
    Gauge {
        current: "kn_revision_concurrency_target",
        classic: "autoscaler_target_concurrency_per_pod",
        help: "Requests in flight that are aimed at per pod",
        by: Some(Metric::Concurrency),
        value: |row| row.figures.target,
    },
    Gauge {
        current: "kn_revision_rps_stable_per_second",
        classic: "autoscaler_stable_requests_per_second",
        help: "Requests per second, mean of the stable window",
        by: Some(Metric::Rps),
        value: |row| row.figures.stable,
    },
    Gauge {
        current: "kn_revision_rps_panic_per_second",
        classic: "autoscaler_panic_requests_per_second",
        help: "Requests per second, mean of the short window",
        by: Some(Metric::Rps),
        value: |row| row.figures.panic,
    },
    Gauge {
        current: "kn_revision_rps_target_per_second",
        classic: "autoscaler_target_requests_per_second",
        help: "Requests per second that are aimed at per pod",
        by: Some(Metric::Rps),
        value: |row| row.figures.target,
    },
];

fn pods(row: &Row, counts: impl Fn(&Pod) -> bool) -> f64 {
    row.revision.pods.iter().filter(|pod| counts(pod)).count() as f64
}

/// Pods that no machine was found for yet are shown by their number alone.
fn unplaced(row: &Row) -> f64 {
    f64::from(row.revision.unplaced)
}

/// What the loop measures of itself.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    latency: Histogram,
}

impl Metrics {
    /// Adds the loop's own series, and the gauges of all revisions that `handle` shows; these to
    /// `gather`, if there is one.
    ///
    /// # Errors
    ///
    /// If `registry` has them already: it belongs to one autoscaler.
    pub(crate) fn register(
        registry: &Registry,
        gather: Option<&Gather>,
        names: Names,
        handle: &Handle,
    ) -> prometheus::Result<Self> {
        let gauges = Gauges::new(names, handle.clone())?;
        match gather {
            Some(gather) => gather.add_families(Arc::new(gauges)),
            None => registry.register(Box::new(gauges))?,
        }
        let latency = HistogramOpts::new(
            "penstock_autoscaler_decision_latency_seconds",
            "From a report that brought a decision to that decision",
        );
        let latency = Histogram::with_opts(latency.buckets(LATENCY.to_vec()))?;
        registry.register(Box::new(latency.clone()))?;
        Ok(Self { latency })
    }

    /// A report has been decided on so long after it was received.
    pub(crate) fn decided(&self, after: Duration) {
        self.latency.observe(after.as_secs_f64());
    }
}

/// The gauges of all revisions.
#[derive(Debug)]
struct Gauges {
    names: Names,
    descs: Vec<Desc>,
    handle: Handle,
}

impl Gauges {
    fn new(names: Names, handle: Handle) -> prometheus::Result<Self> {
        let labels = match names {
            Names::Current => &CURRENT_LABELS[..],
            Names::Classic => &CLASSIC_LABELS[..],
        };
        let desc = |gauge: &Gauge| {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            let name = gauge.name(names).to_owned();
            Desc::new(name, gauge.help.to_owned(), labels, Default::default())
        };
        Ok(Self {
            names,
            descs: GAUGES.iter().map(desc).collect::<Result<_, _>>()?,
            handle,
        })
    }

    fn make(&self, gauge: &Gauge, all: &[Arc<Shown>]) -> MetricFamily {
        let mut metrics = Vec::with_capacity(all.len());
        for shown in all {
            let row = shown.row();
            if gauge.by.is_some_and(|by| by != row.metric) {
                continue;
            }
            let mut value = proto::Gauge::default();
            value.set_value((gauge.value)(&row));
            let mut metric = proto::Metric::default();
            metric.set_label(labels(self.names, &row.revision));
            metric.set_gauge(value);
            metrics.push(metric);
        }
        let mut family = MetricFamily::default();
        family.set_name(gauge.name(self.names).to_owned());
        family.set_help(gauge.help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics);
        family
    }
}

impl Collector for Gauges {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.handle.all();
        GAUGES.iter().map(|gauge| self.make(gauge, &all)).collect()
    }
}

impl Families for Gauges {
    fn names(&self) -> Vec<&'static str> {
        GAUGES.iter().map(|gauge| gauge.name(self.names)).collect()
    }

    fn family(&self, place: usize) -> MetricFamily {
        GAUGES
            .get(place)
            .map_or_else(MetricFamily::default, |gauge| {
                self.make(gauge, &self.handle.all())
            })
    }
}

impl Gauge {
    fn name(&self, names: Names) -> &'static str {
        match names {
            Names::Current => self.current,
            Names::Classic => self.classic,
        }
    }
}

/// Label names of each gauge, in the order of [`labels`].
const CURRENT_LABELS: [&str; 5] = [
    "k8s_namespace_name",
    "kn_configuration_name",
    "kn_revision_name",
    "kn_service_name",
    "otel_scope_name",
];
const CLASSIC_LABELS: [&str; 4] = [
    "configuration_name",
    "namespace_name",
    "revision_name",
    "service_name",
];

/// The labels of a revision, sorted by name.
fn labels(names: Names, revision: &Revision) -> Vec<LabelPair> {
    let (namespace, name) = (revision.id.namespace(), revision.id.name());
    let Revision {
        configuration,
        service,
        ..
    } = revision;
    match names {
        Names::Current => pairs(
            CURRENT_LABELS,
            [namespace, configuration, name, service, SCOPE],
        ),
        Names::Classic => pairs(
            CLASSIC_LABELS,
            [configuration, namespace, name, or_unknown(service)],
        ),
    }
}

fn pairs<const N: usize>(names: [&str; N], values: [&str; N]) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    names.into_iter().zip(values).map(pair).collect()
}

/// The classic labels have a word for what has no name.
fn or_unknown(name: &str) -> &str {
    if name.is_empty() { "unknown" } else { name }
}

/// How long scrapes take.
#[derive(Clone, Debug)]
pub(crate) struct ScrapeMetrics {
    names: Names,
    duration: prometheus::HistogramVec,
}

impl ScrapeMetrics {
    /// Adds the series of a scraper.
    ///
    /// # Errors
    ///
    /// If `registry` has them already.
    pub(crate) fn register(registry: &Registry, names: Names) -> prometheus::Result<Self> {
        let help = "Time that asking the pods of a revision takes";
        let (options, labels) = match names {
            Names::Current => {
                let name = "kn_autoscaler_scrape_duration_seconds";
                let options = Opts::new(name, help).const_label("otel_scope_name", SCOPE);
                let labels = [
                    "kn_configuration_name",
                    "kn_service_name",
                    "k8s_namespace_name",
                ];
                (options, labels)
            }
            Names::Classic => {
                let help = format!("{help}, in milliseconds");
                let labels = ["configuration_name", "service_name", "namespace_name"];
                (Opts::new("autoscaler_scrape_time", help), labels)
            }
        };
        let buckets = SCRAPES.map(|bound| unit(names, bound)).to_vec();
        let options = HistogramOpts::from(options).buckets(buckets);
        let duration = prometheus::HistogramVec::new(options, &labels)?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self { names, duration })
    }

    /// A scrape of `revision` took so long.
    pub(crate) fn observe(&self, revision: &Revision, took: Duration) {
        let service = match self.names {
            Names::Current => &*revision.service,
            Names::Classic => or_unknown(&revision.service),
        };
        let labels = [&*revision.configuration, service, revision.id.namespace()];
        self.duration
            .with_label_values(&labels)
            .observe(unit(self.names, took.as_secs_f64()));
    }
}

/// So many seconds in the unit of the names.
fn unit(names: Names, seconds: f64) -> f64 {
    match names {
        Names::Current => seconds,
        Names::Classic => seconds * 1000.0,
    }
}
