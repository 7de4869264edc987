//! What an activator reaches on Kubernetes, against the emulated API server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::num::NonZeroUsize;

use penstock_activator::env::{Flags, Settings, Surroundings};
use penstock_activator::kube::reach;
use penstock_testkit::kube::ApiServer;
use penstock_types::RevisionId;
use serde_json::{Value, json};

fn settings(server: &ApiServer, more: &[(&str, &str)]) -> Settings {
    let url = server.url();
    let set = [
        ("POD_NAME", "activator-1"),
        ("POD_IP", "10.9.0.1"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
    ];
    let get = |name: &str| {
        let all = set.iter().chain(more);
        let found = all.copied().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_owned())
    };
    let flags = Flags::read([format!("-server={url}")]).unwrap();
    let around = Surroundings {
        resolv_conf: "",
        workers: NonZeroUsize::MIN,
        memory: None,
    };
    Settings::read(get, &flags, around).unwrap()
}

fn put_map(server: &ApiServer, name: &str, data: Value) {
    server.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "knative-serving" },
        "data": data,
    }));
}

#[tokio::test]
async fn a_knative_install_is_chosen_where_it_is_served() {
    let server = ApiServer::start().await;
    server.put(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": { "name": "hello-00001", "namespace": "default" },
        "spec": { "containers": [{ "image": "hello" }] },
    }));
    server.put(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "routing-serving-certs", "namespace": "knative-serving" },
        "data": { "ca.crt": "b25l" },
    }));
    put_map(
        &server,
        "config-network",
        json!({ "mesh-compatibility-mode": "disabled" }),
    );
    let world = reach(&settings(&server, &[])).await.unwrap();
    let known = world.cluster.snapshot().borrow().clone();
    let id = RevisionId::new("default", "hello-00001");
    assert!(known.revisions.contains_key(&id));
    assert_eq!(world.material.unwrap().borrow().ca, b"one");
    let mut config = world.config;
    assert_eq!(
        config.borrow().network["mesh-compatibility-mode"],
        "disabled"
    );
    put_map(
        &server,
        "config-observability",
        json!({ "logging.enable-request-log": "true" }),
    );
    let logged = config.wait_for(|maps| maps.observability.len() == 1).await;
    assert_eq!(
        logged.unwrap().observability["logging.enable-request-log"],
        "true"
    );
}

#[tokio::test]
async fn without_knative_or_by_name_it_is_deployments() {
    for (forgets, more) in [
        (true, None),
        (false, Some(("PENSTOCK_CLUSTER", "deployments"))),
    ] {
        let server = ApiServer::start().await;
        if forgets {
            server.forget_group("serving.knative.dev");
        }
        server.put(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "hello", "namespace": "default",
                          "labels": { "penstock.dev/scale": "true" } },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app": "hello" } },
                "template": {
                    "metadata": { "labels": { "app": "hello" } },
                    "spec": { "containers": [
                        { "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] }
                    ] },
                },
            },
        }));
        let more: Vec<_> = more.into_iter().collect();
        let world = reach(&settings(&server, &more)).await.unwrap();
        let known = world.cluster.snapshot().borrow().clone();
        assert!(
            known
                .routes
                .hosts
                .contains_key("hello.default.svc.cluster.local")
        );
        assert!(world.material.is_none());
    }
}
