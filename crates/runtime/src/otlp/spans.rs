//! Spans to a collector, in batches. When a batch goes is decided here, so that it needs no thread
//! of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as proto, ResourceSpans, ScopeSpans, Status};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::address::{Collector, Signal};
use super::channel::{BadCollector, Channel};
use super::message::{AT_THE_END, SCHEMA, attribute, nanos};
use crate::seldom::Seldom;
use crate::trace::{Context, Kind, Span, Value};

/// How long spans wait for others, how many wait at most, and how many go at once: the defaults of
/// OpenTelemetry's batch processor.
const DELAY: Duration = Duration::from_secs(5);
const MOST_WAITING: usize = 2048;
const BATCH: usize = 512;

/// Bits of a span's flags: its trace is told; whether its parent is from afar is known, and so.
const SAMPLED: u32 = 0x01;
const KNOWS_PARENT: u32 = 0x100;
const FROM_AFAR: u32 = 0x200;

/// Where spans wait for the collector. Clones are the same.
#[derive(Clone, Debug)]
pub struct Queue {
    spans: mpsc::Sender<Span>,
    full: Arc<Seldom>,
}

/// What takes them there.
#[derive(Debug)]
pub struct Batches {
    channel: Channel,
    resource: Resource,
    spans: mpsc::Receiver<Span>,
}

impl Batches {
    /// The way of spans to `collector`; `resource` is what all of them are of.
    ///
    /// # Errors
    ///
    /// [`BadCollector`] says what is wrong with its address or its certificates.
    pub fn open(
        collector: &Collector,
        resource: &[(&str, &str)],
    ) -> Result<(Queue, Self), BadCollector> {
        let (sender, spans) = mpsc::channel(MOST_WAITING);
        let queue = Queue {
            spans: sender,
            full: Arc::default(),
        };
        let batches = Self {
            channel: Channel::open(collector, Signal::Traces)?,
            resource: super::message::resource(resource),
            spans,
        };
        Ok((queue, batches))
    }
}

impl Queue {
    /// Hands a span over, or drops it if too many wait.
    pub(crate) fn push(&self, span: Span) {
        if self.spans.try_send(span).is_err()
            && let Some(unsaid) = self.full.may_say()
        {
            tracing::warn!(unsaid, "spans were dropped: the collector is too slow");
        }
    }
}

impl Batches {
    /// Sends what comes until `stop`, and then what is left, as far as there is time. Within a
    /// runtime of tokio.
    pub async fn run(mut self, stop: CancellationToken) {
        let too_late = async {
            stop.cancelled().await;
            sleep(AT_THE_END).await;
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
            self.send(std::mem::take(&mut batch), stop).await;
        }
        self.spans.close();
        while !batch.is_empty() || self.spans.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch), stop).await;
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

    async fn send(&self, batch: Vec<Span>, stop: &CancellationToken) {
        let told = (batch.len(), "spans");
        let mut scopes: BTreeMap<&str, Vec<proto::Span>> = BTreeMap::new();
        for span in batch {
            scopes.entry(span.scope).or_default().push(message(span));
        }
        let scope = |(name, spans): (&str, _)| ScopeSpans {
            scope: Some(InstrumentationScope {
                name: name.to_owned(),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        };
        let all = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: scopes.into_iter().map(scope).collect(),
            schema_url: SCHEMA.to_owned(),
        };
        let message = ExportTraceServiceRequest {
            resource_spans: vec![all],
        };
        self.channel.deliver(&message, told, stop).await;
    }
}

fn message(span: Span) -> proto::Span {
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let flag = |set: bool, bit| if set { bit } else { 0 };
    let told = |(name, value)| {
        let value = match value {
            Value::Text(text) => any_value::Value::StringValue(text.into()),
            Value::Number(number) => any_value::Value::IntValue(number),
        };
        attribute(name, value)
    };
    proto::Span {
        trace_id: span.context.trace().to_be_bytes().into(),
        span_id: id(span.context),
        parent_span_id: span.parent.map(id).unwrap_or_default(),
        flags: flag(span.context.is_sampled(), SAMPLED)
            | KNOWS_PARENT
            | flag(span.from_afar, FROM_AFAR),
        name: span.name.into(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.ended),
        attributes: span.attributes.into_iter().map(told).collect(),
        status: span.failed.then(|| Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..proto::Span::default()
    }
}

fn id(context: Context) -> Vec<u8> {
    context.span().to_be_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::net::TcpListener;

    use super::super::address::Protocol;
    use super::*;

    fn open(url: &str) -> Result<(Queue, Batches), BadCollector> {
        let collector = Collector {
            url: url.to_owned(),
            ..Collector::nearby(Protocol::Http, Signal::Traces)
        };
        Batches::open(&collector, &[])
    }

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
        let (queue, mut collector) = open("http://127.0.0.1:1/v1/traces").unwrap();
        for _ in 0..MOST_WAITING + 10 {
            queue.push(span());
        }
        drop(queue);
        let waiting = std::iter::from_fn(|| collector.spans.try_recv().ok());
        assert_eq!(waiting.count(), MOST_WAITING);
    }

    #[test]
    fn a_collector_is_a_url() {
        let error = open("no url").err().unwrap().to_string();
        assert!(
            error.starts_with("\"no url\" cannot be a collector: "),
            "{error}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_span_of_a_batch_waits_for_others_but_not_long() {
        let (queue, mut collector) = open("http://127.0.0.1:1/v1/traces").unwrap();
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
        let (queue, collector) = open(&endpoint).unwrap();
        for _ in 0..3 * BATCH {
            queue.push(span());
        }
        let start = Instant::now();
        let stop = CancellationToken::new();
        stop.cancel();
        collector.run(stop).await;
        assert_eq!(start.elapsed(), AT_THE_END);
    }
}
