//! The peer of one connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::interim::Interim;

/// The peer of one connection.
#[derive(Debug)]
pub struct Caller {
    addr: SocketAddr,
    pub(crate) interim: Interim,
    /// Requests that wait with a body that nobody reads yet.
    waiting: AtomicUsize,
}

impl Caller {
    /// The peer at `addr`; whoever asks on behalf of this process has an address of its own.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            interim: Interim::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Makes its connection notice, while the answer is held, that it has left, although
    /// nobody reads from it: hyper looks only once the body of a request was read. The request is then
    /// dropped. Costs a second descriptor for the time, so it is for requests that have to wait.
    ///
    /// A caller that has shut down its sending side counts as having left, as it does for hyper.
    pub fn notice_leaving(&self) -> Noticing<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Noticing(self)
    }

    pub(crate) fn is_noticed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// See [`Caller::notice_leaving`].
#[derive(Debug)]
#[must_use = "noticed only while held"]
pub struct Noticing<'a>(&'a Caller);

impl Drop for Noticing<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
