//! Who has to prove itself, and how traffic moves once somebody has.

use std::collections::{BTreeMap, BTreeSet};

use penstock_types::RevisionId;
use penstock_types::annotation::Annotations;

use super::{Deployed, Reach, key_of};
use crate::{ObjectKey, TrafficTarget, Upon};

/// Spellings of the annotation that says how many pods a revision starts with.
const INITIAL_SCALE: [&str; 2] = [
    "autoscaling.knative.dev/initial-scale",
    "autoscaling.knative.dev/initialScale",
];

/// An initial scale of 0 asks for a revision that counts as ready without ever being started.
pub(super) fn needs_no_proof(annotations: &Annotations) -> bool {
    initial_scale(annotations) == Some(0)
}

fn initial_scale(annotations: &Annotations) -> Option<u64> {
    let written = INITIAL_SCALE.iter().find_map(|key| annotations.get(*key));
    written?.trim().parse().ok()
}

impl Deployed {
    /// A pod of `id` was ready. Returns whether traffic moved.
    pub fn became_ready(&mut self, id: &RevisionId) -> bool {
        match self.revisions.get_mut(id) {
            Some(revision) if !revision.proven => {
                revision.proven = true;
                self.settle()
            }
            _ => false,
        }
    }

    /// `id` did not become ready in the time it is given: it is no candidate any more, and
    /// traffic stays where it is until the manifests are applied again.
    pub fn give_up(&mut self, id: &RevisionId) {
        if let Some(revision) = self.revisions.get_mut(id) {
            revision.given_up = true;
        }
    }

    /// Revisions to be started, though nobody asks for them yet, so that they become ready.
    pub fn candidates(&self) -> BTreeSet<RevisionId> {
        let mut candidates = BTreeSet::new();
        for state in self.configurations.values() {
            let asked = self.revisions.get(&state.latest).is_some_and(|revision| {
                initial_scale(&revision.template.annotations).is_some_and(|pods| pods > 0)
            });
            if asked || state.latest != state.current {
                candidates.insert(state.latest.clone());
            }
        }
        candidates.extend(self.awaited());
        let unproven = |id: &RevisionId| {
            let revision = self.revisions.get(id);
            revision.is_some_and(|revision| !revision.proven && !revision.given_up)
        };
        candidates.retain(unproven);
        candidates
    }

    /// Where each revision stands with regard to traffic.
    pub fn reach(&self) -> BTreeMap<RevisionId, Reach> {
        let mut reach: BTreeMap<RevisionId, Reach> = self
            .revisions
            .keys()
            .map(|id| (id.clone(), Reach::Unrouted))
            .collect();
        let to_be = self.candidates().into_iter().chain(self.awaited());
        for id in to_be {
            reach.insert(id, Reach::Candidate);
        }
        for (key, route) in &self.routes {
            for id in self.revisions_of(key, &route.traffic) {
                reach.insert(id, Reach::Routed);
            }
        }
        reach
    }

    /// Moves all traffic that can be moved; returns whether any did.
    pub(super) fn settle(&mut self) -> bool {
        let mut moved = false;
        for (key, state) in &mut self.configurations {
            let turn = |id: &RevisionId| self.revisions.get(id).map(|revision| revision.turn);
            let current = turn(&state.current);
            let newest = self.revisions.values().filter(|revision| {
                revision.proven
                    && revision.configuration == key.name
                    && revision.id.namespace() == key.namespace
                    && Some(revision.turn) > current
            });
            if let Some(newest) = newest.max_by_key(|revision| revision.turn) {
                state.current = newest.id.clone();
                moved = true;
            }
        }
        let keys: Vec<ObjectKey> = self.routes.keys().cloned().collect();
        for key in keys {
            if self.can_move(&key)
                && let Some(route) = self.routes.get_mut(&key)
                && let Some(pending) = route.pending.take()
            {
                route.traffic = pending;
                moved = true;
            }
        }
        moved
    }

    /// Whether the pending traffic of a route can be its traffic: everybody in it is proven, or
    /// gets traffic already. If what it has now is gone, waiting would help nobody.
    fn can_move(&self, key: &ObjectKey) -> bool {
        let Some(route) = self.routes.get(key) else {
            return false;
        };
        let Some(pending) = &route.pending else {
            return false;
        };
        let now = self.revisions_of(key, &route.traffic);
        let gone = now.len() < route.traffic.len();
        let takes = |id: &RevisionId| {
            let proven = self
                .revisions
                .get(id)
                .is_some_and(|revision| revision.proven);
            proven || now.contains(id)
        };
        gone || self.revisions_of(key, pending).iter().all(takes)
    }

    /// Revisions that pending traffic waits for.
    fn awaited(&self) -> Vec<RevisionId> {
        let pending = self.routes.iter().filter_map(|(key, route)| {
            let pending = route.pending.as_ref()?;
            Some(self.revisions_of(key, pending))
        });
        pending.flatten().collect()
    }

    /// The revision behind each target, in order, without those that are gone.
    pub(super) fn revisions_of(
        &self,
        route: &ObjectKey,
        traffic: &[TrafficTarget],
    ) -> Vec<RevisionId> {
        let namespace = &route.namespace;
        traffic
            .iter()
            .filter_map(|target| self.resolve(namespace, &target.upon))
            .collect()
    }

    /// The revision that is meant now.
    pub(super) fn resolve(&self, namespace: &str, upon: &Upon) -> Option<RevisionId> {
        match upon {
            Upon::Revision(name) => {
                let id = RevisionId::new(namespace, name.as_str());
                self.revisions.contains_key(&id).then_some(id)
            }
            Upon::Latest(configuration) => {
                let key = key_of(namespace, configuration);
                Some(self.configurations.get(&key)?.current.clone())
            }
        }
    }
}
