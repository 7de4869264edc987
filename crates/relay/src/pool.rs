//! Idle connections to upstreams. Each worker has a pool of its own, so its lock is never
//! contended: only the thread that made a connection uses it again.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::dial::{DialError, dial};
use crate::h2::client::{Connections, Shared, Stream};
use crate::link::Link;
use crate::nearby::{Nearby, Wire};

/// How long an unused connection is kept (spec/queue-proxy.md §3.8).
const IDLE_LIMIT: Duration = Duration::from_secs(90);

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
    shared: Connections,
}

#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "a link is large, and goes from here to an answer and back with each request"
)]
struct Idle {
    links: HashMap<SocketAddr, Vec<Box<Link>>>,
    count: usize,
    /// Upstreams that were let go of lately, and when.
    gone: HashMap<SocketAddr, Instant>,
    swept: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(keep: Keep, near: Option<(Nearby, usize)>) -> Self {
        Self {
            keep,
            near,
            idle: Mutex::default(),
            shared: Connections::default(),
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
        if !link.is_free() {
            return;
        }
        link.rest();
        let now = Instant::now();
        link.used = true;
        link.idle_since = now;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        let is_gone = |gone: &Instant| link.opened <= *gone;
        if idle.count >= self.keep.total || idle.gone.get(&link.addr).is_some_and(is_gone) {
            return;
        }
        let links = idle.links.entry(link.addr).or_default();
        if links.len() < self.keep.each {
            links.push(link);
            idle.count += 1;
        }
    }

    /// Closes all connections to these upstreams that are idle, and the others once they are.
    pub(crate) fn let_go(&self, upstreams: &HashSet<SocketAddr>) {
        let now = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.sweep(now);
        idle.links.retain(|addr, _| !upstreams.contains(addr));
        idle.count = idle.links.values().map(Vec::len).sum();
        idle.gone.extend(upstreams.iter().map(|addr| (*addr, now)));
        self.shared.retain(|addr| !upstreams.contains(&addr));
    }

    /// An HTTP/2 connection with a stream to spare, opened if there is none.
    pub(crate) async fn share(&self, addr: SocketAddr) -> Result<(Shared, Stream), DialError> {
        self.shared.share(addr, || self.connect(addr)).await
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
        // What is in use for longer than that idles for as long as any other.
        self.gone
            .retain(|_, gone| now.duration_since(*gone) <= IDLE_LIMIT);
        self.count = self.links.values().map(Vec::len).sum();
    }
}
