//! Whether the autoscaler is there.
//!
//! Source: spec/activator.md §8.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge, Opts, Registry};

/// Value of `otel_scope_name`.
const SCOPE: &str = "knative.dev/serving/pkg/activator";

/// The two series about the connection.
#[derive(Clone, Debug)]
pub struct Metrics {
    reachable: IntGauge,
    errors: IntCounter,
}

impl Metrics {
    /// Adds the series to `registry`.
    ///
    /// # Errors
    ///
    /// If `registry` has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| {
            Opts::new(name, help)
                .const_label("peer", "autoscaler")
                .const_label("otel_scope_name", SCOPE)
        };
        let this = Self {
            reachable: IntGauge::with_opts(options(
                "kn_activator_stats_conn_reachable",
                "1 while there is a connection to the autoscaler",
            ))?,
            errors: IntCounter::with_opts(options(
                "kn_activator_stats_conn_errors_total",
                "Connections to the autoscaler that were lost",
            ))?,
        };
        let all: [Box<dyn Collector>; 2] = [
            Box::new(this.reachable.clone()),
            Box::new(this.errors.clone()),
        ];
        for one in all {
            registry.register(one)?;
        }
        Ok(this)
    }

    pub(super) fn reachable(&self, reachable: bool) {
        self.reachable.set(i64::from(reachable));
    }

    pub(super) fn lost(&self) {
        self.errors.inc();
    }
}
