//! How long a connection may take over the head of a request, and over taking an answer.
//!
//! Both are known only in the task that serves an HTTP/1 connection, so they are kept there, in a
//! task-local. (HTTP/2 has limits of its own, in `h2/server.rs`.) Nothing is timed per request: one timer for each task is set
//! to the first due time and, should it ring too early, to the next.
//!
//! A body is asked for more only once its caller has taken what came before. Its own clock
//! stands still while the caller takes nothing; this one does not.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Time for the head of a request, from its first byte to its end (spec/queue-proxy.md §2).
pub(crate) const HEAD_LIMIT: Duration = Duration::from_secs(60);

tokio::task_local! {
    static OWN: Patience;
}

/// What one task may still wait for.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    head: Cell<Head>,
    answer_due: Cell<Option<Instant>>,
    /// The latest request had a body: should the connection end now, some of it may be unread.
    body: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Head {
    /// Between requests: a caller may be idle for as long as it likes.
    #[default]
    None,
    /// Bytes of one came in this very poll.
    Began,
    /// It is incomplete since then.
    Since(Instant),
    /// A request is open. What comes is its body, or the next request (whose time begins when
    /// this one is over and more of it comes).
    Over,
}

impl Patience {
    /// Of a connection whose first bytes are there.
    pub(crate) fn with_first_bytes() -> Self {
        let new = Self::default();
        new.head.set(Head::Began);
        new
    }

    /// Runs `task` until it ends, or until it has taken too long: `None`.
    pub(crate) async fn limit<F: Future>(self, task: F) -> Option<F::Output> {
        let mut task = pin!(task);
        let mut timer = Timer::default();
        let limited = poll_fn(move |cx| {
            if let Poll::Ready(output) = task.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            let over = timer.poll_over(OWN.with(Self::due), cx);
            if over {
                Poll::Ready(None)
            } else {
                Poll::Pending
            }
        });
        OWN.scope(self, limited).await
    }

    fn due(&self) -> Option<Instant> {
        if self.head.get() == Head::Began {
            self.head.set(Head::Since(Instant::now()));
        }
        match self.head.get() {
            Head::Since(since) => Some(since + HEAD_LIMIT),
            _ => self.answer_due.get(),
        }
    }
}

/// The caller of this task sent something.
pub(crate) fn bytes_came() {
    with(|own| {
        if own.head.get() == Head::None {
            own.head.set(Head::Began);
        }
    });
}

/// The head of a request of this task is complete.
pub(crate) fn head_is_over(has_body: bool) {
    with(|own| {
        own.head.set(Head::Over);
        own.body.set(has_body);
    });
}

/// The connection is closed from here; if it is idle, nothing is unread.
pub(crate) fn closes() {
    with(|own| {
        if own.head.get() == Head::None {
            own.body.set(false);
        }
    });
}

/// Whether the connection ends behind the answer to a request with a body: hyper then did not
/// read all of it, or one of both sides wants no further request.
pub(crate) fn ends_behind_a_body() -> bool {
    OWN.try_with(|own| own.body.get()).unwrap_or(false)
}

/// An answer begins, and has to be over at `due`.
pub(crate) fn answer_begins(due: Option<Instant>) {
    with(|own| own.answer_due.set(due));
}

/// It is over.
pub(crate) fn answer_is_over() {
    with(|own| {
        own.answer_due.set(None);
        own.head.set(Head::None);
    });
}

/// Upgraded connections and tests have none.
fn with(act: impl FnOnce(&Patience)) {
    let _ = OWN.try_with(act);
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
    use std::future::pending;
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// When `task` was given up, in seconds; `None` if it ended.
    async fn given_up(patience: Patience, task: impl Future<Output = ()>) -> Option<u64> {
        let start = Instant::now();
        let ended = patience.limit(task).await;
        ended.is_none().then(|| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_sixty_seconds_from_its_first_byte() {
        assert_eq!(
            given_up(Patience::with_first_bytes(), pending()).await,
            Some(60)
        );
        let drips = async {
            sleep(100 * SECOND).await;
            loop {
                bytes_came();
                sleep(SECOND).await;
            }
        };
        assert_eq!(given_up(Patience::default(), drips).await, Some(160));
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_request_may_take_its_time_over_its_body() {
        let upload = async {
            bytes_came();
            head_is_over(true);
            for _ in 0..600 {
                bytes_came();
                sleep(SECOND).await;
            }
        };
        assert_eq!(given_up(Patience::default(), upload).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_stays_and_the_next_head_is_timed_anew() {
        let twice = async {
            for _ in 0..3 {
                bytes_came();
                sleep(59 * SECOND).await;
                head_is_over(true);
                answer_begins(Some(Instant::now() + 5 * SECOND));
                answer_is_over();
                sleep(1000 * SECOND).await;
            }
            bytes_came();
            pending::<()>().await;
        };
        assert_eq!(
            given_up(Patience::default(), twice).await,
            Some(3 * 1059 + 60)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_its_caller_does_not_take_ends_when_it_is_due() {
        let stuck = async {
            for seconds in [300, 20] {
                head_is_over(true);
                answer_begins(Some(Instant::now() + seconds * SECOND));
                sleep(10 * SECOND).await;
                if seconds == 300 {
                    answer_is_over();
                }
            }
            pending::<()>().await;
        };
        assert_eq!(given_up(Patience::default(), stuck).await, Some(30));
    }
}
