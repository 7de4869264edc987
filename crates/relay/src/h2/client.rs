//! Connections to upstreams that speak HTTP/2, each shared by many requests. They are kept
//! without pings and however long they idle (spec/queue-proxy.md §3.8).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use fnv::FnvHashMap;
use h2::client::{Builder, SendRequest};
use tokio::task::AbortHandle;

use super::watch::{Seen, Watched};
use super::{HEADER_LIST, SEND_BUFFER, STREAM_WINDOW};
use crate::dial::DialError;
use crate::nearby::Wire;

/// Streams that one connection gets before another is opened: a little below the 250 which peers
/// commonly allow.
const STREAMS: usize = 200;
/// Until an upstream has said how many it allows (RFC 9113 §6.5.2 recommends no fewer).
const STREAMS_UNTIL_TOLD: usize = 100;
/// As much as HTTP/2 has: callers that do not read their answers hold up only those.
const CONNECTION_WINDOW: u32 = i32::MAX.unsigned_abs();

/// The connections of one worker, by upstream.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<FnvHashMap<SocketAddr, ToOne>>);

#[derive(Debug, Default)]
struct ToOne {
    open: Vec<Shared>,
    /// Held by who opens one, so that a burst does not open one for each of its requests.
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// One connection, used by many requests at once.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) seen: Arc<Seen>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: AtomicUsize,
    /// It has carried an answer before.
    used: AtomicBool,
}

/// Counts one stream of a shared connection while it is held, and sends the rest of its request.
#[derive(Debug)]
pub(crate) struct Stream {
    state: Arc<State>,
    upload: Option<AbortHandle>,
}

impl Stream {
    /// The task that sends what is left of the request, as long as the answer is wanted.
    pub(super) fn sends(&mut self, upload: AbortHandle) {
        self.upload = Some(upload);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.streams.fetch_sub(1, Ordering::Relaxed);
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

impl Connections {
    /// Lets go of connections to upstreams for which `stays` is false. They close once their
    /// streams have ended.
    pub(crate) fn retain(&self, stays: impl Fn(SocketAddr) -> bool) {
        self.lock().retain(|addr, _| stays(*addr));
    }

    /// One with a stream to spare; `connect` makes another if there is none.
    pub(crate) async fn share<C: Future<Output = Result<Wire, DialError>>>(
        &self,
        addr: SocketAddr,
        connect: impl FnOnce() -> C,
    ) -> Result<(Shared, Stream), DialError> {
        match self.spare(addr) {
            Some(found) => Ok(found),
            // Boxed: it is seldom needed, and every request would carry the room.
            None => Box::pin(self.open(addr, connect())).await,
        }
    }

    async fn open(
        &self,
        addr: SocketAddr,
        connect: impl Future<Output = Result<Wire, DialError>>,
    ) -> Result<(Shared, Stream), DialError> {
        let opening = Arc::clone(&self.lock().entry(addr).or_default().opening);
        let _alone = opening.lock().await;
        if let Some(found) = self.spare(addr) {
            return Ok(found);
        }
        let shared = open(connect.await?, addr).await?;
        let stream = shared.stream();
        let mut all = self.lock();
        all.entry(addr).or_default().open.push(shared.clone());
        Ok((shared, stream))
    }

    fn spare(&self, addr: SocketAddr) -> Option<(Shared, Stream)> {
        let mut all = self.lock();
        let open = &mut all.get_mut(&addr)?.open;
        let mut at = 0;
        while let Some(shared) = open.get_mut(at) {
            if !shared.is_open() {
                open.remove(at);
            } else if shared.has_room() {
                let stream = shared.stream();
                return Some((shared.clone(), stream));
            } else {
                at += 1;
            }
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, FnvHashMap<SocketAddr, ToOne>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(wire: Wire, addr: SocketAddr) -> Result<Shared, DialError> {
    let watched = Watched::of_upstream(wire);
    let seen = watched.seen();
    let handshake = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(STREAMS_UNTIL_TOLD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(watched)
        .await;
    let (sender, connection) = handshake.map_err(|error| DialError::Refused {
        addr,
        source: std::io::Error::other(error),
    })?;
    // Ends by itself once no sender and no stream is left.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%addr, %error, "a shared upstream connection ended");
        }
    });
    Ok(Shared {
        sender,
        seen,
        state: Arc::default(),
    })
}

impl Shared {
    /// Whether requests may be sent: not after GOAWAY, nor once all numbers of streams were used.
    fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(
            self.sender.poll_ready(&mut cx),
            std::task::Poll::Ready(Err(_))
        )
    }

    fn has_room(&self) -> bool {
        let most = STREAMS.min(self.sender.current_max_send_streams());
        self.state.streams.load(Ordering::Relaxed) < most
    }

    fn stream(&self) -> Stream {
        self.state.streams.fetch_add(1, Ordering::Relaxed);
        Stream {
            state: Arc::clone(&self.state),
            upload: None,
        }
    }

    /// Whether it has carried an answer before.
    pub(super) fn is_used(&self) -> bool {
        self.state.used.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) {
        self.state.used.store(true, Ordering::Relaxed);
    }
}
