//! How long to wait before a program is started again.

use std::time::Duration;

/// A first crash after this long is put right at once.
const STEADY: Duration = Duration::from_secs(10);
/// Ready for this long, all is forgotten.
pub(crate) const HEALTHY: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits of one pod, which double from 100 ms to 10 s.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The wait after a program that had run for `ran` and had been ready for `healthy`.
    pub(crate) fn next(&mut self, ran: Duration, healthy: Duration) -> Duration {
        if healthy >= HEALTHY {
            self.last = None;
        }
        let wait = match self.last {
            None if ran >= STEADY => Duration::ZERO,
            None => FIRST,
            Some(last) => (last * 2).clamp(FIRST, LONGEST),
        };
        self.last = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_ten_seconds_and_start_over_after_thirty_healthy_ones() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::default();
        let table = [
            // seconds run, seconds ready, milliseconds to wait
            (0, 0, 100),
            (0, 0, 200),
            (20, 20, 400),
            (0, 0, 800),
            (0, 0, 1600),
            (0, 0, 3200),
            (0, 0, 6400),
            (0, 0, 10_000),
            (0, 0, 10_000),
            (31, 30, 0),
            (31, 29, 100),
        ];
        for (ran, healthy, want) in table {
            let wait = backoff.next(seconds(ran), seconds(healthy));
            assert_eq!(wait, Duration::from_millis(want), "{ran} {healthy}");
        }
    }
}
