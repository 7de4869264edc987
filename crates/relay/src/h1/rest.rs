//! The rest of a connection whose requests are refused one after the other.
//!
//! A refusal costs its caller nothing, and many callers ask again at once. A few hundred of them
//! then take the processor from those who are served: a queue-proxy with ten slots before a
//! container of 20 ms, and 500 such callers on the same two processors, answered 0.85 of what ten
//! slots can. So who asks again at once is not read for a while: until there is room, of which
//! those hear first who rest longest, or until it would be unkind to say nothing. The first
//! refusal, and one that follows a pause, comes at once.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::patience;

/// For how long a connection is not read at most.
pub(super) const REST: Duration = Duration::from_millis(100);

/// A request that is refused within this time after another, or after the rest that followed it, is
/// of a caller that asks again at once.
const AGAIN_WITHIN: Duration = Duration::from_millis(20);

/// Ends when there is room.
pub(super) type Room = Pin<Box<dyn Future<Output = ()> + Send>>;

/// When one connection was refused, and what it rests for.
#[derive(Default)]
pub(super) struct Rest {
    /// The last refusal, or the end of the rest for it.
    refused: Option<Instant>,
    until: Option<(Instant, Room)>,
}

impl Rest {
    /// An answer was sent, a refusal or another one.
    pub(super) fn after(&mut self, refusal: bool, room: impl FnOnce() -> Room) {
        let before = self.refused.take();
        if refusal {
            let now = Instant::now();
            let again = before.is_some_and(|before| now - before < AGAIN_WITHIN);
            self.until = again.then(|| (now + REST, room()));
            self.refused = Some(now);
        }
    }

    /// Ready once the next request may be read.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((end, room)) = &mut self.until else {
            return Poll::Ready(());
        };
        if room.as_mut().poll(cx).is_pending() && !patience::is_over(*end) {
            return Poll::Pending;
        }
        self.until = None;
        self.refused = Some(Instant::now());
        Poll::Ready(())
    }
}
