//! Interim answers (1xx) to an HTTP/1 caller.
//!
//! hyper's server has no way to send one, so they are written past it: they wait here until the
//! connection's transport is next asked to write or flush. That is safe because a 1xx may only
//! come while the final answer of the current request has not begun, and normally nothing of an
//! earlier answer is left by then. It can be, if requests are pipelined by a caller that does not
//! read: then those of the later request are left out.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, StatusCode};

/// Most bytes of interim answers that wait for one slow caller; what is beyond is left out, as
/// a proxy may (RFC 9110 §15.2).
const MOST_WAITING: usize = 64 * 1024;

/// Interim answers on their way to one caller.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    any: AtomicBool,
    /// Bytes of hyper's were written since hyper said last that it has none left.
    unflushed: AtomicBool,
    /// Not for this request.
    muted: AtomicBool,
    waiting: Mutex<Vec<u8>>,
}

impl Interim {
    /// Queues one; it goes out when the caller's connection is next polled, which it is: the
    /// exchange with the upstream runs inside that very poll.
    pub(crate) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        if self.muted.load(Ordering::Relaxed) {
            return;
        }
        let mut text = format!("HTTP/1.1 {} ", status.as_u16()).into_bytes();
        text.extend_from_slice(status.canonical_reason().unwrap_or("Interim").as_bytes());
        text.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + text.len() <= MOST_WAITING {
            waiting.extend_from_slice(&text);
            self.any.store(true, Ordering::Release);
        }
    }

    /// The next request begins.
    pub(crate) fn request_begins(&self) {
        let unflushed = self.unflushed.load(Ordering::Relaxed);
        self.muted.store(unflushed, Ordering::Relaxed);
    }

    /// hyper writes, or has written all that it had.
    pub(crate) fn hyper_writes(&self, writes: bool) {
        self.unflushed.store(writes, Ordering::Relaxed);
    }

    /// Whether any wait.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Hands what waits to `write`, which says how much of it it took.
    pub(crate) fn drain<E>(&self, write: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = write(&waiting)?;
        waiting.drain(..taken);
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_was_not_taken_waits_on() {
        let interim = Interim::default();
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>"));
        interim.push(StatusCode::EARLY_HINTS, &headers);
        let whole = b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";

        let mut sent = Vec::new();
        for take in [10, usize::MAX] {
            assert!(interim.any());
            let drained: Result<(), ()> = interim.drain(|bytes| {
                let taken = take.min(bytes.len());
                sent.extend_from_slice(&bytes[..taken]);
                Ok(taken)
            });
            drained.unwrap();
        }
        assert!(!interim.any());
        assert_eq!(sent, whole);
    }

    #[test]
    fn none_goes_out_before_the_rest_of_an_earlier_answer() {
        let interim = Interim::default();
        for (unflushed, goes) in [(true, false), (false, true)] {
            interim.hyper_writes(unflushed);
            interim.request_begins();
            interim.hyper_writes(false);
            interim.push(StatusCode::EARLY_HINTS, &HeaderMap::new());
            assert_eq!(interim.any(), goes);
        }
    }

    #[test]
    fn a_caller_that_does_not_read_holds_a_bounded_number() {
        let interim = Interim::default();
        let headers = HeaderMap::new();
        for _ in 0..100_000 {
            interim.push(StatusCode::PROCESSING, &headers);
        }
        let drained: Result<(), ()> = interim.drain(|bytes| {
            assert!(bytes.len() <= MOST_WAITING && bytes.ends_with(b"\r\n\r\n"));
            Ok(bytes.len())
        });
        drained.unwrap();
    }
}
