//! Where the spans of requests go, from the start to the end of the program.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

#[cfg(feature = "otlp")]
use super::otlp;
use super::{Tracer, Traces, Way};
use crate::request_log::Lines;

/// Where spans go.
#[derive(Debug, Default)]
pub struct Spans {
    /// What requests are traced by, if they are.
    pub tracer: Option<Arc<Tracer>>,
    #[cfg(feature = "otlp")]
    collector: Option<otlp::Collector>,
}

impl Spans {
    /// As the environment asks for them. A collector that cannot be one is told in the log, and
    /// nothing is traced then.
    pub fn start(
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
    pub async fn deliver(self, stop: CancellationToken) {
        #[cfg(feature = "otlp")]
        if let Some(collector) = self.collector {
            collector.run(stop).await;
            return;
        }
        stop.cancelled().await;
    }
}
