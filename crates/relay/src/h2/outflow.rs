//! A body on its way out. No more of it is read than the other side has made room for: one
//! frame at most waits here.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::headers;

/// The sending half of a stream, and the frame that waits for room.
#[derive(Debug)]
pub(super) struct Outflow {
    stream: SendStream<Bytes>,
    waiting: Option<Bytes>,
}

/// Why a body was not sent to its end.
#[derive(Debug)]
pub(super) enum Stopped<E> {
    /// The other side does not want it, or the connection has ended.
    Unwanted,
    /// It broke off.
    Broken(E),
}

impl Outflow {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            waiting: None,
        }
    }

    /// Whether a frame waits until the other side makes room.
    pub(super) fn is_stuck(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Sends what there is of `body` and room for. Ready once all of it, with its trailers,
    /// was sent.
    pub(super) fn poll<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped<B::Error>>>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            if let Some(data) = self.waiting.take() {
                match self.poll_send(data, body.is_end_stream(), cx) {
                    Poll::Ready(Ok(false)) => {}
                    Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Err(stopped)) => return Poll::Ready(Err(stopped)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                // While nothing comes, so that a reset is noticed.
                return match self.stream.poll_reset(cx) {
                    Poll::Ready(_) => Poll::Ready(Err(Stopped::Unwanted)),
                    Poll::Pending => Poll::Pending,
                };
            };
            let sent = match frame {
                None => self.stream.send_data(Bytes::new(), true),
                Some(Err(error)) => return Poll::Ready(Err(Stopped::Broken(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        // An empty frame says nothing.
                        if !data.is_empty() {
                            self.stream.reserve_capacity(data.len());
                            self.waiting = Some(data);
                        }
                        continue;
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(mut trailers) => {
                            headers::remove_no_trailers(&mut trailers);
                            self.stream.send_trailers(trailers)
                        }
                        Err(_unknown) => continue,
                    },
                },
            };
            return Poll::Ready(sent.map_err(|_| Stopped::Unwanted));
        }
    }

    /// Sends `data` as far as there is room, `ends` with the last of it. Ready with whether that was
    /// the end of the body.
    fn poll_send<E>(
        &mut self,
        mut data: Bytes,
        ends: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Stopped<E>>> {
        loop {
            let mut room = self.stream.capacity();
            if room == 0 {
                let Poll::Ready(more) = self.stream.poll_capacity(cx) else {
                    self.waiting = Some(data);
                    return Poll::Pending;
                };
                match more {
                    Some(Ok(0)) => continue,
                    Some(Ok(more)) => room = more,
                    Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Unwanted)),
                }
            }
            // Not more than there is room for: it would wait out of sight, past every deadline.
            let part = data.split_to(room.min(data.len()));
            let last = data.is_empty();
            if self.stream.send_data(part, last && ends).is_err() {
                return Poll::Ready(Err(Stopped::Unwanted));
            }
            if last {
                return Poll::Ready(Ok(ends));
            }
        }
    }
}

/// Sends the rest of a body that nobody else drives.
pub(super) async fn drain<B: Body<Data = Bytes> + Unpin>(mut flow: Outflow, mut body: B) {
    let sent = std::future::poll_fn(|cx| flow.poll(Pin::new(&mut body), cx)).await;
    if let Err(Stopped::Broken(_)) = sent {
        flow.reset(Reason::CANCEL);
    }
}
