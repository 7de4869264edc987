//! The first phase of a drain: probes fail, requests are served, until none has come for a while.
//!
//! Who joins a drain that has begun waits for the same moment. The kubelet's `preStop` hook of a
//! container and the signal to the process both begin one, in either order; a hook without a signal
//! is a container that is merely restarted, and takes the drain back.
//!
//! Source: spec/queue-proxy.md §5.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How a wait for quiet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// No request came for the whole of the quiet time.
    Quiet,
    /// The drain was taken back.
    TakenBack,
}

/// Since when it drains, and when the last request came.
#[derive(Debug)]
pub(crate) struct Drain {
    origin: Instant,
    draining: AtomicBool,
    /// When it began or the last request came, in milliseconds after `origin`.
    last: AtomicU64,
    /// Milliseconds without a request that end the wait.
    quiet: AtomicU64,
    /// Changes each time a drain is taken back. Its lock also makes beginning and taking back one
    /// step each.
    taken_back: Mutex<watch::Sender<()>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            draining: AtomicBool::new(false),
            last: AtomicU64::new(0),
            quiet: AtomicU64::new(0),
            taken_back: Mutex::new(watch::Sender::new(())),
        }
    }
}

impl Drain {
    /// Whether probes have to fail.
    pub(crate) fn has_begun(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A request came; one that comes while draining starts the quiet time anew, unless that had
    /// passed already.
    pub(crate) fn request_came(&self) {
        if self.has_begun() {
            let now = self.millis();
            let due = self.last.load(Ordering::Relaxed);
            if now < due.saturating_add(self.quiet.load(Ordering::Relaxed)) {
                self.last.fetch_max(now, Ordering::Relaxed);
            }
        }
    }

    /// Begins, unless it has, and waits until no request has come for as long as whoever began
    /// it said.
    pub(crate) async fn until_quiet(&self, quiet: Duration) -> Waited {
        let mut taken_back = self.begin(quiet);
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let quiet = Duration::from_millis(self.quiet.load(Ordering::Relaxed));
            let due = self.origin + last + quiet;
            if Instant::now() >= due {
                return Waited::Quiet;
            }
            tokio::select! {
                () = sleep_until(due) => {}
                _ = taken_back.changed() => return Waited::TakenBack,
            }
        }
    }

    /// As if it had not begun: all who wait return at once, and probes are answered again.
    pub(crate) fn take_back(&self) {
        let taken_back = self
            .taken_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.draining.store(false, Ordering::Release);
        taken_back.send_replace(());
    }

    fn begin(&self, quiet: Duration) -> watch::Receiver<()> {
        let taken_back = self
            .taken_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.has_begun() {
            self.last.store(self.millis(), Ordering::Relaxed);
            self.quiet.store(millis(quiet), Ordering::Relaxed);
            self.draining.store(true, Ordering::Release);
        }
        taken_back.subscribe()
    }

    /// Now, rounded up: a quiet time is never shorter than asked for.
    fn millis(&self) -> u64 {
        millis(self.origin.elapsed() + Duration::from_micros(999))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::sleep;

    const QUIET: Duration = Duration::from_secs(30);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Somebody who waits, and when that ended, counted from `start`.
    fn wait(drain: &Arc<Drain>, start: Instant) -> tokio::task::JoinHandle<(Waited, Duration)> {
        let drain = Arc::clone(drain);
        tokio::spawn(async move { (drain.until_quiet(QUIET).await, start.elapsed()) })
    }

    #[tokio::test(start_paused = true)]
    async fn case_127_a_request_starts_the_quiet_time_anew_and_who_joins_does_not() {
        let drain = Arc::new(Drain::default());
        drain.request_came();
        assert!(!drain.has_begun());
        let start = Instant::now();
        let first = wait(&drain, start);
        sleep(ms(5_500)).await;
        assert!(drain.has_begun());
        drain.request_came();
        sleep(ms(1_000)).await;
        let second = wait(&drain, start);
        for waited in [first, second] {
            assert_eq!(waited.await.unwrap(), (Waited::Quiet, ms(35_500)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn case_127_without_requests_it_is_thirty_seconds() {
        let drain = Arc::new(Drain::default());
        let waited = wait(&drain, Instant::now()).await.unwrap();
        assert_eq!(waited, (Waited::Quiet, QUIET));
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_was_quiet_nothing_starts_it_anew() {
        let drain = Arc::new(Drain::default());
        let start = Instant::now();
        // The first who asks leaves; the time runs on.
        wait(&drain, start).abort();
        let _ = drain.begin(QUIET);
        sleep(QUIET).await;
        drain.request_came();
        assert_eq!(drain.until_quiet(QUIET).await, Waited::Quiet);
        assert_eq!(start.elapsed(), QUIET);
        assert!(drain.has_begun());
    }

    #[tokio::test(start_paused = true)]
    async fn case_129_both_who_wait_end_thirty_seconds_after_the_first() {
        let drain = Arc::new(Drain::default());
        let start = Instant::now();
        let first = wait(&drain, start);
        sleep(ms(500)).await;
        let second = wait(&drain, start);
        for waited in [first, second] {
            assert_eq!(waited.await.unwrap(), (Waited::Quiet, QUIET));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_taken_back_releases_everybody_and_may_begin_again() {
        let drain = Arc::new(Drain::default());
        let start = Instant::now();
        let waiting = [wait(&drain, start), wait(&drain, start)];
        sleep(ms(1_000)).await;
        drain.take_back();
        assert!(!drain.has_begun());
        for waited in waiting {
            assert_eq!(waited.await.unwrap(), (Waited::TakenBack, ms(1_000)));
        }
        let again = wait(&drain, start).await.unwrap();
        assert_eq!(again, (Waited::Quiet, ms(31_000)));
    }
}
