//! The path of requests: the Service, and whom its EndpointSlices lead to.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_cluster::{Cluster, Readiness};
use penstock_testkit::kube::ApiServer;
use penstock_types::Activity;

use crate::world::{
    World, autoscaler, deployment, deployments, endpoints, id, put_activators, until, wish,
    with_queue_proxy,
};

const ACTIVATORS: [&str; 2] = ["127.9.0.1", "127.9.0.2"];

async fn world() -> World {
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &ACTIVATORS);
    server.put(with_queue_proxy(deployment("hello")));
    World::autoscaler(server).await
}

fn owned_by(object: &serde_json::Value) -> (&str, &str) {
    let owner = &object["metadata"]["ownerReferences"][0];
    (
        owner["kind"].as_str().unwrap(),
        owner["name"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn a_workload_gets_a_service_that_leads_to_activators_and_then_to_pods() {
    let world = world().await;
    let id = id("hello");
    let first = world.until(&id, |_| true).await;
    assert_eq!(first.standing.as_ref().unwrap().activity, Activity::New);
    assert!(first.queue_proxy);
    assert_eq!(
        first.readiness,
        Readiness::Probed {
            early: true,
            service: None
        }
    );
    world.settle(&id, true).await;
    let service = world.server.get("Service", "default", "hello").unwrap();
    assert_eq!(owned_by(&service), ("Deployment", "hello"));
    assert!(service["spec"]["selector"].is_null(), "{service}");
    assert_eq!(service["spec"]["ports"][0]["port"], 80);
    assert_eq!(world.endpoints("default", "hello"), ACTIVATORS);
    let slices = world.server.list("EndpointSlice", "default");
    assert_eq!(owned_by(&slices[0]), ("Service", "hello"));

    world.scale(&id, 2).await;
    let pods = world.until(&id, |it| it.ready().count() == 2).await;
    assert_eq!(world.endpoints("default", "hello"), ACTIVATORS, "as before");
    world.settle(&id, false).await;
    let mut addrs: Vec<String> = pods
        .pods
        .iter()
        .map(|pod| pod.addr.ip().to_string())
        .collect();
    addrs.sort();
    assert_eq!(world.endpoints("default", "hello"), addrs);
    assert!(pods.pods.iter().all(|pod| pod.addr.port() == 8012));

    let standing = world
        .until(&id, |it| {
            let way = it
                .standing
                .as_ref()
                .and_then(|standing| standing.way.clone());
            way.is_some_and(|way| !way.proxied && way.proxied_since.is_none())
        })
        .await;
    let standing = standing.standing.as_ref().unwrap();
    let public = standing.way.as_ref().unwrap().public.as_deref();
    assert_eq!(public, Some("hello.default.svc.cluster.local:80"));
    assert!(standing.initialized);
}

#[tokio::test]
async fn at_no_moment_of_a_flip_does_the_service_lead_nowhere() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.scale(&id, 3).await;
    world.until(&id, |it| it.ready().count() == 3).await;
    world.settle(&id, false).await;
    world.server.forget_calls();
    for flip in 0..50 {
        world.settle(&id, flip % 2 == 0).await;
    }
    // Each deletion came after the creation of what took over, and was the last of its flip.
    let calls = world.server.calls();
    let slices: Vec<&str> = calls
        .iter()
        .filter(|call| call.resource == "endpointslices")
        .filter(|call| matches!(call.verb, "create" | "delete"))
        .map(|call| call.verb)
        .collect();
    assert_eq!(slices.len(), 100, "{slices:?}");
    assert!(slices.chunks(2).all(|flip| flip == ["create", "delete"]));
}

#[tokio::test]
async fn pods_that_come_and_go_are_followed_without_being_told() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.scale(&id, 1).await;
    world.until(&id, |it| it.ready().count() == 1).await;
    world.settle(&id, false).await;
    world.scale(&id, 3).await;
    let leads_to = |count: usize| {
        let server = Arc::clone(&world.server);
        async move {
            let mut calls = 0;
            while endpoints(&server, "default", "hello").len() != count {
                let now = server.calls().len();
                assert!(now < 10_000, "it never leads to {count}");
                calls = calls.max(now);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    };
    leads_to(3).await;
    // Without any pod, activators take over though they were told to stay out.
    world.scale(&id, 0).await;
    loop {
        let now: BTreeSet<String> = world.endpoints("default", "hello").into_iter().collect();
        if now == ACTIVATORS.map(str::to_owned).into() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let proxied = world
        .until(&id, |it| {
            let way = it
                .standing
                .as_ref()
                .and_then(|standing| standing.way.clone());
            way.is_some_and(|way| way.proxied_since.is_some())
        })
        .await;
    let way = proxied.standing.as_ref().unwrap().way.clone().unwrap();
    assert!(!way.proxied, "what was told stays");
}

#[tokio::test]
async fn case_112_every_path_follows_the_activators() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    put_activators(&world.server, &["127.9.0.7"]);
    while world.endpoints("default", "hello") != ["127.9.0.7"] {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_autoscaler_that_starts_anew_goes_on_from_what_is_written_down() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    let before = world
        .until(&id, |it| {
            it.standing
                .as_ref()
                .is_some_and(|standing| standing.initialized)
        })
        .await;
    let again = deployments(&world.server, autoscaler()).await;
    again.complete().await;
    let after = until(&*again, &id, |_| true).await;
    assert_eq!(after.standing, before.standing);
    let writes = |call: &penstock_testkit::kube::Call| {
        call.resource == "endpointslices" && call.verb != "list" && call.verb != "watch"
    };
    let known = world.server.count_calls(writes);
    again.settle(&id, wish(true)).await.unwrap();
    assert_eq!(world.server.count_calls(writes), known, "all is in place");
}

#[tokio::test]
async fn without_a_queue_proxy_activators_stay_in_the_path() {
    let server = Arc::new(ApiServer::start_as_asked().await);
    put_activators(&server, &ACTIVATORS);
    server.put(deployment("plain"));
    let world = World::autoscaler(server).await;
    let id = id("plain");
    world.scale(&id, 1).await;
    let revision = world.until(&id, |it| it.ready().count() == 1).await;
    assert_eq!(revision.readiness, Readiness::Trusted);
    assert_eq!(revision.pods[0].addr.port(), 8080);
    world.settle(&id, false).await;
    assert_eq!(world.endpoints("default", "plain"), ACTIVATORS);
}

#[tokio::test]
async fn case_59_an_activator_finds_itself_among_those_in_the_path() {
    use penstock_cluster_kube::deployments::Role;

    let world = world().await;
    let id = id("hello");
    let own = Some("127.9.0.2".parse().unwrap());
    let activator = deployments(&world.server, Role::Activator { own }).await;
    activator.complete().await;
    let nowhere = until(&*activator, &id, |_| true).await;
    assert_eq!(nowhere.position, None);
    world.settle(&id, true).await;
    let known = until(&*activator, &id, |it| it.position.is_some()).await;
    let position = known.position.unwrap();
    assert_eq!((position.index, position.activators), (1, 2));
    assert!(known.standing.is_none(), "that is the autoscaler's");
    put_activators(&world.server, &["127.9.0.2"]);
    until(&*activator, &id, |it| {
        it.position
            .is_some_and(|at| (at.index, at.activators) == (0, 1))
    })
    .await;
    assert!(activator.scale(&id, 1).await.is_err(), "it only reads");
}
