//! Series with the names that they had before OpenTelemetry (spec/activator.md §8, "Classic names").

use std::time::Duration;

use http::StatusCode;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Upper bounds in milliseconds.
const BUCKETS: [f64; 26] = [
    5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0, 450.0,
    500.0, 600.0, 700.0, 800.0, 900.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100000.0,
];

/// Labels of all, in the order of [`super::OF_REVISION`].
const LABELS: [&str; 6] = [
    "service_name",
    "configuration_name",
    "revision_name",
    "namespace_name",
    "response_code",
    "response_code_class",
];

/// The three of them.
#[derive(Clone, Debug)]
pub(super) struct Classic {
    concurrency: GaugeVec,
    count: IntCounterVec,
    latencies: HistogramVec,
}

/// A service without a name is `unknown`.
pub(super) fn service(name: &str) -> &str {
    match name {
        "" => "unknown",
        name => name,
    }
}

impl Classic {
    pub(super) fn register(registry: &Registry, pod: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| {
            Opts::new(name, help)
                .const_label("pod_name", pod)
                .const_label("container_name", "activator")
        };
        let concurrency = GaugeVec::new(
            opts(
                "activator_request_concurrency",
                "Concurrent requests that are routed to Activator",
            ),
            &LABELS[..4],
        )?;
        let count = IntCounterVec::new(
            opts(
                "activator_request_count",
                "The number of requests that are routed to Activator",
            ),
            &LABELS,
        )?;
        let latencies = opts(
            "activator_request_latencies",
            "The response time in millisecond",
        );
        let latencies = HistogramOpts::from(latencies).buckets(BUCKETS.to_vec());
        let latencies = HistogramVec::new(latencies, &LABELS)?;
        registry.register(Box::new(concurrency.clone()))?;
        registry.register(Box::new(count.clone()))?;
        registry.register(Box::new(latencies.clone()))?;
        Ok(Self {
            concurrency,
            count,
            latencies,
        })
    }

    /// Mean concurrency of the last second.
    pub(super) fn concurrency(&self) -> &GaugeVec {
        &self.concurrency
    }

    pub(super) fn count(&self, revision: &[String; 4], status: StatusCode, took: Duration) {
        let class = format!("{}xx", status.as_u16() / 100);
        let [service, configuration, name, namespace] = revision;
        let labels = [
            service,
            configuration,
            name,
            namespace,
            status.as_str(),
            &class,
        ];
        self.count.with_label_values(&labels).inc();
        // What is left of a millisecond is cut off.
        let millis = took.as_millis() as f64;
        self.latencies.with_label_values(&labels).observe(millis);
    }

    /// Drops the counts of a revision that is gone: of any status.
    pub(super) fn forget(&self, revision: &[String; 4]) {
        let [service, configuration, name, namespace] = revision;
        for code in 100..600_u16 {
            let (code, class) = (code.to_string(), format!("{}xx", code / 100));
            let labels = [service, configuration, name, namespace, &code, &class];
            let labels = labels.map(String::as_str);
            // Errors only say that there is no such series.
            let _ = self.count.remove_label_values(&labels);
            let _ = self.latencies.remove_label_values(&labels);
        }
    }
}
