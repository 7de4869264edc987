//! EndpointSlices of Endpoints that somebody writes by hand, for a Service without a selector.

use serde_json::{Value, json};

use super::super::deletes::{self, Deletion};
use super::super::object::{labels, list, members, text};
use super::super::store::{Key, Store};
use super::super::write;
use super::{hash, writer};

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label of those that are left alone.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Brings the slices of one Service up to date.
pub(super) fn reconcile(store: &mut Store, service: &Key) {
    let (Some(endpoints), Some(slices)) = (
        store.kind_named("Endpoints"),
        store.kind_named("EndpointSlice"),
    ) else {
        return;
    };
    let source = Key {
        kind: endpoints,
        ..service.clone()
    };
    let Some(object) = store.object(&source).cloned() else {
        return; // they go as its dependants
    };
    if labels(&object).any(|label| label == (SKIP, "true")) {
        return;
    }
    let mut names = Vec::new();
    for subset in list(&object, "/subsets") {
        let ports = subset.get("ports").cloned().unwrap_or_default();
        let name = format!("{}-{}", service.name, &hash(&ports)[..5]);
        let mut metadata = json!({
            "name": name,
            "namespace": service.namespace,
            "labels": object["metadata"].get("labels").cloned().unwrap_or_default(),
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "Endpoints",
                "name": service.name,
                "uid": object["metadata"]["uid"],
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        });
        let own = members(&mut metadata, "labels");
        own.insert(SERVICE_NAME.to_owned(), service.name.as_str().into());
        own.insert(MANAGED_BY.to_owned(), CONTROLLER.into());
        let ready = list(subset, "/addresses").iter().map(|it| (it, true));
        let others = list(subset, "/notReadyAddresses").iter();
        let all = ready.chain(others.map(|it| (it, false)));
        let slice = json!({
            "apiVersion": slices.api_version(),
            "kind": slices.kind,
            "metadata": metadata,
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": all.map(|(it, ready)| endpoint(it, ready)).collect::<Value>(),
        });
        let place = Key {
            kind: slices,
            namespace: service.namespace.clone(),
            name: name.clone(),
        };
        write::put(store, place, slice, &writer("kube-controller-manager"));
        names.push(name);
    }
    let there = store.owned_by(text(&object, "/metadata/uid"));
    let stale = |old: &&Key| old.kind == slices && !names.contains(&old.name);
    for old in there.iter().filter(stale) {
        // Found above, and nobody else has the store.
        let _ = deletes::delete(store, old, &Deletion::default());
    }
}

fn endpoint(address: &Value, ready: bool) -> Value {
    let mut endpoint = json!({
        "addresses": [address["ip"]],
        "conditions": { "ready": ready },
    });
    for field in ["targetRef", "nodeName"] {
        if let Some(value) = address.get(field) {
            endpoint[field] = value.clone();
        }
    }
    endpoint
}
