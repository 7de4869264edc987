//! What the server serves: the documents by which clients find resources.

use serde_json::{Value, json};

use super::kinds::{Kind, REVIEWS};
use super::store::Store;

/// The answer at a path that is no resource's; `None` if there is none.
pub(super) fn document(store: &Store, path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('/').filter(|it| !it.is_empty()).collect();
    match segments.as_slice() {
        ["version"] => Some(json!({
            "major": "1",
            "minor": "37",
            "gitVersion": "v1.37.0",
            "gitCommit": "0000000000000000000000000000000000000000",
            "gitTreeState": "clean",
            "platform": "linux/amd64",
        })),
        ["api"] => Some(json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        })),
        ["apis"] => {
            let mut groups: Vec<Value> = Vec::new();
            for kind in store.kinds().iter().filter(|kind| !kind.group.is_empty()) {
                let group = group(kind.group, kind.version);
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            groups.push(group(AUTHORIZATION, "v1"));
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        ["api", "v1"] => resources(store, "", "v1"),
        ["apis", AUTHORIZATION] => Some(group(AUTHORIZATION, "v1")),
        ["apis", name] => {
            let kind = store.kinds().iter().find(|kind| kind.group == *name)?;
            let mut group = group(kind.group, kind.version);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Some(group)
        }
        ["apis", group, version] => resources(store, group, version),
        _ => None,
    }
}

pub(super) const AUTHORIZATION: &str = "authorization.k8s.io";

fn group(name: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({ "name": name, "versions": [version], "preferredVersion": version })
}

fn resources(store: &Store, group: &str, version: &str) -> Option<Value> {
    let mut found = Vec::new();
    for kind in store.kinds() {
        if kind.group == group && kind.version == version {
            found.extend(resources_of(kind));
        }
    }
    if group == AUTHORIZATION && version == "v1" {
        for (name, kind) in REVIEWS
            .iter()
            .zip(["SelfSubjectAccessReview", "SelfSubjectRulesReview"])
        {
            found.push(json!({
                "name": name,
                "singularName": kind.to_lowercase(),
                "namespaced": false,
                "kind": kind,
                "verbs": ["create"],
            }));
        }
    }
    if found.is_empty() {
        return None;
    }
    let whole = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": whole,
        "resources": found,
    }))
}

fn resources_of(kind: &Kind) -> Vec<Value> {
    let singular = kind.kind.to_lowercase();
    let mut found = vec![json!({
        "name": kind.plural,
        "singularName": singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
    })];
    let mut part = |name: &str, shown: &str, more: Value| {
        let mut part = json!({
            "name": format!("{}/{name}", kind.plural),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": shown,
            "verbs": ["get", "patch", "update"],
        });
        if let (Some(part), Value::Object(more)) = (part.as_object_mut(), more) {
            part.extend(more);
        }
        found.push(part);
    };
    if kind.status {
        part("status", kind.kind, json!({}));
    }
    if kind.scale {
        part(
            "scale",
            "Scale",
            json!({ "group": "autoscaling", "version": "v1" }),
        );
    }
    found
}
