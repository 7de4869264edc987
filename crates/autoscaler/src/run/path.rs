//! What the loop does beside asking for pods: it tells the cluster how a revision stands, asks the
//! activator for its word, and keeps the agenda of decisions that nothing else asks for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use penstock_types::RevisionId;
use tokio::time::Instant;

use super::calls::{Ended, What};
use super::{Run, Tracked};
use crate::confirm::until_confirmed;

/// Who is to be decided on when.
pub(super) type Agenda = BTreeSet<(Duration, RevisionId)>;

impl Run {
    /// Tells the cluster what else there is to tell, and asks the activator for its word if the last
    /// pod waits for that. Nothing of it stands in the way of a call for pods.
    pub(super) fn arrange(&mut self, id: &RevisionId, now: Duration) {
        let Some(tracked) = self.revisions.get_mut(id) else {
            return;
        };
        tracked.reschedule(id, &mut self.agenda);
        let Tracked { birth, watched, .. } = tracked;
        let birth = *birth;
        if let Some(wish) = watched.settle(now) {
            let (cluster, revision) = (Arc::clone(&self.cluster), id.clone());
            let settling = Arc::clone(&self.settling);
            self.calls.spawn(async move {
                let _turn = settling.acquire().await;
                let result = cluster.settle(&revision, wish.clone()).await;
                Ended {
                    revision,
                    birth,
                    what: What::Settled { wish, result },
                }
            });
        }
        if let Some(public) = watched.unconfirmed() {
            let (confirm, revision) = (Arc::clone(&self.confirm), id.clone());
            self.calls.spawn(async move {
                let confirmed = until_confirmed(confirm.as_ref(), &public).await;
                Ended {
                    revision,
                    birth,
                    what: What::Asked { confirmed },
                }
            });
        }
    }

    /// When the next decision is due that nothing else asks for.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(at, _)| self.clock.when(*at))
    }

    /// Takes the decisions that are due.
    pub(crate) fn take_due(&mut self) {
        let now = self.clock.now();
        while let Some((at, _)) = self.agenda.first()
            && *at <= now
            && let Some((_, id)) = self.agenda.pop_first()
        {
            if let Some(tracked) = self.revisions.get_mut(&id) {
                tracked.due = None;
                self.decide(&id, now);
            }
        }
    }
}

impl Tracked {
    /// Puts the next decision that nothing else asks for on the agenda, in place of the last one.
    fn reschedule(&mut self, id: &RevisionId, agenda: &mut Agenda) {
        let due = self.watched.due();
        if due == self.due {
            return;
        }
        if let Some(before) = self.due {
            agenda.remove(&(before, id.clone()));
        }
        if let Some(due) = due {
            agenda.insert((due, id.clone()));
        }
        self.due = due;
    }
}
