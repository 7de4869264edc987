//! The four ways to patch an object.

use serde_json::{Map, Value};

use super::fields::{key_of, merge_keys};
use super::refusal::Refusal;

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Format {
    /// By the media type of the request.
    pub(super) fn of(media: &str, custom: bool) -> Result<Self, Refusal> {
        match media {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(Refusal::unsupported_media(if custom {
                "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
            } else {
                "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
            })),
        }
    }
}

/// RFC 6902. One operation that cannot be done leaves all undone.
pub(super) fn json_patch(object: &mut Value, patch: Value) -> Result<(), Refusal> {
    let patch: json_patch::Patch = serde_json::from_value(patch)
        .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    json_patch::patch(object, &patch).map_err(|error| {
        let message =
            format!("the server rejected our request due to an error in our request: {error}");
        Refusal::new(422, "Invalid", message)
    })
}

/// RFC 7396.
pub(super) fn merge(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

/// Merges as [`merge`] does, but lists whose items have keys item by item.
///
/// Known directives: `$patch: delete` and `$patch: replace` in objects and items, and
/// `$deleteFromPrimitiveList/...`. `$setElementOrder/...` and `$retainKeys` are ignored: new
/// items come last, and members stay.
pub(super) fn strategic(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") {
        let mut whole = patch.clone();
        whole.remove("$patch");
        *object = Value::Object(whole);
        return;
    }
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let members = object.as_object_mut().expect("made above");
    for (field, value) in patch {
        if let Some(field) = field.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(items) = members.get_mut(field).and_then(Value::as_array_mut) {
                items.retain(|item| !gone.contains(item));
            }
        } else if field.starts_with('$') {
            // A directive that says nothing about the outcome here.
        } else if value.is_null() || directive(value) == Some("delete") {
            members.remove(field);
        } else if let Value::Array(items) = value {
            let there = members
                .entry(field.clone())
                .or_insert_with(|| Value::Array(Vec::new()));
            merge_list(field, there, items);
        } else {
            strategic(members.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

fn directive(value: &Value) -> Option<&str> {
    value.get("$patch").and_then(Value::as_str)
}

fn merge_list(field: &str, there: &mut Value, items: &[Value]) {
    if field == "finalizers" {
        if let Some(values) = there.as_array_mut() {
            for item in items.iter().filter(|item| !item.is_null()) {
                if !values.contains(item) {
                    values.push(item.clone());
                }
            }
        }
        return;
    }
    let keyed: Vec<Value> = items
        .iter()
        .filter(|item| directive(item) != Some("replace"))
        .cloned()
        .collect();
    let replaces = keyed.len() < items.len();
    let old = there.as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = keyed.iter().chain(&old).cloned().collect();
    let keys = merge_keys(field, &all, false);
    let (Some(keys), false) = (keys, replaces) else {
        *there = Value::Array(keyed);
        return;
    };
    let keys = &keys[..1]; // a strategic merge goes by one key
    let mut merged = old;
    for item in keyed {
        let at = merged
            .iter()
            .position(|old| key_of(old, keys) == key_of(&item, keys));
        let deletes = directive(&item) == Some("delete");
        match (at, deletes) {
            (Some(at), true) => {
                merged.remove(at);
            }
            (None, true) => {}
            (Some(at), false) => strategic(&mut merged[at], &item),
            (None, false) => {
                let mut new = Value::Null;
                strategic(&mut new, &item);
                merged.push(new);
            }
        }
    }
    *there = Value::Array(merged);
}
