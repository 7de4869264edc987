//! Creating and changing objects, with what a real server does to their metadata.
//!
//! Approximated: a PUT never creates, which the real one lets it do for a few kinds.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::apply::apply;
use super::checks::{check_new, check_update};
use super::defaults::set_defaults;
use super::deletes::take_away;
use super::fields::{Manager, Managers, Operation};
use super::kinds::{Generation, Kind};
use super::object::{is_leaving, list, metadata, number, text, timestamp};
use super::refusal::{Cause, Refusal};
use super::store::{Key, Store};

/// Who writes, and how.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    /// `fieldManager` of the request, or the first word of its user agent.
    pub(super) manager: String,
    /// Checks everything and keeps nothing.
    pub(super) dry_run: bool,
}

/// What part of an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    Status,
    /// Replicas alone, as a whole object here; see `scale`.
    Scale,
}

impl Writer {
    fn of(&self, operation: Operation, part: Part) -> Manager {
        Manager {
            name: self.manager.clone(),
            operation,
            subresource: match part {
                Part::Main => String::new(),
                Part::Status => "status".to_owned(),
                Part::Scale => "scale".to_owned(),
            },
        }
    }
}

/// Makes a new object.
pub(super) fn create(
    store: &mut Store,
    kind: &'static Kind,
    namespace: &str,
    mut object: Value,
    writer: &Writer,
) -> Result<Arc<Value>, Refusal> {
    check_type(kind, &object)?;
    check_namespace(store, kind, namespace, &mut object)?;
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        let why = "resourceVersion should not be set on objects to be created";
        return Err(Refusal::bad_request(why));
    }
    let prefix = text(&object, "/metadata/generateName").to_owned();
    if text(&object, "/metadata/name").is_empty() && !prefix.is_empty() {
        let name = format!("{prefix}{}", suffix(store.version()));
        metadata(&mut object).insert("name".to_owned(), name.into());
    }
    if kind.status
        && let Some(members) = object.as_object_mut()
    {
        members.remove("status");
    }
    set_defaults(kind, &mut object, store.version());
    check_new(kind, &object)?;
    let key = Key {
        kind,
        namespace: namespace.to_owned(),
        name: text(&object, "/metadata/name").to_owned(),
    };
    if store.entry(&key).is_some() {
        return Err(Refusal::already_exists(kind, &key.name));
    }
    let uid = store.new_uid();
    stamp(kind, &mut object, uid);
    let mut managers = Managers::default();
    let manager = writer.of(Operation::Update, Part::Main);
    managers.wrote(&manager, &json!({}), &object, kind.custom);
    tell_managers(kind, &mut object, &managers);
    if writer.dry_run {
        return Ok(Arc::new(object));
    }
    Ok(store.set(key, object, managers))
}

/// Puts `new` in the place of an object, or of a part of it.
pub(super) fn update(
    store: &mut Store,
    key: &Key,
    part: Part,
    new: Value,
    writer: &Writer,
) -> Result<Arc<Value>, Refusal> {
    check_type(key.kind, &new)?;
    let entry = store.entry(key);
    let entry = entry.ok_or_else(|| Refusal::not_found(key.kind, &key.name))?;
    let (old, mut managers) = (Arc::clone(&entry.object), entry.managers.clone());
    let version = text(&new, "/metadata/resourceVersion");
    if version.is_empty() && key.kind.insists_on_version() {
        let why = "must be specified for an update";
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), why);
        return Err(Refusal::invalid(key.kind, &key.name, &[cause]));
    }
    let new = over(key, part, &old, new)?;
    if new == *old {
        return Ok(old); // nothing is written, so no version is spent
    }
    let manager = writer.of(Operation::Update, part);
    managers.wrote(&manager, &old, &new, key.kind.custom);
    keep(store, key, &old, new, managers, writer)
}

/// Creates an object, or changes what `writer` wants of it.
pub(super) fn apply_to(
    store: &mut Store,
    key: &Key,
    part: Part,
    wanted: Value,
    force: bool,
    writer: &Writer,
) -> Result<(Arc<Value>, bool), Refusal> {
    check_type(key.kind, &wanted)?;
    let manager = writer.of(Operation::Apply, part);
    let Some(entry) = store.entry(key) else {
        if part != Part::Main {
            return Err(Refusal::not_found(key.kind, &key.name));
        }
        let mut object = wanted.clone();
        metadata(&mut object).insert("name".to_owned(), key.name.clone().into());
        let made = create(store, key.kind, &key.namespace, object, writer)?;
        if writer.dry_run {
            return Ok((made, true));
        }
        // Only what was asked for is the manager's, not the defaults.
        let (mut object, managers) = apply(
            &made,
            &Managers::default(),
            &wanted,
            &manager,
            true,
            key.kind.custom,
        )?;
        tell_managers(key.kind, &mut object, &managers);
        return Ok((store.replace_new(key, object, managers), true));
    };
    let old = Arc::clone(&entry.object);
    let mut wanted = wanted;
    if let Some(members) = wanted.as_object_mut()
        && part == Part::Main
        && key.kind.status
    {
        members.remove("status");
    }
    let (new, managers) = apply(
        &old,
        &entry.managers,
        &wanted,
        &manager,
        force,
        key.kind.custom,
    )?;
    let new = over(key, part, &old, new)?;
    let object = keep(store, key, &old, new, managers, writer)?;
    Ok((object, false))
}

/// What `new` makes of `old`: the parts it may change, and the metadata it may not.
fn over(key: &Key, part: Part, old: &Value, mut new: Value) -> Result<Value, Refusal> {
    let kind = key.kind;
    let named = |object: &Value, field: &str, ours: &str| {
        let theirs = text(object, field);
        theirs.is_empty() || theirs == ours
    };
    if !named(&new, "/metadata/name", &key.name) {
        let why = format!(
            "the name of the object ({}) does not match the name on the URL ({})",
            text(&new, "/metadata/name"),
            key.name
        );
        return Err(Refusal::bad_request(why));
    }
    if !named(&new, "/metadata/namespace", &key.namespace) {
        let why =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    let (uid, now) = (
        text(old, "/metadata/uid"),
        text(old, "/metadata/resourceVersion"),
    );
    if !named(&new, "/metadata/uid", uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {uid}",
            text(&new, "/metadata/uid")
        );
        return Err(Refusal::conflict(kind, &key.name, &why));
    }
    if !named(&new, "/metadata/resourceVersion", now) {
        return Err(Refusal::modified(kind, &key.name));
    }
    match part {
        Part::Status => {
            let status = new.get("status").cloned();
            new = old.clone();
            set_member(&mut new, "status", status);
        }
        Part::Main if kind.status => set_member(&mut new, "status", old.get("status").cloned()),
        Part::Main | Part::Scale => {}
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "generateName",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
    ] {
        let value = old["metadata"].get(field).cloned();
        match value {
            Some(value) => metadata(&mut new).insert(field.to_owned(), value),
            None => metadata(&mut new).remove(field),
        };
    }
    if part == Part::Main {
        set_defaults(kind, &mut new, 0);
    }
    Ok(new)
}

/// Checks and keeps what an object has become.
fn keep(
    store: &mut Store,
    key: &Key,
    old: &Arc<Value>,
    mut new: Value,
    managers: Managers,
    writer: &Writer,
) -> Result<Arc<Value>, Refusal> {
    check_update(key.kind, old, &new)?;
    tell_managers(key.kind, &mut new, &managers);
    if new == **old {
        return Ok(Arc::clone(old)); // as above
    }
    raise_generation(key.kind, old, &mut new);
    if writer.dry_run {
        return Ok(Arc::new(new));
    }
    let waits = number(&new, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) > 0;
    let object = store.set(key.clone(), new, managers);
    if is_leaving(&object) && list(&object, "/metadata/finalizers").is_empty() && !waits {
        take_away(store, key);
    }
    Ok(object)
}

fn set_member(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    match value {
        Some(value) => members.insert(field.to_owned(), value),
        None => members.remove(field),
    };
}

fn raise_generation(kind: &Kind, old: &Value, new: &mut Value) {
    let annotations = match kind.generation {
        Generation::None => return,
        Generation::Spec => false,
        Generation::SpecAndAnnotations => true,
    };
    let bare = |object: &Value| {
        let mut object = object.clone();
        set_member(&mut object, "metadata", None);
        set_member(&mut object, "status", None);
        object
    };
    let pointer = "/metadata/annotations";
    let changed =
        bare(old) != bare(new) || annotations && old.pointer(pointer) != new.pointer(pointer);
    if changed {
        let generation = number(old, "/metadata/generation").unwrap_or(0) + 1;
        metadata(new).insert("generation".to_owned(), generation.into());
    }
}

fn stamp(kind: &Kind, object: &mut Value, uid: String) {
    let fields = metadata(object);
    fields.insert("uid".to_owned(), uid.into());
    let now = timestamp(SystemTime::now());
    fields.insert("creationTimestamp".to_owned(), now.into());
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        fields.remove(field);
    }
    if kind.generation != Generation::None {
        fields.insert("generation".to_owned(), 1.into());
    }
}

fn tell_managers(kind: &Kind, object: &mut Value, managers: &Managers) {
    let told = managers.told(&kind.api_version());
    metadata(object).insert("managedFields".to_owned(), told);
}

fn check_type(kind: &Kind, object: &Value) -> Result<(), Refusal> {
    if !object.is_object() {
        let why = format!("couldn't get version/kind; json parse error: {object} is no object");
        return Err(Refusal::bad_request(why));
    }
    let (version, name) = (text(object, "/apiVersion"), text(object, "/kind"));
    let version_fits = version.is_empty() || version == kind.api_version();
    if version_fits && (name.is_empty() || name == kind.kind) {
        return Ok(());
    }
    let why = format!(
        "{name} in version {version:?} cannot be handled as a {}: the path is that of {} {}",
        kind.kind,
        kind.api_version(),
        kind.plural,
    );
    Err(Refusal::bad_request(why))
}

fn check_namespace(
    store: &Store,
    kind: &Kind,
    namespace: &str,
    object: &mut Value,
) -> Result<(), Refusal> {
    let fields = metadata(object);
    let Some(space) = store.kind_named("Namespace").filter(|_| kind.namespaced) else {
        fields.remove("namespace");
        return Ok(());
    };
    let said = fields.get("namespace").and_then(Value::as_str);
    if said.is_some_and(|said| said != namespace && !said.is_empty()) {
        let why =
            "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Refusal::bad_request(why));
    }
    fields.insert("namespace".to_owned(), namespace.into());
    let key = Key {
        kind: space,
        namespace: String::new(),
        name: namespace.to_owned(),
    };
    let Some(space) = store.object(&key) else {
        return Err(Refusal::not_found(key.kind, namespace));
    };
    if is_leaving(space) {
        let why = format!(
            "{} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
            kind.qualified()
        );
        return Err(Refusal::new(403, "Forbidden", why));
    }
    Ok(())
}

/// Five characters that differ from version to version.
fn suffix(version: u64) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = version.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut letter = || {
        let at = (rest % 27) as usize;
        rest /= 27;
        char::from(LETTERS[at])
    };
    (0..5).map(|_| letter()).collect()
}

/// Makes an object what a test says, with its status, and its namespace if that is missing.
pub(super) fn put(store: &mut Store, key: Key, mut object: Value, writer: &Writer) -> Arc<Value> {
    if key.kind.namespaced {
        metadata(&mut object).insert("namespace".to_owned(), key.namespace.clone().into());
        ensure_namespace(store, &key.namespace);
    }
    set_defaults(key.kind, &mut object, store.version());
    let before = store.entry(&key).cloned();
    let mut managers = Managers::default();
    let mut was = Arc::new(json!({}));
    match before {
        Some(before) => {
            for field in [
                "uid",
                "creationTimestamp",
                "generation",
                "managedFields",
                "resourceVersion",
            ] {
                if let Some(value) = before.object["metadata"].get(field) {
                    metadata(&mut object).insert(field.to_owned(), value.clone());
                }
            }
            if object == *before.object {
                return before.object; // as with an update that changes nothing
            }
            raise_generation(key.kind, &before.object, &mut object);
            managers = before.managers;
            was = before.object;
        }
        None => {
            let own = text(&object, "/metadata/uid").to_owned();
            let uid = if own.is_empty() { store.new_uid() } else { own };
            let created = text(&object, "/metadata/creationTimestamp").to_owned();
            stamp(key.kind, &mut object, uid);
            if !created.is_empty() {
                metadata(&mut object).insert("creationTimestamp".to_owned(), created.into());
            }
        }
    }
    let manager = writer.of(Operation::Update, Part::Main);
    managers.wrote(&manager, &was, &object, key.kind.custom);
    tell_managers(key.kind, &mut object, &managers);
    store.set(key, object, managers)
}

/// Makes a namespace if it is not there.
pub(super) fn ensure_namespace(store: &mut Store, name: &str) {
    let Some(kind) = store.kind_named("Namespace") else {
        return;
    };
    let key = Key {
        kind,
        namespace: String::new(),
        name: name.to_owned(),
    };
    if store.object(&key).is_some() {
        return;
    }
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    });
    let uid = store.new_uid();
    stamp(kind, &mut object, uid);
    store.set(key, object, Managers::default());
}
