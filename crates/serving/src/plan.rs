//! What is deployed, and what a changed file makes of it.
//!
//! A changed template makes a new revision; the old ones stay. Traffic does not move to a
//! revision before that has been ready once:
//!
//! ```text
//! apply ──► new revision ──► candidate ──(became_ready)──► routed ──► unrouted ──► gone
//!           │                started once, to prove it      takes      a newer one   past the
//!           └─ the first: routed at once, started by        requests   took over     last 20
//!              its first request
//! ```
//!
//! Unlike Knative, the very first revision of a service is not started to prove itself: nothing
//! is there that it could harm, and whoever brings up a hundred services wants them at zero. An
//! `initial-scale` annotation above 0 asks for the start.

mod hosts;
mod ready;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use penstock_types::RevisionId;

use crate::{
    Configuration, Fault, Manifests, ObjectKey, Problem, RevisionTemplate, Route, TrafficTarget,
    Upon, name,
};
pub use hosts::HostRoute;

/// Revisions of one configuration that are kept though no route leads to them, so that one can
/// roll back (Knative's `min-non-active-revisions`). Older ones go.
pub const KEPT_UNROUTED: usize = 20;

/// All configurations, revisions and routes, and who has been ready.
#[derive(Clone, Debug, Default)]
pub struct Deployed {
    configurations: BTreeMap<ObjectKey, State>,
    routes: BTreeMap<ObjectKey, RouteState>,
    revisions: BTreeMap<RevisionId, Revision>,
    /// Revisions made so far. Outlives the configuration, so that one which comes back does not
    /// meet pods of its former life under the same name.
    generations: BTreeMap<ObjectKey, u64>,
    /// Counts every time that a revision became a configuration's latest.
    turn: u64,
}

/// An immutable version of a configuration.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Its key.
    pub id: RevisionId,
    /// The configuration it was made from.
    pub configuration: String,
    /// The Service that one came from, if any.
    pub service: Option<String>,
    /// What it is made of.
    pub template: Arc<RevisionTemplate>,
    /// Whether it has ever been ready.
    pub proven: bool,
    /// When it became the latest, as a count.
    turn: u64,
    /// Whether it was given up as a candidate.
    given_up: bool,
}

#[derive(Clone, Debug)]
struct State {
    /// The one that the template says.
    latest: RevisionId,
    /// The one that gets the traffic of the latest.
    current: RevisionId,
}

#[derive(Clone, Debug)]
struct RouteState {
    /// Where traffic goes.
    traffic: Vec<TrafficTarget>,
    /// Where it is to go once those revisions are proven.
    pending: Option<Vec<TrafficTarget>>,
}

/// What [`Deployed::apply`] changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Revisions that are new.
    pub created: Vec<RevisionId>,
    /// Revisions that are gone: their pods finish what they have, and end.
    pub removed: Vec<RevisionId>,
}

/// Where a revision stands with regard to traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No traffic yet, but it is to get some.
    Candidate,
    /// A route leads here.
    Routed,
    /// No route leads here.
    Unrouted,
}

impl Deployed {
    /// Makes `manifests` the whole of what is wanted: what they do not name any more goes.
    ///
    /// # Errors
    ///
    /// Traffic for a revision or a configuration that is not there, and a revision name that is
    /// given to two templates: all of them together. Nothing is changed then.
    pub fn apply(&mut self, manifests: &Manifests) -> Result<Changes, Vec<Problem>> {
        let mut next = self.clone();
        let mut problems = Vec::new();
        let wanted: BTreeSet<&ObjectKey> = manifests
            .configurations
            .iter()
            .map(|configuration| &configuration.key)
            .collect();
        next.configurations.retain(|key, _| wanted.contains(key));
        next.revisions.retain(|id, revision| {
            let key = key_of(id.namespace(), &revision.configuration);
            wanted.contains(&key)
        });
        for configuration in &manifests.configurations {
            problems.extend(next.configure(configuration));
        }
        for route in &manifests.routes {
            problems.extend(next.unknown_targets(route));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        next.routes
            .retain(|key, _| manifests.routes.iter().any(|route| route.key == *key));
        for route in &manifests.routes {
            next.route(route);
        }
        next.settle();
        next.forget_old();
        let only_in = |one: &Self, other: &Self| {
            let ids = one.revisions.keys();
            ids.filter(|id| !other.revisions.contains_key(id))
                .cloned()
                .collect()
        };
        let changes = Changes {
            created: only_in(&next, self),
            removed: only_in(self, &next),
        };
        *self = next;
        Ok(changes)
    }

    /// All revisions, by key.
    pub fn revisions(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.values()
    }

    /// One revision.
    pub fn revision(&self, id: &RevisionId) -> Option<&Revision> {
        self.revisions.get(id)
    }

    /// Makes the latest revision of `configuration` what its template says.
    fn configure(&mut self, configuration: &Configuration) -> Option<Problem> {
        let Configuration { key, template, .. } = configuration;
        for revision in self.revisions.values_mut() {
            let of_it = revision.configuration == key.name;
            if of_it && revision.id.namespace() == key.namespace {
                revision.service.clone_from(&configuration.service);
            }
        }
        let latest = self.configurations.get(key).map(|state| &state.latest);
        let latest = latest.and_then(|id| self.revisions.get_mut(id));
        if let Some(latest) = latest
            && *latest.template == *template
        {
            // Saving a file again is asking to try again.
            latest.given_up = false;
            return None;
        }
        let id = match &template.name {
            Some(name) => RevisionId::new(key.namespace.as_str(), name.as_str()),
            None => self.next_name(key),
        };
        self.turn += 1;
        if let Some(taken) = self.revisions.get_mut(&id) {
            if taken.configuration != key.name {
                let of = &taken.configuration;
                return Some(name_conflict(
                    configuration,
                    &format!("is a revision of {of}"),
                ));
            }
            if *taken.template != *template {
                let why = "is a revision with another template, and revisions do not change";
                return Some(name_conflict(configuration, why));
            }
            taken.turn = self.turn;
            taken.given_up = false;
        } else {
            *self.generations.entry(key.clone()).or_default() += 1;
            let revision = Revision {
                id: id.clone(),
                configuration: key.name.clone(),
                service: configuration.service.clone(),
                template: Arc::new(template.clone()),
                proven: ready::needs_no_proof(&template.annotations),
                turn: self.turn,
                given_up: false,
            };
            self.revisions.insert(id.clone(), revision);
        }
        self.configurations
            .entry(key.clone())
            .and_modify(|state| state.latest = id.clone())
            .or_insert_with(|| State {
                current: id.clone(),
                latest: id,
            });
        None
    }

    /// The name with the next number that no revision has.
    fn next_name(&self, key: &ObjectKey) -> RevisionId {
        let mut generation = self.generations.get(key).copied().unwrap_or(0);
        loop {
            generation += 1;
            let name = name::generated(&key.name, generation);
            let id = RevisionId::new(key.namespace.as_str(), name);
            if !self.revisions.contains_key(&id) {
                return id;
            }
        }
    }

    fn unknown_targets(&self, route: &Route) -> Vec<Problem> {
        let namespace = route.key.namespace.as_str();
        let unknown = |target: &TrafficTarget| {
            let (field, name, mut known) = match &target.upon {
                Upon::Revision(name) => {
                    if self
                        .revisions
                        .contains_key(&RevisionId::new(namespace, name.as_str()))
                    {
                        return None;
                    }
                    // Of a service, only its own revisions help; a route may want any.
                    let helps = |revision: &&Revision| {
                        revision.id.namespace() == namespace
                            && (route.service.is_none() || revision.service == route.service)
                    };
                    let known = self.revisions.values().filter(helps);
                    let known = known.map(|revision| revision.id.name().to_owned());
                    ("revisionName", name, known.collect::<Vec<_>>())
                }
                Upon::Latest(name) => {
                    if self.configurations.contains_key(&key_of(namespace, name)) {
                        return None;
                    }
                    let known = self.configurations.keys();
                    let known = known.filter(|key| key.namespace == namespace);
                    let known = known.map(|key| key.name.clone());
                    ("configurationName", name, known.collect())
                }
            };
            if known.is_empty() {
                known.push(format!("something that exists in namespace {namespace}"));
            }
            Some(Problem {
                place: target.place.clone(),
                path: format!("{}.{field}", target.path),
                fault: Fault::Wrong {
                    value: format!("{name:?}"),
                    expected: match known.as_slice() {
                        [one] => one.clone(),
                        more => format!("one of {}", more.join(", ")),
                    },
                },
            })
        };
        route.traffic.iter().filter_map(unknown).collect()
    }

    fn route(&mut self, route: &Route) {
        let state = self.routes.entry(route.key.clone());
        let state = state.or_insert_with(|| RouteState {
            traffic: route.traffic.clone(),
            pending: None,
        });
        state.pending = Some(route.traffic.clone());
    }

    /// Drops the oldest revisions that no route leads to, nor is to lead to.
    fn forget_old(&mut self) {
        let reach = self.reach();
        let kept = |id: &RevisionId, reach: Reach| {
            reach != Reach::Unrouted
                || self
                    .configurations
                    .values()
                    .any(|state| state.latest == *id || state.current == *id)
        };
        let mut unrouted: BTreeMap<ObjectKey, Vec<(u64, RevisionId)>> = BTreeMap::new();
        for (id, reach) in reach {
            if let Some(revision) = self.revisions.get(&id).filter(|_| !kept(&id, reach)) {
                let key = key_of(id.namespace(), &revision.configuration);
                unrouted.entry(key).or_default().push((revision.turn, id));
            }
        }
        for mut of_one in unrouted.into_values() {
            of_one.sort();
            let old = of_one.len().saturating_sub(KEPT_UNROUTED);
            for (_, id) in of_one.into_iter().take(old) {
                self.revisions.remove(&id);
            }
        }
    }
}

fn key_of(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

fn name_conflict(configuration: &Configuration, why: &str) -> Problem {
    let name = configuration.template.name.as_deref().unwrap_or_default();
    Problem {
        place: configuration.place.clone(),
        path: "spec.template.metadata.name".to_owned(),
        fault: Fault::Wrong {
            value: format!("{name:?}"),
            expected: format!("a new name: this one {why}"),
        },
    }
}

#[cfg(test)]
mod tests;
