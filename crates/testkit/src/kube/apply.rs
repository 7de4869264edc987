//! Server-side apply: a manager says what it wants of an object, and what it wanted before
//! and no longer names goes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::fields::{Manager, Managers, Path, Step, key_of, leaves, merge_keys, readable};
use super::refusal::{Cause, Refusal};

/// What applying makes of an object: the object, and who has set what in it.
pub(super) fn apply(
    live: &Value,
    managers: &Managers,
    wanted: &Value,
    manager: &Manager,
    force: bool,
    custom: bool,
) -> Result<(Value, Managers), Refusal> {
    let is = leaves(live, custom);
    let wants = leaves(wanted, custom);
    let mut conflicts = Vec::new();
    let mut taken = BTreeSet::new();
    for (path, value) in &wants {
        if is.get(path).is_none_or(|now| now == value) {
            continue;
        }
        if let Some(other) = managers.other_than(manager, path) {
            conflicts.push(Cause {
                reason: "FieldManagerConflict",
                field: readable(path),
                message: format!("conflict with \"{}\"", other.name),
            });
        }
        taken.insert(path.clone());
    }
    if !conflicts.is_empty() && !force {
        return Err(Refusal::apply_conflict(&conflicts));
    }
    let mut object = live.clone();
    combine(&mut object, wanted, custom);
    let mut gone: Vec<Path> = managers
        .of(manager)
        .into_iter()
        .filter(|path| !wants.contains_key(path) && managers.other_than(manager, path).is_none())
        .collect();
    // The keys of an item are needed to find it, so they go last, from the inside out.
    gone.sort_by_key(|path| (is_key(path), Reverse(path.len())));
    for path in &gone {
        prune(&mut object, path);
    }
    let mut managers = managers.clone();
    managers.applied(manager, wants.into_keys().collect(), &taken);
    Ok((object, managers))
}

/// Lays `wanted` over `object`: members and keyed items one by one, the rest whole.
fn combine(object: &mut Value, wanted: &Value, custom: bool) {
    let Value::Object(wanted) = wanted else {
        *object = wanted.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (field, value) in wanted {
        let there = &mut object[field];
        match (value, there.as_array_mut()) {
            (Value::Array(items), Some(old)) if field == "finalizers" => {
                for item in items {
                    if !old.contains(item) {
                        old.push(item.clone());
                    }
                }
            }
            (Value::Array(items), Some(old)) => {
                let all: Vec<Value> = items.iter().chain(&*old).cloned().collect();
                let Some(keys) = merge_keys(field, &all, custom) else {
                    *there = value.clone();
                    continue;
                };
                for item in items {
                    let same = |old: &&mut Value| key_of(old, keys) == key_of(item, keys);
                    match old.iter_mut().find(same) {
                        Some(old) => combine(old, item, custom),
                        None => old.push(item.clone()),
                    }
                }
            }
            _ => combine(there, value, custom),
        }
    }
}

fn keys_of(item: &str) -> Map<String, Value> {
    serde_json::from_str(item).unwrap_or_default()
}

/// Whether the value at `path` is a key of the list item that it is in.
fn is_key(path: &[Step]) -> bool {
    matches!(path, [.., Step::Item(item), Step::Field(field)] if keys_of(item).contains_key(field))
}

/// Takes the value at `path` out, and what holds nothing any more because of it. The key of an
/// item goes with the item, once nothing else is in it.
fn prune(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    match step {
        Step::Field(name) => {
            let Some(members) = value.as_object_mut() else {
                return;
            };
            if let Some(member) = members.get_mut(name) {
                prune(member, rest);
                let empty = member.as_object().is_some_and(Map::is_empty)
                    || member.as_array().is_some_and(Vec::is_empty);
                if rest.is_empty() || empty {
                    members.remove(name);
                }
            }
        }
        Step::Item(wanted) => {
            let Some(items) = value.as_array_mut() else {
                return;
            };
            let keys = keys_of(wanted);
            let names: Vec<&str> = keys.keys().map(String::as_str).collect();
            let Some(at) = items
                .iter()
                .position(|item| &key_of(item, &names) == wanted)
            else {
                return;
            };
            if rest.len() == 1 && is_key(path) {
                let fields = items[at].as_object();
                if fields.is_some_and(|it| it.keys().all(|field| keys.contains_key(field))) {
                    items.remove(at);
                }
            } else {
                prune(&mut items[at], rest);
            }
        }
        Step::Value(wanted) => {
            if let Some(items) = value.as_array_mut() {
                items.retain(|item| &item.to_string() != wanted);
            }
        }
    }
}
