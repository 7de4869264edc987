//! The peer of one request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::h2::reply::Reply;
use crate::interim::Interim;
use crate::nearby::Wire;
use crate::tls::Agreed;

/// Who is at the other end of a connection. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Peer(Arc<Known>);

#[derive(Debug)]
struct Known {
    addr: SocketAddr,
    /// Its address without a port, as `X-Forwarded-For` names it; made once.
    name: HeaderValue,
    /// What was agreed on with it, if it speaks TLS.
    tls: Option<Agreed>,
}

impl Peer {
    /// The peer at the other end of `wire`.
    pub(crate) fn over(wire: &Wire, addr: SocketAddr) -> Self {
        Self::at(addr, wire.tls().map(Agreed::on))
    }

    fn at(addr: SocketAddr, tls: Option<Agreed>) -> Self {
        let name = HeaderValue::try_from(addr.ip().to_canonical().to_string());
        Self(Arc::new(Known {
            addr,
            name: name.unwrap_or(HeaderValue::from_static("unknown")),
            tls,
        }))
    }

    /// Whether it may speak HTTP/2, or HTTP/1: what it agreed on, if it did.
    pub(crate) fn may_speak(&self, http2: bool) -> bool {
        let agreed = self.0.tls.as_ref().map(|tls| tls.protocol.as_str());
        agreed.is_none_or(|protocol| protocol.is_empty() || (protocol == "h2") == http2)
    }
}

/// Who sent a request: the peer of an HTTP/1 connection, or of one stream of an HTTP/2 connection.
#[derive(Debug)]
pub struct Caller {
    peer: Peer,
    way: Way,
    /// Requests that wait with a body that nobody reads yet.
    waiting: AtomicUsize,
    /// The request that was answered last was refused for want of room.
    refused: AtomicBool,
    /// The request that is being answered is the last.
    last: AtomicBool,
}

/// How answers get back to a caller.
#[derive(Debug)]
enum Way {
    /// The connection sends them; interim ones wait here for it.
    Http1(Interim),
    Http2(Reply),
}

impl Caller {
    /// The peer at `addr`; whoever asks on behalf of this process has an address of its own.
    pub fn new(addr: SocketAddr) -> Self {
        Self::of(Peer::at(addr, None))
    }

    /// The peer of a connection of HTTP/1.
    pub(crate) fn of(peer: Peer) -> Self {
        Self::by(peer, Way::Http1(Interim::default()))
    }

    /// The peer of one stream of HTTP/2.
    pub(crate) fn of_stream(peer: Peer, reply: Reply) -> Self {
        Self::by(peer, Way::Http2(reply))
    }

    fn by(peer: Peer, way: Way) -> Self {
        Self {
            peer,
            way,
            waiting: AtomicUsize::new(0),
            refused: AtomicBool::new(false),
            last: AtomicBool::new(false),
        }
    }

    /// Its way back, if it speaks HTTP/2.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        match &self.way {
            Way::Http1(_) => None,
            Way::Http2(reply) => Some(reply),
        }
    }

    /// The interim answers that its connection of HTTP/1 has to send, if there are any.
    pub(crate) fn take_interim(&self) -> Option<BytesMut> {
        match &self.way {
            Way::Http1(interim) => interim.take(),
            Way::Http2(_) => None,
        }
    }

    /// Sends an interim answer (1xx), if it is not too late for one.
    pub fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        match &self.way {
            Way::Http1(interim) => interim.push(status, headers),
            Way::Http2(reply) => reply.interim(status, headers),
        }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.peer.0.addr
    }

    /// What was agreed on with it, if it speaks TLS.
    pub fn tls(&self) -> Option<&Agreed> {
        self.peer.0.tls.as_ref()
    }

    /// Its address as `X-Forwarded-For` names it.
    pub(crate) fn name(&self) -> &HeaderValue {
        &self.peer.0.name
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

    /// Tells that the request is refused for want of room. A caller that asks again at once over
    /// the same connection of HTTP/1 is then made to wait for room, or a little: see `h1/rest.rs`.
    pub fn turn_away(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Makes this the last request of its connection of HTTP/1, and the answer say so: the caller
    /// then asks again over another, and perhaps somebody else. A connection that is upgraded goes
    /// on, and so does one of HTTP/2.
    pub fn dismiss(&self) {
        self.last.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_last(&self) -> bool {
        self.last.load(Ordering::Relaxed)
    }

    /// Whether the latest request was refused, asked once.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) && self.refused.swap(false, Ordering::Relaxed)
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
