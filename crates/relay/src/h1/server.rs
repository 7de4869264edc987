//! Serving one HTTP/1 connection: read a head, let it be answered, write the answer, again.
//!
//! All of it is one task, and the answer is made within it. Nothing is written to the caller
//! from elsewhere, so interim answers cannot get between others.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, timeout};

use super::encode::{self, Persistence};
use super::head::{BadHead, RequestHead};
use super::intake::Shared;
use super::outbox::{Encoder, Outbox};
use crate::body::{Body, Guard};
use crate::caller::Caller;
use crate::connection::Open;
use crate::incoming::Incoming;
use crate::nearby::Wire;
use crate::patience::{self, HEAD_LIMIT};
use crate::refusal::text_error;
use crate::serve::Answer;
use crate::tunnel;

/// How long a caller may go on sending what is not wanted, before it is reset.
const LINGER: Duration = Duration::from_secs(1);

/// What comes after an answer.
enum Next {
    Request,
    /// The end; `unread`: something of the caller's may still come.
    Close {
        unread: bool,
    },
    /// The end at once: the caller has left, or must see that the answer is not whole.
    Cut,
}

/// What the answer to a request depends on.
struct Asked {
    method: Method,
    version: Version,
    keep: bool,
}

/// Serves until the caller closes, or `open` is to close and no request is open. `first` was
/// read already.
pub(crate) async fn serve<A: Answer>(
    wire: Wire,
    first: BytesMut,
    caller: Arc<Caller>,
    answer: &Arc<A>,
    open: &Open,
) {
    let intake = Shared::new(wire, first, Arc::clone(&caller));
    loop {
        let unread = match poll_head(&intake, open).await {
            None => return,
            Some(Err(bad)) => {
                refuse(&intake, bad).await;
                true
            }
            Some(Ok(head)) => {
                let (asked, answered) = ask(head, &intake, &caller, answer).await;
                let Some(answered) = answered else {
                    return;
                };
                if answered.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return switch(intake, asked, answered).await;
                }
                match give(&intake, asked, answered, open).await {
                    Next::Request => continue,
                    Next::Close { unread } => unread,
                    Next::Cut => return,
                }
            }
        };
        return close(&intake, unread).await;
    }
}

/// The next request. `None`: there is none.
async fn poll_head(intake: &Shared, open: &Open) -> Option<Result<RequestHead, BadHead>> {
    let mut since = None;
    poll_fn(|cx| {
        let mut intake = intake.lock();
        if let Poll::Ready(head) = intake.poll_head(cx) {
            return Poll::Ready(head);
        }
        let over = if intake.is_idle() {
            // What has come already is still served.
            open.is_closing()
        } else {
            let since = *since.get_or_insert_with(Instant::now);
            patience::is_over(since + HEAD_LIMIT)
        };
        if over {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await
}

/// Lets a request be answered. `None`: its caller has left.
async fn ask<A: Answer>(
    head: RequestHead,
    intake: &Shared,
    caller: &Arc<Caller>,
    answer: &Arc<A>,
) -> (Asked, Option<Response<Body<A::Guard>>>) {
    let body = match intake.begin(&head) {
        Some(body) => Incoming::from(body),
        None => Incoming::empty(),
    };
    let RequestHead { request, keep, .. } = head;
    let asked = Asked {
        method: request.method().clone(),
        version: request.version(),
        keep,
    };
    // Boxed, so that an idle connection does not carry the room for it.
    let mut answering =
        Box::pin(Arc::clone(answer).answer(request.map(|()| body), Arc::clone(caller)));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = answering.as_mut().poll(cx) {
            return Poll::Ready(Some(answered));
        }
        intake.lock().poll_meanwhile(cx).map(|()| None)
    })
    .await;
    let answered = answered.map(|answered| {
        if intake.lock().is_bad() {
            text_error(StatusCode::BAD_REQUEST, "the body is malformed")
        } else {
            answered
        }
    });
    (asked, answered)
}

/// An answer on its way to the caller.
struct Giving<'a, G> {
    intake: &'a Shared,
    body: Body<G>,
    encoder: Encoder,
    out: Outbox,
    /// Nothing more is put into `out`.
    over: bool,
    /// When it has to be taken.
    due: Option<Instant>,
}

/// Writes an answer.
async fn give<G: Guard>(
    intake: &Shared,
    asked: Asked,
    answered: Response<Body<G>>,
    open: &Open,
) -> Next {
    let (parts, body) = answered.into_parts();
    let is_head = asked.method == Method::HEAD;
    let is_connected = asked.method == Method::CONNECT && parts.status.is_success();
    let bare = is_head
        || is_connected
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED;
    let length = body.size_hint().exact();
    let encoder = match length {
        Some(length) => Encoder::Length(length),
        None if asked.version == Version::HTTP_10 => Encoder::ToTheEnd,
        None => Encoder::Chunked,
    };
    let framing = if is_head {
        // Of what is made here the length is known, of an upstream's its head tells it.
        length.filter(|length| *length > 0).map(Encoder::Length)
    } else {
        (!bare).then_some(encoder)
    };
    let keep = asked.keep
        && framing != Some(Encoder::ToTheEnd)
        && !is_connected
        && !open.is_closing()
        && !intake.lock().is_unwanted();
    let persistence = match (keep, asked.version) {
        (true, Version::HTTP_10) => Persistence::Kept,
        (true, _) => Persistence::Usual,
        (false, _) => Persistence::Closes,
    };
    let mut out = Outbox::default();
    encode::answer(out.head(), asked.version, &parts, framing, persistence);
    drop(parts);
    let mut giving = Giving {
        intake,
        over: bare,
        due: body.whole_due(),
        body,
        encoder,
        out,
    };
    let given = poll_fn(|cx| giving.poll(cx)).await;
    drop(giving);
    if given.is_none() {
        return Next::Cut;
    }
    let read = poll_fn(|cx| Poll::Ready(intake.lock().end_request(cx))).await;
    if keep && read {
        Next::Request
    } else {
        Next::Close { unread: !read }
    }
}

impl<G: Guard> Giving<'_, G> {
    /// Ready once all of it is written; `None` if the caller left, or must see that it is not
    /// whole.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            let mut waits = false;
            if !self.over && self.out.has_room() {
                match self.poll_body(cx) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => waits = true,
                }
            }
            let mut intake = self.intake.lock();
            if !self.out.is_empty() {
                match intake.poll_flush(&mut self.out, cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Pending if self.due.is_some_and(patience::is_over) => {
                        return Poll::Ready(None);
                    }
                    Poll::Pending => waits = true,
                }
            }
            if waits {
                return intake.poll_meanwhile(cx).map(|()| None);
            }
            if self.over {
                return Poll::Ready(Some(()));
            }
        }
    }

    /// Moves a piece of the body to `out`.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let put = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.over = true;
                self.encoder.end(&mut self.out, None)
            }
            Some(Err(_)) => return Poll::Ready(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.over = self.body.is_end_stream();
                    self.encoder.data(&mut self.out, data, self.over)
                }
                Err(frame) => {
                    self.over = true;
                    self.encoder.end(&mut self.out, frame.trailers_ref())
                }
            },
        };
        Poll::Ready(put.ok())
    }
}

/// Writes the head of a 101 and joins the connection with the upstream's.
async fn switch<G: Guard>(intake: Shared, asked: Asked, answered: Response<Body<G>>) {
    let (parts, mut body) = answered.into_parts();
    let mut out = Outbox::default();
    encode::answer(out.head(), asked.version, &parts, None, Persistence::Usual);
    drop(parts);
    let wrote = poll_fn(|cx| intake.lock().poll_flush(&mut out, cx)).await;
    // The body goes on holding its guard.
    if let (Ok(()), Some((link, deadlines)), Some(caller)) =
        (wrote, body.take_link(), intake.into_wire())
    {
        tunnel::run(caller, link.into_wire(), deadlines).await;
    }
}

/// Answers what is no request.
async fn refuse(intake: &Shared, bad: BadHead) {
    let answer: Response<Body<()>> = text_error(bad.status(), &bad.to_string());
    let (parts, body) = answer.into_parts();
    let length = body.size_hint().exact().map(Encoder::Length);
    let mut out = Outbox::default();
    encode::answer(
        out.head(),
        Version::HTTP_11,
        &parts,
        length,
        Persistence::Closes,
    );
    let mut giving = Giving {
        intake,
        body,
        encoder: Encoder::ToTheEnd,
        out,
        over: false,
        due: Some(Instant::now() + LINGER),
    };
    poll_fn(|cx| giving.poll(cx)).await;
}

/// Ends the connection. A socket that is closed with bytes unread is reset, and a reset takes the
/// answer away from a caller that is still sending. So the rest is read, for a while.
async fn close(intake: &Shared, unread: bool) {
    let shut = poll_fn(|cx| Pin::new(&mut intake.lock().wire).poll_shutdown(cx)).await;
    if shut.is_ok() && unread {
        let _ = timeout(LINGER, poll_fn(|cx| intake.lock().poll_away(cx))).await;
    }
}
