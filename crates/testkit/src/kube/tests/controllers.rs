//! The controllers that play the rest of a cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::super::{ApiServer, Controllers};
use super::deployment;

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "labels": { "of": name } },
        "spec": {
            "selector": { "app": name },
            "ports": [{ "name": "http", "port": 80, "targetPort": 8012 }],
        },
    })
}

fn scale(server: &ApiServer, name: &str, replicas: i64) {
    server.edit("Deployment", "default", name, |it| {
        it["spec"]["replicas"] = replicas.into()
    });
}

async fn until_ready(server: &ApiServer, name: &str, pods: i64) -> Arc<Value> {
    let settled = |it: &Value| {
        let status = &it["status"];
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        status["observedGeneration"] == it["metadata"]["generation"]
            && (count("replicas"), count("readyReplicas")) == (pods, pods)
    };
    server
        .wait_until("Deployment", "default", name, settled)
        .await
}

fn addresses(slice: &Value) -> Vec<(String, bool)> {
    let endpoints = slice["endpoints"].as_array().unwrap();
    let one = |it: &Value| {
        let address = it["addresses"][0].as_str().unwrap().to_owned();
        (address, it["conditions"]["ready"] == true)
    };
    endpoints.iter().map(one).collect()
}

#[tokio::test]
async fn a_deployment_gets_its_pods_and_a_service_their_addresses() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::start(&server);
    server.put(service("a"));
    server.put(deployment("a", 3));
    until_ready(&server, "a", 3).await;
    let pods = server.list("Pod", "default");
    let mut ips: Vec<&str> = pods
        .iter()
        .map(|pod| pod["status"]["podIP"].as_str().unwrap())
        .collect();
    ips.dedup();
    assert_eq!(ips.len(), 3);
    let three = |it: &Value| {
        it["subsets"][0]["addresses"]
            .as_array()
            .is_some_and(|it| it.len() == 3)
    };
    let endpoints = server.wait_until("Endpoints", "default", "a", three).await;
    assert_eq!(endpoints["metadata"]["labels"]["of"], "a");
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 8012);
    let slices = server.list("EndpointSlice", "default");
    assert_eq!(slices.len(), 1);
    let listed = addresses(&slices[0]);
    assert!(
        listed
            .iter()
            .all(|(ip, ready)| *ready && ips.contains(&ip.as_str())),
        "{listed:?}"
    );

    scale(&server, "a", 0);
    until_ready(&server, "a", 0).await;
    server
        .wait_until("Endpoints", "default", "a", |it| {
            it.get("subsets").is_none()
        })
        .await;
    server.delete("Service", "default", "a");
    server.wait_until_gone("Endpoints", "default", "a").await;
    assert!(server.list("EndpointSlice", "default").is_empty());
}

#[tokio::test]
async fn what_runs_for_a_pod_listens_at_a_fixed_port_of_its_own_address() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::setup(&server)
        .on_start(|pod| async move {
            let listener = TcpListener::bind((pod.ip, 8012)).await.unwrap();
            let mut running = JoinSet::new();
            running.spawn(async move { while listener.accept().await.is_ok() {} });
            Box::new(running) as super::super::Running
        })
        .start();
    server.put(deployment("a", 2));
    until_ready(&server, "a", 2).await;
    let ips: Vec<String> = server
        .list("Pod", "default")
        .iter()
        .map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned())
        .collect();
    for ip in &ips {
        TcpStream::connect((ip.as_str(), 8012)).await.unwrap();
    }
    scale(&server, "a", 0);
    until_ready(&server, "a", 0).await;
    for pod in server.list("Pod", "default") {
        server
            .wait_until_gone("Pod", "default", pod["metadata"]["name"].as_str().unwrap())
            .await;
    }
    for ip in &ips {
        TcpStream::connect((ip.as_str(), 8012)).await.unwrap_err();
    }
}

#[tokio::test]
async fn the_pod_with_the_lowest_deletion_cost_goes_first() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::start(&server);
    server.put(deployment("a", 3));
    until_ready(&server, "a", 3).await;
    let names: Vec<String> = server
        .list("Pod", "default")
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for (name, cost) in names.iter().zip(["5", "-1", "9"]) {
        server.edit("Pod", "default", name, |pod| {
            pod["metadata"]["annotations"] =
                json!({ "controller.kubernetes.io/pod-deletion-cost": cost });
        });
    }
    scale(&server, "a", 2);
    server.wait_until_gone("Pod", "default", &names[1]).await;
    scale(&server, "a", 1);
    server.wait_until_gone("Pod", "default", &names[0]).await;
    assert!(server.get("Pod", "default", &names[2]).is_some());
}

#[tokio::test]
async fn a_pod_that_is_told_to_stop_is_no_ready_endpoint_while_it_stops() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::setup(&server)
        .stop_time(Duration::from_secs(30))
        .start();
    server.put(service("a"));
    server.put(deployment("a", 1));
    until_ready(&server, "a", 1).await;
    let pod = server.list("Pod", "default").remove(0);
    let slice = server.list("EndpointSlice", "default").remove(0);
    let name = slice["metadata"]["name"].as_str().unwrap();
    scale(&server, "a", 0);
    let leaving = |it: &Value| it["endpoints"][0]["conditions"]["terminating"] == true;
    let seen = server
        .wait_until("EndpointSlice", "default", name, leaving)
        .await;
    assert_eq!(
        seen["endpoints"][0]["conditions"],
        json!({ "ready": false, "serving": true, "terminating": true }),
    );
    let pod = pod["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        server.get("Pod", "default", pod).unwrap()["metadata"]["deletionGracePeriodSeconds"],
        30
    );
}

#[tokio::test]
async fn a_rollout_keeps_to_its_surge_and_never_lacks_more_than_it_may() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::setup(&server)
        .start_up(Duration::from_millis(5))
        .start();
    let mut object = deployment("a", 4);
    object["spec"]["strategy"] = json!({ "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    server.put(object);
    until_ready(&server, "a", 4).await;
    let before = server.list("Pod", "default");
    let from = server.version();
    server.edit("Deployment", "default", "a", |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
    });
    let done = |it: &Value| {
        it["status"]["observedGeneration"] == 2 && it["status"]["updatedReplicas"] == 4
    };
    server.wait_until("Deployment", "default", "a", done).await;
    until_ready(&server, "a", 4).await;
    let store = server.shared().store();
    for change in store.since(from) {
        let Some(status) = change.after.as_ref().map(|it| &it["status"]) else {
            continue;
        };
        if change.key.kind.plural == "deployments" && status["observedGeneration"] != 1 {
            let count = |field: &str| status[field].as_i64().unwrap_or(0);
            assert!(count("replicas") <= 5, "{status}");
            assert!(count("readyReplicas") >= 4, "{status}");
        }
    }
    drop(store);
    let hash = |pod: &Value| pod["metadata"]["labels"]["pod-template-hash"].clone();
    let staying = |pod: &&Arc<Value>| pod["metadata"].get("deletionTimestamp").is_none();
    let after = server.list("Pod", "default");
    assert!(
        after
            .iter()
            .filter(staying)
            .all(|pod| hash(pod) != hash(&before[0]))
    );
}

#[tokio::test]
async fn a_stateful_set_numbers_its_pods_and_removes_the_highest() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::start(&server);
    let mut object = deployment("db", 3);
    object["kind"] = "StatefulSet".into();
    server.put(object);
    let ready =
        |pods: i64| move |it: &Value| it["status"]["readyReplicas"].as_i64().unwrap_or(0) == pods;
    server
        .wait_until("StatefulSet", "default", "db", ready(3))
        .await;
    server.edit("StatefulSet", "default", "db", |it| {
        it["spec"]["replicas"] = 1.into()
    });
    for gone in ["db-1", "db-2"] {
        server.wait_until_gone("Pod", "default", gone).await;
    }
    let first = server.get("Pod", "default", "db-0").unwrap();
    server.edit("StatefulSet", "default", "db", |it| {
        it["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
    });
    let other = |pod: &Value| pod["metadata"]["uid"] != first["metadata"]["uid"];
    server.wait_until("Pod", "default", "db-0", other).await;
}

#[tokio::test]
async fn controllers_that_are_held_do_nothing_until_they_are_released() {
    let server = ApiServer::start().await;
    let controllers = Controllers::start(&server);
    controllers.hold();
    server.put(deployment("held", 1));
    // The kubelet still works: once this pod runs, the Deployment has been passed over.
    server.put(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "alone" },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    }));
    let running = |pod: &Value| pod["status"]["phase"] == "Running";
    server.wait_until("Pod", "default", "alone", running).await;
    assert_eq!(server.list("Pod", "default").len(), 1);
    controllers.release();
    until_ready(&server, "held", 1).await;
}

#[tokio::test]
async fn controllers_that_have_nothing_to_do_write_nothing() {
    let server = ApiServer::start().await;
    let _controllers = Controllers::start(&server);
    server.put(service("a"));
    server.put(deployment("a", 2));
    until_ready(&server, "a", 2).await;
    let run = async |name: &str| {
        server.put(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        }));
        let running = |pod: &Value| pod["status"]["phase"] == "Running";
        server.wait_until("Pod", "default", name, running).await;
        server.version()
    };
    // By the first one's end, all is told about the Deployment.
    let before = run("first").await;
    let after = run("second").await;
    assert_eq!(after - before, 3, "it is made, scheduled, and runs");
}
