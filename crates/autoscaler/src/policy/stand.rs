//! How a revision stands: what it is doing, who is in the path of its requests, and whether its
//! last pod may go. Both policies say how many pods there should be; what comes of that is settled
//! here.
//!
//! Where the cluster keeps no memory of it, the activator is always in the path, and always was.
//! Where it does, a new autoscaler begins with what the cluster remembers.
//!
//! Source: spec/autoscaler.md §7 and §8.

use std::time::{Duration, SystemTime};

use penstock_cluster::Standing;
use penstock_scaling::activity::State;
use penstock_scaling::knative::Status;
use penstock_scaling::reconcile::{Observed, Step, step};
use penstock_scaling::spec::Spec;
use penstock_scaling::zero::Path;

/// Time for which the activator's word is good enough to take the last pod away.
const FRESH: Duration = Duration::from_secs(2);

/// All requests come by the activator, and always have.
const FIXED: Path = Path {
    proxied: true,
    proxied_for: Duration::MAX,
    confirmed: true,
    published: true,
};

/// What is known of one revision beside its load.
#[derive(Debug)]
pub(crate) struct Stand {
    state: State,
    way: Way,
    /// When the activator last confirmed that it has the path, since the revision is inactive.
    confirmed: Option<Duration>,
    /// The last step.
    stood: Option<Stood>,
}

/// The way of its requests.
#[derive(Debug)]
enum Way {
    /// By the activator.
    Fixed,
    /// As the cluster has arranged it; `None` until it has.
    Arranged(Option<Seen>),
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    proxied: bool,
    proxied_since: Option<Duration>,
    published: bool,
}

/// A step, and how the revision stands after it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stood {
    pub(crate) step: Step,
    pub(crate) state: State,
    /// Whether there is a way to the pods yet.
    pub(crate) arranged: bool,
}

impl Stand {
    /// Nothing is remembered elsewhere; `initialized` says whether it has had its initial scale.
    pub(super) fn fixed(initialized: bool, now: Duration) -> Self {
        Self {
            state: State {
                initialized,
                ..State::new(now)
            },
            way: Way::Fixed,
            confirmed: None,
            stood: None,
        }
    }

    /// Goes on from what the cluster remembers.
    pub(super) fn remembered(standing: &Standing) -> Self {
        Self {
            state: State {
                activity: standing.activity,
                since: since_epoch(standing.since),
                initialized: standing.initialized,
            },
            way: Way::Arranged(seen(standing)),
            confirmed: None,
            stood: None,
        }
    }

    /// Takes how the cluster has arranged the way by now. What the revision is doing is known here
    /// better than there.
    pub(super) fn see(&mut self, standing: &Standing) {
        self.way = Way::Arranged(seen(standing));
    }

    /// The activator said at `now` that it has the path.
    pub(super) fn confirm(&mut self, now: Duration) {
        if self.state.is_inactive() {
            self.confirmed = Some(now);
        }
    }

    /// Takes a step at `now` with `replicas` pods asked for so far.
    pub(super) fn step(
        &mut self,
        spec: &Spec,
        decided: Status,
        replicas: u32,
        ready: u32,
        now: Duration,
    ) -> Step {
        // Where no pod is left, there is nothing that a confirmation could allow.
        let known = self.confirmed.is_some() || replicas == 0;
        let (mut state, mut next) = self.attempt(spec, decided, replicas, ready, known, now);
        // To take the last pod away needs a word of now; to wait with it an older one will do.
        let fresh = |at: Duration| now.saturating_sub(at) <= FRESH;
        if next.ask == Some(0) && !self.confirmed.is_some_and(fresh) {
            (state, next) = self.attempt(spec, decided, replicas, ready, false, now);
        }
        // The original asks within the step: what the answer is for lasts as long as it did before.
        if next.needs_confirmation() && self.state.is_inactive() {
            state.since = self.state.since;
        }
        self.state = state;
        if !state.is_inactive() {
            self.confirmed = None;
        }
        if let Way::Arranged(seen) = self.way {
            self.stood = Some(Stood {
                step: next,
                state,
                arranged: seen.is_some(),
            });
        }
        next
    }

    /// The last step, where the way is the cluster's to arrange.
    pub(super) fn stood(&self) -> Option<&Stood> {
        self.stood.as_ref()
    }

    fn attempt(
        &self,
        spec: &Spec,
        decided: Status,
        replicas: u32,
        ready: u32,
        confirmed: bool,
        now: Duration,
    ) -> (State, Step) {
        let observed = Observed {
            decided,
            replicas: Some(replicas),
            ready,
            path: self.path(confirmed, now),
        };
        let mut state = self.state;
        let step = step(spec, &mut state, &observed, now);
        (state, step)
    }

    fn path(&self, confirmed: bool, now: Duration) -> Option<Path> {
        match self.way {
            Way::Fixed => Some(FIXED),
            Way::Arranged(seen) => seen.map(|seen| Path {
                proxied: seen.proxied,
                proxied_for: seen
                    .proxied_since
                    .map_or(Duration::ZERO, |since| now.saturating_sub(since)),
                confirmed,
                published: seen.published,
            }),
        }
    }

    /// Whether the way is the cluster's to arrange.
    pub(super) fn is_remembered(&self) -> bool {
        matches!(self.way, Way::Arranged(_))
    }
}

fn seen(standing: &Standing) -> Option<Seen> {
    standing.way.as_ref().map(|way| Seen {
        proxied: way.proxied,
        proxied_since: way.proxied_since.map(since_epoch),
        published: way.public.is_some(),
    })
}

/// A time before the epoch is no time that a cluster would have written.
fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
