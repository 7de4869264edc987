//! Serving one connection: HTTP/1.1, or HTTP/2 by prior knowledge, on one port.
//!
//! `Upgrade: h2c` is not taken, which RFC 9113 §3.1 allows: such a request is served as HTTP/1.1.

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::caller::{Caller, Peer};
use crate::h1::{self, stock};
use crate::h2;
use crate::nearby::Wire;
use crate::patience::{HEAD_LIMIT, Patience};
use crate::serve::Answer;
use crate::tls;

/// How long a connection without a request stays open once the server takes no new ones, unless
/// the caller closes it first. The caller has not been told, and a request that it sends just then
/// would meet a closed socket; nobody could say whether it was served.
pub(crate) const FAREWELL: Duration = Duration::from_millis(250);

pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves until the caller closes, `open` is told to close and nothing is under way, or `open`
/// is cut.
pub(crate) async fn serve_connection<A: Answer>(
    mut wire: Wire,
    addr: SocketAddr,
    answer: &Arc<A>,
    open: &Open,
) {
    if let Some(stream) = wire.socket() {
        // Small answers must not wait for the caller's acknowledgement of earlier ones.
        let _ = stream.set_nodelay(true);
    }
    let Some((first, is_h2)) = first_bytes(&mut wire, open).await else {
        return;
    };
    let peer = Peer::over(&wire, addr);
    if !peer.may_speak(is_h2) {
        return;
    }
    if is_h2 {
        // Boxed: a connection of HTTP/1 would carry the room for it.
        return Box::pin(h2::server::serve(wire, peer, answer, open)).await;
    }
    let caller = Arc::new(Caller::of(peer));
    let mut http = pin!(h1::serve(wire, first, caller, answer, open));
    let mut http = pin!(Patience::default().limit(http.as_mut()));
    drive(open, |cx, _| http.as_mut().poll(cx)).await;
}

/// Agrees on TLS with a caller. `None`: there is none to be had, or the connection has to end.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    server: &tls::Server,
    open: &Open,
) -> Option<Wire> {
    let mut shaking = pin!(server.accept(stream, HEAD_LIMIT));
    let mut shaken = None;
    drive(open, |cx, closing| {
        let shake = shaking.as_mut().poll(cx).map(|shake| shaken = Some(shake));
        if closing { Poll::Ready(()) } else { shake }
    })
    .await;
    match shaken? {
        Ok(stream) => Some(Wire::Tls(Box::new(stream))),
        Err(error) => {
            tracing::debug!(%error, "a caller without TLS");
            None
        }
    }
}

/// Reads just enough to tell the protocols apart. `None`: the connection ended before, or has to.
async fn first_bytes(wire: &mut Wire, open: &Open) -> Option<(BytesMut, bool)> {
    let is_pipe = wire.socket().is_none();
    let mut reading = pin!(timeout(HEAD_LIMIT, read_first(wire)));
    let mut farewell = None;
    let mut first = None;
    drive(open, |cx, closing| {
        // What has come already is still served.
        let read = reading.as_mut().poll(cx).map(|read| first = Some(read));
        if read.is_ready() || closing && is_pipe {
            return Poll::Ready(());
        }
        if closing {
            farewell = Some(Box::pin(sleep_until(open.farewell())));
        }
        match &mut farewell {
            Some(farewell) => farewell.as_mut().poll(cx),
            None => Poll::Pending,
        }
    })
    .await;
    first?.ok()?.ok()
}

async fn read_first(wire: &mut Wire) -> io::Result<(BytesMut, bool)> {
    let mut first = [0; PREFACE.len()];
    let mut count = 0;
    loop {
        match wire.read(&mut first[count..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => count += read,
        }
        let is_h2 = first[..count] == PREFACE[..count];
        if !is_h2 || count == PREFACE.len() {
            let mut buffer = stock::take(stock::SMALL);
            buffer.extend_from_slice(&first[..count]);
            return Ok((buffer, is_h2));
        }
    }
}

/// Polls a connection to its end; tells it once to close, drops it when it is cut.
pub(crate) async fn drive(open: &Open, mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<()>) {
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

const END_CLOSE: u8 = 1;
const END_CUT: u8 = 2;

/// The open connections of one seat, to be woken when they have to end. Cheaper for a
/// connection than a token that all of them poll, which would be one lock for all threads.
#[derive(Default)]
pub(crate) struct Open {
    state: AtomicU8,
    closed: OnceLock<Instant>,
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

    /// Once it [is closing](Self::is_closing): when a connection ends on which nothing comes.
    pub(crate) fn farewell(&self) -> Instant {
        *self.closed.get_or_init(Instant::now) + FAREWELL
    }

    /// No request after those under way.
    pub(crate) fn close(&self) {
        self.closed.get_or_init(Instant::now);
        self.end(END_CLOSE);
    }

    /// Drops what still runs.
    pub(crate) fn cut(&self) {
        self.end(END_CUT);
    }

    fn end(&self, state: u8) {
        // What is cut stays cut, whoever closes it after that.
        self.state.fetch_max(state, Ordering::AcqRel);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use http::{Request, Response};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use crate::body::Body;
    use crate::incoming::Incoming;

    struct Fine;

    impl Answer for Fine {
        type Guard = ();

        async fn answer(
            self: Arc<Self>,
            _: Request<Incoming>,
            _: Arc<Caller>,
        ) -> Response<Body<()>> {
            Response::new(Body::text("fine"))
        }
    }

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";

    /// A caller, and its connection, which is served once this is polled.
    async fn connect(open: &Open) -> (TcpStream, impl Future<Output = ()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap());
        let (caller, accepted) = tokio::join!(caller, listener.accept());
        let (stream, addr) = accepted.unwrap();
        let served = async move {
            let answer = Arc::new(Fine);
            serve_connection(Wire::Socket(stream), addr, &answer, open).await;
        };
        (caller.unwrap(), served)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_on_its_way_when_the_server_began_to_close_is_served_and_told_the_end() {
        for before in [0, 1] {
            let open = Open::default();
            let (mut caller, served) = connect(&open).await;
            let asks = async {
                for _ in 0..before {
                    caller.write_all(REQUEST).await.unwrap();
                    let mut answer = [0; 1024];
                    let read = caller.read(&mut answer).await.unwrap();
                    assert!(answer[..read].ends_with(b"fine"));
                }
                open.close();
                // The connection has heard it, and waits.
                tokio::task::yield_now().await;
                caller.write_all(REQUEST).await.unwrap();
                let mut answer = String::new();
                caller.read_to_string(&mut answer).await.unwrap();
                answer.to_lowercase()
            };
            let ((), answer) = tokio::join!(served, asks);
            assert!(answer.starts_with("http/1.1 200 "), "{answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_is_closed_a_moment_after_the_server_is() {
        for before in [&b""[..], REQUEST] {
            let open = Open::default();
            let (mut caller, served) = connect(&open).await;
            let start = Instant::now();
            open.close();
            caller.write_all(before).await.unwrap();
            served.await;
            let due = match before {
                b"" => FAREWELL,
                // Its answer has said so.
                _ => Duration::ZERO,
            };
            assert!(start.elapsed() >= due && start.elapsed() < 2 * FAREWELL);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_has_left_keeps_no_server_from_closing() {
        let open = Open::default();
        let (caller, served) = connect(&open).await;
        let start = Instant::now();
        drop(caller);
        open.close();
        served.await;
        assert!(start.elapsed() <= FAREWELL);
    }
}
