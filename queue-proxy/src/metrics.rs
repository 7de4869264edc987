//! What a queue-proxy exports (spec/queue-proxy.md §7.1, §10).
//!
//! One request is one entry in one row, by all that its series differ in; the series are made of
//! the rows when somebody scrapes. `measured.rs` follows a request, `filed.rs` says what it is
//! filed under, `current.rs` and `classic.rs` make series of it.

mod classic;
mod current;
mod filed;
mod measured;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_runtime::metrics::{HTTP_SCOPE, MAX_LABEL_SETS, Rows};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts, Registry};

use filed::{Filed, Labels};

pub(crate) use filed::Tag;
pub(crate) use measured::{Measured, is_probe};

/// Under which names the figures are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those of OpenTelemetry (spec/queue-proxy.md §7.1).
    #[default]
    Current,
    /// `revision_*`, in milliseconds (spec/queue-proxy.md §10). The constant labels are then to
    /// be `namespace_name`, `service_name`, `configuration_name`, `revision_name` and `pod_name`.
    Classic,
}

/// The series of one container, or of all containers of one revision. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// `None`: nobody asks, and nothing is counted.
    series: Option<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rows: Kept,
    depth: IntGauge,
}

/// Rows with the figures that the names need.
#[derive(Debug)]
enum Kept {
    Current(Rows<Filed, current::Figures>, Box<current::Families>),
    Classic(Rows<Filed, classic::Figures>, Box<classic::Families>),
}

/// What was measured of one request.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// First byte of the request to last byte of the response.
    whole: Duration,
    /// The same without the time in line; of requests that reached the container.
    inside: Duration,
    request_bytes: u64,
    response_bytes: u64,
}

impl Metrics {
    /// None at all: a request costs nothing to count.
    pub fn none() -> Self {
        Self::default()
    }

    /// Registers the series of [`Names::Current`]; `constant` labels are on each of them.
    ///
    /// # Errors
    ///
    /// A label is not valid, or the registry has these series already.
    pub fn register(registry: &Registry, constant: &[(&str, &str)]) -> prometheus::Result<Self> {
        Self::register_as(registry, Names::Current, constant)
    }

    /// Registers the series under these names; `constant` labels are on each of them.
    ///
    /// # Errors
    ///
    /// A label is not valid, or the registry has these series already.
    pub fn register_as(
        registry: &Registry,
        names: Names,
        constant: &[(&str, &str)],
    ) -> prometheus::Result<Self> {
        // The last place is that of the overflow.
        let limit = MAX_LABEL_SETS - 1;
        let (rows, depth) = match names {
            Names::Current => {
                let of_http = HTTP_SCOPE.with(constant);
                let own = current::SCOPE.with(constant);
                let families = current::Families::new(&own, &of_http)?;
                let depth = Opts::new(
                    "kn_serving_queue_depth",
                    "Number of current requests in the queue",
                );
                let depth = depth.const_labels(own.into_iter().collect());
                (Kept::Current(Rows::new(limit), Box::new(families)), depth)
            }
            Names::Classic => {
                let constant = classic::constant(constant);
                let families = classic::Families::new(&constant)?;
                let depth = Opts::new("revision_queue_depth", "Requests inside and in line");
                let depth = depth.const_labels(constant.into_iter().collect());
                (Kept::Classic(Rows::new(limit), Box::new(families)), depth)
            }
        };
        let depth = IntGauge::with_opts(depth)?;
        registry.register(Box::new(depth.clone()))?;
        let series = Series {
            shared: Arc::new(Shared { rows, depth }),
        };
        registry.register(Box::new(series.clone()))?;
        Ok(Self {
            series: Some(series),
        })
    }

    /// Whether anything is counted.
    pub(crate) fn are_kept(&self) -> bool {
        self.series.is_some()
    }

    /// Sets the gauge of requests inside and in line.
    pub(crate) fn tell_depth(&self, depth: usize) {
        if let Some(series) = &self.series {
            let depth = i64::try_from(depth).unwrap_or(i64::MAX);
            series.shared.depth.set(depth);
        }
    }

    /// Drops the series of a container that is gone, and keeps those that do not name it.
    pub(crate) fn forget(&self, container: SocketAddr) {
        let Some(series) = &self.series else {
            return;
        };
        let without = |filed: &Filed| Some(filed.without(container));
        match &series.shared.rows {
            Kept::Current(rows, _) => rows.refile(without),
            Kept::Classic(rows, _) => rows.refile(without),
        }
    }

    fn count(&self, labels: &Labels<'_>, seen: Seen) {
        let Some(series) = &self.series else {
            return;
        };
        match &series.shared.rows {
            Kept::Current(rows, _) => rows.count(labels, |figures| figures.count(seen)),
            Kept::Classic(rows, _) => {
                rows.count(&labels.classic(), |figures| figures.count(seen));
            }
        }
    }
}

impl Collector for Series {
    fn desc(&self) -> Vec<&Desc> {
        match &self.shared.rows {
            Kept::Current(_, families) => families.desc(),
            Kept::Classic(_, families) => families.desc(),
        }
    }

    fn collect(&self) -> Vec<MetricFamily> {
        match &self.shared.rows {
            Kept::Current(rows, families) => families.collect(&rows.sum()),
            Kept::Classic(rows, families) => families.collect(&rows.sum()),
        }
    }
}

#[cfg(test)]
mod tests;
