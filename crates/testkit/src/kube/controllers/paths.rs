//! The path of requests to a revision of Knative: what the controller of a Knative install makes of
//! a ServerlessService.
//!
//! ```text
//! ServerlessService ──► private Service (its pods) ──► Endpoints by `endpoints`
//!        │ mode                                             │
//!        └──────► public Service, its Endpoints ◄── those, or the activators'
//! ```
//!
//! Approximated: of more activators than are wanted the first by address are taken, and the
//! private Service has the revision's name however long that is.
//!
//! Source: spec/activator.md §9, spec/autoscaler.md §9.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::super::object::{is_leaving, list, members, number, text, timestamp};
use super::super::store::{Key, Store};
use super::super::write;
use super::writer;

/// Where the activators are.
const SYSTEM: &str = "knative-serving";
const ACTIVATORS: &str = "activator-service";
/// Label of what is made here: whose it is.
const PATH: &str = "networking.internal.knative.dev/serverlessservice";
/// Label of the same: for whom.
const TYPE: &str = "networking.internal.knative.dev/serviceType";
/// Ports of every pod and activator for requests over TLS.
const TLS: i64 = 8112;

/// The paths that an Endpoints object is about: its own, or all if it is the activators'.
pub(super) fn concerned(store: &Store, endpoints: &Key, object: &Value) -> Vec<Key> {
    let Some(kind) = store.kind_named("ServerlessService") else {
        return Vec::new();
    };
    if endpoints.namespace == SYSTEM && endpoints.name == ACTIVATORS {
        return store
            .objects(kind, "")
            .map(|(key, _)| key.clone())
            .collect();
    }
    let labels = object.pointer("/metadata/labels");
    let path = labels.and_then(|labels| labels.get(PATH)?.as_str());
    let path = path.map(|name| Key {
        kind,
        namespace: endpoints.namespace.clone(),
        name: name.to_owned(),
    });
    path.into_iter().collect()
}

/// Makes the Services and the public endpoints of one path, and tells so in its status.
pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(path) = store.object(key).cloned() else {
        return; // what it had goes as its dependants
    };
    if is_leaving(&path) {
        return;
    }
    let Some(selector) = selector(store, key, &path) else {
        return; // its Deployment comes later
    };
    let private = format!("{}-private", key.name);
    let h2c = text(&path, "/spec/protocolType") == "h2c";
    put_service(store, key, &path, &private, private_spec(h2c, selector));
    put_service(store, key, &path, &key.name, public_spec(h2c));

    let backends = subsets(store, &key.namespace, &private);
    let activators = subsets(store, SYSTEM, ACTIVATORS);
    let (ready, waiting) = (addresses(&backends), addresses(&activators));
    let proxied = ready == 0 || text(&path, "/spec/mode") == "Proxy";
    let port = if h2c { 8013 } else { 8012 };
    let most = number(&path, "/spec/numActivators").unwrap_or(0);
    let chosen = match proxied && waiting > 0 {
        true => with_ports(&first(&activators, most), port),
        false => with_ports(&backends, port),
    };
    let Some(kind) = store.kind_named("Endpoints") else {
        return;
    };
    let mut endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": belonging(&path, &key.name, "Public"),
    });
    if !chosen.is_empty() {
        endpoints["subsets"] = chosen.into();
    }
    let place = Key {
        kind,
        ..key.clone()
    };
    write::put(store, place, endpoints, &writer("controller"));
    tell(store, key, &path, proxied, ready > 0);
}

/// The labels of the pods, as the Deployment has them.
fn selector(store: &Store, key: &Key, path: &Value) -> Option<Map<String, Value>> {
    let target = Key {
        kind: store.kind_named(text(path, "/spec/objectRef/kind"))?,
        namespace: key.namespace.clone(),
        name: text(path, "/spec/objectRef/name").to_owned(),
    };
    let target = store.object(&target)?;
    target
        .pointer("/spec/selector/matchLabels")?
        .as_object()
        .cloned()
}

fn private_spec(h2c: bool, selector: Map<String, Value>) -> Value {
    let (name, port) = if h2c { ("http2", 8013) } else { ("http", 8012) };
    json!({
        "selector": selector,
        "ports": [
            { "name": name, "port": 80, "targetPort": port },
            { "name": "https", "port": 443, "targetPort": TLS },
            { "name": "http-autometric", "port": 9090, "targetPort": "http-autometric" },
            { "name": "http-usermetric", "port": 9091, "targetPort": "http-usermetric" },
            { "name": "http-queueadm", "port": 8022, "targetPort": 8022 },
            { "name": format!("{name}-istio"), "port": port, "targetPort": port },
        ],
    })
}

fn public_spec(h2c: bool) -> Value {
    let (name, port, target) = match h2c {
        true => ("http2", 81, 8013),
        false => ("http", 80, 8012),
    };
    json!({ "ports": [
        { "name": name, "port": port, "targetPort": target },
        { "name": "https", "port": 443, "targetPort": TLS },
    ] })
}

/// Makes one of the two Services, or mends it: a Service that is there keeps its address.
fn put_service(store: &mut Store, key: &Key, path: &Value, name: &str, spec: Value) {
    let Some(kind) = store.kind_named("Service") else {
        return;
    };
    let place = Key {
        kind,
        namespace: key.namespace.clone(),
        name: name.to_owned(),
    };
    let side = if name == key.name {
        "Public"
    } else {
        "Private"
    };
    let made = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": belonging(path, name, side),
        "spec": {},
    });
    let there = store.object(&place).map(|it| Value::clone(it));
    let mut service = there.unwrap_or(made);
    let spec = spec.as_object().into_iter().flatten();
    members(&mut service, "spec").extend(spec.map(|(field, value)| (field.clone(), value.clone())));
    write::put(store, place, service, &writer("controller"));
}

/// The metadata of what belongs to a path: its labels and annotations, and it as the owner.
fn belonging(path: &Value, name: &str, side: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": path["metadata"]["namespace"],
        "ownerReferences": [{
            "apiVersion": path["apiVersion"],
            "kind": path["kind"],
            "name": path["metadata"]["name"],
            "uid": path["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    });
    for field in ["labels", "annotations"] {
        let copied = path["metadata"].get(field).and_then(Value::as_object);
        members(&mut metadata, field).extend(copied.cloned().unwrap_or_default());
    }
    let labels = members(&mut metadata, "labels");
    labels.insert(PATH.to_owned(), path["metadata"]["name"].clone());
    labels.insert(TYPE.to_owned(), side.into());
    metadata
}

fn subsets(store: &Store, namespace: &str, name: &str) -> Vec<Value> {
    let endpoints = store.kind_named("Endpoints").and_then(|kind| {
        store.object(&Key {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    });
    endpoints.map_or_else(Vec::new, |it| list(it, "/subsets").to_vec())
}

/// How many are ready.
fn addresses(subsets: &[Value]) -> usize {
    let ready = subsets.iter().map(|it| list(it, "/addresses").len());
    ready.sum()
}

/// Of each subset the first so many addresses; 0 for all.
fn first(subsets: &[Value], most: i64) -> Vec<Value> {
    let most = usize::try_from(most).ok().filter(|most| *most > 0);
    let mut subsets = subsets.to_vec();
    let Some(most) = most else { return subsets };
    for subset in &mut subsets {
        if let Some(all) = subset.get_mut("addresses").and_then(Value::as_array_mut) {
            all.sort_by_key(|it| text(it, "/ip").to_owned());
            all.truncate(most);
        }
    }
    subsets
}

/// The same with no other ports than that of requests, and that of requests over TLS.
fn with_ports(subsets: &[Value], port: i64) -> Vec<Value> {
    let mut subsets = subsets.to_vec();
    for subset in &mut subsets {
        if let Some(ports) = subset.get_mut("ports").and_then(Value::as_array_mut) {
            ports.retain(|it| it["port"] == port || it["port"] == TLS);
        }
    }
    subsets
}

fn tell(store: &mut Store, key: &Key, path: &Value, proxied: bool, ready: bool) {
    let word = |is: bool| if is { "True" } else { "False" };
    let activators = match proxied {
        true => ("True", "", ""),
        false => ("False", "ActivatorEndpointsRemoved", ""),
    };
    let backends = match ready {
        true => (word(true), "", ""),
        false => ("Unknown", "NoHealthyBackends", "K8s Service is not ready"),
    };
    let conditions = [
        ("ActivatorEndpointsPopulated", activators),
        ("EndpointsPopulated", backends),
        ("Ready", backends),
    ];
    let conditions: Vec<Value> = conditions
        .into_iter()
        .map(|(kind, said)| condition(path, kind, said))
        .collect();
    let mut new = path.clone();
    new["status"] = json!({
        "observedGeneration": path["metadata"]["generation"],
        "serviceName": key.name,
        "privateServiceName": format!("{}-private", key.name),
        "conditions": conditions,
    });
    // It was there a moment ago, and nobody else has the store.
    let _ = write::update(store, key, write::Part::Status, new, &writer("controller"));
}

/// A condition: of the time of the last one if that said the same.
fn condition(path: &Value, kind: &str, said: (&str, &str, &str)) -> Value {
    let (status, reason, message) = said;
    let mut new = json!({ "type": kind, "status": status });
    if kind == "ActivatorEndpointsPopulated" {
        new["severity"] = "Info".into();
    }
    for (field, value) in [("reason", reason), ("message", message)] {
        if !value.is_empty() {
            new[field] = value.into();
        }
    }
    let before = list(path, "/status/conditions");
    let before = before.iter().find(|it| it["type"] == kind);
    let same = before.filter(|it| {
        ["status", "reason", "message"]
            .iter()
            .all(|field| it.get(field) == new.get(field))
    });
    new["lastTransitionTime"] = match same {
        Some(same) => same["lastTransitionTime"].clone(),
        None => timestamp(SystemTime::now()).into(),
    };
    new
}
