//! The program on Kubernetes, against an API server that is emulated over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod stage;

use std::time::{Duration, Instant};

use penstock_autoscaler::kube;
use penstock_testkit::kube::ApiServer;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use stage::{
    Activator, configure, demand, put_pod, put_revision, scales, settings, start, until_asked,
    until_held_by,
};

/// A lease that nobody waits for the end of.
fn long_leases(server: &ApiServer) {
    let times = json!({ "lease-duration": "1h", "renew-deadline": "50m", "retry-period": "200ms" });
    configure(server, "config-leader-election", &times);
}

#[tokio::test]
async fn the_first_request_at_zero_is_one_patch_of_the_scale_subresource() {
    for (policy, pods) in [("knative", 1), ("demand", 20)] {
        let server = ApiServer::start().await;
        put_revision(&server, "hello-00001", 0);
        let running = start(&server, "as-1", &[("PENSTOCK_POLICY", policy)]).await;
        until_held_by(&server, "as-1").await;
        let mut activator = Activator::connect(running.stats).await;
        activator.say_first("hello-00001", 200).await;
        until_asked(&server, "hello-00001", pods).await;
        let queued = |pa: &Value| {
            let conditions = pa["status"]["conditions"].as_array().unwrap();
            conditions
                .iter()
                .any(|it| it["type"] == "Active" && it["reason"] == "Queued")
        };
        let pa = ("PodAutoscaler", "default", "hello-00001");
        server.wait_until(pa.0, pa.1, pa.2, queued).await;
        assert_eq!(server.count_calls(scales), 1, "{policy}");
        running.stop().await;
    }
}

#[tokio::test]
async fn after_a_rolling_restart_the_next_one_goes_on_at_once() {
    for policy in ["knative", "demand"] {
        let server = ApiServer::start().await;
        long_leases(&server);
        put_revision(&server, "hello-00001", 0);
        put_revision(&server, "busy-00001", 3);
        (1..=3).for_each(|number| put_pod(&server, "busy-00001", number));
        let set = [("PENSTOCK_POLICY", policy)];
        let old = start(&server, "as-1", &set).await;
        until_held_by(&server, "as-1").await;
        let new = start(&server, "as-2", &set).await;
        let before = Instant::now();
        old.stop().await;
        let mut activator = Activator::connect(new.stats).await;
        activator.say_first("hello-00001", 1).await;
        until_asked(&server, "hello-00001", 1).await;
        println!(
            "{policy}: from SIGTERM to the PATCH by the next one: {:?}",
            before.elapsed()
        );
        until_held_by(&server, "as-2").await;
        // The one with pods is left as it is: nothing is known of its load yet.
        assert_eq!(server.count_calls(scales), 1, "{policy}");
        new.stop().await;
    }
}

#[tokio::test]
async fn while_the_api_server_is_away_nothing_scales_down_and_afterwards_it_goes_on() {
    let server = ApiServer::start().await;
    let times = json!({ "lease-duration": "4s", "renew-deadline": "1s", "retry-period": "200ms" });
    configure(&server, "config-leader-election", &times);
    let short = json!({ "stable-window": "6s" });
    configure(&server, "config-autoscaler", &short);
    put_revision(&server, "hello-00001", 0);
    put_revision(&server, "busy-00001", 3);
    (1..=3).for_each(|number| put_pod(&server, "busy-00001", number));
    let running = start(&server, "as-1", &[("PENSTOCK_POLICY", "demand")]).await;
    until_held_by(&server, "as-1").await;
    let mut activator = Activator::connect(running.stats).await;
    activator
        .say(&[demand("busy-00001", 20.0, 0, 20, false)])
        .await;
    server.stop_listening().await;
    // Longer than the renew deadline, and than the whole stable window.
    sleep(Duration::from_secs(7)).await;
    activator.say_first("hello-00001", 1).await;
    server.listen_again().await;
    until_held_by(&server, "as-1").await;
    // Its request still waits; the activator says so each second.
    for _ in 0..3 {
        activator
            .say(&[demand("hello-00001", 1.0, 1, 0, false)])
            .await;
        sleep(Duration::from_secs(1)).await;
    }
    until_asked(&server, "hello-00001", 1).await;
    let down = server.count_calls(|call| scales(call) && call.name == "busy-00001-deployment");
    assert_eq!(down, 0, "nothing was known of its load");
    running.stop().await;
}

#[tokio::test]
async fn parameters_change_while_it_runs_and_wrong_ones_do_not() {
    let server = ApiServer::start().await;
    put_revision(&server, "hello-00001", 1);
    put_pod(&server, "hello-00001", 1);
    let running = start(&server, "as-1", &[]).await;
    until_held_by(&server, "as-1").await;
    configure(&server, "config-autoscaler", &json!({ "min-scale": "2" }));
    until_asked(&server, "hello-00001", 2).await;
    configure(
        &server,
        "config-autoscaler",
        &json!({ "min-scale": "4", "stable-window": "1s" }),
    );
    configure(&server, "config-autoscaler", &json!({ "min-scale": "3" }));
    until_asked(&server, "hello-00001", 3).await;
    let four = |call: &penstock_testkit::kube::Call| scales(call) && call.body[0]["value"] == 4;
    assert_eq!(server.count_calls(four), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_map_at_the_start_is_told_with_all_its_mistakes_and_starts_nothing() {
    let server = ApiServer::start().await;
    let wrong = json!({ "stable-window": "1s", "max-scale": "-7" });
    configure(&server, "config-autoscaler", &wrong);
    let settings = settings(&server, "as-1", &[]);
    let error = kube::run(settings, CancellationToken::new(), |_, _| {
        panic!("it does not begin")
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("stable-window") && error.contains("max-scale"),
        "{error}"
    );
    assert!(server.get("Lease", stage::SYSTEM, stage::BUCKET).is_none());
}

#[tokio::test]
async fn a_wrong_way_to_tell_metrics_is_a_mistake_as_well_and_what_is_not_there_is_none() {
    let server = ApiServer::start().await;
    let wrong = json!({ "metrics-protocol": "statsd", "runtime-profiling": "yes" });
    configure(&server, "observed", &wrong);
    let name = [("CONFIG_OBSERVABILITY_NAME", "observed")];
    let begin = |_: &kube::World, _| panic!("it does not begin");
    let settings = settings(&server, "as-1", &name);
    let error = kube::run(settings, CancellationToken::new(), begin).await;
    let error = error.unwrap_err().to_string();
    for wrong in ["metrics-protocol=\"statsd\"", "runtime-profiling=\"yes\""] {
        assert!(error.contains(wrong), "{wrong} is not in {error}");
    }
    // Nobody takes profiles, and nobody reads that key: both are told, and it starts.
    let right =
        json!({ "metrics-protocol": "prometheus", "runtime-profiling": "enabled", "a": "b" });
    configure(&server, "observed", &right);
    let running = start(&server, "as-1", &name).await;
    until_held_by(&server, "as-1").await;
    // What is wrong later does not stop it.
    configure(&server, "observed", &wrong);
    put_revision(&server, "hello-00001", 0);
    let mut activator = Activator::connect(running.stats).await;
    activator.say_first("hello-00001", 1).await;
    until_asked(&server, "hello-00001", 1).await;
    running.stop().await;
}

/// Spec §12: another controller's, which has an autoscaler of Kubernetes scale it.
#[tokio::test]
async fn a_revision_of_class_hpa_is_left_entirely_alone() {
    const CLASS: &str = "autoscaling.knative.dev/class";
    for policy in ["knative", "demand"] {
        let server = ApiServer::start().await;
        put_revision(&server, "hello-00001", 0);
        for (name, class) in [
            ("cpu-00001", "hpa.autoscaling.knative.dev"),
            ("own-00001", "custom.example.com"),
        ] {
            put_revision(&server, name, 0);
            let pa = server.get("PodAutoscaler", "default", name).unwrap();
            let mut pa = Value::clone(&pa);
            pa["metadata"]["annotations"][CLASS] = class.into();
            server.put(pa);
        }
        let running = start(&server, "as-1", &[("PENSTOCK_POLICY", policy)]).await;
        until_held_by(&server, "as-1").await;
        let mut activator = Activator::connect(running.stats).await;
        activator.say_first("cpu-00001", 50).await;
        activator.say_first("own-00001", 50).await;
        activator.say_first("hello-00001", 1).await;
        until_asked(&server, "hello-00001", 1).await;
        // The number of pods, the path, the Metric and the status come one after the other: past a
        // tick, all that would be written was.
        sleep(Duration::from_millis(2_500)).await;
        let touched = |call: &penstock_testkit::kube::Call| {
            let writes = !["get", "list", "watch"].contains(&call.verb);
            let theirs = ["cpu-00001", "own-00001"];
            writes
                && theirs
                    .iter()
                    .any(|it| call.path.contains(it) || call.body.to_string().contains(it))
        };
        let calls = server.calls();
        let touched: Vec<_> = calls.iter().filter(|call| touched(call)).collect();
        assert!(touched.is_empty(), "{policy}: {touched:#?}");
        running.stop().await;
    }
}

#[tokio::test]
async fn without_knative_it_is_deployments_with_a_label_that_are_scaled() {
    let server = ApiServer::start().await;
    server.forget_group("serving.knative.dev");
    server.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "default",
            "labels": { "penstock.dev/scale": "true" },
            "annotations": { "penstock.dev/port": "8080", "autoscaling.knative.dev/initial-scale": "1" } },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } },
            "template": { "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "hello",
                    "ports": [{ "containerPort": 8080 }] }] } } },
    }));
    let running = start(&server, "as-1", &[("PENSTOCK_POLICY", "demand")]).await;
    until_held_by(&server, "as-1").await;
    let mut activator = Activator::connect(running.stats).await;
    activator.say_first("web", 300).await;
    let more = |it: &Value| it["spec"]["replicas"].as_u64() > Some(1);
    server
        .wait_until("Deployment", "default", "web", more)
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_bucket_that_is_held_elsewhere_is_left_alone() {
    let server = ApiServer::start().await;
    long_leases(&server);
    put_revision(&server, "hello-00001", 0);
    server.put(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": stage::BUCKET, "namespace": stage::SYSTEM },
        "spec": { "holderIdentity": "peer_127.0.0.2", "leaseDurationSeconds": 3600 },
    }));
    let running = start(&server, "as-1", &[("PENSTOCK_POLICY", "demand")]).await;
    let mut activator = Activator::connect(running.stats).await;
    activator.say_first("hello-00001", 1).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.count_calls(scales), 0);
    // The peer is gone: what was said meanwhile is decided on here.
    server.delete("Lease", stage::SYSTEM, stage::BUCKET);
    until_asked(&server, "hello-00001", 1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_pod_of_a_stateful_set_scales_what_is_its_own_without_a_lease() {
    let server = ApiServer::start().await;
    put_revision(&server, "hello-00001", 0);
    let set = [
        ("STATEFUL_CONTROLLER_ORDINAL", "autoscaler-0"),
        ("STATEFUL_SERVICE_NAME", "autoscaler"),
    ];
    let running = start(&server, "autoscaler-0", &set).await;
    let mut activator = Activator::connect(running.stats).await;
    activator.say_first("hello-00001", 1).await;
    until_asked(&server, "hello-00001", 1).await;
    assert!(server.list("Lease", stage::SYSTEM).is_empty());
    running.stop().await;
}
