//! Idle connections to upstreams. Each worker has a pool of its own, so its lock is seldom
//! contended: the thread that made a connection uses it again.
//!
//! Pools that stand before one upstream with a limit are siblings: once as many connections are
//! open as it takes requests, a worker without an idle one takes another's. To connect instead
//! would cost more, and an upstream with a thread for each connection might have none left.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fnv::FnvHashMap;
use http::uri::Scheme;
use tokio::time::Instant;

use crate::dial::{DialError, dial};
use crate::h2::client::{Connections, Shared, Stream};
use crate::link::Link;
use crate::nearby::{Nearby, Wire};
use crate::tls;

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
    idle: Arc<Mutex<Idle>>,
    siblings: Option<Siblings>,
    shared: Connections,
    /// TLS with all of them, whose certificates have to have that name.
    secured: Option<(Arc<tls::Client>, Box<str>)>,
}

/// What the pools of several workers have in common.
#[derive(Clone, Debug)]
struct Siblings {
    /// Of all of them.
    idle: Arc<[Arc<Mutex<Idle>>]>,
    /// Connections that are open, idle or not.
    open: Arc<AtomicUsize>,
    /// How many of them are opened before idle ones are taken from each other.
    most: usize,
}

/// Counts a connection as open.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

#[derive(Debug, Default)]
#[expect(
    clippy::vec_box,
    reason = "a link is large, and goes from here to an answer and back with each request"
)]
struct Idle {
    links: FnvHashMap<SocketAddr, Vec<Box<Link>>>,
    count: usize,
    /// Upstreams that were let go of lately, and when.
    gone: FnvHashMap<SocketAddr, Instant>,
    swept: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(keep: Keep, near: Option<(Nearby, usize)>) -> Self {
        Self {
            keep,
            near,
            idle: Arc::default(),
            siblings: None,
            shared: Connections::default(),
            secured: None,
        }
    }

    /// One for upstreams that speak TLS and have `name`.
    pub(crate) fn secured(keep: Keep, client: Arc<tls::Client>, name: &str) -> Self {
        Self {
            secured: Some((client, name.into())),
            ..Self::new(keep, None)
        }
    }

    /// The scheme that requests are sent by.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.secured {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        }
    }

    /// Siblings, which have at most `most` connections, as far as there are not more requests.
    pub(crate) fn siblings(count: usize, most: usize) -> Vec<Self> {
        let idle: Arc<[_]> = (0..count).map(|_| Arc::default()).collect();
        let siblings = Siblings {
            idle: Arc::clone(&idle),
            open: Arc::default(),
            most,
        };
        let keep = Keep {
            total: most,
            each: most,
        };
        idle.iter()
            .map(|idle| Self {
                idle: Arc::clone(idle),
                siblings: Some(siblings.clone()),
                ..Self::new(keep, None)
            })
            .collect()
    }

    /// An idle connection that is still open, the one used last first.
    pub(crate) fn take(&self, addr: SocketAddr) -> Option<Box<Link>> {
        take(&self.idle, addr).or_else(|| self.siblings.as_ref()?.take(addr))
    }

    /// A new connection.
    pub(crate) async fn open(&self, addr: SocketAddr) -> Result<Box<Link>, DialError> {
        let counted = self.siblings.as_ref().map(Siblings::count);
        Ok(Link::over(self.connect(addr).await?, addr, counted))
    }

    async fn connect(&self, addr: SocketAddr) -> Result<Wire, DialError> {
        if let Some((client, name)) = &self.secured {
            let stream = dial(addr).await?;
            let shaken = client.connect(stream, name).await;
            let shaken = shaken.map_err(|source| DialError::Refused { addr, source })?;
            return Ok(Wire::Secured(Box::new(shaken)));
        }
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
        let mut idle = lock(&self.idle);
        idle.sweep(now);
        let is_gone = |gone: &Instant| link.opened <= *gone;
        if idle.count >= self.keep.total
            || idle.gone.get(&link.addr).is_some_and(is_gone)
            || self.siblings.as_ref().is_some_and(Siblings::are_many)
        {
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
        let mut idle = lock(&self.idle);
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

/// An idle connection that is still open.
fn take(idle: &Mutex<Idle>, addr: SocketAddr) -> Option<Box<Link>> {
    loop {
        let mut link = lock(idle).pop(addr)?;
        if link.idle_since.elapsed() <= IDLE_LIMIT && link.is_free() {
            return Some(link);
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Siblings {
    /// Counts one more connection.
    fn count(&self) -> Counted {
        self.open.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.open))
    }

    /// Whether more are open than are kept.
    fn are_many(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.most
    }

    /// An idle connection of any of them, if no more are to be opened. From now on it is of the
    /// thread that takes it.
    fn take(&self, addr: SocketAddr) -> Option<Box<Link>> {
        if self.open.load(Ordering::Relaxed) < self.most {
            return None;
        }
        let link = self.idle.iter().find_map(|idle| take(idle, addr))?;
        (*link).move_here().ok().map(Box::new)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Idle {
    /// The connection that was used last.
    fn pop(&mut self, addr: SocketAddr) -> Option<Box<Link>> {
        let link = self.links.get_mut(&addr)?.pop()?;
        self.count -= 1;
        Some(link)
    }

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
