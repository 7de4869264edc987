//! Whether the containers are ready.
//!
//! Nothing is remembered but the successes in a row: each question runs all probes, together,
//! unless a run is under way, whose answer is then shared (spec/queue-proxy.md §4.1, §4.2).
//! `watched.rs` is one probe; `pace.rs` the pauses between its attempts.

mod pace;
mod watched;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use penstock_runtime::seldom::Seldom;
use penstock_types::probe::Probe;
use tokio::sync::watch;
use tokio::task::JoinSet;

use watched::Watched;

/// Which probes have to pass, and where it is told that one did not.
#[derive(Clone)]
pub struct Probes {
    all: Vec<Probe>,
    tell: Tell,
}

type Tell = Arc<dyn Fn(&str) + Send + Sync>;

impl Probes {
    /// Each of `all` has to pass; if there are none, the containers are always ready.
    ///
    /// A port that a probe does not name is that of the container which requests go to.
    pub fn new(all: Vec<Probe>) -> Self {
        Self {
            all,
            tell: Arc::new(|line| tracing::warn!("{line}")),
        }
    }

    /// Failed probes are told to `tell`, one line without its end each, instead of the log.
    #[must_use]
    pub fn told(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.tell = Arc::new(tell);
        self
    }
}

impl From<Probe> for Probes {
    fn from(probe: Probe) -> Self {
        Self::new(vec![probe])
    }
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

/// A container did not pass its probe.
#[derive(Clone, Debug, thiserror::Error)]
#[error("probe failed {attempts} times: {last}")]
pub struct NotReady {
    /// Attempts made.
    pub attempts: u32,
    /// The last failure.
    pub last: String,
}

type Outcome = Result<(), NotReady>;

/// The probes of one pod.
pub(crate) struct Readiness {
    watched: Vec<Watched>,
    tell: Tell,
    /// The run that is under way.
    run: Mutex<Option<watch::Receiver<Option<Outcome>>>>,
    /// Single attempts that failed, as they are told: they come as often as somebody asks.
    failures: Seldom,
}

impl Readiness {
    pub(crate) fn new(probes: Probes, own_port: u16) -> Arc<Self> {
        let watched = probes.all.into_iter();
        Arc::new(Self {
            watched: watched.map(|probe| Watched::new(probe, own_port)).collect(),
            tell: probes.tell,
            run: Mutex::default(),
            failures: Seldom::default(),
        })
    }

    /// Whether they are ready now. Shares a run that is under way.
    ///
    /// # Errors
    ///
    /// [`NotReady`] of the first that is not.
    pub(crate) async fn ask(self: &Arc<Self>) -> Outcome {
        if self.watched.is_empty() {
            return Ok(());
        }
        loop {
            let (mut run, own) = {
                let mut under_way = self.under_way();
                match &*under_way {
                    Some(run) => (run.clone(), None),
                    None => {
                        let (tell, run) = watch::channel(None);
                        *under_way = Some(run.clone());
                        (run, Some(tell))
                    }
                }
            };
            if let Some(tell) = own {
                // The run ends with the process at the latest; it outlives who asked for it.
                let this = Arc::clone(self);
                tokio::spawn(async move {
                    let outcome = this.run().await;
                    *this.under_way() = None;
                    tell.send_replace(Some(outcome));
                });
            }
            if let Ok(outcome) = run.wait_for(Option::is_some).await
                && let Some(outcome) = outcome.clone()
            {
                return outcome;
            }
            // The run was dropped with its runtime, or panicked: ask anew.
            *self.under_way() = None;
        }
    }

    /// Asks all together, and waits for all.
    async fn run(self: &Arc<Self>) -> Outcome {
        let mut asked = JoinSet::new();
        for index in 0..self.watched.len() {
            let this = Arc::clone(self);
            asked.spawn(async move {
                let outcome = this.watched[index].ask().await;
                outcome.map_err(|failure| this.failed(index, failure))
            });
        }
        let mut outcome = Ok(());
        while let Some(one) = asked.join_next().await {
            let one = one.unwrap_or_else(|broken| {
                Err(NotReady {
                    attempts: 1,
                    last: broken.to_string(),
                })
            });
            outcome = outcome.and(one);
        }
        outcome
    }

    /// Tells of a failed probe, and says which it was if there are several.
    fn failed(&self, index: usize, mut failure: NotReady) -> NotReady {
        let count = self.watched.len();
        if count > 1 {
            failure.last = format!("probe {} of {count}: {}", index + 1, failure.last);
        }
        let NotReady { attempts, last } = &failure;
        if self.watched[index].is_aggressive() {
            (self.tell)(&format!(
                "aggressive probe error (failed {attempts} times): {last}"
            ));
        } else if let Some(unsaid) = self.failures.may_say() {
            match unsaid {
                0 => (self.tell)(&format!("probe error: {last}")),
                _ => (self.tell)(&format!("probe error: {last} ({unsaid} more untold)")),
            }
        }
        failure
    }

    /// Returns once they have passed, however long that takes. For whoever starts the containers
    /// and wants to know the moment they accept.
    pub(crate) async fn until_ready(&self) {
        for watched in &self.watched {
            watched.until_ready().await;
        }
    }

    fn under_way(&self) -> MutexGuard<'_, Option<watch::Receiver<Option<Outcome>>>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.watched).finish()
    }
}

#[cfg(test)]
mod tests;
