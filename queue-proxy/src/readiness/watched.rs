//! One probe of one container: how often it is tried, and when that is enough.
//!
//! Source: spec/queue-proxy.md §4.3, but for the pauses (`pace.rs`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use penstock_relay::probe::{Failure, attempt};
use penstock_types::probe::{Check, Probe};
use tokio::time::Instant;

use super::NotReady;
use super::pace::{Pace, pause};

/// Limit of one attempt of an aggressive probe, and of all of them.
const ATTEMPT_LIMIT: Duration = Duration::from_millis(100);
const ROUND_LIMIT: Duration = Duration::from_secs(10);

/// A probe, and how it stands.
#[derive(Debug)]
pub(super) struct Watched {
    probe: Probe,
    own_port: u16,
    successes: Successes,
}

impl Watched {
    pub(super) fn new(probe: Probe, own_port: u16) -> Self {
        Self {
            probe,
            own_port,
            successes: Successes::default(),
        }
    }

    /// Whether it is tried as fast as it helps, until it passes. What can never pass from here is
    /// not worth that.
    pub(super) fn is_aggressive(&self) -> bool {
        let hopeless = matches!(self.probe.check, Check::Nothing | Check::Exec { .. });
        self.probe.period.is_none() && !hopeless
    }

    /// Answers one question for its readiness.
    pub(super) async fn ask(&self) -> Result<(), NotReady> {
        if self.is_aggressive() {
            let rules = Rules {
                attempt: ATTEMPT_LIMIT,
                whole: Some(ROUND_LIMIT),
                successes: self.probe.success_threshold,
            };
            return self
                .successes
                .reach(rules, |limit| self.attempt(limit))
                .await;
        }
        let outcome = self.attempt(self.probe.timeout).await;
        self.successes.count(&outcome);
        outcome.map_err(|last| NotReady {
            attempts: 1,
            last: last.to_string(),
        })
    }

    /// Tries until it passes, however long that takes.
    pub(super) async fn until_ready(&self) {
        let rules = Rules {
            attempt: self
                .probe
                .period
                .map_or(ATTEMPT_LIMIT, |_| self.probe.timeout),
            whole: None,
            successes: self.probe.success_threshold,
        };
        // Without a limit it ends only in success.
        let _ = self
            .successes
            .reach(rules, |limit| self.attempt(limit))
            .await;
    }

    async fn attempt(&self, limit: Duration) -> Result<(), Failure> {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        attempt(&self.probe.check, host, self.own_port, limit).await
    }
}

/// What bounds the attempts of one round.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// Limit of each attempt; zero is none.
    attempt: Duration,
    /// Limit of all of them.
    whole: Option<Duration>,
    /// Successes in a row that suffice.
    successes: u32,
}

/// Successes in a row, over all rounds; only a failure takes them away.
#[derive(Debug, Default)]
struct Successes(AtomicU32);

impl Successes {
    /// Counts one attempt; how many there are in a row now.
    fn count(&self, outcome: &Result<(), Failure>) -> u32 {
        if outcome.is_err() {
            self.0.store(0, Ordering::Relaxed);
            return 0;
        }
        let one_more = |row: u32| Some(row.saturating_add(1));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        before.unwrap_or_else(|row| row).saturating_add(1)
    }

    /// Attempts until there are enough in a row.
    async fn reach<F>(&self, rules: Rules, attempt: impl Fn(Duration) -> F) -> Result<(), NotReady>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let start = Instant::now();
        let left = || {
            rules
                .whole
                .map(|whole| whole.saturating_sub(start.elapsed()))
        };
        let mut pace = Pace::start();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let limit = left().map_or(rules.attempt, |left| rules.attempt.min(left));
            let outcome = attempt(limit).await;
            let row = self.count(&outcome);
            if row >= rules.successes.max(1) {
                return Ok(());
            }
            let time = pace.next();
            pause(left().map_or(time, |left| time.min(left))).await;
            if left().is_some_and(|left| left.is_zero()) {
                let last = match outcome {
                    Ok(()) => format!("{row} of {} successes in a row", rules.successes),
                    Err(failure) => failure.to_string(),
                };
                return Err(NotReady { attempts, last });
            }
        }
    }
}

#[cfg(test)]
mod tests;
