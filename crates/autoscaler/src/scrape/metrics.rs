//! How long scrapes take.
//!
//! Source: spec/autoscaler.md §11.

use std::time::Duration;

use penstock_cluster::Revision;
use prometheus::{HistogramOpts, HistogramVec, Registry};

/// From a pod nearby to one that does not answer within the limit of 3 s, and beyond.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The series of a scraper.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    duration: HistogramVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = HistogramOpts::new(
            "kn_autoscaler_scrape_duration_seconds",
            "Time that asking the pods of a revision takes",
        )
        .buckets(BUCKETS.to_vec())
        .const_label("otel_scope_name", "knative.dev/serving/pkg/autoscaler");
        let labels = [
            "kn_configuration_name",
            "kn_service_name",
            "k8s_namespace_name",
        ];
        let duration = HistogramVec::new(options, &labels)?;
        registry.register(Box::new(duration.clone()))?;
        Ok(Self { duration })
    }

    pub(super) fn observe(&self, revision: &Revision, took: Duration) {
        let labels = [
            &*revision.configuration,
            &*revision.service,
            revision.id.namespace(),
        ];
        self.duration
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }
}
