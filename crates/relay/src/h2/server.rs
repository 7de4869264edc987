//! A caller's connection: one task that reads and writes frames and runs all streams of it.
//!
//! The exchange of a stream is a future of about 200 bytes beside the owner's answer; it is woken
//! by itself, so that one of 250 that goes on does not cost a look at the others.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream as _};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{Method, Request, Response, StatusCode, response};
use http_body::Body as _;
use tokio::time::{Instant, Sleep, sleep_until};

use super::inflow::Inflow;
use super::outflow::{Outflow, Stopped};
use super::reply::Reply;
use super::watch::{Seen, Watched};
use super::{HEADER_LIST, SEND_BUFFER, STREAM_WINDOW};
use crate::body::{Body, BodyError, Guard};
use crate::caller::Caller;
use crate::connection::{Open, PREFACE, drive};
use crate::date;
use crate::incoming::Incoming;
use crate::nearby::Wire;
use crate::patience::HEAD_LIMIT;
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
pub(crate) async fn serve<A: Answer>(wire: Wire, addr: SocketAddr, answer: &Arc<A>, open: &Open) {
    let watched = Watched::of_caller(wire, PREFACE);
    let seen = watched.seen();
    let Some(mut connection) = handshake(watched, open).await else {
        return;
    };
    let mut streams = pin!(FuturesUnordered::new());
    let mut stalled = Stalled::default();
    drive(open, |cx, closing| {
        if closing {
            connection.graceful_shutdown();
        }
        loop {
            while let Poll::Ready(accepted) = connection.poll_accept(cx) {
                match accepted {
                    Some(Ok((request, respond))) => {
                        streams.push(exchange(Arc::clone(answer), request, respond, addr));
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%addr, %error, "an HTTP/2 connection broke");
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
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            return connection.poll_closed(cx).map(drop);
        }
        stalled.poll_over(&seen, streams.is_empty(), cx)
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

/// One stream, from its request to the last byte of the answer.
async fn exchange<A: Answer>(
    answer: Arc<A>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    addr: SocketAddr,
) {
    let caller = Arc::new(Caller::of_stream(addr, Reply::new(respond)));
    let replying = Replying(Arc::clone(&caller));
    let Some(reply) = replying.0.reply() else {
        return;
    };
    let is_head = request.method() == Method::HEAD;
    let (parts, stream) = request.into_parts();
    let body = Inflow::of_request(stream, &parts.headers, &caller);
    let request = Request::from_parts(parts, Incoming::from(body));
    let answered = {
        let mut answering = pin!(answer.answer(request, caller));
        std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => reply.poll_left(cx).map(|()| None),
        })
        .await
    };
    if let Some(answer) = answered {
        let (head, body) = answer.into_parts();
        send(reply, head, body, is_head).await;
    }
}

/// Ends the way back with the exchange, whoever else still knows the caller.
struct Replying(Arc<Caller>);

impl Drop for Replying {
    fn drop(&mut self) {
        if let Some(reply) = self.0.reply() {
            reply.close();
        }
    }
}

async fn send<G: Guard>(
    reply: &Reply,
    mut head: response::Parts,
    mut body: Body<G>,
    is_head: bool,
) {
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
    let sent = reply.answer(Response::from_parts(head, ()), is_bare);
    let stream = match sent {
        Some(Ok(stream)) if !is_bare => stream,
        Some(Err(error)) => {
            tracing::debug!(%error, "an answer cannot be sent by HTTP/2");
            reply.reset(Reason::INTERNAL_ERROR);
            return;
        }
        _ => return,
    };
    let mut flow = Outflow::new(stream);
    let mut limit: Option<Pin<Box<Sleep>>> = None;
    let sent = std::future::poll_fn(|cx| {
        let sent = flow.poll(Pin::new(&mut body), cx);
        // The body has a clock of its own, which stands still while the caller takes nothing.
        if sent.is_pending()
            && flow.is_stuck()
            && let Some(due) = body.due()
        {
            let limit = limit.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if limit.as_mut().poll(cx).is_ready() {
                body.break_off(&BodyError::Whole);
                return Poll::Ready(Err(Stopped::Broken(BodyError::Whole)));
            }
        }
        sent
    })
    .await;
    if let Err(Stopped::Broken(error)) = sent {
        tracing::debug!(%error, "an answer broke off");
        flow.reset(Reason::INTERNAL_ERROR);
    }
}
