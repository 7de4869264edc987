//! An API server that refuses, is slow, is away, or has forgotten.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Cluster, ScaleError};
use penstock_cluster_kube::deployments::{Options, Role};
use penstock_cluster_kube::{Access, Deployments, Reach, Rhythm, connect};
use penstock_testkit::kube::{ApiServer, Call, Fault, Matcher};
use serde_json::json;

use crate::world::{World, deployment, deployments, id, put_activators, until, with_queue_proxy};

async fn world() -> World {
    let server = Arc::new(ApiServer::start().await);
    put_activators(&server, &["127.9.0.1"]);
    server.put(with_queue_proxy(deployment("hello")));
    World::autoscaler(server).await
}

async fn until_reach(world: &World, wanted: Reach) {
    let mut reach = world.cluster.reach();
    let waited = reach.wait_for(|reach| *reach == wanted);
    let waited = tokio::time::timeout(crate::world::LIMIT, waited).await;
    waited.expect("it comes to that").unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_told_as_stale_and_the_picture_stays() {
    let world = world().await;
    let id = id("hello");
    world.scale(&id, 1).await;
    world.until(&id, |it| it.ready().count() == 1).await;
    world.server.stop_listening().await;
    until_reach(&world, Reach::Stale).await;
    assert_eq!(world.until(&id, |_| true).await.ready().count(), 1);
    let refused = world.cluster.scale(&id, 3).await;
    assert!(
        matches!(refused, Err(ScaleError::Refused { .. })),
        "{refused:?}"
    );
    world.server.listen_again().await;
    until_reach(&world, Reach::Fresh).await;
    world.scale(&id, 3).await;
    world.until(&id, |it| it.ready().count() == 3).await;
}

#[tokio::test]
async fn what_changed_while_watches_were_forgotten_is_found_by_a_list() {
    let world = world().await;
    let id = id("hello");
    world.server.put(deployment("other"));
    world.until(&crate::world::id("other"), |_| true).await;
    world.server.stop_listening().await;
    world.server.delete("Deployment", "default", "other");
    world.server.edit("Deployment", "default", "hello", |it| {
        it["spec"]["replicas"] = json!(2);
    });
    world.server.compact();
    world.server.listen_again().await;
    world.until(&id, |it| it.wanted == 2).await;
    crate::world::until_gone(&*world.cluster, &crate::world::id("other")).await;
}

#[tokio::test]
async fn a_watch_that_breaks_off_goes_on_without_a_list() {
    let world = world().await;
    let lists = |call: &Call| call.verb == "list";
    let listed = world.server.count_calls(lists);
    for pods in [1, 2, 3] {
        world.server.cut_watches();
        world.scale(&id("hello"), pods).await;
        let pods = pods as usize;
        world
            .until(&id("hello"), |it| it.ready().count() == pods)
            .await;
    }
    assert_eq!(world.server.count_calls(lists), listed);
}

#[tokio::test]
async fn a_right_that_is_missing_keeps_the_picture_from_being_whole_until_it_is_given() {
    let server = Arc::new(ApiServer::start().await);
    server.put(deployment("hello"));
    let forbidden = Matcher::any().resource("statefulsets");
    server.fault(forbidden, Fault::Status(403), usize::MAX);
    let cluster = deployments(&server, Role::Activator { own: None }).await;
    let asked = |call: &Call| call.resource == "statefulsets";
    while server.count_calls(asked) < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(cluster.snapshot().borrow().revisions.is_empty());
    assert_eq!(*cluster.reach().borrow(), Reach::Stale);
    server.heal();
    cluster.complete().await;
    until(&*cluster, &id("hello"), |_| true).await;
}

#[tokio::test]
async fn a_server_that_is_too_busy_is_asked_again_only_when_it_says_so() {
    let server = Arc::new(ApiServer::start().await);
    server.put(deployment("hello"));
    let busy = Matcher::any().verb("list").resource("deployments");
    server.fault(busy, Fault::RetryAfter(429, 1), 1);
    let cluster = deployments(&server, Role::Activator { own: None }).await;
    cluster.complete().await;
    let calls = server.calls();
    let lists: Vec<_> = calls
        .iter()
        .filter(|call| call.resource == "deployments" && call.verb == "list")
        .collect();
    assert!(lists.len() >= 2);
    assert!(lists[1].at - lists[0].at >= Duration::from_secs(1));
}

#[tokio::test]
async fn refusals_of_a_scale_are_told_with_their_reason_and_it_can_be_tried_again() {
    let world = world().await;
    let id = id("hello");
    for status in [401, 403, 409, 422, 429, 500, 503] {
        let scale = Matcher::any().resource("deployments/scale");
        world.server.fault(scale, Fault::Status(status), 1);
        let refused = world.cluster.scale(&id, 2).await;
        assert!(
            matches!(refused, Err(ScaleError::Refused { .. })),
            "{status}: {refused:?}"
        );
    }
    world.scale(&id, 2).await;
    world.until(&id, |it| it.ready().count() == 2).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_not_a_lost_wish() {
    let world = world().await;
    let id = id("hello");
    let scale = Matcher::any().resource("deployments/scale");
    world.server.fault(scale, Fault::LoseAnswer, 1);
    assert!(world.cluster.scale(&id, 2).await.is_err());
    // It was done all the same, and that is seen; nobody else is blamed for it.
    world
        .until(&id, |it| it.wanted == 2 && it.ready().count() == 2)
        .await;
    world.scale(&id, 3).await;
    world.until(&id, |it| it.ready().count() == 3).await;
}

#[tokio::test]
async fn a_path_that_cannot_be_written_is_refused_and_then_mended() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.scale(&id, 1).await;
    let pods = world.until(&id, |it| it.ready().count() == 1).await;
    let slices = Matcher::any().verb("create").resource("endpointslices");
    world.server.fault(slices, Fault::Status(500), 1);
    let flipped = world.cluster.settle(&id, crate::world::wish(false)).await;
    assert!(flipped.is_err());
    assert_eq!(
        world.endpoints("default", "hello"),
        ["127.9.0.1"],
        "still whole"
    );
    world.settle(&id, false).await;
    let pod = pods.pods[0].addr.ip().to_string();
    assert_eq!(world.endpoints("default", "hello"), [pod]);
}

#[tokio::test]
async fn a_scale_that_is_never_answered_is_given_up_and_can_be_tried_again() {
    let world = world().await;
    let id = id("hello");
    let scale = Matcher::any().resource("deployments/scale");
    world.server.fault(scale, Fault::Hang, 1);
    let refused = world.cluster.scale(&id, 2).await.unwrap_err().to_string();
    assert!(
        refused.contains("no answer from the API server"),
        "{refused}"
    );
    world.scale(&id, 2).await;
    world.until(&id, |it| it.ready().count() == 2).await;
}

#[tokio::test]
async fn whatever_a_slice_is_refused_with_the_path_stays_whole_until_it_can_be_written() {
    let world = world().await;
    let id = id("hello");
    world.settle(&id, true).await;
    world.scale(&id, 1).await;
    let pods = world.until(&id, |it| it.ready().count() == 1).await;
    let pod = pods.pods[0].addr.ip().to_string();
    for (turn, status) in [401, 403, 409, 422, 429, 500, 503].into_iter().enumerate() {
        let proxied = turn % 2 == 1;
        let before = world.endpoints("default", "hello");
        let slices = Matcher::any().verb("create").resource("endpointslices");
        world
            .server
            .fault(slices, Fault::Status(status), usize::MAX);
        let wish = crate::world::wish(proxied);
        let refused = world.cluster.settle(&id, wish).await.unwrap_err();
        assert!(
            refused.to_string().contains("hello-"),
            "it names the slice: {refused}"
        );
        assert_eq!(world.endpoints("default", "hello"), before, "{status}");
        world.server.heal();
        world.settle(&id, proxied).await;
        let wanted = if proxied { "127.9.0.1" } else { &pod };
        assert_eq!(world.endpoints("default", "hello"), [wanted], "{status}");
    }
}

#[tokio::test]
async fn requests_name_the_component_and_the_manager() {
    let world = world().await;
    world.scale(&id("hello"), 1).await;
    let scale = world
        .server
        .until_called(|call| call.subresource == "scale")
        .await;
    assert!(
        scale.user_agent.starts_with("penstock-test/"),
        "{}",
        scale.user_agent
    );
    assert_eq!(scale.parameter("fieldManager"), "penstock");
    assert_eq!(scale.media, "application/json-patch+json");
}

#[tokio::test]
async fn pods_that_were_there_before_the_label_are_found() {
    let mut plain = deployment("plain");
    plain["metadata"]["labels"] = json!({});
    plain["spec"]["replicas"] = json!(2);
    let server = Arc::new(ApiServer::start().await);
    server.put(plain);
    let world = World::autoscaler(server).await;
    let pods = |server: &ApiServer| server.list("Pod", "default").len();
    while pods(&world.server) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.server.edit("Deployment", "default", "plain", |it| {
        it["metadata"]["labels"] = json!({ "penstock.dev/scale": "true" });
    });
    world
        .until(&id("plain"), |it| it.ready().count() == 2)
        .await;
    // What was found by a list goes as what came by the watch does.
    world.scale(&id("plain"), 0).await;
    world.until(&id("plain"), |it| it.pods.is_empty()).await;
}

#[tokio::test]
async fn watches_that_say_nothing_are_given_up_after_their_time() {
    let server = Arc::new(ApiServer::start().await);
    server.put(deployment("hello"));
    let half = Matcher::any().verb("watch");
    server.fault(half, Fault::HalfOpen, 3);
    let options = Options {
        namespace: None,
        domain: "cluster.local".to_owned(),
        rhythm: Rhythm {
            watch: Duration::from_secs(1),
            ..crate::world::RHYTHM
        },
        check: Arc::new(|_| Vec::new()),
    };
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("test", &access).await.unwrap();
    let cluster = Deployments::start(client, options, Role::Activator { own: None });
    cluster.complete().await;
    server.edit("Deployment", "default", "hello", |it| {
        it["spec"]["replicas"] = json!(2);
    });
    until(&*cluster, &id("hello"), |it| it.wanted == 2).await;
}
