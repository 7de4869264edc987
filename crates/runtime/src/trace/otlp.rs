//! Spans to a collector: OTLP over HTTP, as protobuf, in batches.
//!
//! The messages and their way out are those of OpenTelemetry's crates; when a batch goes is decided
//! here, so that it needs no thread of its own. The crates read `OTEL_EXPORTER_OTLP_HEADERS` and its
//! like by themselves, as every SDK does.
//!
//! gRPC would bring tonic, and TLS a second HTTP client: neither is here.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Context, Kind, Span, Value};
use crate::seldom::Seldom;

/// How long spans wait for others, how many wait at most, and how many go at once: the defaults of
/// OpenTelemetry's batch processor.
const DELAY: Duration = Duration::from_secs(5);
const MOST_WAITING: usize = 2048;
const BATCH: usize = 512;
/// How long the collector may take for a batch, and for all that is left at the end
/// (spec/queue-proxy.md §5).
const PATIENCE: Duration = Duration::from_secs(10);

/// The version of the words that attributes are written in.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Why there is no way to a collector.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint:?} cannot be a collector: {reason}")]
pub struct BadCollector {
    endpoint: String,
    reason: String,
}

/// Where spans wait for the collector. Clones are the same.
#[derive(Clone, Debug)]
pub struct Queue {
    spans: mpsc::Sender<Span>,
    full: Arc<Seldom>,
}

/// What takes them there.
#[derive(Debug)]
pub struct Collector {
    exporter: SpanExporter,
    endpoint: String,
    spans: mpsc::Receiver<Span>,
    failures: Seldom,
}

/// A way to the collector at `endpoint`, a whole URL; `resource` is what all spans are of.
///
/// # Errors
///
/// [`BadCollector`] says what is wrong with the URL.
pub fn open(
    endpoint: &str,
    resource: &[(&'static str, &str)],
) -> Result<(Queue, Collector), BadCollector> {
    let bad = |reason: String| BadCollector {
        endpoint: endpoint.to_owned(),
        reason,
    };
    let builder = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE);
    let mut exporter = builder.build().map_err(|error| bad(error.to_string()))?;
    let named = resource.iter().filter(|(_, value)| !value.is_empty());
    let named: Vec<_> = named
        .map(|&(name, value)| KeyValue::new(name, value.to_owned()))
        .collect();
    let resource = Resource::builder_empty().with_schema_url(named, SCHEMA);
    exporter.set_resource(&resource.build());
    let (sender, spans) = mpsc::channel(MOST_WAITING);
    let queue = Queue {
        spans: sender,
        full: Arc::default(),
    };
    let collector = Collector {
        exporter,
        endpoint: endpoint.to_owned(),
        spans,
        failures: Seldom::default(),
    };
    Ok((queue, collector))
}

impl Queue {
    /// Hands a span over, or drops it if too many wait.
    pub(super) fn push(&self, span: Span) {
        if self.spans.try_send(span).is_err()
            && let Some(unsaid) = self.full.may_say()
        {
            tracing::warn!(unsaid, "spans were dropped: the collector is too slow");
        }
    }
}

impl Collector {
    /// Sends what comes until `stop`, and then what is left, as far as there is time. Within a
    /// runtime of tokio.
    pub async fn run(mut self, stop: CancellationToken) {
        let too_late = async {
            stop.cancelled().await;
            sleep(PATIENCE).await;
        };
        tokio::select! {
            () = self.deliver(&stop) => {}
            () = too_late => {
                tracing::warn!("the last spans were dropped: the collector is too slow");
            }
        }
    }

    async fn deliver(&mut self, stop: &CancellationToken) {
        let mut batch = Vec::new();
        while let Some(()) = stop.run_until_cancelled(self.fill(&mut batch)).await {
            if batch.is_empty() {
                return; // nobody can send any more
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.spans.close();
        while !batch.is_empty() || self.spans.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits for a batch: the first span, and what comes soon after it. What is in it stays there
    /// if this is dropped.
    async fn fill(&mut self, batch: &mut Vec<Span>) {
        if self.spans.recv_many(batch, BATCH).await == 0 {
            return;
        }
        let due = Instant::now() + DELAY;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match timeout_at(due, self.spans.recv_many(batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn send(&self, batch: Vec<Span>) {
        let batch: Vec<_> = batch.into_iter().map(data).collect();
        let spans = batch.len();
        if let Err(error) = self.exporter.export(batch).await
            && let Some(unsaid) = self.failures.may_say()
        {
            let endpoint = &self.endpoint;
            tracing::warn!(%error, spans, unsaid, "spans did not get to {endpoint}");
        }
    }
}

fn data(span: Span) -> SpanData {
    SpanData {
        span_context: context(&span.context),
        parent_span_id: span.parent.map_or(SpanId::INVALID, id),
        parent_span_is_remote: span.from_afar,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
        },
        name: span.name,
        start_time: span.begun,
        end_time: span.ended,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if span.failed {
            Status::error("")
        } else {
            Status::Unset
        },
        instrumentation_scope: InstrumentationScope::builder(span.scope).build(),
    }
}

fn context(context: &Context) -> SpanContext {
    let trace = TraceId::from(context.trace());
    let flags = TraceFlags::default().with_sampled(context.is_sampled());
    SpanContext::new(trace, id(*context), flags, false, TraceState::NONE)
}

fn id(context: Context) -> SpanId {
    SpanId::from(context.span())
}

fn attribute((name, value): (&'static str, Value)) -> KeyValue {
    match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::net::TcpListener;

    use super::*;

    fn span() -> Span {
        let context = Context::root();
        Span {
            name: "GET".into(),
            kind: Kind::Server,
            scope: "a/scope",
            context,
            parent: None,
            from_afar: false,
            begun: SystemTime::UNIX_EPOCH,
            ended: SystemTime::UNIX_EPOCH,
            attributes: vec![("url.path", "/".into()), ("server.port", 80_u16.into())],
            failed: false,
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_keeps_nobody_waiting() {
        let (queue, mut collector) = open("http://127.0.0.1:1/v1/traces", &[]).unwrap();
        for _ in 0..MOST_WAITING + 10 {
            queue.push(span());
        }
        drop(queue);
        let waiting = std::iter::from_fn(|| collector.spans.try_recv().ok());
        assert_eq!(waiting.count(), MOST_WAITING);
    }

    #[test]
    fn a_collector_is_a_url() {
        let error = open("no url", &[]).err().unwrap().to_string();
        assert!(
            error.starts_with("\"no url\" cannot be a collector: "),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_span_of_a_batch_waits_for_others_but_not_long() {
        let (queue, mut collector) = open("http://127.0.0.1:1/v1/traces", &[]).unwrap();
        let mut batch = Vec::new();
        for _ in 0..=BATCH {
            queue.push(span());
        }
        let start = Instant::now();
        collector.fill(&mut batch).await;
        assert_eq!((batch.len(), start.elapsed()), (BATCH, Duration::ZERO));
        batch.clear();
        collector.fill(&mut batch).await;
        assert_eq!((batch.len(), start.elapsed()), (1, DELAY));
        batch.clear();
        drop(queue);
        collector.fill(&mut batch).await;
        assert!(batch.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (queue, collector) = open(&endpoint, &[]).unwrap();
        for _ in 0..3 * BATCH {
            queue.push(span());
        }
        let start = Instant::now();
        let stop = CancellationToken::new();
        stop.cancel();
        collector.run(stop).await;
        assert_eq!(start.elapsed(), PATIENCE);
    }
}
