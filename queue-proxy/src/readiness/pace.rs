//! The pauses between attempts that are made as fast as it helps.
//!
//! A container that comes up is noticed at most an eighth of its start-up time later than it could
//! be, and never more than [`LONGEST`]: each pause is an eighth longer than the one before it, so
//! that it comes to an eighth of all that was waited. (The peer waits 50 ms each time.)

use std::time::Duration;

use tokio::task::spawn_blocking;

/// The first pause.
const FIRST: Duration = Duration::from_micros(100);
/// The longest.
const LONGEST: Duration = Duration::from_millis(20);
/// The runtime's timer ticks in milliseconds and rounds up. Below this, that would be too coarse.
const FINE: Duration = Duration::from_millis(3);

/// Pauses that become longer.
#[derive(Debug)]
pub(super) struct Pace {
    next: Duration,
}

impl Pace {
    pub(super) fn start() -> Self {
        Self { next: FIRST }
    }

    /// How long to pause now.
    pub(super) fn next(&mut self) -> Duration {
        let time = self.next;
        self.next = (time + time / 8).min(LONGEST);
        time
    }
}

/// Waits for `time`.
pub(super) async fn pause(time: Duration) {
    if time >= FINE {
        return tokio::time::sleep(time).await;
    }
    // A thread of the runtime that may block sleeps with the system's precision. There are some
    // thirty such pauses in a start, and the runtime ends the thread soon after.
    let _ = spawn_blocking(move || std::thread::park_timeout(time)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_an_eighth_of_what_was_waited_up_to_the_longest() {
        let mut pace = Pace::start();
        let mut waited = Duration::ZERO;
        let mut fine = 0;
        loop {
            let time = pace.next();
            assert!(time <= FIRST + waited / 8, "{time:?} after {waited:?}");
            waited += time;
            fine += u32::from(time < FINE);
            if time == LONGEST {
                break;
            }
        }
        assert_eq!(fine, 29);
        assert!(waited < Duration::from_millis(200), "{waited:?}");
        assert_eq!(pace.next(), LONGEST);
    }
}
