//! Bodies of answers: they hold a guard to their last byte and end at a deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::incoming::{Broken, Incoming};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::h2::client::Stream;
use crate::link::Link;
use crate::patience;
use crate::pool::Pool;

/// Held by an answer until its last byte was handed over, or it was dropped. What has to be
/// undone then (a slot, a count, a clock) is undone by its `Drop`.
pub trait Guard: Send + Unpin + 'static {
    /// So many more bytes of the body were handed over.
    fn passed(&mut self, _bytes: usize) {}

    /// The body broke off: the upstream's fault, or a deadline.
    fn broke(&mut self, _error: &BodyError) {}
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
}

/// The body of an answer.
#[derive(Debug)]
pub struct Body<G> {
    source: Source,
    guard: Option<G>,
    clock: Option<Clock>,
    /// Whether it is on its way to the caller.
    begun: bool,
}

#[derive(Debug)]
enum Source {
    Text(Option<Bytes>),
    Relayed(Relayed),
}

#[derive(Debug)]
struct Clock {
    deadlines: Deadlines,
    /// Set while the answer is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    last: Instant,
}

/// A body that an upstream sends, and what has to be driven and given back for it.
#[derive(Debug)]
pub struct Relayed {
    body: Incoming,
    carrier: Carrier,
}

#[derive(Debug)]
pub(crate) enum Carrier {
    /// HTTP/1: a connection of its own, for the pool afterwards.
    Link(Option<(Box<Link>, Arc<Pool>)>),
    /// HTTP/2: a stream of a shared connection.
    Stream(Option<Stream>),
}

impl<G: Guard> Body<G> {
    /// A body at hand.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self {
            source: Source::Text((!text.is_empty()).then_some(text)),
            guard: None,
            clock: None,
            begun: false,
        }
    }

    /// A body that an upstream sends.
    pub fn relayed(relayed: Relayed) -> Self {
        Self {
            source: Source::Relayed(relayed),
            guard: None,
            clock: None,
            begun: false,
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
            timer: None,
            last: Instant::now(),
        });
        self
    }

    /// When it has to be over.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.clock.as_ref().map(|clock| clock.deadlines.whole)
    }

    /// Ends it early, for a reason that only who sends it can see.
    pub(crate) fn break_off(&mut self, error: &BodyError) {
        if let Some(mut guard) = self.guard.take() {
            guard.broke(error);
        }
    }

    /// From here on the task counts how long the caller takes over it.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
        patience::answer_begins(self.due());
    }
}

impl<G> Drop for Body<G> {
    fn drop(&mut self) {
        if self.begun {
            patience::answer_is_over();
        }
    }
}

impl Relayed {
    pub(crate) fn new(body: Incoming, carrier: Carrier) -> Self {
        let mut relayed = Self::upgraded(body, carrier);
        if http_body::Body::is_end_stream(&relayed.body) {
            relayed.carrier.give_back();
        }
        relayed
    }

    /// The empty body of a 101, whose connection is still wanted.
    pub(crate) fn upgraded(body: Incoming, carrier: Carrier) -> Self {
        Self { body, carrier }
    }

    /// The connection under an answer that has no body but changes the protocol.
    pub(crate) fn take_link(&mut self) -> Option<Box<Link>> {
        match &mut self.carrier {
            Carrier::Link(held) => held.take().map(|(link, _)| link),
            Carrier::Stream(_) => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut frame = poll_incoming(&mut self.body, cx);
        if frame.is_pending()
            && let Carrier::Link(Some((link, _))) = &mut self.carrier
        {
            link.poll(cx);
            frame = poll_incoming(&mut self.body, cx);
        }
        match &frame {
            Poll::Ready(None) => self.carrier.finish(cx),
            Poll::Ready(Some(Err(_))) => self.carrier.drop_it(),
            Poll::Ready(Some(Ok(_))) if http_body::Body::is_end_stream(&self.body) => {
                self.carrier.finish(cx);
            }
            _ => {}
        }
        frame.map_err(BodyError::Upstream)
    }
}

fn poll_incoming(
    body: &mut Incoming,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
    http_body::Body::poll_frame(Pin::new(body), cx)
}

impl Carrier {
    /// Lets the connection see the end of the answer, then gives it back.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Self::Link(Some((link, _))) = self
            && !link.is_free()
        {
            link.poll(cx);
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        match self {
            Self::Link(held) => {
                if let Some((link, pool)) = held.take()
                    && link.is_free()
                {
                    pool.put(link);
                }
            }
            Self::Stream(held) => drop(held.take()),
        }
    }

    fn drop_it(&mut self) {
        match self {
            Self::Link(held) => drop(held.take()),
            Self::Stream(held) => drop(held.take()),
        }
    }
}

impl Clock {
    /// Ready once a deadline has passed; keeps the task woken for it.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Deadlines { whole, idle } = self.deadlines;
        let (due, error) = match idle.map(|idle| self.last + idle) {
            Some(due) if due < whole => (due, BodyError::Idle),
            _ => (whole, BodyError::Whole),
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx).map(|()| error)
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
            Source::Relayed(relayed) => relayed.poll(cx),
        };
        if let Some(clock) = &mut this.clock {
            match &frame {
                Poll::Pending => {
                    if let Poll::Ready(error) = clock.poll_over(cx) {
                        frame = Poll::Ready(Some(Err(error)));
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
            Source::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Source::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}
