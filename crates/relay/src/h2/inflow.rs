//! A body as it comes in by HTTP/2. Room for more is given once a frame of it was taken.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};

use crate::caller::Caller;

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) struct Inflow {
    stream: RecvStream,
    /// What `Content-Length` says is still to come; h2 sees to it that it is true.
    rest: Option<u64>,
    /// Only trailers may come.
    data_is_over: bool,
    /// Nothing of it came with the head, and nothing will.
    is_empty: bool,
    /// Who waits for `100 Continue` before sending it.
    waits: Option<Arc<Caller>>,
}

impl Inflow {
    /// The body of an upstream's answer, whose head had `headers`.
    pub(crate) fn of_answer(stream: RecvStream, headers: &HeaderMap) -> Self {
        let length = headers.get(CONTENT_LENGTH);
        let is_empty = stream.is_end_stream();
        Self {
            data_is_over: false,
            is_empty,
            rest: if is_empty {
                Some(0)
            } else {
                length.and_then(|length| length.to_str().ok()?.parse().ok())
            },
            stream,
            waits: None,
        }
    }

    /// The body of a request. A caller that sent `Expect: 100-continue` is asked for it when it
    /// is first read (RFC 9110 §10.1.1).
    pub(super) fn of_request(
        stream: RecvStream,
        headers: &HeaderMap,
        caller: &Arc<Caller>,
    ) -> Self {
        let mut inflow = Self::of_answer(stream, headers);
        let expects = headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        inflow.waits = expects.then(|| Arc::clone(caller));
        inflow
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.is_empty {
            return Poll::Ready(None);
        }
        if !self.data_is_over {
            let data = match self.stream.poll_data(cx) {
                Poll::Ready(data) => data,
                Poll::Pending => {
                    if let Some(caller) = self.waits.take() {
                        caller.interim(StatusCode::CONTINUE, &HeaderMap::new());
                    }
                    return Poll::Pending;
                }
            };
            if let Some(data) = data {
                let data = match data {
                    Ok(data) => data,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                // Fails only if the stream is over, and then nobody needs the room.
                let _ = self.stream.flow_control().release_capacity(data.len());
                if let Some(rest) = &mut self.rest {
                    *rest = rest.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_is_over = true;
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error)),
        })
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_empty || self.stream.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.rest
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
