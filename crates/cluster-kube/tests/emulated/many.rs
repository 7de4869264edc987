//! Thousands of workloads: lists in pages, one request for a scale, and only what changed anew.

use std::sync::Arc;

use penstock_cluster::Cluster;
use penstock_cluster_kube::deployments::Role;
use penstock_testkit::kube::{ApiServer, Call};

use crate::world::{World, deployment, deployments, id};

const MANY: usize = 1000;

fn name(n: usize) -> String {
    format!("w-{n:04}")
}

#[tokio::test]
async fn a_scale_is_one_request_and_paints_one_revision() {
    let server = Arc::new(ApiServer::start().await);
    for n in 0..MANY {
        server.put(deployment(&name(n)));
    }
    let world = World::autoscaler(server).await;
    let before = Arc::clone(&world.cluster.snapshot().borrow());
    assert_eq!(before.revisions.len(), MANY);
    assert_eq!(before.routes.hosts.len(), 3 * MANY);
    let pages = |call: &Call| call.verb == "list" && call.resource == "deployments";
    assert_eq!(world.server.count_calls(pages), MANY / 100);
    world.server.forget_calls();
    let one = id(&name(500));
    world.scale(&one, 1).await;
    world.until(&one, |it| it.ready().count() == 1).await;
    let made = |call: &Call| !matches!(call.verb, "list" | "watch");
    let calls = world.server.calls();
    let calls: Vec<&Call> = calls.iter().filter(|call| made(call)).collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(
        (calls[0].verb, calls[0].subresource.as_str()),
        ("patch", "scale")
    );
    let after = Arc::clone(&world.cluster.snapshot().borrow());
    let same = before
        .revisions
        .iter()
        .filter(|(id, revision)| Arc::ptr_eq(revision, &after.revisions[id]));
    assert_eq!(same.count(), MANY - 1);
    assert!(Arc::ptr_eq(&before.routes, &after.routes));
}

#[tokio::test]
async fn an_activator_makes_no_request_but_lists_and_watches() {
    let server = Arc::new(ApiServer::start().await);
    server.put(deployment("hello"));
    let cluster = deployments(&server, Role::Activator { own: None }).await;
    cluster.complete().await;
    server.put(deployment("later"));
    crate::world::until(&*cluster, &id("later"), |_| true).await;
    server
        .until_called(|call| call.query.contains("app%3Dlater"))
        .await;
    let mut asked: Vec<(String, &str)> = server
        .calls()
        .iter()
        .map(|call| (call.resource.clone(), call.verb))
        .collect();
    asked.sort();
    asked.dedup();
    let all = ["deployments", "endpointslices", "pods", "statefulsets"];
    let wanted: Vec<(String, &str)> = all
        .iter()
        .flat_map(|it| [((*it).to_owned(), "list"), ((*it).to_owned(), "watch")])
        .collect();
    assert_eq!(asked, wanted);
}
