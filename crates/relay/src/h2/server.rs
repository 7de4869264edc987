//! A caller's connection: one task that reads and writes frames and runs all streams of it.
//!
//! Each exchange is woken by itself, so that one of 250 that goes on does not cost a look at the
//! others.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep_until};

use super::inflow::Inflow;
use super::outflow::{Outflow, Stopped};
use super::reply::Reply;
use super::watch::{Seen, Watched};
use super::{HEADER_LIST, SEND_BUFFER, STREAM_WINDOW};
use crate::body::{Body, BodyError, Guard};
use crate::caller::{Caller, Peer};
use crate::connection::{Open, PREFACE, drive};
use crate::date;
use crate::headers;
use crate::incoming::Incoming;
use crate::nearby::Wire;
use crate::patience::streams::{Agenda, Bell, Waits};
use crate::patience::{self, HEAD_LIMIT, LINGER, TAKE_LIMIT};
use crate::refusal::by;
use crate::serve::Answer;

/// Streams at once (spec/queue-proxy.md §2).
const STREAMS: u32 = 250;
/// Above what one stream may hold: a body that waits to be read must not keep the others from
/// coming.
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Longest frame that is taken (spec/queue-proxy.md §2).
const FRAME: u32 = 1 << 20;
/// Streams that a caller has reset before they were served.
const RESET_UNSERVED: usize = 20;
/// Streams that were reset here for an error of the caller's.
const ERRORS: usize = 1024;

/// Serves a connection whose preface was read, until the caller closes, `open` is told to close
/// and nothing is under way, or `open` is cut.
pub(crate) async fn serve<A: Answer>(wire: Wire, peer: Peer, answer: &Arc<A>, open: &Open) {
    let watched = Watched::of_caller(wire, PREFACE);
    let seen = watched.seen();
    let Some(mut connection) = handshake(watched, open).await else {
        return;
    };
    let (agenda, mut bell) = (Agenda::new(), Bell::default());
    let mut streams = pin!(FuturesUnordered::new());
    let mut stalled = Stalled::default();
    drive(open, |cx, closing| {
        if closing {
            connection.graceful_shutdown();
        }
        loop {
            while let Poll::Ready(accepted) = connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, mut respond))) => {
                        if has_bad_path(&request) {
                            respond.send_reset(Reason::PROTOCOL_ERROR);
                        } else if request.headers().keys_len() > headers::MOST_NAMES {
                            refuse(&mut respond, A::NAME);
                        } else {
                            let peer = peer.clone();
                            streams.push(exchange(answer, request, respond, peer, &agenda));
                        }
                    }
                    Some(Err(error)) => {
                        tracing::debug!(?peer, %error, "an HTTP/2 connection broke");
                        return Poll::Ready(());
                    }
                    None => return Poll::Ready(()),
                }
            }
            // Whatever they send is flushed on the next turn; h2 wakes this task for it.
            let mut ended = false;
            while let Poll::Ready(Some(())) = streams.as_mut().poll_next(cx) {
                ended = true;
            }
            if !ended {
                break;
            }
        }
        if seen.is_flooded() {
            return Poll::Ready(());
        }
        while bell.is_due(&agenda, cx) {
            let all = streams.as_ref().iter_pin_ref();
            agenda.ring(all.map(|stream| &stream.get_ref().waits));
        }
        stalled.poll_over(&seen, streams.is_empty(), cx)
    })
    .await;
    if seen.is_flooded() {
        streams.clear();
        Box::pin(calm(connection, open)).await;
    }
}

/// Tells a caller that it asks for too much, and goes a moment later, whether or not it listens.
async fn calm(mut connection: Connection<Watched, Bytes>, open: &Open) {
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let mut limit = pin!(sleep_until(Instant::now() + LINGER));
    drive(open, |cx, _| {
        if connection.poll_closed(cx).is_ready() {
            return Poll::Ready(());
        }
        limit.as_mut().poll(cx)
    })
    .await;
}

async fn handshake(watched: Watched, open: &Open) -> Option<Connection<Watched, Bytes>> {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_UNSERVED)
        .max_local_error_reset_streams(Some(ERRORS));
    let mut handshake = pin!(builder.handshake(watched));
    let mut connection = None;
    // Nothing is awaited of the caller: its preface is there. So `closing` can wait.
    drive(open, |cx, _| {
        handshake
            .as_mut()
            .poll(cx)
            .map(|done| connection = done.ok())
    })
    .await;
    connection
}

/// What h2 lets pass although it makes a request malformed (RFC 9113 §8.3.1). In a line of HTTP/1
/// it could be the whole of another URI.
fn has_bad_path<B>(request: &Request<B>) -> bool {
    let path = request.uri().path_and_query();
    let path = path.map_or("", PathAndQuery::as_str);
    match *request.method() {
        Method::CONNECT => false,
        Method::OPTIONS if path == "*" => false,
        _ => !path.starts_with('/'),
    }
}

/// 431, for a head with too many names.
fn refuse(respond: &mut SendResponse<Bytes>, proxy: &str) {
    let mut answer = by(Response::new(()), proxy, "http_request_error");
    *answer.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    // Fails only if the caller has left.
    let _ = respond.send_response(answer, true);
}

/// How long a connection has stood still where no request's limits end it.
#[derive(Default)]
struct Stalled {
    at: Option<(Where, Pin<Box<Sleep>>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A head has begun and does not end. It holds up all streams.
    Head,
    /// All requests are over, and the caller does not take the rest of the answers.
    Write(u64),
}

impl Stalled {
    /// Ready once it has taken too long; otherwise the task is woken then.
    fn poll_over(&mut self, seen: &Seen, no_streams: bool, cx: &mut Context<'_>) -> Poll<()> {
        let now = match seen.stuck_at() {
            _ if seen.head_is_open() => Where::Head,
            Some(written) if no_streams => Where::Write(written),
            _ => {
                self.at = None;
                return Poll::Pending;
            }
        };
        if !self.at.as_ref().is_some_and(|(at, _)| *at == now) {
            let limit = Box::pin(sleep_until(Instant::now() + HEAD_LIMIT));
            self.at = Some((now, limit));
        }
        match &mut self.at {
            Some((_, limit)) => limit.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// One stream, from its request to the last byte of the answer. What the owner does is apart from
/// it, so that a long answer does not keep the room that was needed to get it.
struct Exchange<'a, F, G> {
    caller: Arc<Caller>,
    step: Step<F, G>,
    is_head: bool,
    waits: Waits<'a>,
}

enum Step<F, G> {
    Answering(Pin<Box<F>>),
    /// Boxed: those who wait for their answers would carry the room.
    Sending(Box<Sending<G>>),
}

fn exchange<'a, A: Answer>(
    answer: &Arc<A>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    peer: Peer,
    agenda: &'a Agenda,
) -> Exchange<'a, impl Future<Output = Response<Body<A::Guard>>> + Send + use<A>, A::Guard> {
    let caller = Arc::new(Caller::of_stream(peer, Reply::new(respond)));
    let is_head = request.method() == Method::HEAD;
    let (parts, stream) = request.into_parts();
    let body = Inflow::of_request(stream, &parts.headers, &caller);
    let request = Request::from_parts(parts, Incoming::from(body));
    let answering = Arc::clone(answer).answer(request, Arc::clone(&caller));
    Exchange {
        caller,
        step: Step::Answering(Box::pin(answering)),
        is_head,
        waits: Waits::new(agenda),
    }
}

impl<F: Future<Output = Response<Body<G>>>, G: Guard> Future for Exchange<'_, F, G> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (step, caller, is_head) = (&mut this.step, &*this.caller, this.is_head);
        this.waits.poll(cx, |cx| step.poll(caller, is_head, cx))
    }
}

impl<F: Future<Output = Response<Body<G>>>, G: Guard> Step<F, G> {
    fn poll(&mut self, caller: &Caller, is_head: bool, cx: &mut Context<'_>) -> Poll<()> {
        let Some(reply) = caller.reply() else {
            return Poll::Ready(());
        };
        if let Self::Answering(answering) = self {
            let Poll::Ready(answer) = answering.as_mut().poll(cx) else {
                return reply.poll_left(cx);
            };
            let Some(sending) = begin(reply, answer, is_head) else {
                return Poll::Ready(());
            };
            *self = Self::Sending(Box::new(sending));
        }
        match self {
            Self::Sending(sending) => sending.poll(cx),
            Self::Answering(_) => Poll::Pending,
        }
    }
}

impl<F, G> Drop for Exchange<'_, F, G> {
    /// Ends the way back, whoever else still knows the caller.
    fn drop(&mut self) {
        if let Some(reply) = self.caller.reply() {
            reply.close();
        }
    }
}

/// Sends the head of an answer. `None`: that was all of it, or it cannot be sent.
fn begin<G: Guard>(reply: &Reply, answer: Response<Body<G>>, is_head: bool) -> Option<Sending<G>> {
    let (mut head, body) = answer.into_parts();
    if !head.headers.contains_key(DATE)
        && let Some(date) = date::now()
    {
        head.headers.insert(DATE, date);
    }
    let is_bare = is_head
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        || body.is_end_stream();
    if !is_bare
        && let Some(length) = body.size_hint().exact()
        && !head.headers.contains_key(CONTENT_LENGTH)
    {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    match reply.answer(Response::from_parts(head, ()), is_bare)? {
        Ok(_) if is_bare => None,
        Ok(stream) => Some(Sending {
            flow: Outflow::new(stream),
            body,
            limit: None,
        }),
        Err(error) => {
            tracing::debug!(%error, "an answer cannot be sent by HTTP/2");
            reply.reset(Reason::INTERNAL_ERROR);
            None
        }
    }
}

/// The body of an answer on its way.
struct Sending<G> {
    flow: Outflow,
    body: Body<G>,
    /// Until when the caller has to have made room; set when it first makes none.
    limit: Option<Instant>,
}

impl<G: Guard> Sending<G> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sent = self.flow.poll(Pin::new(&mut self.body), cx);
        // The body has a clock of its own, which stands still while the caller takes nothing.
        if sent.is_pending() && self.flow.is_stuck() {
            let due = self.body.due();
            let limit = self
                .limit
                .get_or_insert_with(|| due.unwrap_or_else(|| Instant::now() + TAKE_LIMIT));
            if patience::is_over(*limit) {
                self.body.break_off(&BodyError::Whole);
                self.flow.reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(());
            }
        }
        let Poll::Ready(sent) = sent else {
            return Poll::Pending;
        };
        if let Err(Stopped::Broken(error)) = sent {
            tracing::debug!(%error, "an answer broke off");
            self.flow.reset(Reason::INTERNAL_ERROR);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    struct Silent;

    impl Answer for Silent {
        type Guard = ();

        async fn answer(
            self: Arc<Self>,
            _: Request<Incoming>,
            _: Arc<Caller>,
        ) -> Response<Body<()>> {
            std::future::pending().await
        }
    }

    /// How long a connection lasts whose caller sends `frames` and nothing more.
    async fn lasts(frames: &[u8]) -> Duration {
        let start = Instant::now();
        let (mut ours, theirs) = duplex(1 << 20);
        let (answer, open) = (Arc::new(Silent), Open::default());
        let wire = Wire::Pipe(theirs);
        let peer = Peer::over(&wire, (Ipv4Addr::LOCALHOST, 0).into());
        let talking = async {
            ours.write_all(frames).await.unwrap();
            let _ = ours.read_to_end(&mut Vec::new()).await;
        };
        let serving = serve(wire, peer, &answer, &open);
        let both = async { tokio::join!(serving, talking) };
        let _ = timeout(Duration::from_secs(3600), both).await;
        start.elapsed()
    }

    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    /// POST without the rest of the head: no flags.
    const HALF_A_HEAD: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x83];
    /// POST http / with END_HEADERS.
    const HEAD: &[u8] = &[0, 0, 3, 1, 4, 0, 0, 0, 1, 0x83, 0x86, 0x84];

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_has_sixty_seconds() {
        let sent = [SETTINGS, HALF_A_HEAD].concat();
        assert_eq!(lasts(&sent).await, HEAD_LIMIT);
    }

    /// Answers everything itself, at length.
    struct Talkative;

    impl Answer for Talkative {
        type Guard = ();

        async fn answer(
            self: Arc<Self>,
            _: Request<Incoming>,
            _: Arc<Caller>,
        ) -> Response<Body<()>> {
            Response::new(Body::text("much"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_our_own_that_gets_no_window_has_sixty_seconds() {
        let (mut ours, theirs) = duplex(1 << 20);
        let (answer, open) = (Arc::new(Talkative), Open::default());
        let wire = Wire::Pipe(theirs);
        let peer = Peer::over(&wire, (Ipv4Addr::LOCALHOST, 0).into());
        let start = Instant::now();
        let talking = async {
            // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0; the request ends with its head.
            let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
            let head = [0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84];
            ours.write_all(&[&settings[..], &head].concat())
                .await
                .unwrap();
            // RST_STREAM of stream 1 with INTERNAL_ERROR.
            let end = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 2];
            let mut read = Vec::new();
            while !read.windows(end.len()).any(|bytes| bytes == end) {
                assert!(ours.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
            }
        };
        tokio::select! {
            () = serve(wire, peer, &answer, &open) => panic!("it ended"),
            () = talking => {}
        }
        assert_eq!(start.elapsed(), TAKE_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_may_idle_and_take_its_time_over_a_body() {
        let hour = Duration::from_secs(3600);
        assert_eq!(lasts(SETTINGS).await, hour);
        assert_eq!(lasts(&[SETTINGS, HEAD].concat()).await, hour);
    }
}
