//! The way back to the caller of one stream.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Response, StatusCode};

use crate::headers;

/// Most bytes of interim answers that one request gets; those beyond are left out, as a proxy may
/// (RFC 9110 §15.2). What a slow caller has not taken of them is held by its connection.
const MOST_INTERIM: usize = 64 * 1024;
/// What one costs beside its headers.
const EACH_INTERIM: usize = 32;

/// Where the answers to one request go. Empty once its exchange is over.
#[derive(Debug)]
pub(crate) struct Reply(Mutex<Option<Way>>);

#[derive(Debug)]
struct Way {
    respond: SendResponse<Bytes>,
    /// Bytes of interim answers that may still be sent.
    interim: usize,
    begun: bool,
}

impl Reply {
    pub(super) fn new(respond: SendResponse<Bytes>) -> Self {
        Self(Mutex::new(Some(Way {
            respond,
            interim: MOST_INTERIM,
            begun: false,
        })))
    }

    /// Sends an interim answer, unless the final one has begun.
    pub(crate) fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        let size = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>()
            + EACH_INTERIM;
        self.with(|way| {
            if way.begun || size > way.interim {
                return;
            }
            way.interim -= size;
            let mut interim = Response::new(());
            *interim.status_mut() = status;
            *interim.headers_mut() = headers.clone();
            headers::remove_hop_by_hop(interim.headers_mut());
            if let Err(error) = way.respond.send_informational(interim) {
                tracing::debug!(%error, %status, "an interim answer was not sent");
            }
        });
    }

    /// Begins the answer, and `ends` it.
    pub(super) fn answer(
        &self,
        head: Response<()>,
        ends: bool,
    ) -> Option<Result<SendStream<Bytes>, h2::Error>> {
        self.with(|way| {
            way.begun = true;
            way.respond.send_response(head, ends)
        })
    }

    /// Ready once the caller wants no answer any more.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.with(|way| way.respond.poll_reset(cx).map(drop))
            .unwrap_or(Poll::Ready(()))
    }

    pub(super) fn reset(&self, reason: Reason) {
        self.with(|way| way.respond.send_reset(reason));
    }

    /// Nothing goes this way any more. If the answer is not whole, the stream is reset.
    pub(super) fn close(&self) {
        let way = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(way);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Way) -> T) -> Option<T> {
        let mut way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        way.as_mut().map(act)
    }
}
