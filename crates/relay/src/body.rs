//! Bodies of answers: they hold a guard to their last byte and end at a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::Stream as Pieces;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::deadline::Alarm;
use crate::h2::client::Stream;
use crate::incoming::{Broken, Incoming};
use crate::link::Link;
use crate::pool::Pool;

/// Held by an answer until its last byte was handed over, or it was dropped. What has to be
/// undone then (a slot, a count, a clock) is undone by its `Drop`.
pub trait Guard: Send + Unpin + 'static {
    /// So many more bytes of the body were handed over.
    fn passed(&mut self, _bytes: usize) {}

    /// After a change of protocol: so many more bytes have passed, in either direction.
    fn tunnelled(&mut self, _bytes: usize) {}

    /// The body broke off: the upstream's fault, or a deadline.
    fn broke(&mut self, _error: &BodyError) {}

    /// A deadline passed, and the body ends with the words for that.
    fn cut_short(&mut self, _error: &BodyError) {}
}

impl Guard for () {}

/// Why an answer ended early. The caller's connection or stream is then reset, so that it cannot
/// take what it has for the whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream stopped in the middle.
    #[error("the upstream broke off its answer")]
    Upstream(#[source] Broken),
    /// The request took longer than it may (`timeoutSeconds`).
    #[error("the request took longer than it may")]
    Whole,
    /// Nothing came for longer than it may (`idleTimeoutSeconds`).
    #[error("the answer stood still for longer than it may")]
    Idle,
}

/// When an answer has to be over. Checked, and timed, while it is waited for; `whole` also while
/// its caller does not take it.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// Its end.
    pub whole: Instant,
    /// The longest pause within.
    pub idle: Option<Duration>,
    /// How it ends then.
    pub late: Late,
}

/// What a caller sees of an answer that has begun and is too late to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Late {
    /// The connection or stream is reset: what came cannot be taken for the whole.
    #[default]
    Reset,
    /// The words `request timeout`, and a proper end, as the contract has it
    /// (spec/queue-proxy.md §3.3). An answer of a declared length is reset all the same.
    Told,
}

/// What [`Late::Told`] tells, as the body of a 504 does.
const TOO_LATE: Bytes = Bytes::from_static(b"request timeout");

/// The body of an answer.
#[derive(Debug)]
pub struct Body<G> {
    source: Source,
    guard: Option<G>,
    clock: Option<Clock>,
}

/// What is said piece by piece.
struct Words(Pin<Box<dyn Pieces<Item = Bytes> + Send>>);

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Words")
    }
}

#[derive(Debug)]
enum Source {
    Text(Option<Bytes>),
    Told(Words),
    Relayed(Relayed),
}

#[derive(Debug)]
struct Clock {
    deadlines: Deadlines,
    alarm: Alarm,
    last: Instant,
}

/// A body that an upstream sends, and what has to be driven and given back for it.
#[derive(Debug)]
pub struct Relayed(Carrier);

#[derive(Debug)]
enum Carrier {
    /// HTTP/1: a connection of its own, for the pool afterwards.
    Link(Box<Link>, Arc<Pool>),
    /// HTTP/2: a stream of a shared connection.
    Stream(
        Incoming,
        #[expect(dead_code, reason = "counted while held")] Stream,
    ),
    /// It is over.
    None,
}

impl<G: Guard> Body<G> {
    /// A body at hand.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self {
            source: Source::Text((!text.is_empty()).then_some(text)),
            guard: None,
            clock: None,
        }
    }

    /// A body that is made while it is sent; each piece goes out at once.
    pub fn told(words: Pin<Box<dyn Pieces<Item = Bytes> + Send>>) -> Self {
        Self {
            source: Source::Told(Words(words)),
            guard: None,
            clock: None,
        }
    }

    /// A body that an upstream sends.
    pub fn relayed(relayed: Relayed) -> Self {
        Self {
            source: Source::Relayed(relayed),
            guard: None,
            clock: None,
        }
    }

    /// Holds `guard` to the end.
    #[must_use]
    pub fn holding(mut self, guard: G) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Ends at `deadlines`.
    #[must_use]
    pub fn until(mut self, deadlines: Deadlines) -> Self {
        self.clock = Some(Clock {
            deadlines,
            alarm: Alarm::default(),
            last: Instant::now(),
        });
        self
    }

    /// The connection under a 101, and when it has to end. The guard stays.
    pub(crate) fn take_link(&mut self) -> Option<(Box<Link>, Deadlines)> {
        let deadlines = self.clock.as_ref()?.deadlines;
        match &mut self.source {
            Source::Relayed(relayed) => Some((relayed.take_link()?, deadlines)),
            Source::Text(_) | Source::Told(_) => None,
        }
    }

    /// So many bytes have passed of what came in its place.
    pub(crate) fn tunnelled(&mut self, bytes: usize) {
        if let Some(guard) = &mut self.guard {
            guard.tunnelled(bytes);
        }
    }

    /// When it has to be over.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.clock.as_ref().map(|clock| clock.deadlines.whole)
    }

    /// The last frame, or the error in its place, once a deadline has passed.
    fn is_late(&mut self, error: BodyError) -> Result<Frame<Bytes>, BodyError> {
        let late = self.clock.take().map(|clock| clock.deadlines.late);
        if late != Some(Late::Told) || http_body::Body::size_hint(self).exact().is_some() {
            return Err(error);
        }
        if let Some(guard) = &mut self.guard {
            guard.cut_short(&error);
        }
        self.source = Source::Text(None);
        Ok(Frame::data(TOO_LATE))
    }

    /// Ends it early, for a reason that only who sends it can see.
    pub(crate) fn break_off(&mut self, error: &BodyError) {
        if let Some(mut guard) = self.guard.take() {
            guard.broke(error);
        }
    }
}

impl Relayed {
    /// The body that a link is about to bring.
    pub(crate) fn by_link(link: Box<Link>, pool: &Arc<Pool>) -> Self {
        let mut relayed = Self::upgraded(link, pool);
        if relayed.is_end_stream() {
            relayed.give_back();
        }
        relayed
    }

    /// The empty body of a 101, whose connection is still wanted.
    pub(crate) fn upgraded(link: Box<Link>, pool: &Arc<Pool>) -> Self {
        Self(Carrier::Link(link, Arc::clone(pool)))
    }

    /// The body that a stream is about to bring.
    pub(crate) fn by_stream(body: Incoming, stream: Stream) -> Self {
        let over = http_body::Body::is_end_stream(&body);
        Self(if over {
            Carrier::None
        } else {
            Carrier::Stream(body, stream)
        })
    }

    fn take_link(&mut self) -> Option<Box<Link>> {
        match std::mem::replace(&mut self.0, Carrier::None) {
            Carrier::Link(link, _) => Some(link),
            Carrier::Stream(..) | Carrier::None => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.0 {
            Carrier::Link(link, _) => link
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Broken::from))),
            Carrier::Stream(body, _) => http_body::Body::poll_frame(Pin::new(body), cx),
            Carrier::None => Poll::Ready(None),
        };
        match &frame {
            Poll::Ready(Some(Err(_))) => self.0 = Carrier::None,
            Poll::Ready(None) => self.give_back(),
            Poll::Ready(Some(Ok(_))) if self.is_end_stream() => self.give_back(),
            _ => {}
        }
        frame.map_err(BodyError::Upstream)
    }

    /// The link goes back to the pool, unless something of the exchange is left.
    fn give_back(&mut self) {
        if let Carrier::Link(link, pool) = std::mem::replace(&mut self.0, Carrier::None) {
            pool.put(link);
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Carrier::Link(link, _) => link.is_end_stream(),
            Carrier::Stream(body, _) => http_body::Body::is_end_stream(body),
            Carrier::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Carrier::Link(link, _) => link.size_hint(),
            Carrier::Stream(body, _) => http_body::Body::size_hint(body),
            Carrier::None => SizeHint::with_exact(0),
        }
    }
}

impl Clock {
    /// Ready once a deadline has passed; keeps the task woken for it.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Deadlines { whole, idle, .. } = self.deadlines;
        let (due, error) = match idle.map(|idle| self.last + idle) {
            Some(due) if due < whole => (due, BodyError::Idle),
            _ => (whole, BodyError::Whole),
        };
        if self.alarm.is_over(due, cx) {
            Poll::Ready(error)
        } else {
            Poll::Pending
        }
    }
}

impl<G: Guard> http_body::Body for Body<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let mut frame = match &mut this.source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Told(words) => words
                .0
                .as_mut()
                .poll_next(cx)
                .map(|words| Ok(words.map(Frame::data)).transpose()),
            Source::Relayed(relayed) => relayed.poll(cx),
        };
        if let Some(clock) = &mut this.clock {
            match &frame {
                Poll::Pending => {
                    if let Poll::Ready(error) = clock.poll_over(cx) {
                        frame = Poll::Ready(Some(this.is_late(error)));
                    }
                }
                Poll::Ready(_) if clock.deadlines.idle.is_some() => clock.last = Instant::now(),
                Poll::Ready(_) => {}
            }
        }
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(guard), Some(data)) = (&mut this.guard, frame.data_ref()) {
                    guard.passed(data.len());
                }
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(mut guard) = this.guard.take() {
                    guard.broke(error);
                }
            }
            Poll::Ready(None) => drop(this.guard.take()),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Text(text) => text.is_none(),
            Source::Told(_) => false,
            Source::Relayed(relayed) => relayed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Source::Told(_) => SizeHint::default(),
            Source::Relayed(relayed) => relayed.size_hint(),
        }
    }
}
