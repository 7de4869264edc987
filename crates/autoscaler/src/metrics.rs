//! The autoscaler's gauges: one set per revision, for as long as the revision exists.
//!
//! Source: spec/autoscaler.md §11, the current names.

use penstock_cluster::{Phase, Revision};
use penstock_scaling::spec::Metric;
use prometheus::{Gauge, GaugeVec, Opts, Registry};

/// Value of `otel_scope_name`.
const SCOPE: &str = "knative.dev/serving/pkg/autoscaler";

/// Label names of every gauge here.
const LABELS: [&str; 5] = [
    "kn_configuration_name",
    "kn_revision_name",
    "kn_service_name",
    "k8s_namespace_name",
    "otel_scope_name",
];

/// All gauges.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    desired: GaugeVec,
    requested: GaugeVec,
    ready: GaugeVec,
    not_ready: GaugeVec,
    pending: GaugeVec,
    terminating: GaugeVec,
    excess_burst_capacity: GaugeVec,
    panic_mode: GaugeVec,
    concurrency: Load,
    rps: Load,
}

/// The gauges of one metric that revisions are scaled by.
#[derive(Clone, Debug)]
struct Load {
    stable: GaugeVec,
    panic: GaugeVec,
    target: GaugeVec,
}

impl Metrics {
    /// Adds the gauges to `registry`.
    ///
    /// # Errors
    ///
    /// If `registry` has them already: it belongs to one autoscaler.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &LABELS)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        Ok(Self {
            desired: gauge("kn_revision_pods_desired", "Pods that the load asks for")?,
            requested: gauge("kn_revision_pods_requested", "Pods asked of the cluster")?,
            ready: gauge("kn_revision_pods_count", "Pods that take requests")?,
            not_ready: gauge(
                "kn_revision_pods_not_ready_count",
                "Pods that take no requests, whatever the reason",
            )?,
            pending: gauge(
                "kn_revision_pods_pending_count",
                "Pods that were not ready yet",
            )?,
            terminating: gauge(
                "kn_revision_pods_terminating_count",
                "Pods that finish what they have",
            )?,
            excess_burst_capacity: gauge(
                "kn_revision_capacity_excess",
                "Load that fits beside the target burst capacity; below zero the activator stays in the path",
            )?,
            panic_mode: gauge("kn_revision_panic_mode", "1 while there is panic, else 0")?,
            concurrency: Load {
                stable: gauge(
                    "kn_revision_concurrency_stable",
                    "Requests in flight, mean of the stable window",
                )?,
                panic: gauge(
                    "kn_revision_concurrency_panic",
                    "Requests in flight, mean of the short window",
                )?,
                target: gauge(
                    "kn_revision_concurrency_target",
                    "Requests in flight that are aimed at per pod",
                )?,
            },
            rps: Load {
                stable: gauge(
                    "kn_revision_rps_stable_per_second",
                    "Requests per second, mean of the stable window",
                )?,
                panic: gauge(
                    "kn_revision_rps_panic_per_second",
                    "Requests per second, mean of the short window",
                )?,
                target: gauge(
                    "kn_revision_rps_target_per_second",
                    "Requests per second that are aimed at per pod",
                )?,
            },
        })
    }

    /// The gauges of `revision`, at zero until they are set.
    pub(crate) fn series(&self, revision: &Revision, metric: Metric) -> Series {
        let labels = [
            revision.configuration.to_string(),
            revision.id.name().to_owned(),
            revision.service.to_string(),
            revision.id.namespace().to_owned(),
            SCOPE.to_owned(),
        ];
        let labels_now = labels.each_ref().map(String::as_str);
        let of = |gauge: &GaugeVec| gauge.with_label_values(&labels_now);
        let load = self.load(metric);
        Series {
            desired: of(&self.desired),
            requested: of(&self.requested),
            ready: of(&self.ready),
            not_ready: of(&self.not_ready),
            pending: of(&self.pending),
            terminating: of(&self.terminating),
            excess_burst_capacity: of(&self.excess_burst_capacity),
            panic_mode: of(&self.panic_mode),
            stable: of(&load.stable),
            panic: of(&load.panic),
            target: of(&load.target),
            families: self.clone(),
            labels,
            metric,
        }
    }
}

impl Metrics {
    fn load(&self, metric: Metric) -> &Load {
        match metric {
            Metric::Concurrency => &self.concurrency,
            Metric::Rps => &self.rps,
        }
    }
}

impl Load {
    fn gauges(&self) -> [&GaugeVec; 3] {
        [&self.stable, &self.panic, &self.target]
    }
}

/// The gauges of one revision. They go with it.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) desired: Gauge,
    pub(crate) requested: Gauge,
    pub(crate) excess_burst_capacity: Gauge,
    pub(crate) panic_mode: Gauge,
    pub(crate) stable: Gauge,
    pub(crate) panic: Gauge,
    pub(crate) target: Gauge,
    ready: Gauge,
    not_ready: Gauge,
    pending: Gauge,
    terminating: Gauge,
    families: Metrics,
    labels: [String; 5],
    metric: Metric,
}

impl Series {
    /// What the revision is scaled by: it has the gauges of this metric only.
    pub(crate) fn set_metric(&mut self, metric: Metric) {
        if metric == self.metric {
            return;
        }
        let labels = self.labels.each_ref().map(String::as_str);
        for gauge in self.families.load(self.metric).gauges() {
            // It is there: `Metrics::series` made it.
            let _ = gauge.remove_label_values(&labels);
        }
        let load = self.families.load(metric);
        self.stable = load.stable.with_label_values(&labels);
        self.panic = load.panic.with_label_values(&labels);
        self.target = load.target.with_label_values(&labels);
        self.metric = metric;
    }

    /// Counts the pods by phase.
    pub(crate) fn count_pods(&self, revision: &Revision) {
        let count = |phase| {
            revision
                .pods
                .iter()
                .filter(|pod| pod.phase == phase)
                .count() as f64
        };
        let (starting, draining) = (count(Phase::Starting), count(Phase::Draining));
        self.ready.set(count(Phase::Ready));
        self.not_ready.set(starting + draining);
        self.pending.set(starting);
        self.terminating.set(draining);
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let families = &self.families;
        let labels = self.labels.each_ref().map(String::as_str);
        let gauges = [
            &families.desired,
            &families.requested,
            &families.ready,
            &families.not_ready,
            &families.pending,
            &families.terminating,
            &families.excess_burst_capacity,
            &families.panic_mode,
        ];
        for gauge in gauges
            .into_iter()
            .chain(families.load(self.metric).gauges())
        {
            // It is there: `Metrics::series` made it.
            let _ = gauge.remove_label_values(&labels);
        }
    }
}
