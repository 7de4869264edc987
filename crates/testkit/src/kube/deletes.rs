//! Deleting objects, and what goes with them.
//!
//! Approximated: deletion in the foreground is deletion in the background; a dependant goes as
//! soon as none of its owners is alive, in the same moment, also if they were gone when it was made.
//! An object created with an owner that never was stays.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::kinds::{Generation, Kind};
use super::object::{is_leaving, list, metadata, number, text, timestamp};
use super::refusal::Refusal;
use super::store::{Key, Store};

/// How to delete.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletion {
    /// Seconds; `None` for the object's own.
    pub(super) grace: Option<i64>,
    pub(super) orphan: bool,
    /// The uid and the resourceVersion it must have, if not empty.
    pub(super) uid: String,
    pub(super) version: String,
    pub(super) dry_run: bool,
}

/// Deletes an object, or begins to; its last or present state, and whether it is gone.
pub(super) fn delete(
    store: &mut Store,
    key: &Key,
    how: &Deletion,
) -> Result<(Arc<Value>, bool), Refusal> {
    let entry = store.entry(key);
    let entry = entry.ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
    let (object, managers) = (Arc::clone(&entry.object), entry.managers.clone());
    for (wanted, pointer) in [
        (&how.uid, "/metadata/uid"),
        (&how.version, "/metadata/resourceVersion"),
    ] {
        let is = text(&object, pointer);
        if !wanted.is_empty() && wanted != is {
            let why = format!("Precondition failed: {wanted} in precondition, {is} in object meta");
            return Err(Refusal::conflict(key.kind, &key.name, &why));
        }
    }
    let grace = grace(&object, key.kind, how.grace);
    let finalizers = list(&object, "/metadata/finalizers");
    let is_namespace = key.kind.plural == "namespaces";
    if how.dry_run {
        return Ok((object, grace == 0));
    }
    if how.orphan {
        orphan(store, text(&object, "/metadata/uid"));
    }
    if grace == 0 && finalizers.is_empty() && !is_namespace {
        let gone = take_away(store, key).unwrap_or(object);
        return Ok((gone, true));
    }
    let shorter =
        number(&object, "/metadata/deletionGracePeriodSeconds").is_none_or(|now| grace < now);
    if is_leaving(&object) && !shorter {
        return Ok((object, false));
    }
    let mut leaving = Value::clone(&object);
    let until = SystemTime::now() + Duration::from_secs(grace.unsigned_abs());
    let fields = metadata(&mut leaving);
    fields.insert("deletionTimestamp".to_owned(), timestamp(until).into());
    fields.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    if key.kind.generation != Generation::None {
        let generation = number(&object, "/metadata/generation").unwrap_or(0) + 1;
        fields.insert("generation".to_owned(), generation.into());
    }
    if is_namespace {
        leaving["status"]["phase"] = "Terminating".into();
    }
    let leaving = store.set(key.clone(), leaving, managers);
    if is_namespace {
        for within in store.within(&key.name) {
            let now = Deletion {
                grace: Some(0),
                ..Deletion::default()
            };
            // One that an earlier one of them took along is gone, as it should be.
            let _ = delete(store, &within, &now);
        }
        let gone = close_namespace(store, &key.name);
        return Ok((leaving, gone));
    }
    Ok((leaving, false))
}

/// Seconds between the beginning of a deletion and its end. Only pods that run somewhere have
/// any: their kubelet ends it.
fn grace(object: &Value, kind: &Kind, asked: Option<i64>) -> i64 {
    if kind.plural != "pods" || text(object, "/spec/nodeName").is_empty() {
        return 0;
    }
    let own = number(object, "/spec/terminationGracePeriodSeconds");
    asked.or(own).unwrap_or(30).max(0)
}

/// Removes an object for good, and what it leaves without an owner.
pub(super) fn take_away(store: &mut Store, key: &Key) -> Option<Arc<Value>> {
    let gone = store.remove(key)?;
    for dependant in store.owned_by(text(&gone, "/metadata/uid")) {
        let lives = |object: &Arc<Value>| {
            let owners = list(object, "/metadata/ownerReferences").iter();
            owners
                .map(|owner| text(owner, "/uid"))
                .any(|uid| store.is_alive(uid))
        };
        if !store.object(&dependant).is_some_and(lives) {
            // One that is gone by now needs no deletion.
            let _ = delete(store, &dependant, &Deletion::default());
        }
    }
    close_namespace(store, &key.namespace);
    Some(gone)
}

/// Removes an object whose owners were all gone when it was made.
pub(super) fn bury(store: &mut Store, key: &Key) {
    let all_gone = store.object(key).is_some_and(|object| {
        let owners = list(object, "/metadata/ownerReferences");
        let gone = |owner: &Value| store.is_buried(text(owner, "/uid"));
        !owners.is_empty() && owners.iter().all(gone)
    });
    if all_gone {
        // One that is gone by now needs no deletion.
        let _ = delete(store, key, &Deletion::default());
    }
}

/// Removes a namespace that is leaving and empty.
fn close_namespace(store: &mut Store, name: &str) -> bool {
    let Some(kind) = store.kind_named("Namespace") else {
        return false;
    };
    let key = Key {
        kind,
        namespace: String::new(),
        name: name.to_owned(),
    };
    let leaving = store.object(&key).is_some_and(|space| is_leaving(space));
    leaving && store.within(name).is_empty() && store.remove(&key).is_some()
}

/// Strikes the owner of this uid from all that name it.
fn orphan(store: &mut Store, uid: &str) {
    for key in store.owned_by(uid) {
        let Some(entry) = store.entry(&key).cloned() else {
            continue;
        };
        let mut object = Value::clone(&entry.object);
        if let Some(owners) = object
            .pointer_mut("/metadata/ownerReferences")
            .and_then(Value::as_array_mut)
        {
            owners.retain(|owner| text(owner, "/uid") != uid);
        }
        store.set(key, object, entry.managers);
    }
}
