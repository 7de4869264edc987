//! What comes from a caller: read by its connection, and, as the body of a request, by whoever
//! the body was handed to. Both share it; the body may even be read by another task.

use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::framing::{BadBody, Decoder, Piece};
use super::head::{BadHead, Framing, RequestHead, Scan, request};
use super::outbox::Outbox;
use super::stock;
use crate::caller::Caller;
use crate::nearby::Wire;
use crate::patience;

/// Most that is read of what nobody asks for yet, while an answer is on its way.
const AHEAD: usize = 64 * 1024;

/// How long a body stands still before it is watched whether its caller has left: a short pause is
/// not worth the second descriptor.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A caller's connection, seen from its reading side.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) wire: Wire,
    /// Read and not used yet. No buffer while it is empty and nothing is under way.
    buffer: BytesMut,
    scan: Scan,
    caller: Arc<Caller>,
    /// Of the request that is open.
    decoder: Decoder,
    /// Number of the request that is open. A body of an earlier one is over.
    number: u64,
    /// Its body comes once `100 Continue` was sent.
    expects: bool,
    /// Its body was dropped.
    abandoned: bool,
    /// What came is no body.
    bad: bool,
    /// Who waits for more of the body.
    reader: Option<Waker>,
    /// Interim answers that were not taken yet.
    interim: BytesMut,
    /// Since when more has come than is read ahead, and nobody took any of it.
    full_since: Option<Instant>,
    /// Ends when the caller leaves; there while somebody wants to notice.
    leaving: Option<Leaving>,
}

struct Leaving(Pin<Box<dyn Future<Output = ()> + Send>>);

impl std::fmt::Debug for Leaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leaving")
    }
}

/// An [`Intake`] that its connection and the body of a request share.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Intake>>);

impl Shared {
    pub(super) fn new(wire: Wire, first: BytesMut, caller: Arc<Caller>) -> Self {
        Self(Arc::new(Mutex::new(Intake {
            wire,
            buffer: first,
            scan: Scan::default(),
            caller,
            decoder: Decoder::OVER,
            number: 0,
            expects: false,
            abandoned: false,
            bad: false,
            reader: None,
            interim: BytesMut::new(),
            full_since: None,
            leaving: None,
        })))
    }

    /// Never held while something else is polled.
    pub(super) fn lock(&self) -> MutexGuard<'_, Intake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of the request that begins with `head`; `None` if it has none.
    pub(super) fn begin(&self, head: &RequestHead) -> Option<CallerBody> {
        let mut intake = self.lock();
        intake.decoder = Decoder::new(head.framing);
        intake.abandoned = false;
        intake.expects = head.expects && head.framing != Framing::Length(0);
        (head.framing != Framing::Length(0)).then(|| CallerBody {
            intake: self.clone(),
            number: intake.number,
        })
    }

    /// Takes the connection for another protocol, with what was read of it.
    pub(super) fn into_wire(self) -> Option<(Wire, Bytes)> {
        let intake = Arc::into_inner(self.0)?;
        let intake = intake.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some((intake.wire, intake.buffer.freeze()))
    }
}

impl Intake {
    /// The head of the next request. `Ready(None)`: the connection has ended.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<RequestHead, BadHead>>> {
        loop {
            if !self.buffer.is_empty()
                && let Some(head) = self.scan.next(&mut self.buffer).transpose()
            {
                return Poll::Ready(Some(head.and_then(request)));
            }
            let room = stock::more(self.buffer.len());
            match ready!(stock::poll_fill(&mut self.wire, &mut self.buffer, room, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Whether nothing of a next request has come.
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether the body of the request that is open came to its end.
    pub(super) fn is_read(&self) -> bool {
        self.decoder.is_over() && !self.bad
    }

    /// Whether the body of the request that is open is not wanted by anybody.
    pub(super) fn is_unwanted(&self) -> bool {
        !self.decoder.is_over() && (self.abandoned || self.expects)
    }

    /// Whether what came is no body.
    pub(super) fn is_bad(&self) -> bool {
        self.bad
    }

    /// The request is answered. What is at hand of a body that nobody has read is thrown away;
    /// whether the next request can be told apart from it.
    pub(super) fn end_request(&mut self, cx: &mut Context<'_>) -> bool {
        self.number += 1;
        self.reader = None;
        self.full_since = None;
        self.leaving = None;
        let mut left = AHEAD;
        while !self.decoder.is_over() && !self.expects && !self.bad {
            match self.decoder.next(&mut self.buffer) {
                Ok(Piece::Data(data)) => left = left.saturating_sub(data.len()),
                Ok(Piece::Trailers(_) | Piece::End) => {}
                Ok(Piece::More) if left > 0 => {
                    let filled = stock::poll_fill(&mut self.wire, &mut self.buffer, AHEAD, cx);
                    if !matches!(filled, Poll::Ready(Ok(1..))) {
                        break;
                    }
                }
                Ok(Piece::More) | Err(_) => break,
            }
        }
        if self.buffer.is_empty() {
            stock::give(mem::take(&mut self.buffer));
        }
        self.is_read()
    }

    /// While an answer is made: sends interim answers, and reads a little ahead where nobody else
    /// reads. Ready once the caller has left.
    pub(super) fn poll_meanwhile(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.poll_interim(cx) {
            return Poll::Ready(());
        }
        if self
            .reader
            .as_ref()
            .is_some_and(|reader| !reader.will_wake(cx.waker()))
        {
            // Another task reads, and notices.
            return Poll::Pending;
        }
        while self.buffer.len() < AHEAD {
            self.full_since = None;
            let room = stock::more(self.buffer.len());
            match ready!(stock::poll_fill(&mut self.wire, &mut self.buffer, room, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        if !self.stands_still() && !self.caller.is_noticed() {
            self.leaving = None;
            return Poll::Pending;
        }
        let wire = &self.wire;
        let leaving = self
            .leaving
            .get_or_insert_with(|| Leaving(Box::pin(has_left(wire))));
        leaving.0.as_mut().poll(cx)
    }

    /// Whether nobody has taken any of a full buffer for long.
    fn stands_still(&mut self) -> bool {
        match self.full_since {
            Some(_) if self.leaving.is_some() => true,
            since => {
                let since = since.unwrap_or_else(Instant::now);
                self.full_since = Some(since);
                patience::is_over(since + STANDSTILL)
            }
        }
    }

    /// Writes what `out` has, behind the interim answers.
    pub(super) fn poll_flush(
        &mut self,
        out: &mut Outbox,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        out.poll_flush(&mut self.wire, cx)
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.interim.is_empty() {
                match self.caller.take_interim() {
                    Some(interim) => self.interim = interim,
                    None => return Poll::Ready(Ok(())),
                }
            }
            while !self.interim.is_empty() {
                match ready!(Pin::new(&mut self.wire).poll_write(cx, &self.interim))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    wrote => self.interim.advance(wrote),
                }
            }
            ready!(Pin::new(&mut self.wire).poll_flush(cx))?;
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        if mem::take(&mut self.expects) && self.buffer.is_empty() {
            self.caller.interim(StatusCode::CONTINUE, &HeaderMap::new());
        }
        // Should it fail, so does reading.
        let _ = self.poll_interim(cx);
        loop {
            let piece = self.decoder.next(&mut self.buffer);
            match piece {
                Ok(Piece::More) => {}
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Data(data)) => {
                    self.full_since = None;
                    self.decoder.settle(&mut self.buffer);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Err(error) => {
                    self.bad = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let room = self.decoder.room();
            match stock::poll_fill(&mut self.wire, &mut self.buffer, room, cx) {
                Poll::Ready(Ok(1..)) => self.reader = None,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Some(Err(BadBody::Short))),
                Poll::Pending => {
                    match &mut self.reader {
                        Some(reader) => reader.clone_from(cx.waker()),
                        reader => *reader = Some(cx.waker().clone()),
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads and throws away. Ready once nothing more comes.
    pub(super) fn poll_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.buffer.clear();
            match ready!(stock::poll_fill(
                &mut self.wire,
                &mut self.buffer,
                AHEAD,
                cx
            )) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// Ends once the other side sends nothing more. That shows although nobody reads what it has
/// sent: the system tells it apart from readable bytes, and a second descriptor is told anew.
fn has_left(wire: &Wire) -> impl Future<Output = ()> + Send + use<> {
    // Nobody within the process sends more than the pipe holds and leaves unseen: its own caller
    // is watched.
    let second = wire
        .socket()
        .and_then(|stream| stream.as_fd().try_clone_to_owned().ok())
        .map(std::net::TcpStream::from)
        .and_then(|second| TcpStream::from_std(second).ok());
    async move {
        // Without one it is not noticed, as without this.
        let Some(second) = second else {
            return std::future::pending().await;
        };
        // Urgent data, which HTTP has not, or the end. Elsewhere than on Linux neither shows.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let end = Interest::PRIORITY;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let end = Interest::ERROR;
        let _ = second.ready(end).await;
    }
}

/// The body of a caller's request, read from its connection as it is asked for.
#[derive(Debug)]
pub(crate) struct CallerBody {
    intake: Shared,
    number: u64,
}

impl CallerBody {
    fn intake(&self) -> Option<MutexGuard<'_, Intake>> {
        let intake = self.intake.lock();
        (intake.number == self.number).then_some(intake)
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BadBody>>> {
        match self.intake() {
            Some(mut intake) => intake.poll_body(cx),
            None => Poll::Ready(Some(Err(BadBody::Over))),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.intake().is_some_and(|intake| intake.is_read())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.intake()
            .map_or_else(SizeHint::default, |intake| intake.decoder.size_hint())
    }
}

impl Drop for CallerBody {
    fn drop(&mut self) {
        if let Some(mut intake) = self.intake() {
            intake.abandoned = true;
            intake.reader = None;
        }
    }
}
