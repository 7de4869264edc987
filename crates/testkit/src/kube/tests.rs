//! The server as kube-rs and as raw requests see it.

mod client;
mod controllers;
mod hostile;
mod owners;
mod replay;
mod watching;
mod wire;
mod writes;

use serde_json::{Value, json};

/// A Deployment of one container.
fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": "default", "labels": { "app": name } },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "user", "image": "hello" }] },
            },
        },
    })
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": data,
    })
}
