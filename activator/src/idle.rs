//! Answers that have begun and stand still: long-lived streams that nobody uses at the moment.
//!
//! A revision may want them not to count as demand (`penstock.dev/idle-streams: 30s`), so that it
//! is scaled down although they are open. One counts again with its next byte. They are looked at
//! once a second, so that none has a timer; whether one is idle changes under its revision's lock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// An answer that has begun.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Milliseconds at which something has passed last.
    last: AtomicU64,
    idle: AtomicBool,
}

/// Those of one revision.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: Mutex<Vec<Weak<Stream>>>,
    idle: AtomicUsize,
}

impl Stream {
    /// Something passes at `now`. Whether it may have been idle.
    pub(crate) fn goes_on(&self, now: Duration) -> bool {
        self.last.store(millis(now), Ordering::Relaxed);
        self.idle.load(Ordering::Relaxed)
    }
}

impl Streams {
    /// One that begins at `now`.
    pub(crate) fn begin(&self, now: Duration) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            last: AtomicU64::new(millis(now)),
            idle: AtomicBool::new(false),
        });
        self.lock().push(Arc::downgrade(&stream));
        stream
    }

    /// How many are idle.
    pub(crate) fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// One that goes on, or ends: whether it was idle.
    pub(crate) fn wakes(&self, stream: &Stream) -> bool {
        let was = stream.idle.swap(false, Ordering::Relaxed);
        if was {
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
        was
    }

    /// How many have become idle: on which nothing has passed for `limit` before `now`.
    pub(crate) fn rest(&self, limit: Duration, now: Duration) -> usize {
        let since = millis(now.saturating_sub(limit));
        let mut rested = 0;
        self.lock().retain(|stream| {
            let Some(stream) = stream.upgrade() else {
                return false;
            };
            let stands = now >= limit && stream.last.load(Ordering::Relaxed) <= since;
            if stands && !stream.idle.swap(true, Ordering::Relaxed) {
                self.idle.fetch_add(1, Ordering::Relaxed);
                rested += 1;
            }
            true
        });
        rested
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Stream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_idle_until_something_passes_or_it_ends() {
        let second = Duration::from_secs;
        let (streams, limit) = (Streams::default(), second(30));
        let (one, two) = (streams.begin(second(0)), streams.begin(second(0)));
        assert_eq!(streams.rest(limit, second(29)), 0);
        assert!(!two.goes_on(second(29)));
        assert_eq!(streams.rest(limit, second(30)), 1);
        assert_eq!(streams.rest(limit, second(31)), 0, "it is known");
        assert_eq!(streams.idle(), 1);
        assert!(one.goes_on(second(31)) && streams.wakes(&one));
        assert!(!streams.wakes(&one) && streams.idle() == 0);
        assert_eq!(streams.rest(limit, second(59)), 1, "the other");
        drop(two);
        assert_eq!(streams.rest(limit, second(61)), 1);
        assert_eq!(streams.lock().len(), 1, "what has ended is forgotten");
    }
}
