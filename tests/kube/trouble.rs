//! What else happens to workloads, and to the API server.

use super::service::{gateway, get};
use super::world::{World, with_sidecar};
use crate::harness::{Gateway, tests, until};

tests! {
    requests_that_wait_end_at_once_when_their_deployment_is_deleted;
    a_workload_that_loses_its_label_keeps_its_pods_in_the_path;
    while_the_api_server_is_away_requests_go_on_and_nothing_is_scaled;
}

async fn requests_that_wait_end_at_once_when_their_deployment_is_deleted() {
    let (world, activator, _autoscaler) = World::with_both().await;
    let mut workload = with_sidecar("Deployment", "gone");
    // Its pods never start: nobody schedules them.
    workload["spec"]["template"]["spec"]["nodeName"] = "elsewhere".into();
    world.server.put(workload);
    world
        .until_leads_to("gone", "the activator", |_| true)
        .await;
    let gateway = Gateway((activator.ip, 8012).into());
    let waiting = tokio::spawn(async move { get(gateway, "gone.example.com").await });
    // Nothing is started before somebody asks, so now it waits.
    let scaled = |call: &penstock_testkit::kube::Call| call.resource_path() == "deployments/scale";
    world.server.until_called(scaled).await;
    world.server.delete("Deployment", "default", "gone");
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("default/gone was deleted"), "{text}");
    assert_eq!(
        answer.headers["proxy-status"],
        "penstock-activator; error=destination_unavailable"
    );
}

async fn a_workload_that_loses_its_label_keeps_its_pods_in_the_path() {
    let (world, _activator, _autoscaler) = World::with_both().await;
    world.server.put(with_sidecar("Deployment", "free"));
    world
        .until_leads_to("free", "the activator", |_| true)
        .await;
    let free = world.service("free");
    assert_eq!(get(gateway(&free), "free.example.com").await.status, 200);
    world.server.edit("Deployment", "default", "free", |it| {
        it["metadata"]["labels"] = serde_json::json!({});
    });
    let pod = world.server.list("Pod", "default").remove(0);
    let ip: std::net::IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
    world
        .until_leads_to("free", "its pod", |all| all.iter().all(|it| it.ip() == ip))
        .await;
    assert_eq!(get(gateway(&free), "free.example.com").await.status, 200);
}

async fn while_the_api_server_is_away_requests_go_on_and_nothing_is_scaled() {
    let (world, activator, _autoscaler) = World::with_both().await;
    let mut workload = with_sidecar("Deployment", "calm");
    let annotations = &mut workload["metadata"]["annotations"];
    annotations["autoscaling.knative.dev/target-burst-capacity"] = "-1".into();
    world.server.put(workload);
    world.server.put(with_sidecar("Deployment", "cold"));
    for name in ["calm", "cold"] {
        world.until_leads_to(name, "the activator", |_| true).await;
    }
    let gateway = Gateway((activator.ip, 8012).into());
    assert_eq!(get(gateway, "calm.example.com").await.status, 200);
    world.server.stop_listening().await;
    // Longer than a window: whatever would be taken for silence is, by then.
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while tokio::time::Instant::now() < end {
        assert_eq!(get(gateway, "calm.example.com").await.status, 200);
    }
    let waiting = tokio::spawn(async move { get(gateway, "cold.example.com").await });
    world.server.listen_again().await;
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    until("both run", async || {
        let pods = world.server.list("Pod", "default");
        (pods.len() == 2).then_some(())
    })
    .await;
}
