//! Copies of objects, kept up to date: list, then watch, for ever.
//!
//! An object is read into a small struct that has only what is used of it ([`Shape`]), is trimmed
//! further at once, and what nobody wants is dropped. A list is read in pages. A watch goes on
//! where it broke off; only if the server has forgotten that place (410) everything is listed
//! anew, and what is missing then is told as gone. All watches of a process end at times of their
//! own, so that a restart of the API server does not bring all their lists at once.
//!
//! An object that cannot be read is told and left as it was last known; it does not stop the others.

mod backoff;
mod complaint;
mod hear;

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::Duration;

use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use backoff::{Backoff, chance};
pub use complaint::Reach;
pub(crate) use complaint::{Complaints, Permission, chain};

use crate::Key;
use crate::object::Version;
use hear::{Ear, Heard};

/// A part of an object of one kind, as it is on the wire.
pub(crate) trait Shape:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + fmt::Debug
    + Send
    + 'static
{
}

impl<K> Shape for K where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + fmt::Debug
        + Send
        + 'static
{
}

/// Makes a struct with a field `metadata` a [`Shape`] of one kind.
macro_rules! shape {
    ($name:ident: $kind:literal, $plural:literal, $group:literal, $version:literal) => {
        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use shape;

/// What happened to objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change<T> {
    /// This is how one is now.
    Is(T),
    /// It is there no longer, or no longer selected.
    Gone(Key),
    /// All that are there have been told. Comes again after each list.
    Complete,
}

/// How lists and watches are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Most objects in one page of a list.
    pub page: u32,
    /// Time after which a watch ends and goes on by another request, give or take an eighth. One
    /// that is silent for a few seconds longer has gone without a word.
    pub watch: Duration,
    /// Longest time between two attempts.
    pub longest_wait: Duration,
}

impl Default for Rhythm {
    /// Pages of 500, watches of two minutes, waits of up to 30 s.
    fn default() -> Self {
        Self {
            page: 500,
            watch: Duration::from_secs(120),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Only of this namespace.
    pub(crate) namespace: Option<String>,
    /// A label selector.
    pub(crate) labels: Option<String>,
    /// A field selector.
    pub(crate) fields: Option<String>,
}

/// What the watches of one process share.
#[derive(Clone)]
pub(crate) struct Reflector {
    pub(crate) client: Client,
    pub(crate) rhythm: Rhythm,
    pub(crate) complaints: Complaints,
}

impl Reflector {
    pub(crate) fn new(client: Client, rhythm: Rhythm, complaints: Complaints) -> Self {
        Self {
            client,
            rhythm,
            complaints,
        }
    }

    /// Tells `to` of every object of the selection, as long as anybody listens. `trim` takes what
    /// is wanted of an object; `None` is an object that is as good as not there.
    pub(crate) async fn follow<K: Shape, T, M>(
        &self,
        selection: &Selection,
        trim: impl Fn(K) -> Option<T>,
        to: &mpsc::Sender<M>,
        tell: impl Fn(Change<T>) -> M,
    ) {
        let (_nobody, late) = mpsc::channel(1);
        self.follow_with(selection, late, trim, to, tell).await;
    }

    /// The same, and takes objects that were found by another request, as if they had come by the
    /// watch: they may have been trimmed to nothing when they did.
    pub(crate) async fn follow_with<K: Shape, T, M>(
        &self,
        selection: &Selection,
        mut late: mpsc::Receiver<K>,
        trim: impl Fn(K) -> Option<T>,
        to: &mpsc::Sender<M>,
        tell: impl Fn(Change<T>) -> M,
    ) {
        let resource = Permission::of::<K>();
        let api: Api<DeserializeGuard<K>> = match &selection.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let (ear, mut heard) = mpsc::channel(EAR);
        let complaints = self.complaints.clone();
        let ear = Ear::new(api, selection.clone(), self.rhythm, complaints, ear);
        let telling = async move {
            let mut known = Known::default();
            loop {
                let changes = tokio::select! {
                    event = heard.recv() => match event {
                        Some(event) => known.changes(event, &trim, &resource),
                        None => return,
                    },
                    Some(object) = late.recv() => {
                        known.late(object, &trim).into_iter().collect()
                    }
                };
                for change in changes {
                    if to.send(tell(change)).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::join!(ear.hear(), telling);
    }
}

/// What is heard and waits to be told: little, it is not trimmed yet.
const EAR: usize = 16;
/// Time for which a deleted object is remembered: longer than a list takes.
const LATELY: Duration = Duration::from_secs(60);
/// Most deleted objects that are remembered.
const MOST_LATELY: usize = 4096;

/// Keys that have been told.
#[derive(Default)]
struct Known {
    keys: HashSet<Key>,
    /// Those of the list that is being read.
    listed: HashSet<Key>,
    /// What was deleted lately, so that a list which is older than that does not bring it back.
    lately: VecDeque<(Instant, Key, Version)>,
}

impl Known {
    /// What is heard, for who was told of everything before.
    fn changes<K: Shape, T>(
        &mut self,
        heard: Heard<K>,
        trim: impl Fn(K) -> Option<T>,
        resource: &Permission,
    ) -> Vec<Change<T>> {
        match heard {
            Heard::ListBegins => {
                self.listed.clear();
                Vec::new()
            }
            Heard::Listed(object) => {
                let key = Key::of(object.meta());
                let Some(object) = read(object, resource) else {
                    // What was known of it stays.
                    if self.keys.contains(&key) {
                        self.listed.insert(key);
                    }
                    return Vec::new();
                };
                let Some(trimmed) = trim(object) else {
                    return Vec::new();
                };
                self.keys.insert(key.clone());
                self.listed.insert(key);
                vec![Change::Is(trimmed)]
            }
            Heard::ListEnds => {
                let listed = std::mem::take(&mut self.listed);
                let before = std::mem::replace(&mut self.keys, listed);
                let gone = before.into_iter().filter(|key| !self.keys.contains(key));
                gone.map(Change::Gone).chain([Change::Complete]).collect()
            }
            Heard::Is(object) => {
                let key = Key::of(object.meta());
                let Some(object) = read(object, resource) else {
                    return Vec::new();
                };
                match trim(object) {
                    Some(trimmed) => {
                        self.keys.insert(key);
                        vec![Change::Is(trimmed)]
                    }
                    None => self.gone(&key),
                }
            }
            Heard::Gone(object) => {
                let key = Key::of(object.meta());
                let changes = self.gone(&key);
                self.remember(key, Version::of(object.meta()));
                changes
            }
        }
    }

    /// What an object means that was found by another request.
    fn late<K: Shape, T>(&mut self, object: K, trim: impl Fn(K) -> Option<T>) -> Option<Change<T>> {
        let key = Key::of(object.meta());
        let version = Version::of(object.meta());
        let deleted = |(_, gone, at): &(_, Key, Version)| *gone == key && !at.is_before(version);
        if self.lately.iter().any(deleted) {
            return None;
        }
        let trimmed = trim(object)?;
        self.keys.insert(key);
        Some(Change::Is(trimmed))
    }

    fn remember(&mut self, key: Key, version: Version) {
        let now = Instant::now();
        let old = |(at, ..): &(Instant, Key, Version)| now.duration_since(*at) > LATELY;
        while self.lately.len() >= MOST_LATELY || self.lately.front().is_some_and(old) {
            self.lately.pop_front();
        }
        self.lately.push_back((now, key, version));
    }

    fn gone<T>(&mut self, key: &Key) -> Vec<Change<T>> {
        let known = self.keys.take(key);
        known.map(Change::Gone).into_iter().collect()
    }
}

fn read<K: Shape>(object: DeserializeGuard<K>, resource: &Permission) -> Option<K> {
    match object.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let key = Key::of(&invalid.metadata);
            tracing::warn!(%resource, object = %key, "it cannot be read, and is left as it was: {}", invalid.error);
            None
        }
    }
}
