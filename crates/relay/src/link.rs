//! One HTTP/1 connection to an upstream, driven by whoever uses it: the request that uses the
//! link polls it, then the body of its answer does. So a readable socket wakes the very task that
//! waits for the bytes. A link that idles in the pool is not polled and holds no buffer; before it
//! is used again it is looked at, which shows whether the upstream has closed it.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::deadline::Alarm;
use crate::h1::{
    AnswerHead, BadBody, BadHead, Decoder, Encoder, Framing, Outbox, Piece, Scan, WrongLength,
    answer, stock,
};
use crate::incoming::Broken;
use crate::nearby::Wire;
use crate::outgoing::Outgoing;
use crate::pool::Counted;
use crate::request_body::RequestBody;

/// How long a body waits for the upstream's `100 Continue` before it goes anyway
/// (spec/queue-proxy.md §3.8).
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);
/// Most interim answers to one request.
const MOST_INTERIM: u32 = 1000;

/// Why an exchange over one connection came to no good end.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was closed.
    #[error("the connection was closed")]
    Ended,
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The head of the answer is none.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// The body of the answer is none.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// One interim answer after the other.
    #[error("too many interim answers")]
    TooManyInterim,
    /// The caller's body broke off.
    #[error("the body of the request broke off: {0}")]
    Request(#[source] Box<Broken>),
    /// The caller's body is longer or shorter than its head said.
    #[error("the body of the request: {0}")]
    RequestLength(#[from] WrongLength),
}

impl LinkError {
    /// Whether the connection just ended, as one that was kept may at any time.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self, Self::Ended | Self::Io(_))
    }
}

/// One connection.
pub(crate) struct Link {
    pub(crate) addr: SocketAddr,
    wire: Wire,
    /// Read and not used yet.
    buffer: BytesMut,
    scan: Scan,
    out: Outbox,
    upload: Option<Upload>,
    /// Of the answer.
    decoder: Decoder,
    /// Of the request.
    method: Method,
    /// Room for the first read of the next answer: what the latest one took.
    room: usize,
    /// Interim answers so far.
    interim: u32,
    /// The request says `Expect: 100-continue`.
    expects: bool,
    /// The request asks for a WebSocket.
    websocket: bool,
    /// The first piece of its body, while all of it may have to be sent again.
    front: Front,
    /// Some of the answer has come.
    heard: bool,
    /// Another request may follow.
    keep: bool,
    pub(crate) used: bool,
    pub(crate) opened: Instant,
    pub(crate) idle_since: Instant,
    /// Ends with the connection.
    _counted: Option<Counted>,
}

/// What was taken of a body before anything was written.
enum Front {
    None,
    Piece(Bytes),
    /// Trailers, or its end.
    Other,
}

/// The body of a request on its way.
struct Upload {
    body: RequestBody,
    encoder: Encoder,
    /// Until when it waits for `100 Continue`.
    held: Option<(Instant, Alarm)>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({}, used: {})", self.addr, self.used)
    }
}

impl Link {
    /// Takes a new connection. Boxed, because it is handed from the pool to an answer and back.
    pub(crate) fn over(wire: Wire, addr: SocketAddr, counted: Option<Counted>) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            addr,
            wire,
            _counted: counted,
            buffer: BytesMut::new(),
            scan: Scan::default(),
            out: Outbox::default(),
            upload: None,
            decoder: Decoder::OVER,
            method: Method::GET,
            room: stock::SMALL,
            interim: 0,
            expects: false,
            websocket: false,
            front: Front::None,
            heard: false,
            keep: true,
            used: false,
            opened: now,
            idle_since: now,
        })
    }

    /// Whether another request can be sent: the one before is over, and the upstream has neither
    /// closed nor said anything unasked. Nobody is woken by the link from here on.
    pub(crate) fn is_free(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let mut unasked = [0; 1];
        self.is_over()
            && self.keep
            && self.buffer.is_empty()
            && Pin::new(&mut self.wire)
                .poll_read(&mut cx, &mut ReadBuf::new(&mut unasked))
                .is_pending()
    }

    fn is_over(&self) -> bool {
        self.decoder.is_over() && self.upload.is_none() && self.out.is_empty()
    }

    /// Begins an exchange; nothing is written yet.
    pub(crate) fn begin(&mut self, outgoing: &Outgoing, host: &HeaderValue, body: RequestBody) {
        let encoder = (!body.is_empty()).then(|| match body.size_hint().exact() {
            Some(length) => Encoder::Length(length),
            None => Encoder::Chunked,
        });
        self.out.start();
        outgoing.write(self.out.head(), host, encoder);
        self.method.clone_from(outgoing.method());
        self.expects = outgoing.expects();
        self.websocket = outgoing.upgrade().is_some_and(is_websocket);
        self.upload = encoder.map(|encoder| Upload {
            body,
            encoder,
            held: self
                .expects
                .then(|| (Instant::now() + CONTINUE_LIMIT, Alarm::default())),
        });
        self.front = Front::None;
        self.interim = 0;
        self.heard = false;
        // Until the answer says otherwise.
        self.keep = false;
    }

    /// After an exchange that failed before anything was written: its body, to send it again.
    pub(crate) fn take_back(&mut self) -> Option<RequestBody> {
        if self.out.has_begun() || self.heard {
            return None;
        }
        let rest = self.upload.take().map(|upload| upload.body);
        let rest = rest.unwrap_or_else(RequestBody::empty);
        match mem::replace(&mut self.front, Front::Other) {
            Front::None => Some(rest),
            Front::Piece(piece) => Some(rest.behind(piece)),
            Front::Other => None,
        }
    }

    /// Whether nothing of an answer has come.
    pub(crate) fn is_silent(&self) -> bool {
        !self.heard
    }

    /// Sends the request, as far as it goes, and reads the head of its answer. `interim` is told
    /// of those that come before.
    ///
    /// # Errors
    ///
    /// [`LinkError`]; the connection is then of no more use.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        mut interim: impl FnMut(StatusCode, &HeaderMap),
    ) -> Poll<Result<Response<()>, LinkError>> {
        loop {
            let wrote = self.poll_upload(cx)?;
            while !self.buffer.is_empty()
                && let Some(head) = self.scan.next(&mut self.buffer)?
            {
                let AnswerHead {
                    answer,
                    framing,
                    keep,
                } = answer(&head, &self.method)?;
                let status = answer.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    self.interim += 1;
                    if self.interim > MOST_INTERIM {
                        return Poll::Ready(Err(LinkError::TooManyInterim));
                    }
                    if self.expects && status == StatusCode::CONTINUE {
                        // The caller is told when its body is read.
                        if let Some(upload) = &mut self.upload {
                            upload.held = None;
                        }
                        let _ = self.poll_upload(cx)?;
                    } else {
                        interim(status, answer.headers());
                    }
                    continue;
                }
                self.room = match framing {
                    Framing::Length(length) if length > 2048 => stock::LARGE,
                    Framing::Length(_) | Framing::Chunked => stock::SMALL,
                    Framing::ToTheEnd => stock::LARGE,
                };
                self.decoder = Decoder::new(framing);
                self.keep = keep;
                return Poll::Ready(Ok(answer));
            }
            let room = self.room.max(stock::more(self.buffer.len()));
            let read = match stock::poll_fill(&mut self.wire, &mut self.buffer, room, cx) {
                Poll::Ready(read) => read,
                Poll::Pending => return Poll::Pending,
            };
            match (read, wrote) {
                (Ok(1..), _) => self.heard = true,
                (Ok(0), Ok(())) => return Poll::Ready(Err(LinkError::Ended)),
                (Ok(0), Err(error)) | (Err(error), _) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// The next piece of the answer's body; the rest of the request's goes on meanwhile.
    ///
    /// # Errors
    ///
    /// [`LinkError`]; the connection is then of no more use.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, LinkError>>> {
        if self.upload.is_some() || !self.out.is_empty() {
            let _ = self.poll_upload(cx)?;
        }
        loop {
            match self.decoder.next(&mut self.buffer) {
                Ok(Piece::More) => {}
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Data(data)) => {
                    self.decoder.settle(&mut self.buffer);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
            let room = self.decoder.room();
            match ready!(stock::poll_fill(&mut self.wire, &mut self.buffer, room, cx)) {
                Ok(0) => {
                    if let Err(error) = self.decoder.connection_ended() {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    self.keep = false;
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.decoder.is_over()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.decoder.size_hint()
    }

    /// Has an idle link watched by the runtime of this thread, and no longer by another's.
    ///
    /// # Errors
    ///
    /// The system's; the connection is then closed.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        let wire = self.wire.move_here()?;
        Ok(Self { wire, ..self })
    }

    /// Gives back what an idle link does not need.
    pub(crate) fn rest(&mut self) {
        self.front = Front::None;
        stock::give(mem::take(&mut self.buffer));
    }

    /// Writes the request, as far as it goes now. That writing has failed is only told, in the
    /// inner result: the upstream may have answered before.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<io::Result<()>, LinkError> {
        loop {
            let mut waits = true;
            if self.out.has_room()
                && let Some(upload) = &mut self.upload
            {
                if let Some((until, alarm)) = &mut upload.held
                    && alarm.is_over(*until, cx)
                {
                    upload.held = None;
                }
                if upload.held.is_none()
                    && let Poll::Ready(frame) = Pin::new(&mut upload.body).poll_frame(cx)
                {
                    waits = false;
                    if !self.out.has_begun() {
                        self.front = Front::Other;
                    }
                    let over = match frame {
                        None => {
                            upload.encoder.end(&mut self.out, None)?;
                            true
                        }
                        Some(frame) => match frame
                            .map_err(|error| LinkError::Request(Box::new(error)))?
                            .into_data()
                        {
                            Ok(data) => {
                                let over = upload.body.is_end_stream();
                                if !self.out.has_begun() {
                                    self.front = Front::Piece(data.clone());
                                }
                                upload.encoder.data(&mut self.out, data, over)?;
                                over
                            }
                            Err(frame) => {
                                upload.encoder.end(&mut self.out, frame.trailers_ref())?;
                                true
                            }
                        },
                    };
                    if over {
                        self.upload = None;
                    }
                }
            }
            if !self.out.is_empty() {
                match self.out.poll_flush(&mut self.wire, cx) {
                    Poll::Ready(Ok(())) => self.front = Front::None,
                    Poll::Ready(Err(error)) => {
                        if self.out.has_begun() {
                            self.out.clear();
                            self.upload = None;
                        }
                        self.keep = false;
                        return Ok(Err(error));
                    }
                    Poll::Pending => return Ok(Ok(())),
                }
            }
            if waits || self.upload.is_none() {
                return Ok(Ok(()));
            }
        }
    }

    /// Whether a 101 makes it a WebSocket.
    pub(crate) fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// After a 101: the bare connection, and what was read of the new protocol already.
    pub(crate) fn into_wire(self) -> (Wire, Bytes) {
        (self.wire, self.buffer.freeze())
    }
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}
