//! Who has set which field: what `metadata.managedFields` tells, and what server-side apply
//! asks before it changes a field.
//!
//! Approximated: lists are merged item by item only where [`merge_keys`] names their keys;
//! every other list is one value. Of custom kinds only `metadata` has such lists. A conflict
//! is one of single values: two managers who set different members of one object never clash.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// One step into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Field(String),
    /// The item of a list with these keys, as JSON text.
    Item(String),
    /// The item of a set with this value, as JSON text.
    Value(String),
}

/// The way to one value.
pub(super) type Path = Vec<Step>;

/// A writer of fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for the object itself.
    pub(super) subresource: String,
}

/// How it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// Whose field is which.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers {
    fields: BTreeMap<Manager, BTreeSet<Path>>,
}

/// The keys by which the items of a list are told apart; `None` for a list that is one value.
pub(super) fn merge_keys(
    field: &str,
    items: &[Value],
    custom: bool,
) -> Option<&'static [&'static str]> {
    let keys: &[&str] = match field {
        "ownerReferences" => &["uid"],
        _ if custom => return None,
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => &["name"],
        "ports" if items.iter().any(|port| port.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        "ports" => &["port", "protocol"],
        "conditions" => &["type"],
        "volumeMounts" => &["mountPath"],
        "hostAliases" | "podIPs" | "hostIPs" => &["ip"],
        _ => return None,
    };
    // The first key is the one that strategic merge patches go by, and has no default.
    let all_have_it = items.iter().all(|item| item.get(keys[0]).is_some());
    all_have_it.then_some(keys)
}

/// The keys of one item, as JSON text.
pub(super) fn key_of(item: &Value, keys: &[&str]) -> String {
    let value = |key: &str| match (key, item.get(key)) {
        (_, Some(value)) => value.clone(),
        ("protocol", None) => "TCP".into(),
        (_, None) => Value::Null,
    };
    let keys: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), value(key)))
        .collect();
    Value::Object(keys).to_string()
}

/// The ways to all single values of an object, with what is there.
pub(super) fn leaves(object: &Value, custom: bool) -> BTreeMap<Path, &Value> {
    let mut found = BTreeMap::new();
    collect(object, custom, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(
    value: &'a Value,
    custom: bool,
    path: &mut Path,
    found: &mut BTreeMap<Path, &'a Value>,
) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                if path.is_empty() && matches!(field.as_str(), "apiVersion" | "kind") {
                    continue;
                }
                let is_metadata =
                    matches!(path.as_slice(), [Step::Field(top)] if top == "metadata");
                if is_metadata && OF_THE_SERVER.contains(&field.as_str()) {
                    continue;
                }
                path.push(Step::Field(field.clone()));
                collect_member(field, value, custom, path, found);
                path.pop();
            }
        }
        _ => {
            found.insert(path.clone(), value);
        }
    }
}

/// Metadata that nobody but the server sets.
const OF_THE_SERVER: [&str; 11] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

fn collect_member<'a>(
    field: &str,
    value: &'a Value,
    custom: bool,
    path: &mut Path,
    found: &mut BTreeMap<Path, &'a Value>,
) {
    let Some(items) = value.as_array() else {
        return collect(value, custom, path, found);
    };
    if field == "finalizers" {
        for item in items {
            path.push(Step::Value(item.to_string()));
            found.insert(path.clone(), item);
            path.pop();
        }
    } else if let Some(keys) = merge_keys(field, items, custom) {
        for item in items {
            path.push(Step::Item(key_of(item, keys)));
            collect(item, custom, path, found);
            path.pop();
        }
    } else {
        found.insert(path.clone(), value);
    }
}

impl Managers {
    /// Notes that `manager` wrote `after` over `before`, by a create, update or patch: what it
    /// changed is its own and nobody else's, and what is gone is nobody's.
    pub(super) fn wrote(&mut self, manager: &Manager, before: &Value, after: &Value, custom: bool) {
        let was = leaves(before, custom);
        let is = leaves(after, custom);
        let changed: BTreeSet<Path> = is
            .iter()
            .filter(|(path, value)| was.get(*path) != Some(*value))
            .map(|(path, _)| path.clone())
            .collect();
        for (other, fields) in &mut self.fields {
            fields.retain(|path| {
                is.contains_key(path) && (other == manager || !changed.contains(path))
            });
        }
        if !changed.is_empty() {
            self.fields
                .entry(manager.clone())
                .or_default()
                .extend(changed);
        }
        self.fields.retain(|_, fields| !fields.is_empty());
    }

    /// What `manager` has set.
    pub(super) fn of(&self, manager: &Manager) -> BTreeSet<Path> {
        self.fields.get(manager).cloned().unwrap_or_default()
    }

    /// Another than `manager` who has set the field at `path`.
    pub(super) fn other_than(&self, manager: &Manager, path: &Path) -> Option<&Manager> {
        self.fields
            .iter()
            .find(|(other, fields)| *other != manager && fields.contains(path))
            .map(|(other, _)| other)
    }

    /// Notes that `manager` applied exactly these fields; `taken` are no longer anybody else's.
    pub(super) fn applied(
        &mut self,
        manager: &Manager,
        fields: BTreeSet<Path>,
        taken: &BTreeSet<Path>,
    ) {
        for (other, theirs) in &mut self.fields {
            if other != manager {
                theirs.retain(|path| !taken.contains(path));
            }
        }
        self.fields.insert(manager.clone(), fields);
        self.fields.retain(|_, fields| !fields.is_empty());
    }

    /// As `metadata.managedFields` tells it; without the times.
    pub(super) fn told(&self, api_version: &str) -> Value {
        let entries = self.fields.iter().map(|(manager, fields)| {
            let mut tree = json!({});
            for path in fields {
                let mut at = &mut tree;
                for step in path {
                    let step = step.told();
                    at = &mut at[step];
                    if at.is_null() {
                        *at = json!({});
                    }
                }
            }
            let mut entry = json!({
                "manager": manager.name,
                "operation": match manager.operation {
                    Operation::Apply => "Apply",
                    Operation::Update => "Update",
                },
                "apiVersion": api_version,
                "fieldsType": "FieldsV1",
                "fieldsV1": tree,
            });
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.as_str().into();
            }
            entry
        });
        entries.collect()
    }
}

impl Step {
    /// As FieldsV1 writes it.
    fn told(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Item(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
        }
    }
}

/// As messages write it: `.spec.template.spec.containers[name="user"].image`.
pub(super) fn readable(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item(keys) => {
                let inner = keys.trim_start_matches('{').trim_end_matches('}');
                let inner: Vec<String> = inner
                    .split(',')
                    .map(|pair| pair.replacen("\":", "=", 1).replacen('"', "", 1))
                    .collect();
                text.push_str(&format!("[{}]", inner.join(",")));
            }
            Step::Value(value) => text.push_str(&format!("[={value}]")),
        }
    }
    text
}
