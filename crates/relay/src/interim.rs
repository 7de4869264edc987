//! Interim answers (1xx) on their way to one HTTP/1 caller. They wait here until the caller's
//! connection is next polled, which is at once: the exchange with the upstream runs within it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use crate::h1::encode;

/// Most bytes of interim answers that wait for one slow caller; what is beyond is left out, as
/// a proxy may (RFC 9110 §15.2).
const MOST_WAITING: usize = 64 * 1024;

/// Interim answers on their way to one caller.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    any: AtomicBool,
    waiting: Mutex<BytesMut>,
}

impl Interim {
    /// Queues one.
    pub(crate) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let mut text = BytesMut::new();
        encode::interim(&mut text, status, headers);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + text.len() <= MOST_WAITING {
            waiting.unsplit(text);
            self.any.store(true, Ordering::Release);
        }
    }

    /// What waits, if anything does.
    pub(crate) fn take(&self) -> Option<BytesMut> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.any.store(false, Ordering::Release);
        Some(std::mem::take(&mut *waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_waits_is_taken_once() {
        let interim = Interim::default();
        assert_eq!(interim.take(), None);
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>"));
        interim.push(StatusCode::EARLY_HINTS, &headers);
        interim.push(StatusCode::CONTINUE, &HeaderMap::new());
        let whole =
            b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(interim.take().unwrap(), &whole[..]);
        assert_eq!(interim.take(), None);
    }

    #[test]
    fn a_caller_that_does_not_read_holds_a_bounded_number() {
        let interim = Interim::default();
        for _ in 0..100_000 {
            interim.push(StatusCode::PROCESSING, &HeaderMap::new());
        }
        let waiting = interim.take().unwrap();
        assert!(waiting.len() <= MOST_WAITING && waiting.ends_with(b"\r\n\r\n"));
    }
}
