//! Whether the container is ready.
//!
//! Nothing is remembered but the successes in a row: each question runs the probe, unless a run
//! is under way, whose answer is then shared (spec/queue-proxy.md §4.1).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_relay::probe::{self, Failure};
use penstock_types::probe::Probe;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Limit of one attempt of an aggressive probe, and of all of them (spec/queue-proxy.md §4.3).
const ATTEMPT_LIMIT: Duration = Duration::from_millis(100);
const ROUND_LIMIT: Duration = Duration::from_secs(10);
/// Shortest and longest pause between aggressive attempts. In between it is a tenth of the time
/// already waited: a container is then noticed at most a tenth later than it could be. (The peer
/// waits 50 ms each time.) The runtime's timer ticks in milliseconds and rounds the shortest up to
/// the next.
const PAUSE_MIN: Duration = Duration::from_micros(100);
const PAUSE_MAX: Duration = Duration::from_millis(20);

/// The container did not pass its probe.
#[derive(Clone, Debug, thiserror::Error)]
#[error("probe failed {attempts} times: {last}")]
pub struct NotReady {
    /// Attempts made.
    pub attempts: u32,
    /// The last failure.
    pub last: String,
}

type Outcome = Result<(), NotReady>;

/// The readiness probe of one container.
#[derive(Debug)]
pub(crate) struct Readiness {
    probe: Probe,
    port: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Successes in a row; only a failure takes them away.
    successes: u32,
    /// The run that is under way.
    run: Option<watch::Receiver<Option<Outcome>>>,
}

impl Readiness {
    pub(crate) fn new(probe: Probe, port: u16) -> Arc<Self> {
        Arc::new(Self {
            probe,
            port,
            state: Mutex::default(),
        })
    }

    /// Whether it is ready now. Shares a run that is under way.
    ///
    /// # Errors
    ///
    /// [`NotReady`] with the last failure.
    pub(crate) async fn ask(self: &Arc<Self>) -> Outcome {
        loop {
            let (mut run, own) = {
                let mut state = self.lock();
                match &state.run {
                    Some(run) => (run.clone(), None),
                    None => {
                        let (tell, run) = watch::channel(None);
                        state.run = Some(run.clone());
                        (run, Some(tell))
                    }
                }
            };
            if let Some(tell) = own {
                // The run ends with the process at the latest; it outlives who asked for it.
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    let outcome = this.round().await;
                    this.lock().run = None;
                    tell.send_replace(Some(outcome));
                });
            }
            if let Ok(outcome) = run.wait_for(Option::is_some).await
                && let Some(outcome) = outcome.clone()
            {
                return outcome;
            }
            // The run was dropped with its runtime, or panicked: ask anew.
            self.lock().run = None;
        }
    }

    async fn round(&self) -> Outcome {
        match self.probe.period {
            Some(_) => self
                .attempt(self.probe.timeout)
                .await
                .map_err(|last| NotReady {
                    attempts: 1,
                    last: last.to_string(),
                }),
            None => self.aggressive(Some(ROUND_LIMIT)).await,
        }
    }

    /// Attempts until it is ready, however long that takes. For whoever starts the container
    /// and wants to know the moment it accepts.
    pub(crate) async fn until_ready(&self) {
        // Without a limit it ends only in success.
        let _ = self.aggressive(None).await;
    }

    async fn aggressive(&self, limit: Option<Duration>) -> Outcome {
        let start = Instant::now();
        let attempt_limit = if self.probe.period.is_some() {
            self.probe.timeout
        } else {
            ATTEMPT_LIMIT
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let failure = match self.attempt(attempt_limit).await {
                Ok(()) if self.lock().successes >= self.probe.success_threshold => return Ok(()),
                Ok(()) => None,
                Err(failure) => Some(failure),
            };
            let waited = start.elapsed();
            if let Some(limit) = limit
                && waited >= limit
            {
                let last = failure.map_or_else(
                    || "too few successes in a row".to_owned(),
                    |failure| failure.to_string(),
                );
                tracing::warn!("aggressive probe error (failed {attempts} times): {last}");
                return Err(NotReady { attempts, last });
            }
            sleep((waited / 10).clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
    }

    async fn attempt(&self, limit: Duration) -> Result<(), Failure> {
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let outcome = probe::attempt(&self.probe.check, host, self.port, limit).await;
        let mut state = self.lock();
        match outcome {
            Ok(()) => state.successes = state.successes.saturating_add(1),
            Err(_) => state.successes = 0,
        }
        outcome
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
