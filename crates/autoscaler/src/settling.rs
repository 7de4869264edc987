//! How far the cluster was told what to arrange and to remember of one revision.

use std::time::Duration;

use penstock_cluster::{Standing, Way, Wish};

use crate::watched::{Retry, wait_after};

/// Time that the cluster is given to show what it was told, before it is told again.
const SETTLE: Duration = Duration::from_secs(2);
/// Time after a start in which nobody's path is changed of whose load nothing is known yet: the
/// figures of the first seconds say whether there is anything to change.
const LISTEN: Duration = Duration::from_secs(5);

/// One wish at a time; the newest counts.
#[derive(Debug)]
pub(crate) struct Settling {
    wish: Option<Wish>,
    /// The last one that was taken.
    taken: Option<Wish>,
    /// A call is under way, or waits for its next attempt.
    busy: bool,
    /// When the last call ended.
    ended: Duration,
    /// Calls that failed in a row.
    failures: u32,
    born: Duration,
}

impl Settling {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            wish: None,
            taken: None,
            busy: false,
            ended: now,
            failures: 0,
            born: now,
        }
    }

    /// From now on this is wanted.
    pub(crate) fn want(&mut self, wish: Wish) {
        self.wish = Some(wish);
    }

    /// Whether it is time to tell the cluster something.
    pub(crate) fn is_due(&self, standing: &Standing, now: Duration) -> bool {
        let Some(wish) = &self.wish else { return false };
        if self.busy || self.taken.as_ref() == Some(wish) {
            return false;
        }
        let is_new = now.saturating_sub(self.born) < LISTEN;
        let changes_way = |way: &Way| way.proxied != wish.proxied;
        !(is_new && wish.wanted.is_none() && standing.way.as_ref().is_some_and(changes_way))
    }

    /// What to tell the cluster, if it is time to; the caller then makes the call.
    pub(crate) fn take(&mut self, standing: &Standing, now: Duration) -> Option<Wish> {
        let due = self.is_due(standing, now);
        self.busy |= due;
        self.wish.clone().filter(|_| due)
    }

    /// The cluster has changed what others are told about: they are to be told again.
    pub(crate) fn tell_again(&mut self) {
        self.taken = None;
    }

    /// The cluster shows something else than it was told, and has had the time to show it: it is
    /// to be told again.
    pub(crate) fn compare(&mut self, standing: &Standing, now: Duration) {
        let Some(taken) = &self.taken else { return };
        let shows = !standing.stale
            && standing.activity == taken.activity
            && standing.initialized == taken.initialized
            && standing
                .way
                .as_ref()
                .is_none_or(|way| way.proxied == taken.proxied);
        if !shows && now.saturating_sub(self.ended) >= SETTLE {
            self.taken = None;
        }
    }

    /// The call was taken. Returns how many had failed before it.
    pub(crate) fn taken(&mut self, wish: Wish, now: Duration) -> u32 {
        self.taken = Some(wish);
        self.busy = false;
        self.ended = now;
        std::mem::take(&mut self.failures)
    }

    /// The call failed.
    pub(crate) fn failed(&mut self, now: Duration) -> Retry {
        let failures = self.failures;
        self.failures += 1;
        self.ended = now;
        Retry {
            first: failures == 0,
            after: wait_after(failures),
        }
    }

    /// The wait after a failed call is over.
    pub(crate) fn waited(&mut self) {
        self.busy = false;
    }
}
