//! The objects, and what happened to them: one counter for all changes, as etcd has one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::fields::Managers;
use super::kinds::{KINDS, Kind};
use super::object::{list, metadata, text};

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: &'static Kind,
    /// Empty outside namespaces.
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object, and who has set which of its fields.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) object: Arc<Value>,
    pub(super) managers: Managers,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) key: Key,
    /// What it was; `None` for a new one.
    pub(super) before: Option<Arc<Value>>,
    /// What it is; `None` for one that is gone.
    pub(super) after: Option<Arc<Value>>,
    /// The last state, with this change's version: what a watch tells of one that is gone.
    pub(super) told: Arc<Value>,
}

/// Changes that are kept without being told to compact. A test that makes more has watches
/// that fall behind, as a busy cluster has.
const KEPT: usize = 65_536;

/// All of it.
#[derive(Debug)]
pub(super) struct Store {
    kinds: Vec<&'static Kind>,
    entries: BTreeMap<Key, Entry>,
    /// Which uids are alive.
    uids: HashSet<String>,
    /// Which have been.
    buried: HashSet<String>,
    /// What names whom as its owner, by the owner's uid.
    owned: HashMap<String, BTreeSet<Key>>,
    /// The Services that choose pods, by their namespace.
    choosing: HashMap<String, BTreeSet<Key>>,
    history: VecDeque<Change>,
    version: u64,
    /// Changes up to this one are forgotten.
    compacted: u64,
    /// Uids given, ever.
    given: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            kinds: KINDS.iter().collect(),
            entries: BTreeMap::new(),
            uids: HashSet::new(),
            buried: HashSet::new(),
            owned: HashMap::new(),
            choosing: HashMap::new(),
            history: VecDeque::new(),
            version: 1000, // 0 means "any" in a request, and no cluster is that young
            compacted: 1000,
            given: 0,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The version before the first change that is still known.
    pub(super) fn oldest(&self) -> u64 {
        self.compacted
    }

    pub(super) fn kinds(&self) -> &[&'static Kind] {
        &self.kinds
    }

    /// Serves one more kind; instead of another with its group and plural, if there is one.
    pub(super) fn know(&mut self, kind: &'static Kind) {
        self.kinds.retain(|known| *known != kind);
        self.kinds.push(kind);
    }

    /// Serves a group no more, as if its definitions were not installed. What is kept stays.
    pub(super) fn forget_group(&mut self, group: &str) {
        self.kinds.retain(|known| known.group != group);
    }

    pub(super) fn kind_at(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<&'static Kind> {
        let is_it =
            |kind: &&Kind| (kind.group, kind.version, kind.plural) == (group, version, plural);
        self.kinds.iter().copied().find(is_it)
    }

    /// By `Deployment` or, where two groups have the same, `Service.serving.knative.dev`.
    pub(super) fn kind_named(&self, name: &str) -> Option<&'static Kind> {
        let (kind, group) = match name.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (name, None),
        };
        let is_it =
            |known: &&Kind| known.kind == kind && group.is_none_or(|group| known.group == group);
        self.kinds.iter().copied().find(is_it)
    }

    pub(super) fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn object(&self, key: &Key) -> Option<&Arc<Value>> {
        self.entries.get(key).map(|entry| &entry.object)
    }

    /// All of a kind, by namespace and name; in one namespace, or everywhere if it is empty.
    pub(super) fn objects(
        &self,
        kind: &'static Kind,
        namespace: &str,
    ) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        let from = Key {
            kind,
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let wanted = namespace.to_owned();
        self.entries
            .range(from..)
            .take_while(move |(key, _)| {
                key.kind == kind && (wanted.is_empty() || key.namespace == wanted)
            })
            .map(|(key, entry)| (key, &entry.object))
    }

    /// The same as they were at `version`, which must not be older than [`Store::oldest`].
    pub(super) fn objects_at(
        &self,
        kind: &'static Kind,
        namespace: &str,
        version: u64,
    ) -> BTreeMap<Key, Arc<Value>> {
        let now = self.objects(kind, namespace);
        let mut then: BTreeMap<Key, Arc<Value>> = now
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        let since = self.since(version).rev();
        for change in since.filter(|change| change.concerns(kind, namespace)) {
            match &change.before {
                Some(before) => then.insert(change.key.clone(), Arc::clone(before)),
                None => then.remove(&change.key),
            };
        }
        then
    }

    /// Everything in a namespace, of every kind.
    pub(super) fn within(&self, namespace: &str) -> Vec<Key> {
        let keys = self.entries.keys();
        keys.filter(|key| key.namespace == namespace)
            .cloned()
            .collect()
    }

    /// What names the object of this uid as an owner.
    pub(super) fn owned_by(&self, uid: &str) -> Vec<Key> {
        let keys = self.owned.get(uid);
        keys.map(|keys| keys.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The Services with a selector in a namespace. Thousands have none, and every change of a pod
    /// asks for them.
    pub(super) fn choosing(&self, namespace: &str) -> impl Iterator<Item = &Key> {
        self.choosing.get(namespace).into_iter().flatten()
    }

    /// Whether an object has this uid.
    pub(super) fn is_alive(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    /// Whether an object had this uid, and is gone.
    pub(super) fn is_buried(&self, uid: &str) -> bool {
        !self.uids.contains(uid) && self.buried.contains(uid)
    }

    /// Changes after `version`, oldest first.
    pub(super) fn since(&self, version: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let first = self
            .history
            .partition_point(|change| change.version <= version);
        self.history.range(first..)
    }

    /// Forgets the changes up to now.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.version;
    }

    /// Counts one, without a change: as if something else in the cluster had changed.
    pub(super) fn tick(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// A uid that no other object of this server has.
    pub(super) fn new_uid(&mut self) -> String {
        self.given += 1;
        format!("5e0c0000-0000-4000-8000-{:012x}", self.given)
    }

    /// Puts an object in its place, with the version of this change.
    pub(super) fn set(&mut self, key: Key, mut object: Value, managers: Managers) -> Arc<Value> {
        let version = self.tick();
        metadata(&mut object).insert("resourceVersion".to_owned(), version.to_string().into());
        let object = Arc::new(object);
        let entry = Entry {
            object: Arc::clone(&object),
            managers,
        };
        let before = self.entries.insert(key.clone(), entry);
        let before = before.map(|entry| entry.object);
        if let Some(before) = &before {
            self.disown(&key, before);
        }
        self.uids.insert(text(&object, "/metadata/uid").to_owned());
        for owner in list(&object, "/metadata/ownerReferences") {
            let owner = text(owner, "/uid").to_owned();
            self.owned.entry(owner).or_default().insert(key.clone());
        }
        self.note_choice(&key, Some(&object));
        self.remember(Change {
            version,
            key,
            before,
            after: Some(Arc::clone(&object)),
            told: Arc::clone(&object),
        });
        object
    }

    /// Changes an object that the change before made, as part of the same change.
    pub(super) fn replace_new(
        &mut self,
        key: &Key,
        object: Value,
        managers: Managers,
    ) -> Arc<Value> {
        let object = Arc::new(object);
        self.note_choice(key, Some(&object));
        if let Some(entry) = self.entries.get_mut(key) {
            entry.object = Arc::clone(&object);
            entry.managers = managers;
        }
        if let Some(change) = self.history.back_mut().filter(|change| change.key == *key) {
            change.after = Some(Arc::clone(&object));
            change.told = Arc::clone(&object);
        }
        object
    }

    /// Takes an object away; its last state, with the version of this change.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.entries.remove(key)?.object;
        self.disown(key, &before);
        self.note_choice(key, None);
        if let Some(uid) = self.uids.take(text(&before, "/metadata/uid")) {
            self.buried.insert(uid);
        }
        let version = self.tick();
        let mut told = Value::clone(&before);
        metadata(&mut told).insert("resourceVersion".to_owned(), version.to_string().into());
        let told = Arc::new(told);
        self.remember(Change {
            version,
            key: key.clone(),
            before: Some(before),
            after: None,
            told: Arc::clone(&told),
        });
        Some(told)
    }

    fn note_choice(&mut self, key: &Key, object: Option<&Value>) {
        if key.kind.plural != "services" || !key.kind.group.is_empty() {
            return;
        }
        let selector = object.and_then(|object| object.pointer("/spec/selector")?.as_object());
        if selector.is_some_and(|selector| !selector.is_empty()) {
            let chooses = self.choosing.entry(key.namespace.clone()).or_default();
            chooses.insert(key.clone());
        } else if let Some(chooses) = self.choosing.get_mut(&key.namespace) {
            chooses.remove(key);
        }
    }

    fn disown(&mut self, key: &Key, object: &Value) {
        for owner in list(object, "/metadata/ownerReferences") {
            let uid = text(owner, "/uid");
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(key);
                if owned.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(change);
        while self.history.len() > KEPT
            && let Some(forgotten) = self.history.pop_front()
        {
            self.compacted = forgotten.version;
        }
    }
}

impl Change {
    /// Whether a list of this kind and namespace (empty: all) shows it.
    pub(super) fn concerns(&self, kind: &Kind, namespace: &str) -> bool {
        self.key.kind == kind && (namespace.is_empty() || self.key.namespace == namespace)
    }
}
