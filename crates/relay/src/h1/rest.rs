//! The rest of a connection whose requests are refused one after the other.
//!
//! A refusal costs its caller nothing, and many callers ask again at once. A few hundred of them
//! then take the processor from those who are served: a queue-proxy with ten slots before a
//! container of 20 ms, and 500 such callers on the same two processors, answered 0.85 of what ten
//! slots can. So a caller that asks again at once is read a little later, and later still as long
//! as it would only be refused once more. The first refusal, and one that follows a pause, comes
//! at once, and whoever rests is read soon after there is room again.

use std::time::Duration;

use tokio::time::Instant;

use crate::patience;

/// For how long a connection is not read. While the line is full, a request that waits so long
/// would hardly have found a place in it.
pub(super) const REST: Duration = Duration::from_millis(10);

/// The last part of a rest: each is twice as long as the one before.
const LAST: Duration = Duration::from_millis(80);

/// All parts of a rest.
#[cfg(test)]
pub(super) const WHOLE: Duration = Duration::from_millis(10 + 20 + 40 + 80);

/// A request that comes within this time after a refusal, or after the rest that followed it, is of
/// a caller that asks again at once.
const AGAIN_WITHIN: Duration = REST.saturating_mul(2);

/// When one connection was refused, and until when it rests for that.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The last refusal, or the end of the rest for it.
    refused: Option<Instant>,
    part: Option<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    length: Duration,
    end: Instant,
}

impl Part {
    fn new(length: Duration, now: Instant) -> Self {
        Self {
            length,
            end: now + length,
        }
    }
}

impl Rest {
    /// An answer was sent, a refusal or another one.
    pub(super) fn after(&mut self, refusal: bool) {
        let before = self.refused.take();
        if refusal {
            let now = Instant::now();
            let again = before.is_some_and(|before| now - before < AGAIN_WITHIN);
            self.part = again.then(|| Part::new(REST, now));
            self.refused = Some(now);
        }
    }

    /// Whether it goes on; the task is then polled again at the end of this part of it. `has_room`:
    /// whether a request that is read now might not be refused.
    pub(super) fn goes_on(&mut self, has_room: impl FnOnce() -> bool) -> bool {
        let Some(part) = self.part else {
            return false;
        };
        if !patience::is_over(part.end) {
            return true;
        }
        let now = Instant::now();
        self.refused = Some(now);
        self.part = (part.length < LAST && !has_room()).then(|| Part::new(2 * part.length, now));
        self.part.is_some_and(|next| !patience::is_over(next.end))
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.part = None;
    }
}
