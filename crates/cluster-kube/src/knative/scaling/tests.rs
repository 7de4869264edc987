//! A Knative install that is emulated over HTTP, and what is written to it.

use penstock_cluster::Phase;
use penstock_testkit::kube::{ApiServer, Call, Fault, Matcher};
use penstock_types::{Activity, Inactive, Protocol, Reachability, Slots};
use serde_json::{Value, json};

use super::*;
use crate::{Access, Rhythm, connect};

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn hello() -> RevisionId {
    RevisionId::new("default", "hello-00001")
}

fn labels() -> Value {
    json!({
        "serving.knative.dev/revision": "hello-00001",
        "serving.knative.dev/configuration": "hello",
        "serving.knative.dev/service": "hello",
    })
}

fn pod_autoscaler(status: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {
            "name": "hello-00001", "namespace": "default", "uid": UID, "labels": labels(),
            "annotations": {
                "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
                "autoscaling.knative.dev/metric": "concurrency",
                "autoscaling.knative.dev/min-scale": "1",
                "serving.knative.dev/creator": "somebody",
            },
        },
        "spec": {
            "containerConcurrency": 10, "protocolType": "h2c", "reachability": "Reachable",
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-00001-deployment" },
        },
        "status": status,
    })
}

fn deployment(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "hello-00001-deployment", "namespace": "default", "labels": labels() },
        "spec": {
            "replicas": replicas, "selector": { "matchLabels": labels() },
            "template": { "metadata": { "labels": labels() },
                "spec": { "containers": [{ "name": "user-container", "image": "hello" }] } },
        },
    })
}

fn path(owner: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "ServerlessService",
        "metadata": {
            "name": "hello-00001", "namespace": "default",
            "ownerReferences": [{
                "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
                "name": "hello-00001", "uid": owner, "controller": true,
            }],
        },
        "spec": {
            "mode": "Proxy", "numActivators": 2, "protocolType": "h2c",
            "objectRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "hello-00001-deployment" },
        },
        "status": status,
    })
}

fn path_is_there() -> Value {
    json!({
        "serviceName": "hello-00001", "privateServiceName": "hello-00001-private",
        "conditions": [
            { "type": "ActivatorEndpointsPopulated", "status": "True",
              "lastTransitionTime": "2024-05-01T10:00:00Z" },
            { "type": "Ready", "status": "True" },
        ],
    })
}

fn pod(name: &str, ip: &str, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": labels() },
        "spec": { "containers": [{ "name": "user-container", "image": "hello" }] },
        "status": {
            "phase": if ip.is_empty() { "Pending" } else { "Running" },
            "podIP": ip, "startTime": "2024-05-01T10:00:00Z",
            "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
        },
    })
}

async fn start(server: &ApiServer) -> Arc<Scaling> {
    let access = Access::Url(server.url().parse().unwrap());
    let client = connect("autoscaler", &access).await.unwrap();
    let options = Options {
        namespace: None,
        domain: "cluster.local".to_owned(),
        rhythm: Rhythm::default(),
    };
    let scaling = Scaling::start(client, &options);
    scaling.complete().await;
    scaling
}

/// A server with a revision that has its path, and who scales it.
async fn installed() -> (ApiServer, Arc<Scaling>) {
    let server = ApiServer::start().await;
    server.put(pod_autoscaler(&json!({})));
    server.put(deployment(1));
    server.put(path(UID, &path_is_there()));
    let scaling = start(&server).await;
    (server, scaling)
}

fn wish() -> Wish {
    Wish {
        wanted: Some(3),
        ready: 1,
        proxied: false,
        activators: 4,
        activity: Activity::Active,
        initialized: true,
        stable_window: Duration::from_secs(60),
        panic_window: Duration::from_secs(6),
        scraped: true,
    }
}

fn writes(call: &Call) -> bool {
    !matches!(call.verb, "get" | "list" | "watch")
}

/// The condition of one type.
fn condition(pa: &Value, kind: &str) -> (String, String) {
    let conditions = pa["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|it| it["type"] == kind).unwrap();
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

fn status_of(server: &ApiServer) -> Arc<Value> {
    server
        .get("PodAutoscaler", "default", "hello-00001")
        .unwrap()
}

#[tokio::test]
async fn a_revision_is_put_together_from_its_objects() {
    let server = ApiServer::start().await;
    server.put(pod_autoscaler(&json!({
        "conditions": [
            { "type": "Active", "status": "False", "reason": "NoTraffic",
              "lastTransitionTime": "2024-05-01T09:00:00Z" },
            { "type": "ScaleTargetInitialized", "status": "True" },
        ],
    })));
    server.put(deployment(2));
    server.put(path(UID, &path_is_there()));
    server.put(pod("b", "10.0.0.2", true));
    server.put(pod("a", "10.0.0.1", false));
    server.put(pod("c", "", false));
    let scaling = start(&server).await;
    let snapshot = scaling.snapshot().borrow().clone();
    let revision = &snapshot.revisions[&hello()];
    assert_eq!(&*revision.service, "hello");
    assert_eq!(revision.slots, Slots::from_concurrency(10));
    assert_eq!(revision.protocol, Protocol::H2c);
    assert_eq!(revision.reachability, Reachability::Reachable);
    assert_eq!(revision.annotations.len(), 3, "{:?}", revision.annotations);
    assert_eq!((revision.wanted, revision.unplaced), (2, 1));
    let pods: Vec<_> = revision
        .pods
        .iter()
        .map(|it| (it.addr.to_string(), it.phase))
        .collect();
    let want = [
        ("10.0.0.1:8012", Phase::Starting),
        ("10.0.0.2:8012", Phase::Ready),
    ];
    assert_eq!(pods, want.map(|(addr, phase)| (addr.to_owned(), phase)));
    let standing = revision.standing.as_ref().unwrap();
    assert_eq!(standing.activity, Activity::Inactive(Inactive::NoTraffic));
    assert!(standing.initialized);
    let way = standing.way.as_ref().unwrap();
    assert!(way.proxied);
    assert_eq!(
        way.public.as_deref(),
        Some("hello-00001.default.svc.cluster.local:81")
    );
    let for_an_hour = way.proxied_since.unwrap().duration_since(standing.since);
    assert_eq!(for_an_hour.unwrap(), Duration::from_secs(3600));
}

#[tokio::test]
async fn another_class_is_not_scaled_here() {
    let server = ApiServer::start().await;
    let mut other = pod_autoscaler(&json!({}));
    other["metadata"]["annotations"]["autoscaling.knative.dev/class"] =
        "hpa.autoscaling.knative.dev".into();
    server.put(other);
    let scaling = start(&server).await;
    assert!(scaling.snapshot().borrow().revisions.is_empty());
}

#[tokio::test]
async fn the_number_of_pods_is_one_json_patch_of_the_scale_subresource() {
    let (server, scaling) = installed().await;
    scaling.scale(&hello(), 7).await.unwrap();
    let calls = server.calls();
    let written: Vec<&Call> = calls.iter().filter(|call| writes(call)).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(written[0].media, "application/json-patch+json");
    assert_eq!(written[0].subresource, "scale");
    assert_eq!(
        written[0].body,
        json!([{ "op": "add", "path": "/spec/replicas", "value": 7 }])
    );
    let mut snapshots = scaling.snapshot();
    let shown = |it: &Arc<Snapshot>| it.revisions[&hello()].wanted == 7;
    snapshots.wait_for(shown).await.unwrap();
    let unknown = RevisionId::new("default", "nobody");
    let error = scaling.scale(&unknown, 1).await.unwrap_err();
    assert!(matches!(error, ScaleError::UnknownRevision(_)), "{error}");
}

#[tokio::test]
async fn a_new_revision_gets_its_path_first_and_nothing_that_needs_one() {
    let server = ApiServer::start().await;
    server.put(pod_autoscaler(&json!({})));
    server.put(deployment(1));
    let scaling = start(&server).await;
    let new = Wish {
        wanted: None,
        ready: 0,
        proxied: true,
        activators: 2,
        activity: Activity::Activating,
        initialized: false,
        ..wish()
    };
    scaling.settle(&hello(), new).await.unwrap();
    let path = server
        .get("ServerlessService", "default", "hello-00001")
        .unwrap();
    assert_eq!(path["spec"]["mode"], "Proxy");
    assert_eq!(path["spec"]["numActivators"], 2);
    assert_eq!(path["spec"]["protocolType"], "h2c");
    assert_eq!(path["spec"]["objectRef"]["name"], "hello-00001-deployment");
    let owner = &path["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["uid"], &owner["controller"]),
        (&json!(UID), &json!(true))
    );
    let annotations = path["metadata"]["annotations"].as_object().unwrap();
    assert!(!annotations.contains_key("autoscaling.knative.dev/metric"));
    assert!(annotations.contains_key("autoscaling.knative.dev/min-scale"));
    assert_eq!(path["metadata"]["labels"], labels());
    assert!(server.get("Metric", "default", "hello-00001").is_none());
    let pa = status_of(&server);
    assert_eq!(pa["status"]["desiredScale"], -1);
    assert_eq!(pa["status"]["actualScale"], 0);
    assert_eq!(
        condition(&pa, "Active"),
        ("Unknown".into(), "Queued".into())
    );
    assert_eq!(
        condition(&pa, "SKSReady"),
        ("Unknown".into(), "NotReady".into())
    );
    assert_eq!(condition(&pa, "Ready").0, "Unknown");
}

#[tokio::test]
async fn what_is_wished_is_written_and_the_same_wish_again_writes_nothing() {
    let (server, scaling) = installed().await;
    scaling.settle(&hello(), wish()).await.unwrap();
    let path = server
        .get("ServerlessService", "default", "hello-00001")
        .unwrap();
    assert_eq!(path["spec"]["mode"], "Serve");
    assert_eq!(path["spec"]["numActivators"], 4);
    let metric = server.get("Metric", "default", "hello-00001").unwrap();
    assert_eq!(
        metric["spec"],
        json!({ "stableWindow": 60_000_000_000_i64, "panicWindow": 6_000_000_000_i64,
                "scrapeTarget": "hello-00001-private" })
    );
    assert_eq!(metric["metadata"]["ownerReferences"][0]["uid"], UID);
    let told = &metric["status"];
    assert_eq!(told["observedGeneration"], metric["metadata"]["generation"]);
    let ready = &told["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"]),
        (&json!("Ready"), &json!("True"))
    );
    let pa = status_of(&server);
    assert_eq!(pa["status"]["serviceName"], "hello-00001");
    assert_eq!(pa["status"]["metricsServiceName"], "hello-00001-private");
    assert_eq!(pa["status"]["desiredScale"], 3);
    assert_eq!(pa["status"]["actualScale"], 1);
    assert_eq!(
        pa["status"]["observedGeneration"],
        pa["metadata"]["generation"]
    );
    for kind in ["Active", "Ready", "SKSReady", "ScaleTargetInitialized"] {
        assert_eq!(condition(&pa, kind).0, "True", "{kind}");
    }
    server.forget_calls();
    scaling.settle(&hello(), wish()).await.unwrap();
    assert_eq!(server.count_calls(writes), 0, "{:?}", server.calls());
}

#[tokio::test]
async fn to_and_fro_before_the_watch_tells_of_it_ends_where_it_should() {
    let (server, scaling) = installed().await;
    server.silence_watches(true);
    let proxied = Wish {
        proxied: true,
        ..wish()
    };
    scaling.settle(&hello(), wish()).await.unwrap();
    scaling.settle(&hello(), proxied).await.unwrap();
    let path = server
        .get("ServerlessService", "default", "hello-00001")
        .unwrap();
    assert_eq!(path["spec"]["mode"], "Proxy");
}

#[tokio::test]
async fn a_condition_keeps_its_time_until_it_says_something_else() {
    let (server, scaling) = installed().await;
    let long_ago = "2024-05-01T10:00:00Z";
    server.put(pod_autoscaler(&json!({
        "conditions": [{ "type": "Active", "status": "True", "lastTransitionTime": long_ago }],
        "desiredScale": 5,
    })));
    let time = |kind: &str| {
        let pa = status_of(&server);
        let conditions = pa["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|it| it["type"] == kind).unwrap();
        found["lastTransitionTime"].as_str().unwrap().to_owned()
    };
    let unknown = Wish {
        wanted: None,
        ..wish()
    };
    // By whatever way it is known: a stale version is refused, and read anew.
    scaling.settle(&hello(), unknown).await.unwrap();
    assert_eq!(time("Active"), long_ago);
    assert_eq!(
        status_of(&server)["status"]["desiredScale"],
        5,
        "not knowing keeps it"
    );
    let inactive = Wish {
        wanted: Some(0),
        activity: Activity::Inactive(Inactive::NoTraffic),
        ..wish()
    };
    scaling.settle(&hello(), inactive).await.unwrap();
    let since = time("Active");
    assert!(since.as_str() > long_ago && !since.contains('.'), "{since}");
    let pa = status_of(&server);
    assert_eq!(
        condition(&pa, "Active"),
        ("False".into(), "NoTraffic".into())
    );
    assert_eq!(
        condition(&pa, "Ready"),
        ("False".into(), "NoTraffic".into())
    );
    assert_eq!(pa["status"]["desiredScale"], 0);
}

#[tokio::test]
async fn a_status_that_somebody_else_writes_as_well_is_written_again() {
    let (server, scaling) = installed().await;
    let status = Matcher::any()
        .resource("podautoscalers/status")
        .verb("patch");
    server.fault(status, Fault::Status(409), 2);
    scaling.settle(&hello(), wish()).await.unwrap();
    assert_eq!(status_of(&server)["status"]["desiredScale"], 3);
    assert_eq!(server.faults_left(), 0);
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_left_alone_and_said() {
    for kind in ["SKS", "Metric"] {
        let server = ApiServer::start().await;
        server.put(pod_autoscaler(&json!({})));
        server.put(deployment(1));
        let owner = if kind == "SKS" { "somebody-else" } else { UID };
        let before = server.put(path(owner, &path_is_there()));
        if kind == "Metric" {
            server.put(json!({
                "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "Metric",
                "metadata": { "name": "hello-00001", "namespace": "default" },
                "spec": { "scrapeTarget": "theirs" },
            }));
        }
        let scaling = start(&server).await;
        let error = scaling
            .settle(&hello(), wish())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(kind) && error.contains("default/hello-00001"),
            "{error}"
        );
        let pa = status_of(&server);
        assert_eq!(
            condition(&pa, "Active"),
            ("False".into(), "NotOwned".into()),
            "{kind}"
        );
        assert_eq!(condition(&pa, "Ready"), ("False".into(), "NotOwned".into()));
        if kind == "SKS" {
            let path = server
                .get("ServerlessService", "default", "hello-00001")
                .unwrap();
            assert_eq!(path["spec"], before["spec"]);
        } else {
            let metric = server.get("Metric", "default", "hello-00001").unwrap();
            assert_eq!(metric["spec"]["scrapeTarget"], "theirs");
        }
    }
}

#[tokio::test]
async fn refusals_name_the_servers_reason() {
    let (server, scaling) = installed().await;
    server.authorize(
        "kind: ClusterRole\nrules:\n\
         - { apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch] }\n",
    );
    let error = scaling.scale(&hello(), 2).await.unwrap_err().to_string();
    assert!(
        error.contains("deployments") && error.contains("scale"),
        "{error}"
    );
    let error = scaling
        .settle(&hello(), wish())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("serverlessservices"), "{error}");
}

#[tokio::test]
async fn one_that_is_made_anew_under_the_same_name_is_new() {
    let (server, scaling) = installed().await;
    scaling.settle(&hello(), wish()).await.unwrap();
    let mut snapshots = scaling.snapshot();
    let activity = |it: &Arc<Snapshot>| {
        let revision = it.revisions.get(&hello())?;
        Some(revision.standing.as_ref()?.activity)
    };
    let active = |it: &Arc<Snapshot>| activity(it) == Some(Activity::Active);
    snapshots.wait_for(active).await.unwrap();
    server.delete("PodAutoscaler", "default", "hello-00001");
    let mut again = pod_autoscaler(&json!({}));
    again["metadata"]["uid"] = "99999999-2222-3333-4444-555555555555".into();
    server.put(again);
    let new = |it: &Arc<Snapshot>| activity(it) == Some(Activity::New);
    snapshots.wait_for(new).await.unwrap();
}

#[tokio::test]
async fn a_change_of_scale_is_an_event_on_the_deployment() {
    let (server, scaling) = installed().await;
    let (from, to, why) = (1, 7, "65 in flight, 10 a pod");
    scaling.told(&hello(), Change { from, to, why });
    let made = |call: &Call| call.resource == "events" && call.verb == "create";
    let event = server.until_called(made).await.body;
    assert_eq!(event["reason"], "ScaledUp");
    assert_eq!(event["message"], "from 1 to 7 pods: 65 in flight, 10 a pod");
    assert_eq!(event["involvedObject"]["name"], "hello-00001-deployment");
}
