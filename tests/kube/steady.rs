//! What a steady load loses while pods and components come and go: nothing.

use std::time::Duration;

use super::service::{Load, gateway, get};
use super::world::{ACTIVATORS, World, with_sidecar};
use crate::harness::{tests, until};

tests! {
    a_rollout_a_rollback_and_scaling_in_lose_nothing;
    restarts_of_each_component_lose_nothing;
}

const RATE: u32 = 50;

async fn a_rollout_a_rollback_and_scaling_in_lose_nothing() {
    let (world, _activator, _autoscaler) = World::with_both().await;
    let mut workload = with_sidecar("Deployment", "web");
    workload["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] = "2".into();
    world.server.put(workload);
    world
        .until_pods("Deployment", "web", |pods| pods == 2)
        .await;
    world
        .until_leads_to("web", "both pods", |all| all.len() == 2)
        .await;
    let load = Load::start(world.service("web"), "web.example.com", RATE);
    for image in ["new", "web"] {
        let template = |it: &mut serde_json::Value| {
            it["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        };
        world.server.edit("Deployment", "default", "web", template);
        until("the rollout", async || {
            let it = world.server.get("Deployment", "default", "web")?;
            let status = &it["status"];
            (status["observedGeneration"] == it["metadata"]["generation"]
                && status["updatedReplicas"] == it["spec"]["replicas"]
                && status["replicas"] == it["spec"]["replicas"]
                && status["readyReplicas"] == it["spec"]["replicas"])
                .then_some(())
        })
        .await;
    }
    let annotate = |min: &'static str| {
        move |it: &mut serde_json::Value| {
            it["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] = min.into();
        }
    };
    for (min, pods) in [("4", 4), ("1", 1)] {
        world
            .server
            .edit("Deployment", "default", "web", annotate(min));
        world
            .until_pods("Deployment", "web", |now| now == pods)
            .await;
    }
    load.stop().await.expect_all();
}

async fn restarts_of_each_component_lose_nothing() {
    let (world, mut activator, mut autoscaler) = World::with_both().await;
    let mut workload = with_sidecar("Deployment", "web");
    let annotations = &mut workload["metadata"]["annotations"];
    // Activators stay in the path.
    annotations["autoscaling.knative.dev/target-burst-capacity"] = "-1".into();
    annotations["autoscaling.knative.dev/min-scale"] = "1".into();
    world.server.put(workload);
    world
        .until_pods("Deployment", "web", |pods| pods == 1)
        .await;
    world
        .until_leads_to("web", "the activator", |all| all.len() == 1)
        .await;
    get(gateway(&world.service("web")), "web.example.com").await;
    let load = Load::start(world.service("web"), "web.example.com", RATE);
    for _ in 0..2 {
        let next = world.activator().await;
        world
            .until_leads_to("web", "both", |all| all.len() == 2)
            .await;
        world.leave(ACTIVATORS, activator.ip);
        activator.program.terminate();
        let ip = next.ip;
        world
            .until_leads_to("web", "the new one", |all| {
                all.iter().all(|it| it.ip() == ip)
            })
            .await;
        std::mem::replace(&mut activator, next)
            .program
            .ended()
            .await;
    }
    for _ in 0..2 {
        autoscaler.program.stop().await;
        autoscaler = world.autoscaler_at(autoscaler.ip).await;
    }
    // It scales again.
    tokio::time::timeout(Duration::from_secs(30), async {
        world.server.edit("Deployment", "default", "web", |it| {
            it["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] = "2".into();
        });
        world
            .until_pods("Deployment", "web", |pods| pods == 2)
            .await;
    })
    .await
    .unwrap();
    load.stop().await.expect_all();
}
