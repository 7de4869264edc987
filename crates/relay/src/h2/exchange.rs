//! One request on a shared connection: sent, and the head of its answer waited for.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use h2::{Reason, RecvStream};
use http::{Request, Response};

use super::client::{Shared, Stream};
use super::outflow::{Outflow, Stopped, drain};
use crate::incoming::Broken;
use crate::request_body::RequestBody;

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) why: Broken,
    /// The upstream has certainly not processed it (RFC 9113 §8.7).
    pub(crate) unprocessed: bool,
    /// The connection had carried an answer before.
    pub(crate) stale: bool,
}

impl Shared {
    /// Sends `head` and as much of `body` as the upstream makes room for, until the head of the
    /// answer is there; the rest of the body is then sent by a task of its own, for as long
    /// as `stream` is held. `hear` gets the interim answers.
    ///
    /// Dropped before, the stream is reset.
    ///
    /// # Errors
    ///
    /// [`Unanswered`]; what was read of `body` is gone.
    pub(crate) async fn ask(
        mut self,
        head: Request<()>,
        body: &mut RequestBody,
        stream: &mut Stream,
        mut hear: impl FnMut(Response<()>),
    ) -> Result<Response<RecvStream>, Unanswered> {
        let stale = self.is_used();
        let written = self.seen.written();
        let bare = body.is_empty();
        let (mut answer, sending) = match self.sender.send_request(head, bare) {
            Ok(sent) => sent,
            Err(error) => {
                return Err(Unanswered {
                    why: error.into(),
                    unprocessed: true,
                    stale,
                });
            }
        };
        // Nothing is left to send: the stream is known by its answer alone.
        let mut flow = (!bare).then(|| Outflow::new(sending));
        let answered = poll_fn(|cx| {
            if let Some(out) = &mut flow {
                match out.poll(Pin::new(&mut *body), cx) {
                    Poll::Pending => {}
                    // What the upstream thinks of it is in its answer, or in the end of that.
                    Poll::Ready(Ok(()) | Err(Stopped::Unwanted)) => flow = None,
                    Poll::Ready(Err(Stopped::Broken(why))) => {
                        out.reset(Reason::CANCEL);
                        return Poll::Ready(Err(why));
                    }
                }
            }
            loop {
                match answer.poll_informational(cx) {
                    Poll::Ready(Some(Ok(interim))) => hear(interim),
                    Poll::Ready(Some(Err(_)) | None) => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Pin::new(&mut answer).poll(cx).map_err(Broken::from)
        });
        match answered.await {
            Ok(answer) => {
                self.answered();
                if let Some(flow) = flow {
                    let rest = std::mem::replace(body, RequestBody::empty());
                    let upload = tokio::spawn(drain(flow, rest));
                    stream.sends(upload.abort_handle());
                }
                Ok(answer)
            }
            Err(why) => Err(Unanswered {
                unprocessed: is_unprocessed(&why)
                    || (why.is_end() && self.seen.written() == written),
                why,
                stale,
            }),
        }
    }
}

/// Whether the upstream has said so: of the stream, or of all above a number by GOAWAY (h2 ends
/// only those by it).
fn is_unprocessed(why: &Broken) -> bool {
    let Broken::Http2(error) = why else {
        return false;
    };
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}
