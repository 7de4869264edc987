//! Whether the autoscaler is there.
//!
//! Source: spec/activator.md §8.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use crate::metrics::SCOPE;

/// The only one that is connected to.
const PEER: &str = "autoscaler";

/// The two series about the connection.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Absent until there is something to tell.
    reachable: IntGaugeVec,
    errors: IntCounter,
}

impl Metrics {
    /// Adds the series to `registry`.
    ///
    /// # Errors
    ///
    /// If `registry` has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| Opts::new(name, help).const_labels(SCOPE.labels());
        let this = Self {
            reachable: IntGaugeVec::new(
                options(
                    "kn_activator_stats_conn_reachable",
                    "1 while there is a connection to the autoscaler",
                ),
                &["peer"],
            )?,
            errors: IntCounter::with_opts(
                options(
                    "kn_activator_stats_conn_errors_total",
                    "Connections to the autoscaler that were lost",
                )
                .const_label("peer", PEER),
            )?,
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
        let gauge = self.reachable.with_label_values(&[PEER]);
        gauge.set(i64::from(reachable));
    }

    pub(super) fn lost(&self) {
        self.errors.inc();
    }
}
