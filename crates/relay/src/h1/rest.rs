//! The rest of a connection whose requests are refused one after the other.
//!
//! A refusal costs its caller nothing, and many callers ask again at once. A few hundred of them
//! then take the processor from those who are served: a queue-proxy with ten slots before a
//! container of 20 ms, and 500 such callers on the same two processors, answered 0.85 of what ten
//! slots can; with this rest 0.96. The first refusal, and one that follows a pause, comes at once.

use std::time::Duration;

use tokio::time::Instant;

/// For how long a connection is not read. While the line is full, a request that waits so long
/// would hardly have found a place in it.
pub(super) const REST: Duration = Duration::from_millis(10);

/// Refusals that follow each other within this time are a caller that asks again at once.
const AGAIN_WITHIN: Duration = REST.saturating_mul(2);

/// When one connection was refused, and until when it rests for that.
#[derive(Debug, Default)]
pub(super) struct Rest {
    refused: Option<Instant>,
    until: Option<Instant>,
}

impl Rest {
    /// An answer was sent, a refusal or another one.
    pub(super) fn after(&mut self, refusal: bool) {
        let before = self.refused.take();
        self.until = None;
        if refusal {
            let now = Instant::now();
            let again = before.is_some_and(|before| now - before < AGAIN_WITHIN);
            self.until = again.then(|| now + REST);
            self.refused = Some(now);
        }
    }

    /// When the next request is to be read; `None`: now.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}
