//! Idle connections to upstreams. Each worker has a pool of its own, so its lock is never
//! contended: only the thread that made a connection uses it again.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use crate::dial::{DialError, dial};
use crate::link::Link;
use crate::nearby::{Nearby, Wire};
use crate::request_body::RequestBody;

/// How long an unused connection is kept (spec/queue-proxy.md §3.8).
const IDLE_LIMIT: Duration = Duration::from_secs(90);
/// Streams that one HTTP/2 connection gets before another is opened: a little below the 250
/// which peers commonly allow.
const STREAMS: usize = 200;

/// How many idle HTTP/1 connections are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// To all upstreams together.
    pub total: usize,
    /// To one.
    pub each: usize,
}

#[derive(Debug)]
pub(crate) struct Pool {
    keep: Keep,
    /// Listeners of this process, and the worker that this pool belongs to.
    near: Option<(Nearby, usize)>,
    idle: Mutex<Idle>,
    shared: Mutex<HashMap<SocketAddr, Connections>>,
}

/// The HTTP/2 connections to one upstream.
#[derive(Debug, Default)]
struct Connections {
    open: Vec<Shared>,
    /// Held by who opens one, so that a burst does not open one for each of its requests.
    opening: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "a link is large, and goes from here to an answer and back with each request"
)]
struct Idle {
    links: HashMap<SocketAddr, Vec<Box<Link>>>,
    count: usize,
    swept: Option<Instant>,
}

/// One HTTP/2 connection, used by many requests at once.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<RequestBody>,
    /// Streams that the upstream allows at once.
    allowed: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    used: Arc<AtomicBool>,
}

/// Counts one stream of a shared connection while it is held.
#[derive(Debug)]
pub(crate) struct Stream(Arc<AtomicUsize>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(keep: Keep, near: Option<(Nearby, usize)>) -> Self {
        Self {
            keep,
            near,
            idle: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// An idle connection that is still open, the one used last first.
    pub(crate) fn take(&self, addr: SocketAddr) -> Option<Box<Link>> {
        loop {
            let mut link = {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                let link = idle.links.get_mut(&addr)?.pop()?;
                idle.count -= 1;
                link
            };
            if link.idle_since.elapsed() <= IDLE_LIMIT && link.is_free() {
                return Some(link);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn open(&self, addr: SocketAddr) -> Result<Box<Link>, DialError> {
        Ok(Link::over(self.connect(addr).await?, addr))
    }

    async fn connect(&self, addr: SocketAddr) -> Result<Wire, DialError> {
        let near = self.near.as_ref();
        match near.and_then(|(nearby, worker)| nearby.enter(addr, *worker)) {
            Some(pipe) => Ok(Wire::Pipe(pipe)),
            None => dial(addr).await.map(Wire::Socket),
        }
    }

    /// Keeps a connection for the next request, unless it cannot take one, or there are enough.
    pub(crate) fn put(&self, mut link: Box<Link>) {
        link.rest();
        if !link.is_free() {
            return;
        }
        let now = Instant::now();
        link.used = true;
        link.idle_since = now;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        if idle.count >= self.keep.total {
            return;
        }
        let links = idle.links.entry(link.addr).or_default();
        if links.len() < self.keep.each {
            links.push(link);
            idle.count += 1;
        }
    }

    /// Closes all idle connections to upstreams for which `stays` is false.
    pub(crate) fn retain(&self, stays: impl Fn(SocketAddr) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.links.retain(|addr, _| stays(*addr));
        idle.count = idle.links.values().map(Vec::len).sum();
        self.connections().retain(|addr, _| stays(*addr));
    }

    /// An HTTP/2 connection with a stream to spare, opened if there is none.
    pub(crate) async fn share(&self, addr: SocketAddr) -> Result<(Shared, Stream), DialError> {
        if let Some(found) = self.spare(addr) {
            return Ok(found);
        }
        let opening = Arc::clone(&self.connections().entry(addr).or_default().opening);
        let _alone = opening.lock().await;
        if let Some(found) = self.spare(addr) {
            return Ok(found);
        }
        let wire = self.connect(addr).await?;
        let refused = |error| DialError::Refused {
            addr,
            source: std::io::Error::other(error),
        };
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .initial_stream_window_size(1 << 20)
            // As much as HTTP/2 has: callers that do not read their answers hold up only those.
            .initial_connection_window_size(i32::MAX.unsigned_abs())
            .max_header_list_size((1 << 20) + 320);
        let (sender, connection) = http.handshake(TokioIo::new(wire)).await.map_err(refused)?;
        let allowed = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let told = Arc::clone(&allowed);
        // Ends by itself once no sender and no stream is left.
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                told.store(connection.current_max_send_streams(), Ordering::Relaxed);
                ended
            });
            if let Err(error) = ended.await {
                tracing::debug!(%addr, %error, "a shared upstream connection ended");
            }
        });
        let shared = Shared {
            sender,
            allowed,
            streams: Arc::default(),
            used: Arc::default(),
        };
        let stream = shared.stream();
        let mut all = self.connections();
        all.entry(addr).or_default().open.push(shared.clone());
        Ok((shared, stream))
    }

    fn spare(&self, addr: SocketAddr) -> Option<(Shared, Stream)> {
        let mut all = self.connections();
        let connections = all.get_mut(&addr)?;
        connections.open.retain(|shared| !shared.sender.is_closed());
        let found = connections.open.iter().find(|shared| {
            let most = STREAMS.min(shared.allowed.load(Ordering::Relaxed));
            shared.streams.load(Ordering::Relaxed) < most
        })?;
        Some((found.clone(), found.stream()))
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<SocketAddr, Connections>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn stream(&self) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream(Arc::clone(&self.streams))
    }

    /// Whether it has carried an answer before.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl Idle {
    /// Closes what has idled too long, now and then.
    fn sweep(&mut self, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        if now.duration_since(swept) < IDLE_LIMIT / 3 {
            return;
        }
        self.swept = Some(now);
        for links in self.links.values_mut() {
            links.retain(|link| now.duration_since(link.idle_since) <= IDLE_LIMIT);
        }
        self.links.retain(|_, links| !links.is_empty());
        self.count = self.links.values().map(Vec::len).sum();
    }
}
