//! The part of a revision under watch that is about its path, and what the cluster remembers.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Revision, Wish};
use penstock_types::Activity;

use super::Watched;
use crate::policy::Stood;
use crate::settling::Settling;

/// Shortest time until a decision that nothing else asks for.
const SOONEST: Duration = Duration::from_millis(1);

/// What there is where the cluster arranges the path.
#[derive(Debug)]
pub(super) struct Path {
    settling: Settling,
    /// Whether the activator is being asked for its word.
    confirming: bool,
    /// When to decide again, though nothing else happens.
    due: Option<Duration>,
}

impl Path {
    pub(super) fn of(revision: &Revision, now: Duration) -> Option<Box<Self>> {
        revision.standing.as_ref().map(|_| {
            Box::new(Self {
                settling: Settling::new(now),
                confirming: false,
                due: None,
            })
        })
    }
}

impl Path {
    /// What the cluster tells of the path is old.
    pub(super) fn tell_again(&mut self) {
        self.settling.tell_again();
    }
}

impl Watched {
    /// Whether `revision` is another one of the same name: the cluster remembered something of the
    /// one before, and nothing of this one.
    pub(crate) fn is_reborn(&self, revision: &Revision) -> bool {
        match (&self.revision.standing, &revision.standing) {
            (Some(before), Some(now)) => {
                before.activity != Activity::New && now.activity == Activity::New
            }
            (before, now) => before.is_some() != now.is_some(),
        }
    }

    /// After a decision: when the next one is due, and what the cluster is to be told.
    pub(super) fn stand(&mut self, now: Duration) {
        let (Some(path), Some(stood)) = (&mut self.path, self.scaler.stood()) else {
            return;
        };
        let Stood {
            step,
            state,
            arranged,
        } = stood;
        path.due = step
            .again_after
            .map(|after| now.saturating_add(after.max(SOONEST)));
        let spec = self.scaler.spec();
        path.settling.want(Wish {
            wanted: step.wanted,
            // Without a way to the pods nothing is known of them.
            ready: if *arranged { self.ready } else { 0 },
            proxied: step.proxied,
            activators: step.activators,
            activity: state.activity,
            initialized: state.initialized,
            stable_window: spec.stable_window,
            panic_window: spec.panic_window,
            scraped: spec.is_scraped(),
        });
    }

    /// When to decide again, though nothing else happens.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.path.as_ref()?.due
    }

    /// What to tell the cluster beside the number of pods, if it is time to; the caller then makes
    /// the call.
    pub(crate) fn settle(&mut self, now: Duration) -> Option<Wish> {
        let standing = self.revision.standing.as_ref()?;
        self.path.as_mut()?.settling.take(standing, now)
    }

    /// How far the cluster was told.
    pub(crate) fn settling(&mut self) -> Option<&mut Settling> {
        self.path.as_mut().map(|path| &mut path.settling)
    }

    /// Whether the cluster shows what it was told.
    pub(super) fn compare(&mut self, now: Duration) {
        if let (Some(path), Some(standing)) = (&mut self.path, &self.revision.standing) {
            path.settling.compare(standing, now);
        }
    }

    /// Where to ask the activator for its word, if the last pod waits for it and nobody asks yet;
    /// the caller then asks.
    pub(crate) fn unconfirmed(&mut self) -> Option<Arc<str>> {
        if !self.waits_for_word() {
            return None;
        }
        let way = self.revision.standing.as_ref()?.way.as_ref()?;
        let public = way.public.clone()?;
        self.path.as_mut()?.confirming = true;
        Some(public)
    }

    fn waits_for_word(&self) -> bool {
        let waits = |stood: &Stood| stood.step.needs_confirmation();
        self.path.as_ref().is_some_and(|path| !path.confirming)
            && self.scaler.stood().is_some_and(waits)
    }

    /// Whether [`Watched::settle`] or [`Watched::unconfirmed`] may have something to do.
    pub(crate) fn has_more_to_arrange(&self, now: Duration) -> bool {
        let (Some(path), Some(standing)) = (&self.path, &self.revision.standing) else {
            return false;
        };
        path.settling.is_due(standing, now) || self.waits_for_word()
    }

    /// Whoever asked the activator comes back. Returns whether a decision is due now.
    pub(crate) fn answered(&mut self, confirmed: bool, now: Duration) -> bool {
        if let Some(path) = &mut self.path {
            path.confirming = false;
        }
        if confirmed {
            self.scaler.confirm(now);
        }
        confirmed
    }
}
