//! The body of a message as it comes in: a caller's request, or an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::h2::inflow::Inflow;

/// A body that somebody else sends, read as it is asked for.
#[derive(Debug)]
pub struct Incoming(Kind);

#[derive(Debug)]
enum Kind {
    Http1(hyper::body::Incoming),
    Http2(Inflow),
}

/// It broke off before its end, or was no valid message.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// What hyper says of an HTTP/1 connection.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// What h2 says of a stream, or of its connection.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Broken {
    /// Whether the connection ended, rather than that something was wrong with what came.
    pub(crate) fn is_end(&self) -> bool {
        use std::error::Error as _;
        match self {
            Self::Http1(error) => {
                error.is_incomplete_message()
                    || error.is_canceled()
                    || error.is_closed()
                    || error
                        .source()
                        .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
            }
            Self::Http2(error) => error.is_io(),
        }
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self(Kind::Http1(body))
    }
}

impl From<Inflow> for Incoming {
    fn from(body: Inflow) -> Self {
        Self(Kind::Http2(body))
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
            Kind::Http1(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(Broken::Http1)))
            }
            Kind::Http2(body) => {
                let frame = body.poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(Broken::Http2)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}
