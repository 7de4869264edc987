//! A caller's connection as hyper sees it: what was read to tell the protocols apart comes
//! first again, interim answers go out before anything else, and that a caller has left is
//! noticed where hyper would not look.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::caller::Caller;
use crate::nearby::Wire;
use crate::patience;

/// How long a caller may go on sending a body that is not wanted, before it is reset.
const LINGER: Duration = Duration::from_secs(1);

/// A caller's connection.
pub(crate) struct Transport {
    io: TokioIo<Wire>,
    /// Read already, not yet handed to hyper.
    first: Bytes,
    caller: Arc<Caller>,
    /// Ends when the caller leaves; there while somebody wants to notice.
    leaving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Set once nothing more is sent and what still comes is thrown away.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Transport {
    pub(crate) fn new(wire: Wire, first: Bytes, caller: Arc<Caller>) -> Self {
        Self {
            io: TokioIo::new(wire),
            first,
            caller,
            leaving: None,
            lingering: None,
        }
    }

    /// Fails once the caller has left, while somebody wants to notice. hyper flushes at each of
    /// its polls, so this is where it can be told.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.caller.is_noticed() {
            self.leaving = None;
            return Ok(());
        }
        let leaving = self
            .leaving
            .get_or_insert_with(|| Box::pin(has_left(self.io.inner())));
        match leaving.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// A socket that is closed with bytes unread is reset, and a reset takes the answer away
    /// from a caller that is still sending. So the rest is read, until the caller closes.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut away = [MaybeUninit::uninit(); 8 * 1024];
        while limit.as_mut().poll(cx).is_pending() {
            let mut away = ReadBuf::uninit(&mut away);
            let read = ready!(Pin::new(self.io.inner_mut()).poll_read(cx, &mut away));
            if read.is_err() || away.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(())
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.caller.interim.any() {
            let io = Pin::new(&mut self.io);
            let mut wrote = Poll::Pending;
            self.caller.interim.drain(|bytes| {
                wrote = io.poll_write(cx, bytes);
                match &wrote {
                    Poll::Ready(Ok(count)) => Ok::<usize, io::Error>(*count),
                    _ => Ok(0),
                }
            })?;
            if ready!(wrote)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Ends once the other side sends nothing more. That shows although nobody reads what it has
/// sent: the system tells it apart from readable bytes, and a second descriptor is told anew.
fn has_left(wire: &Wire) -> impl Future<Output = ()> + Send + use<> {
    let second = match wire {
        Wire::Socket(stream) => stream.as_fd().try_clone_to_owned().ok(),
        // Nobody within the process sends more than the pipe holds and leaves unseen: its own
        // caller is watched.
        Wire::Pipe(_) => None,
    };
    let second = second
        .map(std::net::TcpStream::from)
        .and_then(|second| TcpStream::from_std(second).ok());
    async move {
        // Without one it is not noticed, as without this.
        let Some(second) = second else {
            return std::future::pending().await;
        };
        // Urgent data, which HTTP has not, or the end. Elsewhere than on Linux neither shows.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let end = Interest::PRIORITY;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let end = Interest::ERROR;
        let _ = second.ready(end).await;
    }
}

impl Read for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        patience::bytes_came();
        Poll::Ready(read)
    }
}

impl Write for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.caller.interim.hyper_writes(true);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.caller.interim.hyper_writes(false);
        self.poll_leaving(cx)?;
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !patience::ends_behind_a_body() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        self.caller.interim.hyper_writes(true);
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
