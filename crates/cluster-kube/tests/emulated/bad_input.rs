//! Wrong annotations, contested hosts, somebody else's objects, and what is taken away.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Change, Cluster};
use penstock_cluster_kube::deployments::Role;
use penstock_testkit::kube::ApiServer;
use serde_json::{Value, json};

use crate::world::{
    World, deployment, deployments, id, put_activators, until, until_gone, wish, with_queue_proxy,
    workload,
};

async fn world_of(objects: impl IntoIterator<Item = Value>) -> World {
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &["127.9.0.1"]);
    for object in objects {
        server.put(object);
    }
    World::autoscaler(server).await
}

fn annotate(world: &World, name: &str, key: &str, value: &str) {
    let edited = world.server.edit("Deployment", "default", name, |it| {
        it["metadata"]["annotations"][key] = json!(value);
    });
    assert!(edited);
}

#[tokio::test]
async fn every_annotation_wrong_in_turn_is_told_and_the_last_good_settings_stay() {
    let mut good = deployment("hello");
    good["metadata"]["annotations"] = json!({
        "penstock.dev/host": "hello.example.com",
        "penstock.dev/port": "8080",
        "penstock.dev/container-concurrency": "7",
        "penstock.dev/timeout": "90",
        "penstock.dev/service": "hello-front",
        "autoscaling.knative.dev/target": "5",
    });
    let world = world_of([good.clone()]).await;
    let id = id("hello");
    let before = world.until(&id, |_| true).await;
    assert_eq!(before.slots.as_concurrency(), 7);
    let wrong = [
        ("penstock.dev/host", "hello.example.com:80", "is not a host"),
        ("penstock.dev/port", "eighty", "a port from 1 to 65535"),
        (
            "penstock.dev/container-concurrency",
            "many",
            "a count from 0",
        ),
        ("penstock.dev/timeout", "-5", "a number of seconds"),
        ("penstock.dev/service", "Hello!", "a name for a Service"),
        ("autoscaling.knative.dev/target", "lots", "is not a number"),
    ];
    for (key, value, right) in wrong {
        world.server.forget_calls();
        annotate(&world, "hello", key, value);
        let told = world
            .server
            .until_called(|call| {
                let message = call.body["message"].as_str().unwrap_or_default();
                call.resource == "events" && message.contains(key)
            })
            .await;
        assert_eq!(told.body["reason"], "BadAnnotation");
        assert_eq!(told.body["type"], "Warning");
        let message = told.body["message"].as_str().unwrap();
        assert!(
            message.contains(value) && message.contains(right),
            "{message}"
        );
        let now = world.until(&id, |_| true).await;
        assert_eq!(now.slots, before.slots, "{key}");
        assert_eq!(now.timeouts, before.timeouts, "{key}");
        assert_eq!(now.service, before.service, "{key}");
        assert_eq!(now.annotations["autoscaling.knative.dev/target"], "5");
        let routes = Arc::clone(&world.cluster.snapshot().borrow().routes);
        assert!(routes.hosts.contains_key("hello.example.com"), "{key}");
        let right = good["metadata"]["annotations"][key].as_str().unwrap();
        annotate(&world, "hello", key, right);
    }
}

#[tokio::test]
async fn of_two_that_claim_a_host_the_older_has_it_and_both_are_told() {
    let claim = |name: &str, created: &str| {
        let mut it = deployment(name);
        it["metadata"]["creationTimestamp"] = json!(created);
        it["metadata"]["annotations"]["penstock.dev/host"] = json!("shop.example.com");
        it
    };
    let world = world_of([
        claim("young", "2024-02-01T00:00:00Z"),
        claim("old", "2024-01-01T00:00:00Z"),
    ])
    .await;
    let routes = Arc::clone(&world.cluster.snapshot().borrow().routes);
    let owner = |host: &str| {
        let split = routes.hosts[host].split.as_ref().unwrap();
        split.pick().name().to_owned()
    };
    assert_eq!(owner("shop.example.com"), "old");
    assert_eq!(owner("young.default"), "young");
    assert_eq!(owner("young.default.svc"), "young");
    assert_eq!(owner("young.default.svc.cluster.local"), "young");
    for name in ["old", "young"] {
        let told = world.until_told(name, "HostContested").await;
        assert!(
            told.contains("shop.example.com") && told.contains("default/old"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn case_111_a_service_of_somebody_else_is_untouched_and_told() {
    let theirs = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "hello", "namespace": "default" },
        "spec": { "selector": { "app": "other" }, "ports": [{ "port": 80 }] },
    });
    let world = world_of([with_queue_proxy(deployment("hello")), theirs]).await;
    let before = world.server.get("Service", "default", "hello").unwrap();
    let id = id("hello");
    let refused = world.cluster.settle(&id, wish(true)).await.unwrap_err();
    assert!(refused.to_string().contains("somebody else"), "{refused}");
    let told = world.until_told("hello", "ServiceTaken").await;
    assert!(told.contains("penstock.dev/service"), "{told}");
    assert_eq!(
        world.server.get("Service", "default", "hello").unwrap(),
        before
    );
    world.until(&id, |it| it.standing.is_none()).await;
    // Another name mends it.
    annotate(&world, "hello", "penstock.dev/service", "hello-front");
    world.until(&id, |it| it.standing.is_some()).await;
    world.settle(&id, true).await;
    assert_eq!(world.endpoints("default", "hello-front"), ["127.9.0.1"]);
}

#[tokio::test]
async fn case_111_what_somebody_changes_of_our_service_is_mended() {
    let world = world_of([with_queue_proxy(deployment("hello"))]).await;
    let id = id("hello");
    world.settle(&id, true).await;
    let slice = world.server.list("EndpointSlice", "default")[0]["metadata"]["name"].clone();
    let slice = slice.as_str().unwrap().to_owned();
    world.server.delete("EndpointSlice", "default", &slice);
    world
        .server
        .wait_until("EndpointSlice", "default", &slice, |_| true)
        .await;
    assert_eq!(world.endpoints("default", "hello"), ["127.9.0.1"]);
    world.server.edit("Service", "default", "hello", |service| {
        service["spec"]["selector"] = json!({ "app": "hello" });
    });
    let chooses_none = |service: &Value| service["spec"]["selector"].is_null();
    loop {
        world.settle(&id, true).await;
        if chooses_none(&world.server.get("Service", "default", "hello").unwrap()) {
            break;
        }
    }
}

#[tokio::test]
async fn a_deployment_that_is_deleted_goes_and_its_service_with_it() {
    let world = world_of([with_queue_proxy(deployment("hello"))]).await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.server.delete("Deployment", "default", "hello");
    until_gone(&*world.cluster, &id).await;
    world
        .server
        .wait_until_gone("Service", "default", "hello")
        .await;
    assert!(world.cluster.scale(&id, 1).await.is_err());
    let routes = Arc::clone(&world.cluster.snapshot().borrow().routes);
    assert!(routes.hosts.is_empty(), "{:?}", routes.hosts.keys());
}

#[tokio::test]
async fn a_namespace_that_is_deleted_goes_with_all_that_is_in_it() {
    let mut far = deployment("far");
    far["metadata"]["namespace"] = json!("shop");
    let world = world_of([far]).await;
    let far = penstock_types::RevisionId::new("shop", "far");
    world.settle(&far, true).await;
    world.server.delete("Namespace", "", "shop");
    until_gone(&*world.cluster, &far).await;
}

#[tokio::test]
async fn a_label_that_is_taken_away_ends_management_and_the_service_leads_to_pods() {
    let world = world_of([with_queue_proxy(deployment("hello"))]).await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.scale(&id, 2).await;
    let pods = world.until(&id, |it| it.ready().count() == 2).await;
    world.server.edit("Deployment", "default", "hello", |it| {
        it["metadata"]["labels"] = json!({});
    });
    until_gone(&*world.cluster, &id).await;
    world.until_told("hello", "LetGo").await;
    let service = world.server.get("Service", "default", "hello").unwrap();
    assert_eq!(service["spec"]["selector"], json!({ "app": "hello" }));
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 8012);
    let mut addrs: Vec<String> = pods
        .pods
        .iter()
        .map(|pod| pod.addr.ip().to_string())
        .collect();
    addrs.sort();
    assert_eq!(world.endpoints("default", "hello"), addrs);
    let deployment = world.server.get("Deployment", "default", "hello").unwrap();
    assert_eq!(
        deployment["spec"]["replicas"], 2,
        "its scale is left as it was"
    );
}

#[tokio::test]
async fn activators_serve_what_has_lost_its_label_until_its_service_leads_to_its_pods() {
    // Without a queue-proxy they are in the path to the end.
    let world = world_of([deployment("hello")]).await;
    let id = id("hello");
    let own = Some("127.9.0.1".parse().unwrap());
    let activator = deployments(&world.server, Role::Activator { own }).await;
    activator.complete().await;
    world.settle(&id, true).await;
    world.scale(&id, 1).await;
    until(&*activator, &id, |it| {
        it.ready().count() == 1 && it.position.is_some()
    })
    .await;
    world.server.edit("Deployment", "default", "hello", |it| {
        it["metadata"]["labels"] = json!({});
    });
    until_gone(&*activator, &id).await;
    let now = world.endpoints("default", "hello");
    assert!(
        !now.is_empty() && !now.contains(&"127.9.0.1".to_owned()),
        "{now:?}"
    );
}

#[tokio::test]
async fn one_that_another_scaler_scales_is_told_and_left_alone() {
    let world = world_of([deployment("hello")]).await;
    let id = id("hello");
    world.until(&id, |_| true).await;
    world.server.put(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "fights", "namespace": "default" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello" },
            "minReplicas": 1, "maxReplicas": 9,
        },
    }));
    let told = world.until_told("hello", "ScaledByAnother").await;
    assert!(told.contains("fights"), "{told}");
    let refused = world.cluster.scale(&id, 3).await.unwrap_err().to_string();
    assert!(refused.contains("fights"), "{refused}");
    let scale = |call: &penstock_testkit::kube::Call| call.subresource == "scale";
    assert_eq!(world.server.count_calls(scale), 0);
    world
        .server
        .delete("HorizontalPodAutoscaler", "default", "fights");
    while world.cluster.scale(&id, 3).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_number_that_somebody_sets_by_hand_is_told_and_left_alone_for_a_while() {
    let world = world_of([deployment("hello")]).await;
    let id = id("hello");
    world.scale(&id, 1).await;
    world.until(&id, |it| it.wanted == 1).await;
    world.server.edit("Deployment", "default", "hello", |it| {
        it["spec"]["replicas"] = json!(4);
    });
    world.until(&id, |it| it.wanted == 4).await;
    let told = world.until_told("hello", "ScaledByAnother").await;
    assert!(told.contains("to 4, where 1 was asked for"), "{told}");
    let refused = world.cluster.scale(&id, 2).await.unwrap_err().to_string();
    assert!(refused.contains("left alone"), "{refused}");
}

#[tokio::test]
async fn a_workload_that_somebody_sets_to_zero_is_told_and_comes_back_when_it_is_asked_for() {
    let world = world_of([deployment("hello")]).await;
    let id = id("hello");
    world.scale(&id, 2).await;
    world.until(&id, |it| it.wanted == 2).await;
    world.server.edit("Deployment", "default", "hello", |it| {
        it["spec"]["replicas"] = json!(0);
    });
    world.until(&id, |it| it.wanted == 0).await;
    let told = world.until_told("hello", "ScaledByAnother").await;
    assert!(told.contains("to 0, where 2 was asked for"), "{told}");
    world.scale(&id, 1).await;
    world.until(&id, |it| it.wanted == 1).await;
}

#[tokio::test]
async fn decisions_are_told_on_the_deployment() {
    let world = world_of([deployment("hello")]).await;
    let id = id("hello");
    let why = "12 in flight against 5 for each pod";
    world.cluster.told(
        &id,
        Change {
            from: 0,
            to: 3,
            why,
        },
    );
    let told = world.until_told("hello", "ScaledUp").await;
    assert_eq!(told, format!("from 0 to 3 pods: {why}"));
    world.cluster.told(
        &id,
        Change {
            from: 3,
            to: 0,
            why: "nobody calls",
        },
    );
    world.until_told("hello", "ScaledToZero").await;
}

#[tokio::test]
async fn of_a_deployment_and_a_stateful_set_of_one_name_the_deployment_counts() {
    let mut set = workload("StatefulSet", "hello");
    set["spec"]["replicas"] = json!(5);
    set["spec"]["selector"]["matchLabels"]["app"] = json!("set");
    set["spec"]["template"]["metadata"]["labels"]["app"] = json!("set");
    let world = world_of([deployment("hello"), set]).await;
    let id = id("hello");
    let revision = world.until(&id, |_| true).await;
    assert_eq!(revision.wanted, 0);
    world.until_told("hello", "SameName").await;
    world.server.delete("Deployment", "default", "hello");
    world
        .until(&id, |it| it.wanted == 5 && it.ready().count() == 5)
        .await;
}

#[tokio::test]
async fn names_at_the_limit_and_objects_of_a_megabyte_are_taken() {
    let long = "a".repeat(253);
    let mut big = deployment("big");
    // As much as an API server takes: all annotations together have 256 KiB at most.
    big["metadata"]["annotations"]["somebody/else"] = json!("x".repeat(250_000));
    big["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x".repeat(750_000)]);
    let mut longest = deployment(&long);
    longest["spec"]["selector"]["matchLabels"]["app"] = json!("long");
    longest["spec"]["template"]["metadata"]["labels"]["app"] = json!("long");
    let world = world_of([big, longest]).await;
    let big = world.until(&id("big"), |_| true).await;
    assert!(big.annotations.is_empty(), "what is not used is not kept");
    world.settle(&id("big"), true).await;
    world.until(&id(&long), |_| true).await;
    world.settle(&id(&long), true).await;
    let services = world.server.list("Service", "default");
    assert!(
        services
            .iter()
            .all(|it| it["metadata"]["name"].as_str().unwrap().len() <= 63)
    );
    assert_eq!(services.len(), 2);
}

#[tokio::test]
async fn addresses_of_both_families_lead_to_slices_of_their_own() {
    let mut hello = with_queue_proxy(deployment("hello"));
    hello["spec"]["replicas"] = json!(2);
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &["127.9.0.1"]);
    server.put(hello);
    for (name, ip) in [("four", "10.1.2.3"), ("six", "fd00::7")] {
        server.put(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default", "labels": { "app": "hello" } },
            "spec": { "nodeName": "theirs", "containers": [{ "name": "web", "image": "web" }] },
            "status": {
                "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        }));
    }
    let world = World::watching(server).await;
    let id = id("hello");
    let revision = world.until(&id, |it| it.ready().count() == 2).await;
    let addrs: Vec<String> = revision
        .pods
        .iter()
        .map(|pod| pod.addr.to_string())
        .collect();
    assert_eq!(addrs, ["10.1.2.3:8012", "[fd00::7]:8012"]);
    world.settle(&id, false).await;
    assert_eq!(world.endpoints("default", "hello"), ["10.1.2.3", "fd00::7"]);
    let mut families: Vec<String> = world
        .server
        .list("EndpointSlice", "default")
        .iter()
        .map(|slice| slice["addressType"].as_str().unwrap().to_owned())
        .collect();
    families.sort();
    assert_eq!(families, ["IPv4", "IPv6"]);
}
