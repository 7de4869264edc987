//! What else happens to workloads, and to the API server.

use penstock_testkit::kube::{Call, Fault, Matcher};

use super::service::{Load, gateway, get};
use super::world::{World, with_sidecar};
use crate::harness::{Gateway, tests, until};

tests! {
    requests_that_wait_end_at_once_when_their_deployment_is_deleted;
    a_workload_that_loses_its_label_keeps_its_pods_in_the_path_and_loses_no_request;
    while_the_api_server_is_away_requests_go_on_and_nothing_is_scaled;
    every_wrong_annotation_of_the_autoscaler_is_told_on_the_deployment_and_changes_nothing;
    what_may_not_be_seen_is_said_once_with_the_right_that_is_missing;
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
    let scaled = |call: &Call| call.resource_path() == "deployments/scale";
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

async fn a_workload_that_loses_its_label_keeps_its_pods_in_the_path_and_loses_no_request() {
    let (world, activator, _autoscaler) = World::with_both().await;
    let mut workload = with_sidecar("Deployment", "free");
    // Activators are in the path to the end.
    let annotations = &mut workload["metadata"]["annotations"];
    annotations["autoscaling.knative.dev/target-burst-capacity"] = "-1".into();
    world.server.put(workload);
    world
        .until_leads_to("free", "the activator", |_| true)
        .await;
    let free = world.service("free");
    assert_eq!(get(gateway(&free), "free.example.com").await.status, 200);
    world
        .until_pods("Deployment", "free", |pods| pods == 1)
        .await;
    let load = Load::start(free.clone(), "free.example.com", 50);
    world.server.edit("Deployment", "default", "free", |it| {
        it["metadata"]["labels"] = serde_json::json!({});
    });
    world
        .until_leads_to("free", "its pod", |all| {
            all.iter().all(|it| it.ip() != activator.ip)
        })
        .await;
    let pod = world.server.list("Pod", "default").remove(0);
    let ip: std::net::IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
    let now = gateway(&free);
    assert_eq!(now.0.ip(), ip);
    assert_eq!(get(now, "free.example.com").await.status, 200);
    load.stop().await.expect_all();
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

async fn every_wrong_annotation_of_the_autoscaler_is_told_on_the_deployment_and_changes_nothing() {
    let (world, _activator, _autoscaler) = World::with_both().await;
    // Two of them: only so many Events are made of one object in a short time.
    let names = ["even", "odd"];
    for name in names {
        let mut workload = with_sidecar("Deployment", name);
        workload["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] = "1".into();
        world.server.put(workload);
        world.until_pods("Deployment", name, |pods| pods == 1).await;
    }
    let wrong = [
        ("class", "best.knative.dev"),
        ("metric", "luck"),
        ("min-scale", "-1"),
        ("max-scale", "many"),
        ("initial-scale", "1.5"),
        ("activation-scale", "one"),
        ("scale-down-delay", "soon"),
        ("scale-to-zero-pod-retention-period", "2h"),
        ("target", "0"),
        ("target-utilization-percentage", "101"),
        ("target-burst-capacity", "-2"),
        ("window", "1s"),
        ("panic-window-percentage", "0"),
        ("panic-threshold-percentage", "99"),
    ];
    for (turn, (name, value)) in wrong.into_iter().enumerate() {
        let of = names[turn % 2];
        let key = format!("autoscaling.knative.dev/{name}");
        let annotate = |value: Option<serde_json::Value>| {
            world.server.edit("Deployment", "default", of, |it| {
                let annotations = it["metadata"]["annotations"].as_object_mut().unwrap();
                match &value {
                    Some(value) => annotations.insert(key.clone(), value.clone()),
                    None => annotations.remove(&key),
                };
            });
        };
        let before = world.server.get("Deployment", "default", of).unwrap();
        let before = before["metadata"]["annotations"].get(&key).cloned();
        annotate(Some(value.into()));
        let message = until(&format!("{key}={value} is told"), async || {
            let events = world.server.list("Event", "default");
            let mut told = events
                .iter()
                .filter(|event| event["reason"] == "BadAnnotation" && event["type"] == "Warning")
                .filter_map(|event| event["message"].as_str().or(event["note"].as_str()));
            let told = told.find(|message| message.contains(&key))?;
            Some(told.to_owned())
        })
        .await;
        assert!(message.contains(value), "{message}");
        annotate(before);
    }
    // None of them was followed: each has its one pod, and was asked for it once.
    for name in names {
        let deployment = world.server.get("Deployment", "default", name).unwrap();
        assert_eq!(deployment["spec"]["replicas"], 1, "{name}");
    }
    let scaled = |call: &Call| call.resource_path() == "deployments/scale";
    assert_eq!(world.server.count_calls(scaled), 2);
}

async fn what_may_not_be_seen_is_said_once_with_the_right_that_is_missing() {
    for (status, said) in [
        (
            403,
            "a role has to allow the verb \\\"list\\\" on \\\"pods\\\"",
        ),
        (401, "does not know who asks to list pods (401)"),
    ] {
        let world = World::new().await;
        let _autoscaler = world.autoscaler().await;
        world.server.put(with_sidecar("Deployment", "web"));
        let by_activator = |call: &Call| call.token == "activator" && call.resource == "pods";
        let refused = Matcher::any().when(by_activator);
        world
            .server
            .fault(refused, Fault::Status(status), usize::MAX);
        let mut activator = world.activator_begun();
        // Asked again and again, and told once.
        until("it is asked again", async || {
            (world.server.count_calls(by_activator) > 3).then_some(())
        })
        .await;
        let line = activator.program.until_line("list pods").await;
        assert!(line.contains(said), "{line}");
        assert_eq!(activator.program.lines_with("list pods").len(), 1);
        world.server.heal();
        let addr = (activator.ip, 8012).into();
        activator.program.until_open(&[addr]).await;
        let answer = Gateway(addr).get("nobody.example.com", "/").await;
        assert_eq!(answer.status, 404, "it serves");
    }
}
