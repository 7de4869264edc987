//! The endpoints of Services with a selector: EndpointSlices, and an Endpoints object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::deletes::{self, Deletion};
use super::super::object::{is_leaving, list, text};
use super::super::store::{Key, Store};
use super::super::write;
use super::workloads::is_ready;
use super::{hash, writer};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// The most endpoints in one slice.
const SLICE: usize = 100;

fn selector(service: &Value) -> Option<&Map<String, Value>> {
    let selector = service.get("spec")?.get("selector")?.as_object()?;
    (!selector.is_empty()).then_some(selector)
}

fn chooses(selector: &Map<String, Value>, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// The Services that choose a pod.
pub(super) fn services_of(store: &Store, pod: &Value) -> Vec<Key> {
    let choosing = store.choosing(text(pod, "/metadata/namespace"));
    let chosen = choosing.filter(|key| {
        let service = store.object(key);
        let selector = service.and_then(|service| selector(service));
        selector.is_some_and(|selector| chooses(selector, pod))
    });
    chosen.cloned().collect()
}

/// Brings what says where a Service's pods are up to date.
pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(service) = store.object(key).cloned() else {
        return; // they go as its dependants
    };
    let Some(selector) = selector(&service) else {
        return super::mirror::reconcile(store, key); // somebody else's to write
    };
    let Some(kind) = store.kind_named("Pod") else {
        return;
    };
    let mut by_ports: BTreeMap<String, (Value, Vec<Arc<Value>>)> = BTreeMap::new();
    for (_, pod) in store.objects(kind, &key.namespace) {
        if !chooses(selector, pod) {
            continue; // before anything else: most pods are some other Service's
        }
        let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if !ended && !text(pod, "/status/podIP").is_empty() {
            let ports = ports(&service, pod);
            let group = by_ports.entry(ports.to_string());
            let (_, pods) = group.or_insert_with(|| (ports, Vec::new()));
            pods.push(Arc::clone(pod));
        }
    }
    write_slices(store, key, &service, &by_ports);
    write_endpoints(store, key, &service, &by_ports);
}

/// The ports of a pod that a Service leads to.
fn ports(service: &Value, pod: &Value) -> Value {
    let named = |name: &str| {
        let containers = list(pod, "/spec/containers").iter();
        let mut ports = containers.flat_map(|container| list(container, "/ports"));
        let port = ports.find(|port| port["name"] == name)?;
        port.get("containerPort").cloned()
    };
    let found = list(service, "/spec/ports").iter().filter_map(|port| {
        let target = match &port["targetPort"] {
            Value::String(name) => named(name)?,
            Value::Null => port["port"].clone(),
            number => number.clone(),
        };
        let mut found = json!({ "port": target, "protocol": port["protocol"] });
        found["name"] = text(port, "/name").into();
        if let Some(protocol) = port.get("appProtocol") {
            found["appProtocol"] = protocol.clone();
        }
        Some(found)
    });
    found.collect()
}

/// The metadata of what belongs to a Service: its labels, and it as the owner.
fn belonging(service: &Value, name: &str) -> Value {
    let mut labels = service["metadata"]
        .get("labels")
        .cloned()
        .unwrap_or_default();
    if labels.is_null() {
        labels = json!({});
    }
    json!({
        "name": name,
        "namespace": service["metadata"]["namespace"],
        "labels": labels,
        "ownerReferences": [{
            "apiVersion": "v1",
            "kind": "Service",
            "name": service["metadata"]["name"],
            "uid": service["metadata"]["uid"],
            "controller": true,
            "blockOwnerDeletion": true,
        }],
    })
}

fn reference(pod: &Value) -> Value {
    json!({
        "kind": "Pod",
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "uid": pod["metadata"]["uid"],
    })
}

type ByPorts = BTreeMap<String, (Value, Vec<Arc<Value>>)>;

fn write_slices(store: &mut Store, key: &Key, service: &Value, by_ports: &ByPorts) {
    let Some(kind) = store.kind_named("EndpointSlice") else {
        return;
    };
    let mut slices = BTreeMap::new();
    for (ports, pods) in by_ports.values() {
        for (nth, pods) in pods.chunks(SLICE).enumerate() {
            let name = format!("{}-{}-{nth}", key.name, &hash(ports)[..5]);
            slices.insert(name, (ports.clone(), pods));
        }
    }
    if slices.is_empty() {
        // A Service without pods has a slice that is empty, as a real one has.
        slices.insert(format!("{}-none", key.name), (json!([]), &[][..]));
    }
    let there = store.owned_by(text(service, "/metadata/uid"));
    for (name, (ports, pods)) in &slices {
        let mut metadata = belonging(service, name);
        metadata["labels"][SERVICE_NAME] = key.name.as_str().into();
        metadata["labels"][MANAGED_BY] = CONTROLLER.into();
        let endpoints = pods.iter().map(|pod| endpoint(service, pod));
        let slice = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind,
            "metadata": metadata,
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": endpoints.collect::<Value>(),
        });
        let place = Key {
            kind,
            namespace: key.namespace.clone(),
            name: name.clone(),
        };
        write::put(store, place, slice, &writer("kube-controller-manager"));
    }
    // Slices that other controllers write for the Service are theirs.
    let own = |old: &Key| {
        let manager = format!("/metadata/labels/{}", MANAGED_BY.replace('/', "~1"));
        let slice = store.object(old);
        slice.is_some_and(|slice| text(slice, &manager) == CONTROLLER)
    };
    let stale = |old: &&Key| old.kind == kind && !slices.contains_key(&old.name) && own(old);
    let stale: Vec<&Key> = there.iter().filter(stale).collect();
    for old in stale {
        // Found above, and nobody else has the store.
        let _ = deletes::delete(store, old, &Deletion::default());
    }
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let (ready, leaving) = (is_ready(pod), is_leaving(pod));
    let always = service["spec"]["publishNotReadyAddresses"] == true;
    json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": always || ready && !leaving,
            "serving": ready,
            "terminating": leaving,
        },
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": reference(pod),
    })
}

fn write_endpoints(store: &mut Store, key: &Key, service: &Value, by_ports: &ByPorts) {
    let Some(kind) = store.kind_named("Endpoints") else {
        return;
    };
    let always = service["spec"]["publishNotReadyAddresses"] == true;
    let mut subsets = Vec::new();
    for (ports, pods) in by_ports.values() {
        let staying = pods.iter().filter(|pod| !is_leaving(pod));
        let (ready, others): (Vec<_>, Vec<_>) = staying.partition(|pod| always || is_ready(pod));
        let addresses = |pods: &[&Arc<Value>]| -> Value {
            let address = |pod: &&Arc<Value>| {
                json!({
                    "ip": pod["status"]["podIP"],
                    "nodeName": pod["spec"]["nodeName"],
                    "targetRef": reference(pod),
                })
            };
            pods.iter().map(address).collect()
        };
        let mut subset = json!({ "ports": ports });
        if !ready.is_empty() {
            subset["addresses"] = addresses(&ready);
        }
        if !others.is_empty() {
            subset["notReadyAddresses"] = addresses(&others);
        }
        if !(ready.is_empty() && others.is_empty()) {
            subsets.push(subset);
        }
    }
    let mut endpoints = json!({
        "apiVersion": "v1",
        "kind": kind.kind,
        "metadata": belonging(service, &key.name),
    });
    if !subsets.is_empty() {
        endpoints["subsets"] = subsets.into();
    }
    let place = Key {
        kind,
        ..key.clone()
    };
    write::put(store, place, endpoints, &writer("kube-controller-manager"));
}
