//! The time limits of one request, counted from its arrival.
//!
//! Source: spec/queue-proxy.md §3.3, spec/activator.md §2.11.

use std::future::Future;

use penstock_types::Timeouts;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Timeout, timeout_at};

use crate::body::Deadlines;

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    arrived: Instant,
    timeouts: Timeouts,
}

/// A limit passed before the answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer began in time")]
pub struct TooLate;

impl From<Elapsed> for TooLate {
    fn from(_: Elapsed) -> Self {
        Self
    }
}

impl Limits {
    /// Limits of a request that arrives now.
    pub fn start(timeouts: Timeouts) -> Self {
        Self {
            arrived: Instant::now(),
            timeouts,
        }
    }

    /// When it arrived.
    pub fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Until when its answer has to begin: before the first byte all three limits count from
    /// the arrival.
    pub fn answer_due(&self) -> Instant {
        let Timeouts {
            whole,
            response_start,
            idle,
        } = self.timeouts;
        let least = [response_start, idle]
            .into_iter()
            .flatten()
            .fold(whole, Ord::min);
        self.arrived + least
    }

    /// Limits of the answer once it has begun.
    pub fn of_answer(&self) -> Deadlines {
        Deadlines {
            whole: self.arrived + self.timeouts.whole,
            idle: self.timeouts.idle,
        }
    }

    /// Runs `step` for as long as the answer may take to begin, and drops it then. The error is
    /// a [`TooLate`]. (No `async fn`: that would hold the step twice, as its argument and where it
    /// is awaited.)
    pub fn answer_within<F: Future>(&self, step: F) -> Timeout<F> {
        timeout_at(self.answer_due(), step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_least_limit_decides_before_the_answer_begins() {
        let seconds = Duration::from_secs;
        let table = [
            ("only the whole", 10, None, None, 10),
            ("response start", 10, Some(3), Some(5), 3),
            ("idle counts from the arrival", 10, None, Some(5), 5),
            ("the whole comes first", 2, Some(3), Some(5), 2),
        ];
        for (case, whole, start, idle, want) in table {
            let limits = Limits::start(Timeouts {
                whole: seconds(whole),
                response_start: start.map(seconds),
                idle: idle.map(seconds),
            });
            let late = limits.answer_within(std::future::pending::<()>()).await;
            assert_eq!(late.map_err(TooLate::from), Err(TooLate), "{case}");
            assert_eq!(limits.arrived().elapsed(), seconds(want), "{case}");
        }
    }
}
