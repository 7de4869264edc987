//! What goes with its owners, and what stays.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::ApiServer;
use super::config_map;
use super::wire::ask;

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"],
    })
}

#[tokio::test]
async fn what_has_no_owner_left_goes_with_the_last_one() {
    let server = ApiServer::start().await;
    let (a, b) = (
        server.put(config_map("a", &json!({}))),
        server.put(config_map("b", &json!({}))),
    );
    let mut both = config_map("both", &json!({}));
    both["metadata"]["ownerReferences"] = json!([owner(&a), owner(&b)]);
    let both = server.put(both);
    let mut below = config_map("below", &json!({}));
    below["metadata"]["ownerReferences"] = json!([owner(&both)]);
    server.put(below);
    server.delete("ConfigMap", "default", "a");
    assert!(server.get("ConfigMap", "default", "below").is_some());
    server.delete("ConfigMap", "default", "b");
    assert!(server.get("ConfigMap", "default", "both").is_none());
    assert!(server.get("ConfigMap", "default", "below").is_none());
}

#[tokio::test]
async fn orphans_stay_without_their_owner() {
    let server = ApiServer::start().await;
    let a = server.put(config_map("a", &json!({})));
    let mut child = config_map("child", &json!({}));
    child["metadata"]["ownerReferences"] = json!([owner(&a)]);
    server.put(child);
    let orphan = json!({ "propagationPolicy": "Orphan" });
    ask(&server, "DELETE", &format!("{MAPS}/a"), JSON, &orphan).await;
    let child = server.get("ConfigMap", "default", "child").unwrap();
    assert_eq!(child["metadata"]["ownerReferences"], json!([]));
}

#[tokio::test]
async fn what_is_made_for_owners_that_are_gone_goes_as_well() {
    let server = ApiServer::start().await;
    let (a, b) = (
        server.put(config_map("a", &json!({}))),
        server.put(config_map("b", &json!({}))),
    );
    server.delete("ConfigMap", "default", "a");
    let of = |name: &str, owners: &[&Arc<Value>]| {
        let mut map = config_map(name, &json!({}));
        map["metadata"]["ownerReferences"] = owners.iter().map(|it| owner(it)).collect();
        map
    };
    for (name, owners, stays) in [("late", &[&a][..], false), ("shared", &[&a, &b], true)] {
        let made = ask(&server, "POST", MAPS, JSON, &of(name, owners)).await;
        assert_eq!(made.0, 201);
        let name_applied = format!("{name}-applied");
        let path = format!("{MAPS}/{name_applied}?fieldManager=us");
        let made = ask(&server, "PATCH", &path, APPLY, &of(&name_applied, owners)).await;
        assert_eq!(made.0, 201);
        for name in [name, &name_applied] {
            let there = server.get("ConfigMap", "default", name).is_some();
            assert_eq!(there, stays, "{name}");
        }
    }
}
