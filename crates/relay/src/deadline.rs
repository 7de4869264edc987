//! The time limits of one request, counted from its arrival.
//!
//! Source: spec/queue-proxy.md §3.3, spec/activator.md §2.11.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use penstock_types::Timeouts;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::body::{Deadlines, Late};
use crate::patience;

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    arrived: Instant,
    timeouts: Timeouts,
    late: Late,
}

/// A limit passed before the answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer began in time")]
pub struct TooLate;

/// Waits for an instant by the timer of the task; by one of its own in a task that has none.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether `due` has passed; otherwise the task is polled again by then. To be asked at each
    /// poll that ends with waiting.
    pub(crate) fn is_over(&mut self, due: Instant, cx: &mut Context<'_>) -> bool {
        if let Some(over) = patience::try_is_over(due) {
            return over;
        }
        let own = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if own.deadline() != due {
            own.as_mut().reset(due);
        }
        own.as_mut().poll(cx).is_ready()
    }
}

impl Limits {
    /// Limits of a request that arrives now.
    pub fn start(timeouts: Timeouts) -> Self {
        Self {
            arrived: Instant::now(),
            timeouts,
            late: Late::default(),
        }
    }

    /// With another end of an answer that has begun and takes too long.
    #[must_use]
    pub fn ending(self, late: Late) -> Self {
        Self { late, ..self }
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
            late: self.late,
        }
    }

    /// Runs `step` for as long as the answer may take to begin. It is pinned where it is, since
    /// an argument would be held twice.
    ///
    /// # Errors
    ///
    /// [`TooLate`]; the step is then to be dropped.
    pub fn answer_within<F: Future>(
        &self,
        mut step: Pin<&mut F>,
    ) -> impl Future<Output = Result<F::Output, TooLate>> {
        let due = self.answer_due();
        let mut alarm = Alarm::default();
        poll_fn(move |cx| match step.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if alarm.is_over(due, cx) => Poll::Ready(Err(TooLate)),
            Poll::Pending => Poll::Pending,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
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
            let never = pin!(std::future::pending::<()>());
            assert_eq!(limits.answer_within(never).await, Err(TooLate), "{case}");
            assert_eq!(limits.arrived().elapsed(), seconds(want), "{case}");
        }
    }
}
