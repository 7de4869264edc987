//! Ordinary Deployments: from zero and back, with the rights that the manifests give.

use penstock_testkit::kube::Call;
use serde_json::Value;

use super::service::{gateway, get};
use super::world::{World, rules, with_sidecar, without_sidecar};
use crate::harness::{tests, until};

tests! {
    a_deployment_comes_from_zero_grows_leaves_the_path_and_goes_to_zero_with_the_rights_of_the_manifests;
    without_a_sidecar_the_activator_stays_in_the_path_and_keeps_the_limit;
    a_stateful_set_is_scaled_as_well;
}

/// Every right that a manifest gives is used, but for these, which only other events need.
fn expect_used(manifest: &str, calls: &[Call], token: &str, spare: &[(&str, &str)]) {
    let calls: Vec<Call> = calls
        .iter()
        .filter(|it| it.token == token)
        .cloned()
        .collect();
    let unused = rules(manifest).unused(&calls);
    let unused: Vec<String> = unused
        .iter()
        .filter(|it| !spare.contains(&(&it.resource, &it.verb)))
        .map(|it| format!("{} {}", it.verb, it.resource))
        .collect();
    assert!(unused.is_empty(), "{token} never needs: {unused:?}");
}

async fn a_deployment_comes_from_zero_grows_leaves_the_path_and_goes_to_zero_with_the_rights_of_the_manifests()
 {
    let (world, activator, autoscaler) = World::with_both().await;
    let server = &world.server;
    server.put(with_sidecar("Deployment", "hello"));
    let at_activator = |all: &[std::net::SocketAddr]| all.iter().all(|it| it.ip() == activator.ip);
    world
        .until_leads_to("hello", "the activator", at_activator)
        .await;
    let hello = world.service("hello");

    let answer = get(gateway(&hello), "hello.example.com").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let asked = |call: &&Call| call.verb == "patch" && call.resource_path() == "deployments/scale";
    let calls = server.calls();
    let scale = calls.iter().find(asked).expect("the scale was patched");
    assert_eq!(
        (scale.name.as_str(), scale.token.as_str()),
        ("hello", "autoscaler")
    );

    // One pod has room to spare.
    let at_pods = |all: &[std::net::SocketAddr]| all.iter().all(|it| it.ip() != activator.ip);
    world.until_leads_to("hello", "pods", at_pods).await;
    let answer = get(gateway(&hello), "anything").await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // More at once than one pod takes.
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(gateway(&hello).ask("hello.example.com", "/hold").await);
    }
    world
        .until_pods("Deployment", "hello", |pods| pods >= 3)
        .await;
    drop(held);

    world
        .until_pods("Deployment", "hello", |pods| pods == 0)
        .await;
    world
        .until_leads_to("hello", "the activator", at_activator)
        .await;
    let answer = get(gateway(&hello), "hello.example.com").await;
    assert_eq!(answer.status, 200, "again from zero: {}", answer.text());

    server.delete("Deployment", "default", "hello");
    until("its Service goes", async || {
        server
            .get("Service", "default", "hello")
            .is_none()
            .then_some(())
    })
    .await;
    activator.program.stop().await;
    autoscaler.program.stop().await;
    let calls = server.calls();
    for call in calls.iter().filter(|call| !call.resource.is_empty()) {
        let file = match call.token.as_str() {
            "activator" => include_str!("../../deploy/kube/base/activator-rbac.yaml"),
            "autoscaler" => include_str!("../../deploy/kube/base/autoscaler-rbac.yaml"),
            _ => continue,
        };
        assert!(
            rules(file).allow(call),
            "{} may not {} {} {}/{}",
            call.token,
            call.verb,
            call.resource_path(),
            call.namespace,
            call.name
        );
    }
    let file = include_str!("../../deploy/kube/base/activator-rbac.yaml");
    expect_used(file, &calls, "activator", &[]);
    let file = include_str!("../../deploy/kube/base/autoscaler-rbac.yaml");
    let spare = [
        // Of StatefulSets there are none here.
        ("statefulsets", "get"),
        ("statefulsets/scale", "patch"),
        // Whether one that is gone was deleted; the garbage collector may be quicker.
        ("deployments", "get"),
        // One that somebody else has, and one by another name than before.
        ("services", "get"),
        ("services", "delete"),
    ];
    expect_used(file, &calls, "autoscaler", &spare);
}

async fn without_a_sidecar_the_activator_stays_in_the_path_and_keeps_the_limit() {
    let (world, activator, _autoscaler) = World::with_both().await;
    world.server.put(without_sidecar("Deployment", "bare"));
    let at_activator = |all: &[std::net::SocketAddr]| all.iter().all(|it| it.ip() == activator.ip);
    world
        .until_leads_to("bare", "the activator", at_activator)
        .await;
    let bare = world.service("bare");
    let answer = get(gateway(&bare), "bare.example.com").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(gateway(&bare).ask("bare.example.com", "/hold").await);
    }
    // Two at once in each pod.
    world
        .until_pods("Deployment", "bare", |pods| pods >= 3)
        .await;
    world
        .until_leads_to("bare", "the activator", at_activator)
        .await;
    drop(held);
    world
        .until_pods("Deployment", "bare", |pods| pods == 0)
        .await;
}

async fn a_stateful_set_is_scaled_as_well() {
    let (world, _activator, _autoscaler) = World::with_both().await;
    world.server.put(with_sidecar("StatefulSet", "db"));
    world.until_leads_to("db", "anything", |_| true).await;
    let answer = get(gateway(&world.service("db")), "db.example.com").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let set = world.server.get("StatefulSet", "default", "db").unwrap();
    assert_eq!(set["spec"]["replicas"], Value::from(1));
}
