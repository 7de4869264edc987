//! Where the spans of requests go, from the start to the end of the program.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Tracer, Traces, Way};
#[cfg(feature = "otlp")]
use crate::otlp::Batches;
use crate::request_log::Lines;

/// Where spans go.
#[derive(Debug, Default)]
pub struct Spans {
    /// What requests are traced by, if they are.
    pub tracer: Option<Arc<Tracer>>,
    #[cfg(feature = "otlp")]
    batches: Option<Batches>,
}

impl Spans {
    /// As the environment asks for them. A collector that cannot be one is told in the log, and
    /// nothing is traced then.
    pub fn start(traces: &Traces, stdout: Option<&Lines>, resource: &[(&str, &str)]) -> Self {
        let mut this = Self::default();
        let sampler = traces.sampler;
        match (traces.way(), stdout) {
            (Way::Stdout, Some(lines)) => {
                let tracer = Tracer::to_lines(sampler, lines.clone(), resource);
                this.tracer = Some(Arc::new(tracer));
            }
            #[cfg(feature = "otlp")]
            (Way::Collector(collector), _) => match Batches::open(collector, resource) {
                Ok((queue, batches)) => {
                    this.tracer = Some(Arc::new(Tracer::to_collector(sampler, queue)));
                    this.batches = Some(batches);
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
        if let Some(batches) = self.batches {
            batches.run(stop).await;
            return;
        }
        stop.cancelled().await;
    }
}
