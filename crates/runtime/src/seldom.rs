//! Things that may happen thousands of times a second and are worth a line only now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time between two lines.
const APART: Duration = Duration::from_secs(1);

/// Lets one in a second through, and counts the others.
#[derive(Debug)]
pub struct Seldom {
    origin: Instant,
    /// Milliseconds since `origin` from which on the next may be said.
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            next: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }
}

impl Seldom {
    /// How many were left unsaid since the last one, if this one may be said.
    pub fn may_say(&self) -> Option<u64> {
        self.may_say_at(self.origin.elapsed())
    }

    fn may_say_at(&self, now: Duration) -> Option<u64> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let due = millis(now) >= next;
        // Of several threads at the same moment, one says it.
        let own = due
            && self
                .next
                .compare_exchange(
                    next,
                    millis(now + APART),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if own {
            Some(self.unsaid.swap(0, Ordering::Relaxed))
        } else {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_second_is_said_with_the_number_of_those_that_were_not() {
        let seldom = Seldom::default();
        let at = |millis| seldom.may_say_at(Duration::from_millis(millis));
        assert_eq!(at(5), Some(0));
        assert_eq!([at(5), at(900), at(1004)], [None; 3]);
        assert_eq!(at(1005), Some(3));
        assert_eq!(at(9000), Some(0));
    }
}
