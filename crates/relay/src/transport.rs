//! A caller's connection as hyper sees it: what was read to tell the protocols apart comes
//! first again, interim answers go out before anything else, and the time of the first byte of
//! a request's head is kept.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::serve::Caller;

/// A caller's TCP connection.
#[derive(Debug)]
pub(crate) struct Transport {
    io: TokioIo<TcpStream>,
    /// Read already, not yet handed to hyper.
    first: Bytes,
    caller: Arc<Caller>,
}

impl Transport {
    pub(crate) fn new(stream: TcpStream, first: Bytes, caller: Arc<Caller>) -> Self {
        Self {
            io: TokioIo::new(stream),
            first,
            caller,
        }
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
        self.caller.bytes_came();
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
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
