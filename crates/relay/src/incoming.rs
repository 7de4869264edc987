//! The body of a message as it comes in: a caller's request, or an upstream's answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::h1::{BadBody, CallerBody};
use crate::h2::inflow::Inflow;
use crate::link::LinkError;

/// A body that somebody else sends, read as it is asked for.
#[derive(Debug)]
pub struct Incoming(Kind);

#[derive(Debug)]
enum Kind {
    None,
    Http1(CallerBody),
    Http2(Inflow),
}

/// It broke off before its end, or was no valid message.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The body of an HTTP/1 caller.
    #[error(transparent)]
    Http1(#[from] BadBody),
    /// An exchange with an HTTP/1 upstream.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// What h2 says of a stream, or of its connection.
    #[error(transparent)]
    Http2(#[from] h2::Error),
}

impl Broken {
    /// Whether the connection ended, rather than that something was wrong with what came.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::Http1(error) => *error == BadBody::Short,
            Self::Link(error) => error.is_end(),
            Self::Http2(error) => error.is_io(),
        }
    }
}

impl Incoming {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self(Kind::None)
    }
}

impl From<CallerBody> for Incoming {
    fn from(body: CallerBody) -> Self {
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
            Kind::None => Poll::Ready(None),
            Kind::Http1(body) => {
                let frame = body.poll_frame(cx);
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
            Kind::None => true,
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::None => SizeHint::with_exact(0),
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(body) => body.size_hint(),
        }
    }
}
