//! The picture: workloads, their pods and Services in; revisions and routes out.
//!
//! One task owns it. A change marks the revision that it concerns, and only marked ones are made
//! anew: the others of the snapshot stay the same values.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use penstock_cluster::{Reachability, Readiness, Revision, Snapshot};
use penstock_types::RevisionId;
use penstock_types::annotation::{Annotations, Rejected};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::desk::{Desk, Filed, LeftAlone};
use super::hosts::Hosts;
use super::owners::Owners;
use super::services::SeenService;
use super::settings::{self, AnnotationCheck, Settings};
use super::slices::WORKLOAD;
use super::standing;
use crate::Key;
use crate::event::{Events, News, Subject, Tone};
use crate::object::{EndpointSlice, Kind, Probed, SeenPod, Version, Workload};
use crate::picture::Painter;
use crate::position::Positions;
use crate::reflect;
use crate::scale::MANAGER;

/// Time for which a number that somebody else has set is left alone.
const HOLD: Duration = Duration::from_secs(60);

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
    scalers: HashMap<Key, (Kind, Key)>,
    positions: Positions,
    hosts: Hosts,
    changed: HashSet<Key>,
    complete: HashSet<Part>,
}

/// What it shares with others.
pub(crate) struct Shared {
    pub(crate) domain: String,
    pub(crate) check: AnnotationCheck,
    pub(crate) events: Events,
    /// Selectors, for who has to know whose a pod is.
    pub(crate) owners: Arc<RwLock<Owners>>,
    /// What else is known of each revision.
    pub(crate) desk: Arc<Desk>,
    /// Gets every workload whose pods may have come before it.
    pub(crate) newcomers: mpsc::UnboundedSender<Workload>,
    /// Whether all workloads are known, so that it can be said whose a pod is.
    pub(crate) workloads_known: watch::Sender<bool>,
    /// Parts without which the picture is not whole.
    pub(crate) needed: HashSet<Part>,
    /// Whether what a cluster remembers is read from Services.
    pub(crate) remembers: bool,
}

/// A part of what is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Deployments,
    StatefulSets,
    Pods,
    Services,
    Paths,
}

/// One revision: a workload of either kind. With both of the same name, the Deployment counts.
#[derive(Default)]
struct Entry {
    workloads: BTreeMap<Kind, Workload>,
    settings: Option<Settings>,
    annotations: Arc<Annotations>,
    /// What was wrong when it was last read, so that it is told once.
    rejected: Vec<Rejected>,
    pods: BTreeMap<Arc<str>, (SeenPod, Option<Instant>)>,
    asked: Option<Asked>,
    service: Option<SeenService>,
    held: Option<Instant>,
}

/// What we asked for last.
#[derive(Clone, Copy)]
struct Asked {
    pods: u32,
    version: Version,
    at: Instant,
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
                self.changed.insert(owner);
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
            self.changed.insert(owner);
        }
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
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        if self.positions.see(&key, ready.map(|endpoint| endpoint.ip)) {
            self.changed.insert(key);
        }
    }

    fn scaler(&mut self, change: reflect::Change<Scaler>) {
        match change {
            reflect::Change::Is(scaler) => {
                let of = Key::new(Arc::clone(&scaler.key.namespace), scaler.of);
                let before = self
                    .scalers
                    .insert(scaler.key.clone(), (scaler.kind, of.clone()));
                if let Some((_, before)) = before.filter(|(_, before)| *before != of) {
                    self.changed.insert(before);
                }
                let chosen = self.revisions.get(&of).and_then(Entry::chosen);
                if let Some(workload) = chosen.filter(|workload| workload.kind == scaler.kind) {
                    let name = &scaler.key.name;
                    let text = format!(
                        "the HorizontalPodAutoscaler {name} scales it too: its scale is left alone \
                         until one of the two is taken away, the HorizontalPodAutoscaler or the \
                         label penstock.dev/scale"
                    );
                    self.shared.warn(subject(workload), "ScaledByAnother", text);
                }
                self.changed.insert(of);
            }
            reflect::Change::Gone(key) => {
                if let Some((_, of)) = self.scalers.remove(&key) {
                    self.changed.insert(of);
                }
            }
            reflect::Change::Complete => {}
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
        let scaler = self
            .scalers
            .iter()
            .find(|(_, of)| **of == (kind, key.clone()));
        if let Some((scaler, _)) = scaler {
            return Some(LeftAlone::By(scaler.name.to_string()));
        }
        entry.held.map(LeftAlone::Until)
    }
}

impl Shared {
    fn owners_mut(&self, change: impl FnOnce(&mut Owners)) {
        change(&mut self.owners.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells it, if it is this process that looks after the workload.
    fn warn(&self, about: Subject, reason: &'static str, note: String) {
        if self.desk.is_ours(&about.key.revision()) {
            self.events.tell(News {
                about,
                tone: Tone::Warning,
                reason,
                note,
            });
        }
    }
}

impl Entry {
    /// The one that counts.
    fn chosen(&self) -> Option<&Workload> {
        self.workloads.values().next()
    }

    fn wanted(&self) -> u32 {
        let Some(workload) = self.chosen() else {
            return 0;
        };
        match self.asked {
            // What is seen of it is older than our own word.
            Some(asked) if workload.version.is_before(asked.version) => asked.pods,
            _ => workload.replicas,
        }
    }

    /// Whether somebody else has changed the number that we asked for.
    fn look_for_others(&mut self, shared: &Shared) {
        let Some((workload, asked)) = self.workloads.values().next().zip(self.asked) else {
            return;
        };
        if workload.version.is_before(asked.version) || workload.replicas == asked.pods {
            return;
        }
        self.asked = None;
        let ours = shared.desk.asked(&workload.key.revision()) == Some(workload.replicas);
        if ours || workload.scaled_by.as_deref() == Some(MANAGER) {
            // Our own word, of which the answer is not here yet; or that of another autoscaler of
            // ours, which looks after it now.
            return;
        }
        self.held = Some(Instant::now() + HOLD);
        let who = workload.scaled_by.as_deref().unwrap_or("somebody else");
        let (wanted, now) = (asked.pods, workload.replicas);
        let text = format!(
            "{who} has scaled it to {now}, where {wanted} was asked for: its scale is left alone for \
             {} s",
            HOLD.as_secs()
        );
        shared.warn(subject(workload), "ScaledByAnother", text);
    }

    fn revision(
        &self,
        id: &RevisionId,
        shared: &Shared,
        positions: &Positions,
    ) -> Option<Revision> {
        let workload = self.chosen()?;
        let settings = self.settings.as_ref()?;
        let port = settings.port.unwrap_or(0);
        let placed = self.pods.values();
        let mut pods: Vec<_> = placed
            .filter_map(|(pod, asked)| pod.picture(port, *asked))
            .filter(|_| settings.port.is_some())
            .collect();
        pods.sort_by_key(|pod| pod.addr);
        let unplaced = self.pods.values().filter(|(pod, _)| pod.ip.is_none());
        let trouble = self.pods.values().find_map(|(pod, _)| pod.trouble.clone());
        let trouble = trouble.or_else(|| Some(workload.trouble.as_deref()?.into()));
        Some(Revision {
            id: id.clone(),
            service: settings.service.as_str().into(),
            configuration: workload.key.name.clone(),
            annotations: Arc::clone(&self.annotations),
            slots: settings.slots,
            timeouts: settings.timeouts,
            protocol: settings.protocol,
            reachability: Reachability::Reachable,
            wanted: self.wanted(),
            pods: pods.into(),
            unplaced: u32::try_from(unplaced.count()).unwrap_or(u32::MAX),
            position: positions.of(&workload.key),
            readiness: if settings.queue_proxy {
                Readiness::Probed {
                    early: workload.probed == Probed::ByAnswer,
                    service: None,
                }
            } else {
                Readiness::Trusted
            },
            queue_proxy: settings.queue_proxy,
            standing: shared.remembers.then(|| self.standing(shared)).flatten(),
            trouble: match settings.port {
                Some(_) => trouble,
                None => Some("it is not known where its pods take requests".into()),
            },
        })
    }

    /// `None` where a Service of that name is somebody else's: then nothing can be remembered.
    fn standing(&self, shared: &Shared) -> Option<Arc<penstock_cluster::Standing>> {
        let workload = self.chosen()?;
        let settings = self.settings.as_ref()?;
        let name = Key::new(
            Arc::clone(&workload.key.namespace),
            settings.service.as_str(),
        );
        if shared.desk.is_foreign(&name) {
            return None;
        }
        let service = self.service.as_ref().filter(|service| service.key == name);
        let [_, _, host] = settings::hosts_of(&settings.service, &name.namespace, &shared.domain);
        let none = BTreeMap::new();
        Some(Arc::new(standing::read(
            service.map_or(&none, |service| &service.annotations),
            service.map(|_| format!("{host}:80").into()),
            workload.created,
        )))
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
            Change::Path(reflect::Change::Gone(_)) => {}
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

/// Whether anything differs that shows.
fn differs(before: &Workload, now: &Workload) -> bool {
    before.uid != now.uid
        || before.replicas != now.replicas
        || before.annotations != now.annotations
        || before.containers != now.containers
        || before.probed != now.probed
        || before.trouble != now.trouble
        || before.selector != now.selector
}

/// Whom Events are about.
pub(crate) fn subject(workload: &Workload) -> Subject {
    Subject {
        api_version: "apps/v1",
        kind: workload.kind.to_string(),
        key: workload.key.clone(),
        uid: workload.uid.clone(),
    }
}

#[cfg(test)]
mod tests;
