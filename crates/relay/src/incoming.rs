//! The body of a message as it comes in: a caller's request, or an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::h1::{BadBody, CallerBody};

/// A body that somebody else sends, read as it is asked for.
#[derive(Debug)]
pub struct Incoming(Source);

#[derive(Debug)]
enum Source {
    None,
    Http1(CallerBody),
    Http2(hyper::body::Incoming),
}

/// It broke off before its end, or was no valid body.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// As HTTP/1 sees it.
    #[error(transparent)]
    Http1(#[from] BadBody),
    /// As HTTP/2 sees it.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl Incoming {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self(Source::None)
    }
}

impl From<CallerBody> for Incoming {
    fn from(body: CallerBody) -> Self {
        Self(Source::Http1(body))
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self(Source::Http2(body))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut self.0 {
            Source::None => Poll::Ready(None),
            Source::Http1(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Broken::Http1))),
            Source::Http2(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Broken::Http2))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::None => true,
            Source::Http1(body) => body.is_end_stream(),
            Source::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::None => SizeHint::with_exact(0),
            Source::Http1(body) => body.size_hint(),
            Source::Http2(body) => body.size_hint(),
        }
    }
}
