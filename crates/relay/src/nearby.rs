//! Connections that stay within the process: `penstock up` has the activator and all
//! queue-proxies in one, and a socket between them would cost more than what they do.
//!
//! A listener that is served ([`crate::serve::serve`]) can be entered here by its address. The
//! connection is a pipe in memory, served by the very code that serves a socket, on the worker
//! that asked: a request then stays on one thread all the way.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use crate::tls;

/// What a pipe holds in each direction before its writer has to wait.
pub(crate) const PIPE: usize = 32 * 1024;

/// A listener seen from within the process.
pub(crate) trait Door: Send + Sync {
    /// A connection to it, served on that worker.
    fn enter(&self, worker: usize) -> DuplexStream;
}

/// The listeners of this process, by address.
#[derive(Clone, Default)]
pub(crate) struct Nearby(Arc<RwLock<HashMap<SocketAddr, Arc<dyn Door>>>>);

impl Nearby {
    pub(crate) fn open(&self, addr: SocketAddr, door: Arc<dyn Door>) {
        let mut doors = self.0.write().unwrap_or_else(PoisonError::into_inner);
        doors.insert(addr, door);
    }

    pub(crate) fn close(&self, addr: SocketAddr) {
        let mut doors = self.0.write().unwrap_or_else(PoisonError::into_inner);
        doors.remove(&addr);
    }

    pub(crate) fn enter(&self, addr: SocketAddr, worker: usize) -> Option<DuplexStream> {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let door = Arc::clone(doors.get(&addr)?);
        drop(doors);
        Some(door.enter(worker))
    }
}

impl std::fmt::Debug for Nearby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let doors = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(doors.keys()).finish()
    }
}

/// A connection, over the network or within the process.
#[derive(Debug)]
pub(crate) enum Wire {
    Socket(TcpStream),
    Pipe(DuplexStream),
    /// Over the network, and nobody there can read along. Boxed: it is ten times the others, and
    /// few are.
    Tls(Box<tls::Stream>),
    /// The same to an upstream.
    Secured(Box<tls::ToPod>),
}

impl Wire {
    /// The socket below, if there is one.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Socket(stream) => Some(stream),
            Self::Pipe(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
            Self::Secured(stream) => Some(stream.get_ref().0),
        }
    }

    /// The same, watched by the runtime of this thread. What is spoken with upstreams only: no TLS.
    pub(crate) fn move_here(self) -> io::Result<Self> {
        match self {
            Self::Socket(stream) => TcpStream::from_std(stream.into_std()?).map(Self::Socket),
            other => Ok(other),
        }
    }

    /// The TLS on it, if there is.
    pub(crate) fn tls(&self) -> Option<&tls::Stream> {
        match self {
            Self::Socket(_) | Self::Pipe(_) | Self::Secured(_) => None,
            Self::Tls(stream) => Some(stream),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Pipe(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Pipe(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
            Self::Pipe(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Pipe(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(stream) => stream.is_write_vectored(),
            Self::Pipe(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Pipe(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Secured(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    use crate::incoming::Incoming;
    use http::{HeaderValue, Request, Response};
    use http_body_util::BodyExt as _;

    use crate::body::Body;
    use crate::forward::{ForwardError, Keep, Outgoing, Relay};
    use crate::listen::listen;
    use crate::request_body::RequestBody;
    use crate::serve::{Answer, Caller, Stop, serve};
    use crate::workers::Workers;

    /// Answers with the port of the caller.
    struct Who;

    impl Answer for Who {
        type Guard = ();

        async fn answer(
            self: Arc<Self>,
            _: Request<Incoming>,
            caller: Arc<Caller>,
        ) -> Response<Body<()>> {
            Response::new(Body::text(caller.addr().port().to_string()))
        }
    }

    async fn ask(relay: &Relay, addr: SocketAddr) -> Result<String, ForwardError> {
        let caller = Arc::new(Caller::new(addr));
        let (head, ()) = Request::new(()).into_parts();
        let outgoing = Outgoing::prepare(head, &caller);
        let host = HeaderValue::from_static("nearby");
        let body = RequestBody::empty();
        let answer = relay.forward(addr, &host, &outgoing, body, &caller).await?;
        let whole = Body::<()>::relayed(answer.into_body()).collect().await;
        Ok(String::from_utf8(whole.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_the_same_workers_serve_is_reached_without_a_socket_until_it_closes() {
        let workers = Workers::start(NonZeroUsize::MIN).unwrap();
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = Stop::default();
        serve(&listener, &workers, &stop, || Who).unwrap();
        drop(listener);
        let keep = Keep { total: 8, each: 8 };
        let near = Relay::for_workers(&workers, keep).remove(0);
        let far = Relay::new(keep);

        for _ in 0..2 {
            assert_eq!(ask(&near, addr).await.unwrap(), "0");
            assert_ne!(ask(&far, addr).await.unwrap(), "0");
        }

        stop.close.cancel();
        stop.tasks.close();
        stop.tasks.wait().await;
        let refused = ask(&near, addr).await.unwrap_err();
        assert!(refused.nothing_sent(), "{refused}");
        stop.cut.cancel();
    }
}
