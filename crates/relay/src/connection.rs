//! Serving one connection: HTTP/1.1, or HTTP/2 by prior knowledge, on one port.
//!
//! `Upgrade: h2c` is not taken, which RFC 9113 §3.1 allows: such a request is served as HTTP/1.1.

use std::collections::HashMap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::caller::{Caller, Peer};
use crate::h1::{self, stock};
use crate::h2;
use crate::nearby::Wire;
use crate::patience::{HEAD_LIMIT, Patience};
use crate::serve::Answer;
use crate::tls;

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
