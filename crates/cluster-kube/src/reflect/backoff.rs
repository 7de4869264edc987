//! Waits between attempts: longer each time, and never the same for two processes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait.
const SHORTEST: Duration = Duration::from_millis(100);

/// The waits of one loop.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            next: SHORTEST.min(longest),
            longest,
        }
    }

    /// The next wait: half of it is certain, half is chance. Not shorter than the server `asked`.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let half = self.next / 2;
        self.next = (self.next * 2).min(self.longest);
        let wait = half + half.mul_f64(chance());
        // A bit more than asked, so that those who were asked at the same time come apart.
        asked.map_or(wait, |asked| {
            wait.max(asked) + asked.mul_f64(chance() / 4.0)
        })
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.next = SHORTEST.min(self.longest);
    }
}

/// A number from 0 to 1. Good enough to come apart by.
pub(crate) fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    // 53 bits are what fits.
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let longest = Duration::from_secs(1);
        let mut backoff = Backoff::new(longest);
        for full in [100, 200, 400, 800, 1000, 1000] {
            let full = Duration::from_millis(full);
            let wait = backoff.next(None);
            assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next(None) <= SHORTEST);
    }

    #[test]
    fn a_wait_is_never_shorter_than_the_server_asked() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let asked = Duration::from_secs(7);
        let wait = backoff.next(Some(asked));
        assert!(wait >= asked && wait <= asked * 5 / 4, "{wait:?}");
    }
}
