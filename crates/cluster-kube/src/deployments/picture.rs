//! The picture: workloads, their pods and Services in; revisions and routes out.
//!
//! One task owns it. A change marks the revision that it concerns, and only marked ones are made
//! anew: the others of the snapshot stay the same values.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use penstock_cluster::Snapshot;
use tokio::time::Instant;

use super::desk::{Filed, LeftAlone};
use super::entry::{Asked, Entry, differs, subject};
use super::hosts::Hosts;
use super::services::SeenService;
use super::settings;
use super::shared::{Part, Shared};
use super::slices::WORKLOAD;
use crate::Key;
use crate::object::{EndpointSlice, Kind, SeenPod, State, Version, Workload};
use crate::picture::Painter;
use crate::position::Positions;
use crate::reflect;

/// What happened.
pub(crate) enum Change {
    Workload(Kind, reflect::Change<Workload>),
    Pod(reflect::Change<OwnedPod>),
    Service(reflect::Change<SeenService>),
    /// An EndpointSlice that leads to activators.
    Path(reflect::Change<EndpointSlice>),
    /// A HorizontalPodAutoscaler.
    Scaler(reflect::Change<Scaler>),
    /// We asked for so many pods, and this version has the number.
    Asked(Key, u32, Version),
    /// This revision is to be painted again: something else has changed.
    Again(Key),
}

/// A pod and whose it is.
pub(crate) struct OwnedPod {
    pub(crate) owner: Key,
    pub(crate) pod: SeenPod,
}

/// Something else that scales a workload.
pub(crate) struct Scaler {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    /// Name of the workload.
    pub(crate) of: String,
}

/// What it is painted from.
pub(crate) struct Picture {
    shared: Shared,
    revisions: HashMap<Key, Entry>,
    /// Whose each pod is.
    pods: HashMap<Key, Key>,
    /// Whose each Service is.
    services: HashMap<Key, Key>,
    /// What each HorizontalPodAutoscaler scales.
    scalers: HashMap<Key, (Kind, Key)>,
    /// And by which of them each workload is scaled.
    scaled: HashMap<(Kind, Key), BTreeSet<Arc<str>>>,
    positions: Positions,
    /// Whose requests each EndpointSlice leads to activators.
    paths: HashMap<Key, Key>,
    /// Workloads that are not ours any more, while requests for them still come here.
    leaving: HashMap<Key, Kind>,
    hosts: Hosts,
    changed: HashSet<Key>,
    complete: HashSet<Part>,
}

impl Picture {
    pub(crate) fn new(shared: Shared, positions: Positions) -> Self {
        Self {
            shared,
            positions,
            revisions: HashMap::new(),
            pods: HashMap::new(),
            services: HashMap::new(),
            scalers: HashMap::new(),
            scaled: HashMap::new(),
            paths: HashMap::new(),
            leaving: HashMap::new(),
            hosts: Hosts::default(),
            changed: HashSet::new(),
            complete: HashSet::new(),
        }
    }

    fn workload(&mut self, kind: Kind, change: reflect::Change<Workload>) {
        match change {
            reflect::Change::Is(workload) => self.put_workload(workload),
            reflect::Change::Gone(key) => self.remove_workload(kind, key),
            reflect::Change::Complete => {
                self.complete.insert(match kind {
                    Kind::Deployment => Part::Deployments,
                    Kind::StatefulSet => Part::StatefulSets,
                });
                if self.workloads_known() {
                    self.shared.workloads_known.send_replace(true);
                }
            }
        }
    }

    fn workloads_known(&self) -> bool {
        let parts = [Part::Deployments, Part::StatefulSets];
        parts.iter().all(|part| self.complete.contains(part))
    }

    fn put_workload(&mut self, workload: Workload) {
        let key = workload.key.clone();
        self.leaving.remove(&key);
        let entry = self.revisions.entry(key.clone()).or_default();
        let kind = workload.kind;
        let before = entry.workloads.insert(kind, workload);
        let Some(workload) = entry.workloads.get(&kind) else {
            return;
        };
        if let Some(before) = &before {
            if workload.version.is_before(before.version) {
                // It came by another way, and is older.
                entry.workloads.insert(kind, before.clone());
                return;
            }
            if !differs(before, workload) {
                return;
            }
        }
        if entry.workloads.len() > 1 && before.is_none() {
            let text = format!(
                "a Deployment and a StatefulSet are both named {key}: only the Deployment is scaled"
            );
            let about = entry.workloads.values().map(subject);
            for about in about {
                self.shared.warn(about, "SameName", text.clone());
            }
        }
        let new = before.is_none_or(|before| {
            before.uid != workload.uid || before.selector != workload.selector
        });
        entry.look_for_others(&self.shared);
        if entry.chosen().is_some_and(|chosen| chosen.kind == kind) && new {
            self.settle_in(&key);
        }
        self.read(&key);
    }

    fn remove_workload(&mut self, kind: Kind, key: Key) {
        if self.is_needed(kind, &key) {
            self.leaving.insert(key, kind);
            return;
        }
        let Some(entry) = self.revisions.get_mut(&key) else {
            return;
        };
        entry.workloads.remove(&kind);
        self.changed.insert(key.clone());
        if entry.workloads.is_empty() {
            self.forget_pods(&key);
            self.shared.owners_mut(|owners| owners.remove(&key));
            self.hosts.release(&key.revision());
            self.positions.forget(&key);
            self.revisions.remove(&key);
        } else {
            self.settle_in(&key);
            self.read(&key);
        }
    }

    /// Whether requests for a workload that is not ours any more still come here, and there is
    /// somebody to serve them. It may have lost only its label: then its Service leads here until
    /// Kubernetes has found the pods by itself.
    fn is_needed(&self, kind: Kind, key: &Key) -> bool {
        let Some(entry) = self.revisions.get(key) else {
            return false;
        };
        let alone = entry.workloads.keys().all(|other| *other == kind);
        // One that is not ready may take requests already: it is probed.
        let serves = |(pod, _): &(SeenPod, _)| matches!(pod.state, State::Running | State::Ready);
        alone && entry.pods.values().any(serves) && self.paths.values().any(|of| of == key)
    }

    /// Lets go of a workload that was left for its last requests, if there are none to come.
    fn let_go(&mut self, key: &Key) {
        if let Some(kind) = self.leaving.get(key).copied()
            && !self.is_needed(kind, key)
        {
            self.leaving.remove(key);
            self.remove_workload(kind, key.clone());
        }
    }

    /// Another workload is at work under this key: other pods are its own.
    fn settle_in(&mut self, key: &Key) {
        self.forget_pods(key);
        let chosen = self.revisions.get(key).and_then(Entry::chosen);
        if let Some(workload) = chosen {
            let selector = &workload.selector;
            self.shared.owners_mut(|owners| owners.put(key, selector));
            if self.workloads_known() {
                // It ends with the cluster only.
                let _ = self.shared.newcomers.send(workload.clone());
            }
        }
    }

    fn forget_pods(&mut self, key: &Key) {
        let Some(entry) = self.revisions.get_mut(key) else {
            return;
        };
        for (name, _) in std::mem::take(&mut entry.pods) {
            self.pods
                .remove(&Key::new(Arc::clone(&key.namespace), name));
        }
    }

    /// Reads the settings of the workload anew. Where something is wrong the last good ones stay.
    fn read(&mut self, key: &Key) {
        let Some(entry) = self.revisions.get_mut(key) else {
            return;
        };
        self.changed.insert(key.clone());
        let Some(workload) = entry.workloads.values().next() else {
            return;
        };
        if entry.service.is_none() {
            // It may have been here before, and gone for a moment.
            entry.service = self.shared.desk.services_of(key).into_iter().next();
        }
        let (settings, mut rejected) = settings::read(workload);
        if rejected.is_empty() || entry.settings.is_none() {
            entry.settings = Some(settings);
        }
        let wrong = (self.shared.check)(&workload.annotations);
        if wrong.is_empty() {
            entry.annotations = Arc::new(workload.annotations.clone());
        } else if entry.annotations.is_empty() {
            let mut annotations = workload.annotations.clone();
            for one in wrong.iter().flat_map(|one| &one.keys) {
                annotations.remove(one);
            }
            entry.annotations = Arc::new(annotations);
        }
        rejected.extend(wrong);
        if entry.rejected != rejected {
            for one in &rejected {
                let text = format!("{}: {}", one.keys.join(", "), one.reason);
                self.shared.warn(subject(workload), "BadAnnotation", text);
            }
            entry.rejected = rejected;
        }
        let Some(settings) = &entry.settings else {
            return;
        };
        let mut hosts = settings.hosts.clone();
        let (namespace, domain) = (&key.namespace, &self.shared.domain);
        hosts.extend(settings::hosts_of(&settings.service, namespace, domain));
        let created = workload.created;
        for contested in self.hosts.claim(&key.revision(), created, hosts) {
            let (host, owner) = (&contested.host, &contested.owner);
            let all = contested.others.iter().chain([owner]);
            let text = format!(
                "the host {host:?} is claimed by more than one: {owner} is the oldest and has it"
            );
            let entries = all.filter_map(|id| self.revisions.get(&Key::from(id)));
            for workload in entries.filter_map(Entry::chosen) {
                self.shared
                    .warn(subject(workload), "HostContested", text.clone());
            }
        }
    }

    fn pod(&mut self, change: reflect::Change<OwnedPod>) {
        match change {
            reflect::Change::Is(OwnedPod { owner, mut pod }) => {
                let key = Key::new(Arc::clone(&owner.namespace), Arc::clone(&pod.name));
                if self.pods.get(&key).is_some_and(|before| *before != owner) {
                    self.remove_pod(&key);
                }
                let Some(entry) = self.revisions.get_mut(&owner) else {
                    return;
                };
                let mut asked = None;
                if let Some((before, asked_before)) = entry.pods.get(&pod.name) {
                    if pod.version.is_before(before.version) {
                        return;
                    }
                    asked = *asked_before;
                    pod.after(before);
                    let same = SeenPod {
                        version: before.version,
                        ..pod.clone()
                    };
                    let unchanged = same == *before;
                    entry.pods.insert(Arc::clone(&pod.name), (pod, asked));
                    if unchanged {
                        return;
                    }
                } else {
                    if self.complete.contains(&Part::Pods) {
                        let called = entry.asked.map(|asked| asked.at);
                        asked = Some(called.unwrap_or_else(Instant::now));
                    }
                    entry.pods.insert(Arc::clone(&pod.name), (pod, asked));
                }
                self.pods.insert(key, owner.clone());
                self.changed.insert(owner.clone());
                self.let_go(&owner);
            }
            reflect::Change::Gone(key) => self.remove_pod(&key),
            reflect::Change::Complete => {
                self.complete.insert(Part::Pods);
            }
        }
    }

    fn remove_pod(&mut self, key: &Key) {
        let Some(owner) = self.pods.remove(key) else {
            return;
        };
        if let Some(entry) = self.revisions.get_mut(&owner) {
            entry.pods.remove(&key.name);
            self.changed.insert(owner.clone());
        }
        self.let_go(&owner);
    }

    fn service(&mut self, change: reflect::Change<SeenService>) {
        match change {
            reflect::Change::Is(service) => {
                let owner = service.owner.clone();
                if let Some(before) = self.services.insert(service.key.clone(), owner.clone())
                    && before != owner
                {
                    self.changed.insert(before);
                }
                self.shared.desk.put_service(service.clone());
                // It may be seen before its owner is.
                let entry = self.revisions.entry(owner.clone()).or_default();
                let older = entry.service.as_ref().is_some_and(|before| {
                    before.key == service.key && service.version.is_before(before.version)
                });
                if !older {
                    entry.service = Some(service);
                }
                self.changed.insert(owner);
            }
            reflect::Change::Gone(key) => {
                self.shared.desk.remove_service(&key);
                let Some(owner) = self.services.remove(&key) else {
                    return;
                };
                if let Some(entry) = self.revisions.get_mut(&owner)
                    && entry
                        .service
                        .as_ref()
                        .is_some_and(|service| service.key == key)
                {
                    entry.service = None;
                }
                self.changed.insert(owner);
            }
            reflect::Change::Complete => {
                self.complete.insert(Part::Services);
            }
        }
    }

    fn path(&mut self, slice: &EndpointSlice) {
        let Some(workload) = slice.annotations.get(WORKLOAD) else {
            return;
        };
        let key = Key::new(Arc::clone(&slice.key.namespace), workload.as_str());
        self.paths.insert(slice.key.clone(), key.clone());
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        if self.positions.see(&key, ready.map(|endpoint| endpoint.ip)) {
            self.changed.insert(key);
        }
    }

    fn scaler(&mut self, change: reflect::Change<Scaler>) {
        match change {
            reflect::Change::Is(scaler) => {
                let of = Key::new(Arc::clone(&scaler.key.namespace), scaler.of);
                let target = (scaler.kind, of.clone());
                self.remove_scaler(&scaler.key);
                self.scalers.insert(scaler.key.clone(), target.clone());
                let scaled = self.scaled.entry(target).or_default();
                scaled.insert(Arc::clone(&scaler.key.name));
                let chosen = self.revisions.get(&of).and_then(Entry::chosen);
                if let Some(workload) = chosen.filter(|workload| workload.kind == scaler.kind) {
                    let name = &scaler.key.name;
                    // At once, not with the next picture: it may be fighting already.
                    let why = LeftAlone::By(name.to_string());
                    self.shared.desk.leave_alone(&of.revision(), why);
                    let text = format!(
                        "the HorizontalPodAutoscaler {name} scales it too: its scale is left alone \
                         until one of the two is taken away, the HorizontalPodAutoscaler or the \
                         label penstock.dev/scale"
                    );
                    self.shared.warn(subject(workload), "ScaledByAnother", text);
                }
                self.changed.insert(of);
            }
            reflect::Change::Gone(key) => self.remove_scaler(&key),
            reflect::Change::Complete => {}
        }
    }

    fn remove_scaler(&mut self, key: &Key) {
        let Some(target) = self.scalers.remove(key) else {
            return;
        };
        self.changed.insert(target.1.clone());
        if let Some(scaled) = self.scaled.get_mut(&target) {
            scaled.remove(&key.name);
            if scaled.is_empty() {
                self.scaled.remove(&target);
            }
        }
    }

    fn asked(&mut self, key: &Key, pods: u32, version: Version) {
        let Some(entry) = self.revisions.get_mut(key) else {
            return;
        };
        let older = |asked: Asked| version.is_before(asked.version);
        if entry.asked.is_some_and(older) {
            return;
        }
        entry.asked = Some(Asked {
            pods,
            version,
            at: Instant::now(),
        });
        self.changed.insert(key.clone());
    }

    fn left_alone(&self, key: &Key, entry: &Entry) -> Option<LeftAlone> {
        let kind = entry.chosen()?.kind;
        let scalers = self.scaled.get(&(kind, key.clone()));
        if let Some(scaler) = scalers.and_then(BTreeSet::first) {
            return Some(LeftAlone::By(scaler.to_string()));
        }
        entry.held.map(LeftAlone::Until)
    }
}

impl Painter for Picture {
    type Change = Change;

    fn take(&mut self, change: Change) {
        match change {
            Change::Workload(kind, change) => self.workload(kind, change),
            Change::Pod(change) => self.pod(change),
            Change::Service(change) => self.service(change),
            Change::Scaler(change) => self.scaler(change),
            Change::Path(reflect::Change::Is(slice)) => self.path(&slice),
            // What was known of a position stays.
            Change::Path(reflect::Change::Gone(slice)) => {
                if let Some(workload) = self.paths.remove(&slice) {
                    self.let_go(&workload);
                }
            }
            Change::Path(reflect::Change::Complete) => {
                self.complete.insert(Part::Paths);
            }
            Change::Asked(key, pods, version) => self.asked(&key, pods, version),
            Change::Again(key) => {
                self.changed.insert(key);
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.shared.needed.is_subset(&self.complete)
    }

    fn paint(&mut self, snapshot: &mut Snapshot) -> bool {
        let routed = self.hosts.paint(&mut snapshot.routes);
        let changed = std::mem::take(&mut self.changed);
        for key in &changed {
            let id = key.revision();
            let entry = self.revisions.get(key);
            let revision =
                entry.and_then(|entry| entry.revision(&id, &self.shared, &self.positions));
            match (entry, revision) {
                (Some(entry), Some(revision)) => {
                    let left_alone = self.left_alone(key, entry);
                    if let Some((workload, settings)) = entry.chosen().zip(entry.settings.as_ref())
                    {
                        let filed = Filed::new(workload, settings, left_alone);
                        self.shared.desk.file(&id, filed);
                    }
                    snapshot.revisions.insert(id, Arc::new(revision));
                }
                _ => {
                    self.shared.desk.forget(&id);
                    snapshot.revisions.remove(&id);
                }
            }
        }
        self.shared.desk.changed(&changed);
        routed || !changed.is_empty()
    }
}
