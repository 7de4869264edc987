//! The first phase of a drain: probes fail, requests are served, until none has come for a while.
//!
//! Source: spec/queue-proxy.md §5.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Since when it drains, and when the last request came.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    began: OnceLock<Instant>,
    /// Milliseconds after `began`.
    last: AtomicU64,
}

impl Drain {
    /// Whether probes have to fail.
    pub(crate) fn has_begun(&self) -> bool {
        self.began.get().is_some()
    }

    /// A request came; one that comes while draining starts the quiet time anew.
    pub(crate) fn request_came(&self) {
        if let Some(began) = self.began.get() {
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.last.fetch_max(millis, Ordering::Relaxed);
        }
    }

    /// Begins, unless it has, and waits until no request has come for `quiet`.
    pub(crate) async fn until_quiet(&self, quiet: Duration) {
        let began = *self.began.get_or_init(Instant::now);
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let due = began + last + quiet;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const QUIET: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn case_127_a_request_starts_the_quiet_time_anew_and_who_joins_does_not() {
        let drain = Arc::new(Drain::default());
        drain.request_came();
        assert!(!drain.has_begun());
        let start = Instant::now();
        let first = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move { drain.until_quiet(QUIET).await }
        });
        tokio::time::sleep(Duration::from_millis(5_500)).await;
        assert!(drain.has_begun());
        drain.request_came();
        drain.until_quiet(QUIET).await;
        assert_eq!(start.elapsed(), Duration::from_millis(35_500));
        first.await.unwrap();
        drain.until_quiet(QUIET).await;
        assert_eq!(start.elapsed(), Duration::from_millis(35_500));
    }
}
