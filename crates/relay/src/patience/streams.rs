//! The instants that the streams of one connection wait for, with one timer for all of them.
//!
//! Each stream keeps its own; the connection knows the first. When that has come it looks through
//! its streams, which are few (250), and wakes whose time it is. A timer for each would take more
//! room, and those who wait are many.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::{OWN, Patience, Timer};

/// No instant.
const NEVER: u64 = u64::MAX;

/// When the next of a connection's streams is to be polled.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// What instants are counted from, in nanoseconds.
    origin: Instant,
    /// The first that a stream waits for, or one before it: who has ended takes nothing back.
    first: AtomicU64,
    /// Everybody was woken who waited for anything up to here.
    rung: AtomicU64,
}

/// The timer of an agenda.
#[derive(Debug, Default)]
pub(crate) struct Bell(Timer);

/// What one stream waits for.
#[derive(Debug)]
pub(crate) struct Waits<'a> {
    agenda: &'a Agenda,
    due: u64,
    waker: Option<Waker>,
}

impl Agenda {
    /// Of a connection that begins now.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            first: AtomicU64::new(NEVER),
            rung: AtomicU64::new(0),
        }
    }

    fn number(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(NEVER)
    }

    fn first(&self) -> Option<Instant> {
        let first = self.first.load(Ordering::Relaxed);
        (first != NEVER).then(|| self.origin + Duration::from_nanos(first))
    }

    /// Wakes those of `all` who are due by now.
    pub(crate) fn ring<'a>(&self, all: impl Iterator<Item = &'a Waits<'a>>) {
        let now = self.number(Instant::now());
        self.rung.store(now, Ordering::Relaxed);
        self.first.store(NEVER, Ordering::Relaxed);
        for waits in all {
            match &waits.waker {
                Some(waker) if waits.due <= now => waker.wake_by_ref(),
                _ => {
                    self.first.fetch_min(waits.due, Ordering::Relaxed);
                }
            }
        }
    }
}

impl Bell {
    /// Whether the time of one of the streams has come, which [`Agenda::ring`] then wakes; otherwise
    /// the task is polled again when it has.
    pub(crate) fn is_due(&mut self, agenda: &Agenda, cx: &mut Context<'_>) -> bool {
        self.0.poll_over(agenda.first(), cx)
    }
}

impl<'a> Waits<'a> {
    pub(crate) fn new(agenda: &'a Agenda) -> Self {
        Self {
            agenda,
            due: NEVER,
            waker: None,
        }
    }

    /// Polls a stream, always by the same waker, which is polled again by the first instant that
    /// it names ([`is_over`](super::is_over)). A later one that it named before is kept: should it
    /// ring too early, the stream names the next.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let own = Patience::default();
        let rings = self.due <= self.agenda.rung.load(Ordering::Relaxed);
        own.begin(rings);
        if rings {
            self.due = NEVER;
        }
        let (polled, due) = OWN.sync_scope(own, || {
            let polled = poll(cx);
            (polled, OWN.with(|own| own.due.get()))
        });
        if polled.is_pending()
            && let Some(due) = due
        {
            let due = self.agenda.number(due);
            if due < self.due {
                self.due = due;
                self.agenda.first.fetch_min(due, Ordering::Relaxed);
                self.waker.get_or_insert_with(|| cx.waker().clone());
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::super::{is_over, try_is_over};
    use super::*;
    use std::cell::RefCell;
    use std::future::{Future, poll_fn};
    use std::pin::{Pin, pin};
    use std::time::Duration;

    use futures_util::stream::{FuturesUnordered, Stream as _};
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    /// A stream in its place; what it was polled for is counted.
    struct Placed<'a, F> {
        waits: Waits<'a>,
        stream: Pin<Box<F>>,
        polls: &'a RefCell<u32>,
    }

    impl<F: Future> Future for Placed<'_, F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let this = &mut *self;
            *this.polls.borrow_mut() += 1;
            let stream = &mut this.stream;
            this.waits.poll(cx, |cx| stream.as_mut().poll(cx))
        }
    }

    async fn wait_until(due: Instant) {
        poll_fn(|_| match is_over(due) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Runs streams as a connection does; says when each ended, and how often all were polled.
    async fn run<F: Future<Output = u64>>(
        agenda: &Agenda,
        streams: impl IntoIterator<Item = F>,
    ) -> (Vec<u64>, u32) {
        let polls = RefCell::new(0);
        let placed = streams.into_iter().map(|stream| Placed {
            waits: Waits::new(agenda),
            stream: Box::pin(stream),
            polls: &polls,
        });
        let (mut streams, mut bell) = (
            pin!(placed.collect::<FuturesUnordered<_>>()),
            Bell::default(),
        );
        let mut ended = Vec::new();
        poll_fn(|cx| {
            while let Poll::Ready(next) = streams.as_mut().poll_next(cx) {
                match next {
                    Some(end) => ended.push(end),
                    None => return Poll::Ready(()),
                }
            }
            while bell.is_due(agenda, cx) {
                let all = streams.as_ref().iter_pin_ref();
                agenda.ring(all.map(|stream| &stream.get_ref().waits));
            }
            Poll::Pending
        })
        .await;
        let polls = *polls.borrow();
        (ended, polls)
    }

    #[tokio::test(start_paused = true)]
    async fn each_stream_is_polled_when_its_own_time_has_come_and_no_other() {
        let (agenda, start) = (Agenda::new(), Instant::now());
        // As they come: not in order, and some of them together.
        let dues = [30, 10, 20, 10, 40];
        let streams = dues.map(|due| async move {
            wait_until(start + due * SECOND).await;
            start.elapsed().as_secs()
        });
        let (ended, polls) = run(&agenda, streams).await;
        assert_eq!(ended, [10, 10, 20, 30, 40]);
        assert_eq!(polls, 10, "each once when it came, and once at its end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_wait_for_less_and_then_for_more_than_before() {
        let (agenda, start) = (Agenda::new(), Instant::now());
        let stream = async {
            for due in [100, 300, 301] {
                let far = wait_until(start + 200 * SECOND);
                let near = wait_until(start + due * SECOND);
                tokio::select! {
                    () = far => {}
                    () = near => {}
                }
            }
            // Nothing of it is in the list that has to ring.
            sleep(1000 * SECOND).await;
            wait_until(start + 2000 * SECOND).await;
            start.elapsed().as_secs()
        };
        assert_eq!(run(&agenda, [stream]).await.0, [2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_due_before_it_came_ends_at_once_and_who_has_left_keeps_nobody_awake() {
        let (agenda, start) = (Agenda::new(), Instant::now());
        sleep(SECOND).await;
        let late = async {
            wait_until(start).await;
            start.elapsed().as_secs()
        };
        assert_eq!(run(&agenda, [late]).await.0, [1]);

        let mut cx = Context::from_waker(Waker::noop());
        let (mut stays, mut leaves) = (Waits::new(&agenda), Waits::new(&agenda));
        let mut waits = |waits: &mut Waits<'_>, seconds| {
            let due = start + seconds * SECOND;
            let over = waits.poll(&mut cx, |_| match is_over(due) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            assert!(over.is_pending());
        };
        waits(&mut stays, 9);
        waits(&mut leaves, 7);
        waits(&mut stays, 8);
        drop(leaves);
        tokio::time::advance(6 * SECOND).await;
        agenda.ring([&stays].into_iter());
        assert_eq!(agenda.first(), Some(start + 8 * SECOND));
        drop(stays);
        agenda.ring(std::iter::empty());
        assert_eq!(agenda.first(), None);
        assert_eq!(
            try_is_over(start),
            None,
            "outside of a stream nobody listens"
        );
    }
}
