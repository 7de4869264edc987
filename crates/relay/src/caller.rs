//! The peer of one connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, HeaderValue, StatusCode};

use crate::interim::Interim;

/// The peer of one connection.
#[derive(Debug)]
pub struct Caller {
    addr: SocketAddr,
    /// Its address without a port, as `X-Forwarded-For` names it; made once.
    name: HeaderValue,
    pub(crate) interim: Interim,
    /// Requests that wait with a body that nobody reads yet.
    waiting: AtomicUsize,
}

impl Caller {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let name = HeaderValue::try_from(addr.ip().to_canonical().to_string());
        Self {
            addr,
            name: name.unwrap_or(HeaderValue::from_static("unknown")),
            interim: Interim::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its address as `X-Forwarded-For` names it.
    pub(crate) fn name(&self) -> &HeaderValue {
        &self.name
    }

    /// Makes its connection notice, while the answer is held, that it has left, however much it
    /// has sent that nobody reads. The request is then dropped. A little is read ahead in any
    /// case, and mostly shows it; beyond that it costs a second descriptor for the time, so this
    /// is for requests that have to wait.
    ///
    /// A caller that has shut down its sending side counts as having left.
    pub fn notice_leaving(&self) -> Noticing<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Noticing(self)
    }

    pub(crate) fn is_noticed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Sends an interim answer (1xx) ahead of the one that is being made.
    pub(crate) fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        self.interim.push(status, headers);
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
