//! Several autoscalers, of Knative's and ours, and several activators (spec/autoscaler.md §4.5,
//! spec/activator.md §3.7 and §9).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_testkit::kube::Call;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::alone::{path, scale, scrape};
use super::install::{Install, QUICK, Standing};
use super::objects::{Revision, SYSTEM, config_map};
use super::peers;
use crate::harness::{Gateway, tests, until};
use crate::kube::program::address;
use crate::kube::service;

tests! {
    buckets_are_shared_with_knatives_autoscaler_and_taken_over_when_it_is_gone;
    the_first_request_after_a_rolling_restart_of_the_autoscaler_is_answered_by_the_next_one;
    of_three_activators_two_share_the_pods_and_each_answers;
}

const BUCKETS: [&str; 2] = ["autoscaler-bucket-00-of-02", "autoscaler-bucket-01-of-02"];

fn elections(buckets: &str) -> Value {
    config_map(
        "config-leader-election",
        &[
            ("buckets", buckets),
            ("lease-duration", "10s"),
            ("renew-deadline", "7s"),
            ("retry-period", "2s"),
        ],
    )
}

/// A lease as a program of Knative's holds it.
fn held(bucket: &str, holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": bucket, "namespace": SYSTEM },
        "spec": {
            "holderIdentity": holder, "leaseDurationSeconds": 10, "leaseTransitions": 4,
            "acquireTime": "2026-11-01T10:00:00.000000Z",
            "renewTime": micros(SystemTime::now()),
        },
    })
}

/// A time with which a renewal differs from the one before.
fn micros(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!(
        "2026-11-01T10:00:{:02}.{:06}Z",
        since.as_secs() % 60,
        since.subsec_micros()
    )
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default()
}

async fn until_held(install: &Install, bucket: &str, by: &str) -> Arc<Value> {
    until(&format!("{bucket} is held by {by}"), async || {
        let lease = install.server.get("Lease", SYSTEM, bucket)?;
        (holder(&lease) == by).then_some(lease)
    })
    .await
}

async fn buckets_are_shared_with_knatives_autoscaler_and_taken_over_when_it_is_gone() {
    let install = Install::new(&QUICK).await;
    let server = &install.server;
    server.put(elections("2"));
    let peer = peers::Autoscaler::at((address(), 8080).into()).await;
    let knatives = format!("autoscaler-of-knative_{}", peer.addr().ip());
    server.put(held(BUCKETS[1], &knatives));
    let autoscaler = install.autoscaler().await;
    let ours = format!("{}_{}", autoscaler.pod, autoscaler.ip);
    let lease = until_held(&install, BUCKETS[0], &ours).await;
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 10);
    for time in ["acquireTime", "renewTime"] {
        let text = lease["spec"][time].as_str().unwrap();
        // RFC 3339 with six digits, as the API's MicroTime is.
        assert!(text.len() == 27 && text.ends_with('Z'), "{time}: {text}");
    }
    let slice = until("the bucket's Service leads to us", async || {
        server.get("Service", SYSTEM, BUCKETS[0])?;
        server.get("EndpointSlice", SYSTEM, BUCKETS[0])
    })
    .await;
    assert_eq!(
        slice["endpoints"][0]["addresses"][0],
        autoscaler.ip.to_string()
    );
    assert_eq!(slice["ports"][0]["port"], 8080);
    // Knative's goes on holding its own until it is gone.
    let renewing = {
        let (server, knatives) = (Arc::clone(server), knatives.clone());
        tokio::spawn(async move {
            loop {
                server.put(held(BUCKETS[1], &knatives));
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        })
    };

    let activator = install.activator().await;
    // By the choice of §4.5 the first is in bucket 0 and the second in bucket 1.
    let near = Revision::new("near-00001").with("initial-scale", "1");
    let far = Revision {
        replicas: 0,
        ..Revision::new("far-00001")
    };
    install.deploy(&near);
    install.deploy(&far);
    server.put(path(&far));
    install
        .until_stands(&near, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    install.until_leads_to(&far, "anything", |_| true).await;
    let gateway = Gateway((activator.ip, 8012).into());
    let host = far.host();
    let asking = tokio::spawn(async move { service::get(gateway, &host).await });
    let mut told = peer.take().await;
    let frame = told.next().await;
    assert_eq!(frame.len(), 1, "one message for each figure");
    assert_eq!(
        (frame[0].namespace.as_str(), frame[0].name.as_str()),
        ("default", far.name)
    );
    let stat = frame[0].stat.clone().unwrap();
    assert_eq!(
        (stat.average_concurrent_requests, stat.request_count),
        (1.0, 1.0)
    );
    assert_eq!(stat.pod_name, activator.pod);
    assert!(stat.timestamp > 1_600_000_000, "the second of its arrival");
    scale(&install, &far, 1);
    assert_eq!(asking.await.unwrap().status, 200);
    // Ours has kept its hands off it.
    let writes = |it: &Call| {
        it.token == "controller"
            && it.name.starts_with("far-")
            && !matches!(it.verb, "get" | "list" | "watch")
    };
    assert_eq!(server.count_calls(writes), 0);

    // It dies without a word.
    renewing.abort();
    drop((told, peer));
    let lease = until_held(&install, BUCKETS[1], &ours).await;
    assert_eq!(lease["spec"]["leaseTransitions"], 5);
    // Now it is ours, and goes to zero as any other does.
    install.until_pods(&far, |pods| pods == 0).await;
    let nothing = Standing::new("False:NoTraffic", ["True", "Unknown", "False"], (0, 0));
    install.until_stands(&far, &nothing).await;
    assert_eq!(install.get(&far).await.status, 200);
    autoscaler.program.stop().await;
    for bucket in BUCKETS {
        let lease = server.get("Lease", SYSTEM, bucket).unwrap();
        assert_eq!(holder(&lease), "", "{bucket} was given back");
    }
    install.expect_allowed();
}

async fn the_first_request_after_a_rolling_restart_of_the_autoscaler_is_answered_by_the_next_one() {
    let mut settings = QUICK.to_vec();
    settings.push(("allow-zero-initial-scale", "true"));
    let install = Install::new(&settings).await;
    let server = &install.server;
    let mut old = install.autoscaler().await;
    let activator = install.activator().await;
    let gateway = Gateway((activator.ip, 8012).into());
    let kept = Revision::new("kept-00001").with("min-scale", "1");
    let names = ["one-00001", "two-00001", "three-00001"];
    let cold = names.map(|name| Revision::new(name).with("initial-scale", "0"));
    install.deploy(&kept);
    for revision in &cold {
        install.deploy(revision);
    }
    for revision in &cold {
        install.until_idle(revision).await;
    }
    install
        .until_stands(&kept, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    let bucket = "autoscaler-bucket-00-of-01";
    for revision in &cold {
        server.forget_calls();
        let next = install.autoscaler().await;
        let begun = Instant::now();
        install.leave(&old);
        old.program.stop().await;
        let ended = Instant::now();
        let answer = service::get(gateway, &revision.host()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        eprintln!(
            "first request after the old autoscaler ended: {:?}; its end took {:?}",
            ended.elapsed(),
            ended - begun
        );
        let holds = format!("{}_{}", next.pod, next.ip);
        until_held(&install, bucket, &holds).await;
        // It was given back, then taken, then somebody was scaled.
        let calls = install.calls_of("controller");
        let lease = |holder: &str| {
            let holder = holder.to_owned();
            move |it: &Call| {
                it.resource == "leases" && it.body["spec"]["holderIdentity"] == holder.as_str()
            }
        };
        let at = |what: &str, is_it: &dyn Fn(&Call) -> bool| {
            let found = calls.iter().position(is_it);
            found.unwrap_or_else(|| panic!("{what}: nobody did"))
        };
        let given = at("given back", &lease(""));
        let taken = at("taken", &lease(&holds));
        let scaled = at("scaled", &|it| it.resource_path() == "deployments/scale");
        assert!(
            given < taken && taken < scaled,
            "{given}, {taken}, {scaled}"
        );
        old = next;
    }
    // What ran all the while was left alone.
    let name = "kept-00001-deployment";
    let touched = |it: &Call| it.name == name && it.resource_path() == "deployments/scale";
    assert_eq!(server.count_calls(touched), 0);
    old.program.stop().await;
    install.expect_allowed();
}

async fn of_three_activators_two_share_the_pods_and_each_answers() {
    let install = Install::new(&QUICK).await;
    let _autoscaler = install.autoscaler().await;
    let mut activators = Vec::new();
    for _ in 0..3 {
        activators.push(install.activator().await);
    }
    let mut shared = Revision::new("shared-00001")
        .with("min-scale", "2")
        .with("max-scale", "2")
        .with("target-burst-capacity", "-1");
    shared.concurrency = 1;
    install.deploy(&shared);
    install
        .until_stands(&shared, &Standing::new("True", ["True"; 3], (2, 2)))
        .await;
    let ips: Vec<IpAddr> = activators.iter().map(|it| it.ip).collect();
    let two = |all: &[SocketAddr]| all.len() == 2 && all.iter().all(|it| ips.contains(&it.ip()));
    install
        .until_leads_to(&shared, "two of the activators", two)
        .await;
    // Whoever of them is asked answers, also the one that is not in the path.
    for ip in &ips {
        let answer = service::get(Gateway((*ip, 8012).into()), &shared.host()).await;
        assert_eq!(answer.status, 200, "{ip}: {}", answer.text());
    }
    // Each of the two has a pod to itself (case 53): one request in each, and none waits.
    let chosen = service::endpoints(&install.server, "default", shared.name);
    let mut held = Vec::new();
    for addr in chosen {
        held.push(Gateway(addr).ask(&shared.host(), "/hold").await);
    }
    let pods = install.server.list("Pod", "default");
    for pod in pods {
        let ip: IpAddr = pod["status"]["podIP"].as_str().unwrap().parse().unwrap();
        until("each pod has one", async || {
            let stat = scrape((ip, 9090).into()).await;
            let inside = stat.average_proxied_concurrent_requests;
            (0.99..1.01).contains(&inside).then_some(())
        })
        .await;
    }
    drop(held);
    install.expect_allowed();
}
