//! The Service of a workload: made by us, owned by the workload, without a selector.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::desk::Filed;
use super::standing::Notes;
use crate::Key;
use crate::object::{Kind, ServiceObject, Version};

/// Label and value of everything that we make.
pub(crate) const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "penstock");

/// What is kept of a Service of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenService {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) version: Version,
    /// The workload that it belongs to.
    pub(crate) owner: Key,
    pub(crate) owner_kind: Kind,
    pub(crate) owner_uid: String,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Names of its ports.
    pub(crate) ports: Vec<String>,
    /// Whether it chooses pods itself.
    pub(crate) selects: bool,
}

/// What is kept of `service`; `None` if it is not ours.
pub(crate) fn seen(service: ServiceObject) -> Option<SeenService> {
    let meta = service.metadata;
    let labels = meta.labels.as_ref()?;
    if labels.get(MANAGED_BY.0).map(String::as_str) != Some(MANAGED_BY.1) {
        return None;
    }
    let key = Key::of(&meta);
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    let (owner, owner_kind) = owners.iter().find_map(|owner| {
        let kind = match owner.kind.as_str() {
            "Deployment" => Kind::Deployment,
            "StatefulSet" => Kind::StatefulSet,
            _ => return None,
        };
        Some((owner, kind))
    })?;
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| key.starts_with("penstock.dev/"));
    let ports = service.spec.ports.unwrap_or_default();
    Some(SeenService {
        uid: meta.uid.clone().unwrap_or_default(),
        version: Version::of(&meta),
        owner: Key::new(key.namespace.clone(), owner.name.as_str()),
        owner_kind,
        owner_uid: owner.uid.clone(),
        annotations,
        ports: ports.into_iter().map(|port| port.name).collect(),
        selects: service.spec.selector.is_some_and(|all| !all.is_empty()),
        key,
    })
}

/// A Service to be made.
pub(crate) fn new(filed: &Filed, notes: &Notes) -> Value {
    let notes: BTreeMap<&str, &str> = notes
        .iter()
        .filter_map(|(key, value)| Some((*key, value.as_deref()?)))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": filed.service,
            "labels": { MANAGED_BY.0: MANAGED_BY.1 },
            "annotations": notes,
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": filed.kind.to_string(),
                "name": filed.key.name.as_ref(),
                "uid": filed.uid,
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        },
        "spec": { "ports": ports(filed) },
    })
}

/// What has to change of `seen`; `None` if nothing.
pub(crate) fn mended(seen: &SeenService, filed: &Filed, notes: &Notes) -> Option<Value> {
    let mut patch = json!({});
    if !super::standing::says(&seen.annotations, notes) {
        patch["metadata"]["annotations"] = json!(notes);
    }
    if seen.selects {
        patch["spec"]["selector"] = Value::Null;
    }
    if seen.ports != [filed.port_name()] {
        patch["spec"]["ports"] = ports(filed);
    }
    patch
        .as_object()
        .is_some_and(|all| !all.is_empty())
        .then_some(patch)
}

/// The port 80, however its pods are reached.
pub(crate) fn ports(filed: &Filed) -> Value {
    json!([{
        "name": filed.port_name(),
        "port": 80,
        "targetPort": filed.port.unwrap_or(80),
        "protocol": "TCP",
        "appProtocol": filed.app_protocol(),
    }])
}
