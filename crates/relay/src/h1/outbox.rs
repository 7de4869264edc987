//! What is on its way out of a connection: a head or the size of a chunk, a piece of a body, and
//! what has to follow it, in one vectored write.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::encode;
use super::stock;
use crate::headers::may_trail;
use crate::nearby::Wire;

/// A piece of a body up to this size is copied behind what goes before it.
const COPIED: usize = 1024;

/// What is to be written, in this order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    first: BytesMut,
    data: Bytes,
    last: &'static [u8],
    /// A piece of a body is in it.
    filled: bool,
    /// Whether any of it has gone out.
    began: bool,
    /// All was taken from here, but the wire may still hold some of it back.
    held_back: bool,
}

impl Outbox {
    /// For a head, before anything else.
    pub(crate) fn head(&mut self) -> &mut BytesMut {
        if self.first.capacity() == 0 {
            self.first = stock::take(stock::SMALL);
        }
        &mut self.first
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_written() && !self.held_back
    }

    fn is_written(&self) -> bool {
        self.first.is_empty() && self.data.is_empty() && self.last.is_empty()
    }

    /// Whether a piece of a body may be added.
    pub(crate) fn has_room(&self) -> bool {
        !self.filled
    }

    /// Whether any byte has gone out since [`Self::start`].
    pub(crate) fn has_begun(&self) -> bool {
        self.began
    }

    /// Forgets what went before.
    pub(crate) fn start(&mut self) {
        self.began = false;
    }

    /// Drops what has not gone out.
    pub(crate) fn clear(&mut self) {
        stock::give(mem::take(&mut self.first));
        self.data = Bytes::new();
        self.last = b"";
        self.filled = false;
        self.held_back = false;
    }

    /// Writes until nothing is left, and then holds no buffer.
    pub(crate) fn poll_flush(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let wire = Pin::new(&mut *wire);
            let wrote = if self.data.is_empty() && self.last.is_empty() {
                ready!(wire.poll_write(cx, &self.first))?
            } else {
                let slices = [
                    IoSlice::new(&self.first),
                    IoSlice::new(&self.data),
                    IoSlice::new(self.last),
                ];
                let from = usize::from(self.first.is_empty());
                ready!(wire.poll_write_vectored(cx, &slices[from..]))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.began = true;
            self.wrote(wrote);
        }
        self.filled = false;
        self.data = Bytes::new();
        stock::give(mem::take(&mut self.first));
        self.held_back = true;
        ready!(Pin::new(wire).poll_flush(cx))?;
        self.held_back = false;
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, mut count: usize) {
        let of_first = count.min(self.first.len());
        self.first.advance(of_first);
        count -= of_first;
        let of_data = count.min(self.data.len());
        self.data.advance(of_data);
        count -= of_data;
        self.last = &self.last[count..];
    }

    /// All of it.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.first[..], &self.data, self.last].concat()
    }

    fn push(&mut self, data: Bytes, last: &'static [u8]) {
        self.filled = true;
        if data.len() <= COPIED {
            let first = self.head();
            first.extend_from_slice(&data);
            first.extend_from_slice(last);
        } else {
            self.data = data;
            self.last = last;
        }
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoder {
    /// So many bytes are left.
    Length(u64),
    Chunked,
    /// To the end of the connection.
    ToTheEnd,
}

/// A body that is longer or shorter than was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has not the length that its head says")]
pub struct WrongLength;

impl Encoder {
    /// Adds a piece; `over` if it is the last.
    ///
    /// # Errors
    ///
    /// [`WrongLength`]; the piece is not written.
    pub(crate) fn data(
        &mut self,
        out: &mut Outbox,
        data: Bytes,
        over: bool,
    ) -> Result<(), WrongLength> {
        match self {
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                if over && *left > 0 {
                    return Err(WrongLength);
                }
                out.push(data, b"");
            }
            // No chunk of no size: that would be the end.
            Self::Chunked if data.is_empty() && over => out.push(data, b"0\r\n\r\n"),
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                encode::chunk_size(out.head(), data.len());
                out.push(data, if over { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            }
            Self::ToTheEnd => out.push(data, b""),
        }
        Ok(())
    }

    /// Ends it, with `trailers` where there is a place for them.
    ///
    /// # Errors
    ///
    /// [`WrongLength`].
    pub(crate) fn end(
        &mut self,
        out: &mut Outbox,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), WrongLength> {
        match self {
            Self::Length(0) | Self::ToTheEnd => Ok(()),
            Self::Length(_) => Err(WrongLength),
            Self::Chunked => {
                let buffer = out.head();
                buffer.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if may_trail(name) {
                        encode::line(buffer, name.as_str(), value.as_bytes());
                    }
                }
                buffer.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}
