//! What is known of each revision besides its picture: how it is scaled, how its path is meant to
//! be, which Service and EndpointSlices it has. Whoever scales or arranges looks here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use penstock_types::{Protocol, RevisionId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::services::SeenService;
use super::settings::Settings;
use crate::Key;
use crate::event::Subject;
use crate::object::{EndpointSlice, Kind, Version, Workload};
use crate::reflect::Change;
use crate::scale::Target;

/// Whether this process looks after a revision.
pub type IsOurs = Arc<dyn Fn(&RevisionId) -> bool + Send + Sync>;

/// The desk.
pub(crate) struct Desk {
    ours: IsOurs,
    /// Whether anybody looks at what has changed.
    is_worked: bool,
    files: Mutex<Files>,
    /// Revisions to be looked at again.
    work: Notify,
    /// Goes up with every change of an EndpointSlice of ours.
    slices: watch::Sender<u64>,
    known: watch::Sender<Known>,
}

/// What has been listed once.
#[derive(Clone, Copy, Default)]
struct Known {
    slices: bool,
    activators: bool,
}

#[derive(Default)]
struct Files {
    filed: HashMap<RevisionId, Filed>,
    /// What was asked for last, also while it is on its way.
    asked: HashMap<RevisionId, u32>,
    paths: HashMap<RevisionId, Path>,
    /// One at a time arranges a revision.
    turns: HashMap<Key, Arc<tokio::sync::Mutex<()>>>,
    services: HashMap<Key, SeenService>,
    by_owner: HashMap<Key, BTreeSet<Key>>,
    foreign: HashSet<Key>,
    slices: HashMap<Key, EndpointSlice>,
    by_service: HashMap<Key, BTreeSet<Key>>,
    activators: HashMap<Key, EndpointSlice>,
    changed: HashSet<Key>,
}

/// A workload, as far as it is scaled and arranged.
#[derive(Clone, Debug)]
pub(crate) struct Filed {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) uid: String,
    /// Name of its Service.
    pub(crate) service: String,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Protocol,
    pub(crate) queue_proxy: bool,
    pub(crate) left_alone: Option<LeftAlone>,
}

/// Why the number of pods is not ours to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeftAlone {
    /// The HorizontalPodAutoscaler of this name sets it.
    By(String),
    /// Somebody has set it by hand; it is theirs until then.
    Until(Instant),
}

/// How the path of a revision is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) proxied: bool,
    /// How many activators are in it; 0 for all.
    pub(crate) activators: u32,
}

impl Filed {
    pub(crate) fn new(
        workload: &Workload,
        settings: &Settings,
        left_alone: Option<LeftAlone>,
    ) -> Self {
        Self {
            key: workload.key.clone(),
            kind: workload.kind,
            uid: workload.uid.clone(),
            service: settings.service.clone(),
            port: settings.port,
            protocol: settings.protocol,
            queue_proxy: settings.queue_proxy,
            left_alone,
        }
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            api_version: "apps/v1".to_owned(),
            plural: self.kind.plural().to_owned(),
            key: self.key.clone(),
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            api_version: "apps/v1",
            kind: self.kind.to_string(),
            key: self.key.clone(),
            uid: self.uid.clone(),
        }
    }

    pub(crate) fn service_key(&self) -> Key {
        Key::new(Arc::clone(&self.key.namespace), self.service.as_str())
    }

    /// Name of its port, by which clients and activators know what is spoken there.
    pub(crate) fn port_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Http1 => "http",
            Protocol::H2c => "http2",
        }
    }

    /// The same for whoever reads `appProtocol`.
    pub(crate) fn app_protocol(&self) -> &'static str {
        match self.protocol {
            Protocol::Http1 => "http",
            Protocol::H2c => "kubernetes.io/h2c",
        }
    }
}

impl Desk {
    pub(crate) fn new(ours: IsOurs, is_worked: bool) -> Self {
        Self {
            ours,
            is_worked,
            files: Mutex::default(),
            work: Notify::new(),
            slices: watch::Sender::new(0),
            known: watch::Sender::default(),
        }
    }

    /// Whether it is known where Services lead now, and where activators are: before that nothing
    /// can be arranged.
    pub(crate) fn knows_paths(&self) -> bool {
        let known = *self.known.borrow();
        known.slices && known.activators
    }

    /// Waits until that is known.
    pub(crate) async fn until_paths_known(&self) {
        let mut known = self.known.subscribe();
        // The sender is here.
        let _ = known
            .wait_for(|known| known.slices && known.activators)
            .await;
    }

    pub(crate) fn is_ours(&self, id: &RevisionId) -> bool {
        (self.ours)(id)
    }

    pub(crate) fn file(&self, id: &RevisionId, filed: Filed) {
        self.files().filed.insert(id.clone(), filed);
    }

    pub(crate) fn forget(&self, id: &RevisionId) {
        let mut files = self.files();
        files.filed.remove(id);
        files.asked.remove(id);
        files.paths.remove(id);
    }

    pub(crate) fn filed(&self, id: &RevisionId) -> Option<Filed> {
        self.files().filed.get(id).cloned()
    }

    /// From now on its number is not ours to set.
    pub(crate) fn leave_alone(&self, id: &RevisionId, why: LeftAlone) {
        if let Some(filed) = self.files().filed.get_mut(id) {
            filed.left_alone = Some(why);
        }
    }

    /// Notes what is about to be asked for.
    pub(crate) fn asks(&self, id: &RevisionId, pods: u32) {
        self.files().asked.insert(id.clone(), pods);
    }

    pub(crate) fn asked(&self, id: &RevisionId) -> Option<u32> {
        self.files().asked.get(id).copied()
    }

    pub(crate) fn set_path(&self, id: &RevisionId, path: Path) {
        self.files().paths.insert(id.clone(), path);
    }

    pub(crate) fn path(&self, id: &RevisionId) -> Option<Path> {
        self.files().paths.get(id).copied()
    }

    /// Whose turn it is to arrange the revision.
    pub(crate) fn turn(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut files = self.files();
        // Those that nobody holds are made again when they are needed.
        if files.turns.len() > 2 * files.filed.len() + 64 {
            files.turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(files.turns.entry(key.clone()).or_default())
    }

    pub(crate) fn put_service(&self, service: SeenService) {
        let mut files = self.files();
        let known = files.services.get(&service.key);
        if known.is_some_and(|known| {
            known.uid == service.uid && service.version.is_before(known.version)
        }) {
            return;
        }
        files.foreign.remove(&service.key);
        let owned = files.by_owner.entry(service.owner.clone()).or_default();
        owned.insert(service.key.clone());
        files.services.insert(service.key.clone(), service);
    }

    pub(crate) fn remove_service(&self, key: &Key) {
        let mut files = self.files();
        let Some(service) = files.services.remove(key) else {
            return;
        };
        if let Some(owned) = files.by_owner.get_mut(&service.owner) {
            owned.remove(key);
            if owned.is_empty() {
                files.by_owner.remove(&service.owner);
            }
        }
    }

    pub(crate) fn service(&self, key: &Key) -> Option<SeenService> {
        self.files().services.get(key).cloned()
    }

    /// The Services of ours that belong to a workload.
    pub(crate) fn services_of(&self, owner: &Key) -> Vec<SeenService> {
        let files = self.files();
        let owned = files.by_owner.get(owner).into_iter().flatten();
        owned
            .filter_map(|key| files.services.get(key).cloned())
            .collect()
    }

    /// The Service of this name is somebody else's.
    pub(crate) fn call_foreign(&self, key: &Key) {
        self.files().foreign.insert(key.clone());
    }

    /// It is not, or no longer.
    pub(crate) fn recall_foreign(&self, key: &Key) {
        self.files().foreign.remove(key);
    }

    /// The Services that are somebody else's, each with the workload that would have it.
    pub(crate) fn foreign(&self) -> Vec<(Key, Key)> {
        let files = self.files();
        let filed = files.filed.values();
        filed
            .map(|filed| (filed.service_key(), filed.key.clone()))
            .filter(|(service, _)| files.foreign.contains(service))
            .collect()
    }

    pub(crate) fn is_foreign(&self, key: &Key) -> bool {
        self.files().foreign.contains(key)
    }

    /// Takes a change of an EndpointSlice of ours.
    pub(crate) fn take_slice(&self, change: Change<EndpointSlice>) {
        let mut files = self.files();
        let key = match change {
            Change::Is(slice) => {
                let older = files.slices.get(&slice.key);
                if older.is_some_and(|known| slice.version.is_before(known.version)) {
                    return;
                }
                let service = Key::new(Arc::clone(&slice.key.namespace), slice.service.as_str());
                let of = files.by_service.entry(service.clone()).or_default();
                of.insert(slice.key.clone());
                files.slices.insert(slice.key.clone(), slice);
                service
            }
            Change::Gone(key) => {
                let Some(slice) = files.slices.remove(&key) else {
                    return;
                };
                let service = Key::new(Arc::clone(&key.namespace), slice.service.as_str());
                if let Some(of) = files.by_service.get_mut(&service) {
                    of.remove(&key);
                    if of.is_empty() {
                        files.by_service.remove(&service);
                    }
                }
                service
            }
            Change::Complete => {
                self.known.send_modify(|known| known.slices = true);
                return;
            }
        };
        if let Some(owner) = files
            .services
            .get(&key)
            .map(|service| service.owner.clone())
        {
            files.changed.insert(owner);
        }
        drop(files);
        self.slices.send_modify(|changes| *changes += 1);
        self.work.notify_one();
    }

    /// EndpointSlices of ours that belong to a Service.
    pub(crate) fn slices_of(&self, service: &Key) -> Vec<EndpointSlice> {
        let files = self.files();
        let of = files.by_service.get(service).into_iter().flatten();
        of.filter_map(|key| files.slices.get(key).cloned())
            .collect()
    }

    /// The version of a slice as it was seen last.
    pub(crate) fn slice_version(&self, slice: &Key) -> Option<Version> {
        Some(self.files().slices.get(slice)?.version)
    }

    /// Changes whenever an EndpointSlice of ours does.
    pub(crate) fn slices_change(&self) -> watch::Receiver<u64> {
        self.slices.subscribe()
    }

    /// Takes a change of where activators are; every path may lead elsewhere then.
    pub(crate) fn take_activators(&self, change: Change<EndpointSlice>) {
        let mut files = self.files();
        match change {
            Change::Is(slice) => {
                files.activators.insert(slice.key.clone(), slice);
            }
            Change::Gone(key) => {
                files.activators.remove(&key);
            }
            Change::Complete => self.known.send_modify(|known| known.activators = true),
        }
        let all: Vec<Key> = files
            .filed
            .values()
            .map(|filed| filed.key.clone())
            .collect();
        files.changed.extend(all);
        drop(files);
        self.work.notify_one();
    }

    /// Addresses of ready activators, and their port of this name.
    pub(crate) fn activators(&self, port_name: &str) -> BTreeSet<(IpAddr, u16)> {
        let files = self.files();
        let slices = files.activators.values();
        slices
            .flat_map(|slice| {
                let port = slice.ports.iter().find(|port| port.name == port_name);
                let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
                port.into_iter()
                    .flat_map(move |port| ready.clone().map(|one| (one.ip, port.port)))
            })
            .collect()
    }

    /// These are to be looked at again.
    pub(crate) fn changed<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        if !self.is_worked {
            return;
        }
        self.files().changed.extend(keys.into_iter().cloned());
        self.work.notify_one();
    }

    /// All are to be looked at again.
    pub(crate) fn all_changed(&self) {
        let mut files = self.files();
        let all: Vec<Key> = files
            .filed
            .values()
            .map(|filed| filed.key.clone())
            .collect();
        files.changed.extend(all);
        drop(files);
        self.work.notify_one();
    }

    /// Waits for those that are to be looked at again.
    pub(crate) async fn next_changed(&self) -> HashSet<Key> {
        loop {
            let changed = std::mem::take(&mut self.files().changed);
            if !changed.is_empty() {
                return changed;
            }
            self.work.notified().await;
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
