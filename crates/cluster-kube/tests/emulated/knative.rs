//! A Knative install as its activator sees it.

use std::sync::Arc;

use penstock_cluster::{Cluster, Phase, Readiness};
use penstock_cluster_kube::knative::{Options, Trust};
use penstock_cluster_kube::{Access, Knative, connect};
use penstock_testkit::kube::{ApiServer, Call};
use penstock_types::{Protocol, RevisionId};
use serde_json::{Value, json};

use crate::world::{LIMIT, RHYTHM, until, until_gone};

const REV: &str = "hello-00001";
/// Knative's own rules for an activator, as far as they concern what is read here.
const STOCK: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: knative-serving-activator-cluster }
rules:
- { apiGroups: [""], resources: [services, endpoints], verbs: [get, list, watch] }
- { apiGroups: [serving.knative.dev], resources: [revisions], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: knative-serving-activator, namespace: knative-serving }
rules:
- { apiGroups: [""], resources: [configmaps, secrets], verbs: [get, list, watch] }
"#;

fn id() -> RevisionId {
    RevisionId::new("default", REV)
}

fn revision(port: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": { "name": REV, "namespace": "default", "labels": {
            "serving.knative.dev/service": "hello", "serving.knative.dev/configuration": "hello",
        } },
        "spec": {
            "containerConcurrency": 10, "timeoutSeconds": 60,
            "containers": [{ "image": "hello", "ports": [{ "name": port, "containerPort": 8080 }] }],
        },
    })
}

fn labels(side: &str) -> Value {
    json!({
        "serving.knative.dev/revision": REV,
        "serving.knative.dev/revisionUID": "u",
        "networking.internal.knative.dev/serviceType": side,
    })
}

fn endpoints(side: &str, port: (&str, u16), ready: &[&str], others: &[&str]) -> Value {
    let suffix = if side == "Private" { "-private" } else { "" };
    let list = |ips: &[&str]| -> Vec<Value> { ips.iter().map(|ip| json!({ "ip": ip })).collect() };
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": { "name": format!("{REV}{suffix}"), "namespace": "default", "labels": labels(side) },
        "subsets": [{
            "addresses": list(ready), "notReadyAddresses": list(others),
            "ports": [{ "name": port.0, "port": port.1 }],
        }],
    })
}

fn private_service(port: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": format!("{REV}-private"), "namespace": "default", "labels": labels("Private") },
        "spec": { "clusterIP": "10.96.0.7", "ports": [
            { "name": port, "port": 80 }, { "name": "http-autometric", "port": 9090 },
        ] },
    })
}

async fn activator(server: &ApiServer, own: Option<&str>) -> Arc<Knative> {
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("activator", &access).await.unwrap();
    let options = Options {
        namespace: None,
        domain: "cluster.local".to_owned(),
        rhythm: RHYTHM,
    };
    let own = own.map(|own| own.parse().unwrap());
    let cluster = Knative::start(client, &options, own);
    tokio::time::timeout(LIMIT, cluster.complete())
        .await
        .unwrap();
    cluster
}

async fn stock() -> ApiServer {
    let server = ApiServer::start().await;
    server.authorize(STOCK);
    server
}

#[tokio::test]
async fn stock_rules_suffice_and_endpoints_are_read() {
    let server = stock().await;
    server.put(revision("http1"));
    server.put(private_service("http"));
    server.put(endpoints(
        "Private",
        ("http", 8012),
        &["10.0.0.1"],
        &["10.0.0.2"],
    ));
    let cluster = activator(&server, None).await;
    let seen = until(&*cluster, &id(), |it| it.pods.len() == 2).await;
    assert_eq!(seen.slots.as_concurrency(), 10);
    assert_eq!(seen.service.as_ref(), "hello");
    let service = Some("10.96.0.7:80".parse().unwrap());
    assert_eq!(
        seen.readiness,
        Readiness::Probed {
            early: true,
            service
        }
    );
    let pods: Vec<(String, Phase)> = seen
        .pods
        .iter()
        .map(|pod| (pod.addr.to_string(), pod.phase))
        .collect();
    assert_eq!(
        pods,
        [
            ("10.0.0.1:8012".to_owned(), Phase::Ready),
            ("10.0.0.2:8012".to_owned(), Phase::Starting)
        ]
    );
    let slices = |call: &Call| call.resource == "endpointslices";
    assert_eq!(
        server.count_calls(slices),
        0,
        "a review told that they may not be read"
    );
}

#[tokio::test]
async fn with_the_right_to_see_slices_they_are_read() {
    let server = ApiServer::start().await;
    server.put(revision("http1"));
    server.put(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": format!("{REV}-private-x"), "namespace": "default",
                      "labels": labels("Private") },
        "addressType": "IPv6",
        "ports": [{ "name": "http", "port": 8012 }],
        "endpoints": [{ "addresses": ["fd00::1"], "conditions": { "ready": true } }],
    }));
    let cluster = activator(&server, None).await;
    let seen = until(&*cluster, &id(), |it| it.pods.len() == 1).await;
    assert_eq!(seen.pods[0].addr.to_string(), "[fd00::1]:8012");
    let endpoints = |call: &Call| call.resource == "endpoints";
    assert_eq!(server.count_calls(endpoints), 0);
}

#[tokio::test]
async fn case_59_position_among_activators_of_an_h2c_revision() {
    let server = stock().await;
    server.put(revision("h2c"));
    let public = |ready: &[&str]| endpoints("Public", ("http2", 8013), ready, &["10.9.0.9"]);
    server.put(public(&["10.9.0.2", "10.9.0.1"]));
    let pods = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    server.put(endpoints("Private", ("http2", 8013), &pods, &[]));
    let cluster = activator(&server, Some("10.9.0.2")).await;
    let seen = until(&*cluster, &id(), |it| it.position.is_some()).await;
    assert_eq!(seen.protocol, Protocol::H2c);
    let position = seen.position.unwrap();
    assert_eq!((position.index, position.activators), (1, 2));
    server.put(public(&["10.9.0.2"]));
    until(&*cluster, &id(), |it| {
        it.position
            .is_some_and(|at| (at.index, at.activators) == (0, 1))
    })
    .await;
    // Pods are in the public endpoints now: that says nothing of activators.
    server.put(public(&pods));
    server.delete("Endpoints", "default", REV);
    server.put(endpoints("Private", ("http2", 8013), &["10.0.0.1"], &[]));
    let seen = until(&*cluster, &id(), |it| it.pods.len() == 1).await;
    assert_eq!(seen.position.map(|at| at.activators), Some(1));
}

#[tokio::test]
async fn cases_87_and_89_a_private_service_counts_by_its_name_and_its_port() {
    let server = stock().await;
    server.put(revision("http1"));
    let mut other = private_service("http");
    other["metadata"]["name"] = json!("something-private");
    server.put(other);
    server.put(private_service("http2"));
    server.put(endpoints("Private", ("http", 8012), &["10.0.0.1"], &[]));
    let cluster = activator(&server, None).await;
    let service = |readiness| match readiness {
        Readiness::Probed { service, .. } => service,
        Readiness::Trusted => None,
    };
    let seen = until(&*cluster, &id(), |it| it.pods.len() == 1).await;
    assert_eq!(service(seen.readiness), None, "it has no port of that name");
    server.put(private_service("http"));
    until(&*cluster, &id(), |it| service(it.readiness).is_some()).await;
    server.delete("Service", "default", &format!("{REV}-private"));
    until(&*cluster, &id(), |it| service(it.readiness).is_none()).await;
}

#[tokio::test]
async fn cases_64_and_88_what_is_deleted_is_not_in_the_picture() {
    let server = stock().await;
    server.put(revision("http1"));
    server.put(endpoints("Private", ("http", 8012), &["10.0.0.1"], &[]));
    let cluster = activator(&server, None).await;
    until(&*cluster, &id(), |it| it.pods.len() == 1).await;
    server.delete("Endpoints", "default", &format!("{REV}-private"));
    until(&*cluster, &id(), |it| it.pods.is_empty()).await;
    server.delete("Revision", "default", REV);
    until_gone(&*cluster, &id()).await;
    assert!(
        cluster.scale(&id(), 1).await.is_err(),
        "an activator only reads"
    );
}

#[tokio::test]
async fn certificates_and_bundles_are_live_values() {
    let server = stock().await;
    let secret = |authority: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "routing-serving-certs", "namespace": "knative-serving" },
            "data": { "ca.crt": authority },
        })
    };
    server.put(secret("b25l"));
    server.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "more", "namespace": "knative-serving",
                      "labels": { "networking.knative.dev/trust-bundle": "true" } },
        "data": { "a.pem": "first", "b.pem": "second" },
    }));
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("activator", &access).await.unwrap();
    let trust = Trust::follow(&client, RHYTHM, "knative-serving");
    let mut values = trust.values();
    let known = values
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert_eq!(known.authority.as_deref(), Some(b"one".as_slice()));
    let places: Vec<&String> = known.bundles.keys().collect();
    assert_eq!(places, ["more/a.pem", "more/b.pem"]);
    server.put(secret("dHdv"));
    server.delete("ConfigMap", "knative-serving", "more");
    values
        .wait_for(|now| {
            let now = now.as_ref().unwrap();
            now.bundles.is_empty() && now.authority.as_deref() == Some(b"two".as_slice())
        })
        .await
        .unwrap();
}
