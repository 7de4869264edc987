//! A response body that a test writes, piece by piece.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use super::server::Inside;

/// The test's end of a response body. Dropped, the body ends as it should.
pub struct Streamed {
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
}

/// The workload's end of it.
pub(super) struct StreamedBody {
    pieces: mpsc::Receiver<Result<Bytes, io::Error>>,
    /// The request is inside until its body has ended.
    _inside: Inside,
}

pub(super) fn streamed(inside: Inside) -> (Streamed, StreamedBody) {
    let (sender, pieces) = mpsc::channel(16);
    let body = StreamedBody {
        pieces,
        _inside: inside,
    };
    (Streamed { pieces: sender }, body)
}

impl Streamed {
    /// Sends these bytes.
    ///
    /// # Panics
    ///
    /// If the client has gone.
    pub async fn send(&self, piece: impl Into<Bytes>) {
        let sent = self.pieces.send(Ok(piece.into())).await;
        sent.expect("the client still reads");
    }

    /// Sends `data` as one server-sent event.
    ///
    /// # Panics
    ///
    /// If the client has gone.
    pub async fn event(&self, data: &str) {
        self.send(format!("data: {data}\n\n")).await;
    }

    /// Breaks the body off: the connection or the HTTP/2 stream is reset.
    pub async fn fail(self) {
        // A client that has gone has noticed already.
        let _ = self.pieces.send(Err(io::Error::other("broken off"))).await;
    }

    /// Waits until the client has gone.
    pub async fn until_gone(&self) {
        self.pieces.closed().await;
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.pieces.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A body of frames that are known beforehand.
pub(crate) struct FrameBody(VecDeque<Frame<Bytes>>);

impl FrameBody {
    pub(crate) fn of(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Self {
        Self(frames.into_iter().collect())
    }
}

impl Body for FrameBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}
