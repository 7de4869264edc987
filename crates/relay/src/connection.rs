//! Serving one connection: HTTP/1.1, or HTTP/2 by prior knowledge, on one port.
//!
//! `Upgrade: h2c` is not taken, which RFC 9113 §3.1 allows: such a request is served as HTTP/1.1.
//! HTTP/2 callers get no 1xx.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::Request;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::h1::{self, stock};
use crate::nearby::Wire;
use crate::patience::{HEAD_LIMIT, Patience};
use crate::serve::Answer;
use crate::transport::Transport;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves until the caller closes, `open` is told to close and nothing is under way, or `open`
/// is cut. Streams of HTTP/2 run as `tasks` of their own.
pub(crate) async fn serve_connection<A: Answer>(
    mut wire: Wire,
    addr: SocketAddr,
    answer: &Arc<A>,
    open: &Open,
    tasks: &TaskTracker,
) {
    if let Wire::Socket(stream) = &wire {
        // Small answers must not wait for the caller's acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
    }
    let Some((first, is_h2)) = first_bytes(&mut wire, open).await else {
        return;
    };
    let caller = Arc::new(Caller::new(addr));
    if is_h2 {
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            let (answer, caller) = (Arc::clone(answer), Arc::clone(&caller));
            async move {
                let mut answer = answer.answer(request.map(Into::into), caller).await;
                answer.body_mut().begin();
                Ok::<_, Infallible>(answer)
            }
        });
        let transport = Transport::new(wire, first.freeze());
        let mut http = hyper::server::conn::http2::Builder::new(Streams(tasks.clone()));
        // The limits that callers of the original know (spec/queue-proxy.md §2).
        http.timer(TokioTimer::new())
            .max_concurrent_streams(250)
            .initial_stream_window_size(1 << 20)
            // Above what one stream may hold: a body that waits to be read must not keep the
            // others from coming.
            .initial_connection_window_size(64 << 20)
            .max_frame_size(1 << 20)
            .max_header_list_size((1 << 20) + 320);
        let mut http = Box::pin(http.serve_connection(transport, service));
        // Each stream has limits of its own; a connection without any may idle.
        drive(open, |cx, closing| {
            if closing {
                http.as_mut().graceful_shutdown();
            }
            http.as_mut().poll(cx).map(drop)
        })
        .await;
    } else {
        let mut http = pin!(h1::serve(wire, first, caller, answer, open));
        let mut http = pin!(Patience::default().limit(http.as_mut()));
        drive(open, |cx, _| http.as_mut().poll(cx).map(drop)).await;
    }
}

/// Reads just enough to tell the protocols apart. `None`: the connection ended before, or has to.
async fn first_bytes(wire: &mut Wire, open: &Open) -> Option<(BytesMut, bool)> {
    let mut reading = pin!(timeout(HEAD_LIMIT, read_first(wire)));
    let mut first = None;
    drive(open, |cx, closing| {
        // What has come already is still served.
        let read = reading.as_mut().poll(cx).map(|read| first = Some(read));
        if closing { Poll::Ready(()) } else { read }
    })
    .await;
    first?.ok()?.ok()
}

async fn read_first(wire: &mut Wire) -> io::Result<(BytesMut, bool)> {
    let mut first = BytesMut::new();
    loop {
        let read = poll_fn(|cx| stock::poll_fill(wire, &mut first, stock::SMALL, cx));
        if read.await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = first.len().min(PREFACE.len());
        if first[..count] != PREFACE[..count] {
            return Ok((first, false));
        }
        if count == PREFACE.len() {
            return Ok((first, true));
        }
    }
}

/// Polls a connection to its end; tells it once to close, drops it when it is cut.
async fn drive(open: &Open, mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<()>) {
    let mut entered = None;
    let mut closing = false;
    poll_fn(|cx| {
        entered.get_or_insert_with(|| open.enter(cx.waker().clone()));
        let end = open.state.load(Ordering::Acquire);
        if end == END_CUT {
            return Poll::Ready(());
        }
        let close_now = end == END_CLOSE && !closing;
        closing |= close_now;
        poll(cx, close_now)
    })
    .await;
}

/// Runs the streams of HTTP/2 connections.
#[derive(Clone, Debug)]
struct Streams(TaskTracker);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn(async move {
            let mut stream = pin!(stream);
            Patience::default().limit(stream.as_mut()).await;
        });
    }
}

const END_CLOSE: u8 = 1;
const END_CUT: u8 = 2;

/// The open connections of one seat, to be woken when they have to end. Cheaper for a
/// connection than a token that all of them poll, which would be one lock for all threads.
#[derive(Default)]
pub(crate) struct Open {
    state: AtomicU8,
    wakers: Mutex<(u64, HashMap<u64, Waker>)>,
}

impl Open {
    fn enter(&self, waker: Waker) -> Entered<'_> {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.0 += 1;
        let key = wakers.0;
        wakers.1.insert(key, waker);
        Entered { open: self, key }
    }

    /// Whether no further request is to be taken.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Ordering::Acquire) != 0
    }

    /// No request after those under way.
    pub(crate) fn close(&self) {
        self.end(END_CLOSE);
    }

    /// Drops what still runs.
    pub(crate) fn cut(&self) {
        self.end(END_CUT);
    }

    fn end(&self, state: u8) {
        self.state.store(state, Ordering::Release);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Waker> = wakers.1.values().cloned().collect();
        drop(wakers);
        all.into_iter().for_each(Waker::wake);
    }
}

struct Entered<'a> {
    open: &'a Open,
    key: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut wakers = self.open.wakers.lock();
        if let Ok(wakers) = &mut wakers {
            wakers.1.remove(&self.key);
        }
    }
}
