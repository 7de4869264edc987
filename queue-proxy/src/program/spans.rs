//! Where the spans of requests go, from the start to the end of the program.

use std::sync::Arc;

use penstock_runtime::request_log::Lines;
use penstock_runtime::trace::Tracer;
#[cfg(feature = "otlp")]
use penstock_runtime::trace::otlp;
use tokio_util::sync::CancellationToken;

use crate::env::{Traces, Way};

/// Where spans go.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// What requests are traced by, if they are.
    pub(super) tracer: Option<Arc<Tracer>>,
    #[cfg(feature = "otlp")]
    collector: Option<otlp::Collector>,
}

impl Spans {
    /// As the environment asks for them. A collector that cannot be one is told in the log, and
    /// nothing is traced then.
    pub(super) fn start(
        traces: &Traces,
        stdout: Option<&Lines>,
        resource: &[(&'static str, &str)],
    ) -> Self {
        let mut this = Self::default();
        let sampler = traces.sampler;
        match (traces.way(), stdout) {
            (Way::Stdout, Some(lines)) => {
                let tracer = Tracer::to_lines(sampler, lines.clone(), resource);
                this.tracer = Some(Arc::new(tracer));
            }
            #[cfg(feature = "otlp")]
            (Way::Collector(endpoint), _) => match otlp::open(endpoint, resource) {
                Ok((queue, collector)) => {
                    this.tracer = Some(Arc::new(Tracer::to_collector(sampler, queue)));
                    this.collector = Some(collector);
                }
                Err(error) => tracing::error!(%error, "requests are not traced"),
            },
            (Way::Stdout, None) | (Way::None(_), _) => {}
        }
        this
    }

    /// Takes them there until `stop`, and then those that are left.
    pub(super) async fn deliver(self, stop: CancellationToken) {
        #[cfg(feature = "otlp")]
        if let Some(collector) = self.collector {
            collector.run(stop).await;
            return;
        }
        stop.cancelled().await;
    }
}
