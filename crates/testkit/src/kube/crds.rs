//! The definitions of the custom kinds that are served.

use serde_json::json;

use super::fields::Managers;
use super::object::text;
use super::store::{Key, Store};

const DEFINITION: &str = "CustomResourceDefinition";

/// Makes a definition of each custom kind.
pub(super) fn install(store: &mut Store) {
    let Some(definition) = store.kind_named(DEFINITION) else {
        return;
    };
    let custom: Vec<_> = store
        .kinds()
        .iter()
        .copied()
        .filter(|kind| kind.custom)
        .collect();
    for kind in custom {
        let uid = store.new_uid();
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": DEFINITION,
            "metadata": { "name": kind.qualified(), "uid": uid, "generation": 1 },
            "spec": {
                "group": kind.group,
                "names": {
                    "kind": kind.kind,
                    "listKind": format!("{}List", kind.kind),
                    "plural": kind.plural,
                    "singular": kind.kind.to_lowercase(),
                },
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{ "name": kind.version, "served": true, "storage": true }],
            },
            "status": {
                "conditions": [{ "type": "Established", "status": "True" }],
                "storedVersions": [kind.version],
            },
        });
        let key = Key {
            kind: definition,
            namespace: String::new(),
            name: kind.qualified(),
        };
        store.set(key, object, Managers::default());
    }
}

/// Removes the definitions of a group.
pub(super) fn uninstall(store: &mut Store, group: &str) {
    let Some(definition) = store.kind_named(DEFINITION) else {
        return;
    };
    let definitions = store.objects(definition, "");
    let of_group = definitions.filter(|(_, object)| text(object, "/spec/group") == group);
    let keys: Vec<Key> = of_group.map(|(key, _)| key.clone()).collect();
    for key in keys {
        store.remove(&key);
    }
}
