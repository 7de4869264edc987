//! What a task waits for at most: one timer for each task, whatever number of requests it
//! serves, so that a request costs none.
//!
//! Whoever waits within the task says at each poll until when ([`is_over`]). The timer is set to
//! the first of these instants. Should it ring too early, since that wait has ended long ago, it
//! is set to the next one; it need not be stopped.
//!
//! The streams of an HTTP/2 connection are polled one by one: each keeps its own first instant, and
//! one timer rings for the first of all (`patience/streams.rs`).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

pub(crate) mod streams;

/// Time for the head of a request, from its first byte to its end (spec/queue-proxy.md §2).
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(60);

/// Time for a caller to take an answer that was made here, and has no limit from anywhere else.
pub(crate) const TAKE_LIMIT: Duration = Duration::from_secs(60);

/// How long a caller may go on sending what is not wanted, before it is reset.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

tokio::task_local! {
    static OWN: Patience;
}

/// What one task waits for.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// The first instant that was named in this poll.
    due: Cell<Option<Instant>>,
    /// The timer has rung: in this poll it is worth a look at the clock.
    rings: Cell<bool>,
}

impl Patience {
    /// A poll begins.
    fn begin(&self, rings: bool) {
        self.due.set(None);
        self.rings.set(rings);
    }

    /// Runs `task` to its end.
    pub(crate) fn limit<F: Future>(self, task: Pin<&mut F>) -> impl Future<Output = F::Output> {
        let mut task = task;
        let mut timer = Timer::default();
        let limited = poll_fn(move |cx| {
            for rings in [false, true] {
                OWN.with(|own| own.begin(rings));
                if let Poll::Ready(output) = task.as_mut().poll(cx) {
                    return Poll::Ready(output);
                }
                if !timer.poll_over(OWN.with(|own| own.due.get()), cx) {
                    return Poll::Pending;
                }
            }
            // Something became due just now.
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        OWN.scope(self, limited)
    }
}

/// To be asked at each poll that ends with waiting: whether `due` has passed; otherwise the task
/// is polled again by then.
pub(crate) fn is_over(due: Instant) -> bool {
    try_is_over(due).unwrap_or(false)
}

/// The same; `None` in a task that has no timer of this kind.
pub(crate) fn try_is_over(due: Instant) -> Option<bool> {
    OWN.try_with(|own| {
        if own.rings.get() && due <= Instant::now() {
            return true;
        }
        let first = own.due.get().map_or(due, |first| first.min(due));
        own.due.set(Some(first));
        false
    })
    .ok()
}

#[derive(Debug, Default)]
struct Timer {
    /// Made once something is due for the first time.
    sleep: Option<Pin<Box<Sleep>>>,
    set: bool,
}

impl Timer {
    /// Whether `due` has passed; otherwise the task is woken then, or earlier.
    fn poll_over(&mut self, due: Option<Instant>, cx: &mut Context<'_>) -> bool {
        if let Some(due) = due {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if !self.set || due < sleep.deadline() {
                sleep.as_mut().reset(due);
                self.set = true;
            }
        }
        let Some(sleep) = self.sleep.as_mut().filter(|_| self.set) else {
            return false;
        };
        while sleep.as_mut().poll(cx).is_ready() {
            match due {
                None => {
                    self.set = false;
                    return false;
                }
                Some(due) if Instant::now() >= due => return true,
                Some(due) => sleep.as_mut().reset(due),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds until `task` has ended.
    async fn ended(task: impl Future<Output = ()>) -> u64 {
        let start = Instant::now();
        let mut task = pin!(task);
        Patience::default().limit(task.as_mut()).await;
        start.elapsed().as_secs()
    }

    async fn wait_until(due: Instant) {
        poll_fn(|_| {
            if is_over(due) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_it_is_due() {
        let start = Instant::now();
        assert_eq!(ended(wait_until(start + 60 * SECOND)).await, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn one_timer_serves_waits_that_come_nearer_and_go_farther() {
        let waits = async {
            let start = Instant::now();
            for due in [100, 300, 301] {
                // Longer than the first: it is given up, and the timer rings for nobody.
                let far = wait_until(start + 200 * SECOND);
                let near = wait_until(start + due * SECOND);
                tokio::select! {
                    () = far => {}
                    () = near => {}
                }
            }
            sleep(1000 * SECOND).await;
            wait_until(start + 2000 * SECOND).await;
        };
        assert_eq!(ended(waits).await, 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_due_before_it_began_ends_at_once() {
        let start = Instant::now();
        sleep(SECOND).await;
        assert_eq!(ended(wait_until(start)).await, 0);
    }
}
