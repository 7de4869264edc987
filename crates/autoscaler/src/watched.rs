//! One revision under watch: its policy, the pods asked for, the calls that ask, what is told.
//!
//! `path.rs`: what the cluster is told beside the number of pods.

mod path;

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::Revision;
use penstock_scaling::config::{BurstCapacity, Config};
use penstock_scaling::spec::Spec;
use penstock_types::demand::Demand;
use penstock_types::request_stats::Report;

use crate::heard::{Connection, PODS, Word};
use crate::policy::{PolicyKind, Verdict};
use crate::scaler::{Due, Scaler};
use crate::sources::Sources;
use crate::state::{Handle, Rules, Shown, Step};
use path::Path;

/// First wait after a failed call; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait after a failed call.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Time that the cluster is given to show a number it was asked for, before it is asked again.
const SETTLE: Duration = Duration::from_secs(2);

/// One revision under watch.
#[derive(Debug)]
pub(crate) struct Watched {
    revision: Arc<Revision>,
    scaler: Scaler,
    ready: u32,
    /// Pods wanted.
    wanted: u32,
    /// Which part of the policy's rule decided last.
    mode: &'static str,
    /// The last decision that changed nothing, until it is shown.
    latest: Option<(Duration, Verdict)>,
    asking: Asking,
    shown: Arc<Shown>,
    /// Where the cluster arranges the path.
    path: Option<Box<Path>>,
    sources: Sources,
    /// Whether pods are asked for their figures here.
    scraping: bool,
}

/// How far the cluster was told.
#[derive(Debug)]
struct Asking {
    /// What the last call that was taken asked for.
    taken: u32,
    /// A call is under way, or waits for its next attempt.
    busy: bool,
    /// When the last call ended.
    ended: Duration,
    /// Calls that failed in a row.
    failures: u32,
}

/// A change of the number of pods wanted.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) from: u32,
    pub(crate) verdict: Verdict,
}

/// What became of a failed call.
pub(crate) struct Retry {
    /// Whether it is the first failure in a row: later ones are not worth a line each.
    pub(crate) first: bool,
    /// When to try again.
    pub(crate) after: Duration,
}

impl Watched {
    pub(crate) fn new(
        kind: PolicyKind,
        revision: Arc<Revision>,
        config: &Config,
        handle: &Handle,
        scraping: bool,
        now: Duration,
    ) -> Self {
        let spec = spec(config, &revision);
        let ready = ready(&revision);
        let wanted = revision.wanted;
        let scaler = Scaler::remembered(
            kind,
            spec,
            revision.slots,
            wanted,
            ready,
            revision.standing.as_deref(),
            now,
        )
        .scraped(scraping);
        let figures = scaler.figures(now);
        let shown = Shown::new(Arc::clone(&revision), kind, scaler.spec(), wanted, figures);
        let shown = Arc::new(shown);
        handle.add(revision.id.clone(), Arc::clone(&shown));
        Self {
            scaler,
            ready,
            wanted,
            mode: "",
            asking: Asking {
                taken: wanted,
                busy: false,
                ended: now,
                failures: 0,
            },
            latest: None,
            shown,
            path: Path::of(&revision, now),
            sources: Sources::default(),
            scraping,
            revision,
        }
    }

    /// Takes the picture of a new snapshot or configuration. Returns whether a decision is due:
    /// the parameters are others than before, or how the revision stands is.
    pub(crate) fn update(
        &mut self,
        revision: &Arc<Revision>,
        config: &Config,
        now: Duration,
    ) -> bool {
        let before = std::mem::replace(&mut self.revision, Arc::clone(revision));
        let ready_before = std::mem::replace(&mut self.ready, ready(revision));
        let mut due = false;
        if let Some(standing) = &revision.standing {
            self.scaler.see(standing);
            due = ready_before != self.ready || before.standing.as_ref() != Some(standing);
            if standing.stale
                && let Some(path) = &mut self.path
            {
                path.tell_again();
            }
        }
        let spec = spec(config, revision);
        if spec == *self.scaler.spec() {
            return due;
        }
        self.scaler.set_spec(spec, revision.slots, now);
        true
    }

    /// Whether the picture, and all that the parameters come from, is the one already taken.
    pub(crate) fn shows(&self, revision: &Arc<Revision>) -> bool {
        Arc::ptr_eq(&self.revision, revision)
    }

    /// Takes a word. Returns when a decision is due for it.
    pub(crate) fn observe(&mut self, connection: Connection, word: &Word, now: Duration) -> Due {
        let guessed;
        let word = if word.present {
            word
        } else {
            guessed = self.guess(word);
            &guessed
        };
        let together = self.sources.take(connection, word, now);
        match self.scaler.kind() {
            // Windows add up what falls into the same second by themselves.
            PolicyKind::Knative => {
                let at = moment(word.at, self.scaler.spec().stable_window, now);
                self.scaler.observe(&word.demand, self.ready, at)
            }
            // Where the pods have to be heard and are not, a zero of the others says nothing.
            PolicyKind::Demand if self.is_blind() && is_nothing(&together) => Due::Later,
            PolicyKind::Demand => self.scaler.observe(&together, self.ready, now),
        }
    }

    /// The numbers of now where only averages are known: without a pod all of it waits.
    fn guess(&self, word: &Word) -> Word {
        let mut word = word.clone();
        let demand = &mut word.demand;
        let own = demand.average_concurrency - demand.average_proxied_concurrency;
        let requests = own.max(0.0).ceil() as u32;
        if self.ready == 0 {
            demand.waiting = requests;
        } else {
            demand.in_flight = requests;
        }
        word
    }

    /// Whether a decision that was due a little later is still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.scaler.is_awaited()
    }

    /// Takes what a scrape of the pods came to. Returns when a decision is due for it.
    pub(crate) fn scraped(&mut self, report: Option<&Report>, now: Duration) -> Due {
        let Some(report) = report else {
            self.sources.forget_pods();
            return Due::Later;
        };
        let word = Word {
            demand: Demand {
                revision: self.revision.id.clone(),
                average_concurrency: report.average_concurrency,
                average_proxied_concurrency: report.average_proxied_concurrency,
                request_count: report.request_count,
                proxied_request_count: report.proxied_request_count,
                waiting: 0,
                in_flight: 0,
                first: false,
            },
            pod: "".into(),
            at: None,
            present: false,
        };
        self.observe(PODS, &word, now)
    }

    /// The connection has ended.
    pub(crate) fn orphan(&mut self, connection: Connection) {
        self.sources.orphan(connection);
    }

    /// Whether the pods' own figures should be there and are not.
    fn is_blind(&self) -> bool {
        self.scraping
            && self.ready > 0
            && self.scaler.spec().is_scraped()
            && !self.sources.hears_pods()
    }

    /// Decides on a tick. The last whole table of any source was heard at `newest`, if ever, and
    /// of each at `table(connection)`.
    pub(crate) fn tick(
        &mut self,
        newest: Option<Duration>,
        table: impl Fn(Connection) -> Option<Duration>,
        now: Duration,
    ) -> Option<Change> {
        if self.ready == 0 {
            self.sources.forget_pods();
        }
        if !self.sources.forget(now, table)
            && !self.is_blind()
            && let Some(newest) = newest
        {
            self.scaler.look_for_absence(newest);
        }
        self.decide(now)
    }

    /// Decides. A change has to be asked for and told.
    pub(crate) fn decide(&mut self, now: Duration) -> Option<Change> {
        let verdict = self.scaler.decide(self.ready, now);
        self.take(verdict, now)
    }

    /// Takes a verdict.
    fn take(&mut self, verdict: Verdict, now: Duration) -> Option<Change> {
        self.mode = verdict.mode;
        self.stand(now);
        let from = self.wanted;
        self.wanted = verdict.pods;
        if from == self.wanted {
            self.latest = Some((now, verdict));
            return None;
        }
        Some(Change { from, verdict })
    }

    /// The number to ask the cluster for, if it is time to ask; the caller then makes the call.
    pub(crate) fn ask(&mut self) -> Option<u32> {
        if self.asking.busy || self.asking.taken == self.wanted {
            return None;
        }
        self.asking.busy = true;
        Some(self.wanted)
    }

    /// As [`Watched::ask`], also if the cluster had taken the number and shows another.
    pub(crate) fn ask_again(&mut self, now: Duration) -> Option<u32> {
        if self.revision.wanted != self.wanted && now.saturating_sub(self.asking.ended) >= SETTLE {
            self.asking.taken = self.revision.wanted;
        }
        self.compare(now);
        self.ask()
    }

    /// The call was taken. Returns how many had failed before it.
    pub(crate) fn taken(&mut self, pods: u32, now: Duration) -> u32 {
        self.asking.taken = pods;
        self.asking.busy = false;
        self.asking.ended = now;
        std::mem::take(&mut self.asking.failures)
    }

    /// The call failed.
    pub(crate) fn failed(&mut self, now: Duration) -> Retry {
        let failures = self.asking.failures;
        self.asking.failures += 1;
        self.asking.ended = now;
        Retry {
            first: failures == 0,
            after: wait_after(failures),
        }
    }

    /// The wait after a failed call is over.
    pub(crate) fn waited(&mut self) {
        self.asking.busy = false;
    }

    /// Tells of a change: one log line, and the ring for `/state`. Returns why it is made.
    pub(crate) fn tell(&mut self, change: Change, now: Duration) -> String {
        let Change { from, verdict } = change;
        let (id, to, why) = (&self.revision.id, verdict.pods, verdict.words());
        let (policy, mode) = (self.scaler.kind().as_str(), verdict.mode);
        tracing::info!(
            target: "scaling",
            revision = %id,
            from,
            to,
            policy,
            mode,
            figure = verdict.figure,
            per_pod = verdict.target,
            "{id} {from} -> {to}: {why}"
        );
        self.shown.row().push(Step {
            at: now,
            from,
            ready: self.ready,
            figures: self.scaler.figures(now),
            verdict,
        });
        // An older decision would be shown as the newest.
        self.latest = None;
        why
    }

    /// Brings what is shown up to date.
    pub(crate) fn show(&mut self, now: Duration) {
        let figures = self.scaler.figures(now);
        let mut row = self.shown.row();
        if let Some((at, verdict)) = self.latest.take() {
            row.push(Step {
                at,
                from: verdict.pods,
                ready: self.ready,
                figures,
                verdict,
            });
        }
        if !Arc::ptr_eq(&row.revision, &self.revision) {
            row.revision = Arc::clone(&self.revision);
        }
        let spec = self.scaler.spec();
        row.metric = spec.metric;
        row.rules = Rules::of(spec);
        row.wanted = self.wanted;
        row.mode = self.mode;
        row.figures = figures;
    }
}

/// Wait before the next attempt, when so many have failed before this one.
pub(crate) fn wait_after(failures: u32) -> Duration {
    FIRST_WAIT
        .saturating_mul(1 << failures.min(16))
        .min(LONGEST_WAIT)
}

/// The parameters of a revision.
pub(crate) fn spec(config: &Config, revision: &Revision) -> Spec {
    let spec = Spec::derive(
        config,
        &revision.annotations,
        revision.slots,
        revision.reachability,
    );
    if revision.queue_proxy || revision.standing.is_none() {
        return spec;
    }
    // Without a queue-proxy nobody but the activator keeps the pods' limit and counts their
    // requests: it has to be in the path always.
    Spec {
        burst_capacity: BurstCapacity::Unlimited,
        ..spec
    }
}

/// The moment of a word that names its second. One that no window could hold, a clock that is
/// wrong by an hour among them, is taken for now.
fn moment(at: Option<u64>, window: Duration, now: Duration) -> Duration {
    let at = at.map_or(now, Duration::from_secs);
    if at > now || now.saturating_sub(at) >= window {
        now
    } else {
        at
    }
}

fn is_nothing(report: &Demand) -> bool {
    report.waiting == 0 && report.in_flight == 0 && report.average_concurrency == 0.0
}

fn ready(revision: &Revision) -> u32 {
    u32::try_from(revision.ready().count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
