//! kube-rs as the client.

use std::collections::BTreeMap;

use ::kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use ::kube::core::PartialObjectMeta;
use ::kube::runtime::{WatchStreamExt, watcher};
use ::kube::{Client, Config};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use serde_json::json;

use super::super::{ApiServer, Fault, Matcher};
use super::{config_map, deployment};

fn client(server: &ApiServer) -> Client {
    let url = server.url().parse().unwrap();
    Client::try_from(Config::new(url)).unwrap()
}

#[tokio::test]
async fn objects_are_made_read_changed_and_deleted() {
    let server = ApiServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let new: ConfigMap = serde_json::from_value(config_map("a", &json!({ "x": "1" }))).unwrap();
    let made = api.create(&PostParams::default(), &new).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());
    let again = api.create(&PostParams::default(), &new).await.unwrap_err();
    assert!(matches!(again, ::kube::Error::Api(status) if status.is_already_exists()));

    let mut changed = made.clone();
    changed.data = Some(BTreeMap::from([("x".to_owned(), "2".to_owned())]));
    let replaced = api
        .replace("a", &PostParams::default(), &changed)
        .await
        .unwrap();
    assert_ne!(
        replaced.metadata.resource_version,
        made.metadata.resource_version
    );
    // The same again carries the first version, which is not the newest any more.
    let stale = api
        .replace("a", &PostParams::default(), &changed)
        .await
        .unwrap_err();
    assert!(matches!(stale, ::kube::Error::Api(status) if status.is_conflict()));

    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn every_kind_of_patch_is_understood() {
    let server = ApiServer::start().await;
    server.put(deployment("a", 1));
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    let merge = json!({ "metadata": { "annotations": { "k": "v" } } });
    let params = PatchParams::default();
    let merged = api
        .patch("a", &params, &Patch::Merge(&merge))
        .await
        .unwrap();
    assert_eq!(merged.metadata.annotations.unwrap()["k"], "v");

    let strategic = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "sidecar", "image": "queue" },
    ] } } } });
    let both = api
        .patch("a", &params, &Patch::Strategic(&strategic))
        .await
        .unwrap();
    let containers = both.spec.template.spec.unwrap().containers;
    assert_eq!(containers.len(), 2);

    let apply = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "a", "labels": { "mine": "yes" } },
    });
    let ours = PatchParams::apply("us");
    let applied = api.patch("a", &ours, &Patch::Apply(&apply)).await.unwrap();
    assert_eq!(applied.metadata.labels.unwrap()["mine"], "yes");
    let none =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a" } });
    let applied = api.patch("a", &ours, &Patch::Apply(&none)).await.unwrap();
    assert!(!applied.metadata.labels.unwrap().contains_key("mine"));
}

#[tokio::test]
async fn the_scale_leaves_out_a_zero_so_that_only_add_works_there() {
    let server = ApiServer::start().await;
    server.put(deployment("a", 0));
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    assert_eq!(
        api.get_scale("a").await.unwrap().spec.unwrap().replicas,
        None
    );
    let patch = |op: &str| {
        let patch = json!([{ "op": op, "path": "/spec/replicas", "value": 3 }]);
        Patch::Json::<()>(serde_json::from_value(patch).unwrap())
    };
    let params = PatchParams::default();
    let refused = api
        .patch_scale("a", &params, &patch("replace"))
        .await
        .unwrap_err();
    assert!(matches!(refused, ::kube::Error::Api(status) if status.code == 422));
    let scale = api.patch_scale("a", &params, &patch("add")).await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let now = server.get("Deployment", "default", "a").unwrap();
    assert_eq!(
        (&now["spec"]["replicas"], &now["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
}

#[tokio::test]
async fn the_status_and_the_rest_are_written_apart() {
    let server = ApiServer::start().await;
    server.put(deployment("a", 1));
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    let both = json!({ "spec": { "replicas": 5 }, "status": { "replicas": 4 } });
    let params = PatchParams::default();
    let main = api.patch("a", &params, &Patch::Merge(&both)).await.unwrap();
    assert_eq!(main.spec.replicas, Some(5));
    assert_eq!(main.status.and_then(|status| status.replicas), None);
    let other = json!({ "spec": { "replicas": 9 }, "status": { "replicas": 4 } });
    let status = api
        .patch_status("a", &params, &Patch::Merge(&other))
        .await
        .unwrap();
    assert_eq!(status.spec.replicas, Some(5));
    assert_eq!(status.status.unwrap().replicas, Some(4));
    assert_eq!(status.metadata.generation, Some(2));
}

#[tokio::test]
async fn a_list_in_pages_shows_one_moment() {
    let server = ApiServer::start().await;
    for n in 0..5 {
        server.put(config_map(&format!("m{n}"), &json!({})));
    }
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(3));
    server.delete("ConfigMap", "default", "m3");
    server.put(config_map("m9", &json!({})));
    let token = first.metadata.continue_.unwrap();
    let rest = api
        .list(&ListParams::default().continue_token(&token))
        .await
        .unwrap();
    let names: Vec<_> = rest
        .items
        .iter()
        .map(|it| it.metadata.name.clone().unwrap())
        .collect();
    assert_eq!(names, ["m2", "m3", "m4"]);
    server.compact();
    let late = api
        .list(&ListParams::default().continue_token(&token))
        .await
        .unwrap_err();
    assert!(matches!(late, ::kube::Error::Api(status) if status.code == 410));
}

#[tokio::test]
async fn a_watcher_tells_what_was_there_and_what_happens() {
    let server = ApiServer::start().await;
    server.put(deployment("a", 1));
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    let config = watcher::Config::default().labels("app in (a, b)");
    let stream = watcher(api, config).applied_objects();
    let mut stream = std::pin::pin!(stream);
    let name = |it: Deployment| it.metadata.name.unwrap();
    assert_eq!(name(stream.try_next().await.unwrap().unwrap()), "a");
    server.put(deployment("c", 1));
    server.put(deployment("b", 1));
    assert_eq!(name(stream.try_next().await.unwrap().unwrap()), "b");
}

#[tokio::test]
async fn a_watcher_lists_again_when_the_history_is_gone() {
    let server = ApiServer::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let mut stream = watcher(api, watcher::Config::default()).boxed();
    while !matches!(stream.next().await, Some(Ok(watcher::Event::InitDone))) {}
    // The watch is refused while the history goes; begun again, it is told 410 in its stream.
    server.fault(Matcher::any().verb("watch"), Fault::Status(500), 1);
    server.fault(
        Matcher::any().verb("watch"),
        Fault::Delay(std::time::Duration::from_millis(1)),
        1,
    );
    assert!(stream.next().await.unwrap().is_err());
    server.put(config_map("late", &json!({})));
    server.compact();
    let mut seen = false;
    loop {
        match stream.next().await.unwrap() {
            Ok(watcher::Event::InitApply(object)) => {
                seen |= object.metadata.name.as_deref() == Some("late")
            }
            Ok(watcher::Event::InitDone) => break,
            _ => {}
        }
    }
    assert!(seen);
    let lists = server.count_calls(|call| call.verb == "list");
    assert_eq!(lists, 2);
}

#[tokio::test]
async fn a_streamed_list_ends_with_its_bookmark() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let config = watcher::Config::default().streaming_lists();
    let mut stream = watcher(api, config).boxed();
    let mut events = Vec::new();
    while events.last() != Some(&"done") {
        events.push(match stream.try_next().await.unwrap().unwrap() {
            watcher::Event::Init => "init",
            watcher::Event::InitApply(_) => "object",
            watcher::Event::InitDone => "done",
            watcher::Event::Apply(_) | watcher::Event::Delete(_) => "change",
        });
    }
    assert_eq!(events, ["init", "object", "done"]);
    assert_eq!(server.count_calls(|call| call.verb == "list"), 0);
}

#[tokio::test]
async fn metadata_alone_can_be_watched() {
    let server = ApiServer::start().await;
    server.put(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "p", "namespace": "default", "labels": { "a": "b" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    }));
    let api: Api<PartialObjectMeta<Pod>> = Api::default_namespaced(client(&server));
    let mut stream = watcher(api, watcher::Config::default())
        .applied_objects()
        .boxed();
    let first = stream.try_next().await.unwrap().unwrap();
    assert_eq!(first.metadata.labels.unwrap()["a"], "b");
    server.edit("Pod", "default", "p", |pod| {
        pod["metadata"]["labels"]["a"] = "c".into()
    });
    let second = stream.try_next().await.unwrap().unwrap();
    assert_eq!(second.metadata.labels.unwrap()["a"], "c");
}

#[tokio::test]
async fn of_two_who_take_a_lease_one_is_told_of_the_other() {
    let server = ApiServer::start().await;
    let api: Api<Lease> = Api::default_namespaced(client(&server));
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": "l" },
        "spec": { "holderIdentity": "", "leaseDurationSeconds": 15 },
    });
    let lease: Lease = serde_json::from_value(lease).unwrap();
    let made = api.create(&PostParams::default(), &lease).await.unwrap();
    let hold = |who: &str| {
        let mut lease = made.clone();
        lease.spec.as_mut().unwrap().holder_identity = Some(who.to_owned());
        lease
    };
    let params = PostParams::default();
    let (first, second) = (hold("one"), hold("two"));
    let both = tokio::join!(
        api.replace("l", &params, &first),
        api.replace("l", &params, &second),
    );
    let lost = [both.0.is_err(), both.1.is_err()];
    assert_eq!(lost.iter().filter(|lost| **lost).count(), 1);
    // Without a version nobody may write it at all.
    let refused = api.replace("l", &params, &lease).await.unwrap_err();
    assert!(matches!(refused, ::kube::Error::Api(status) if status.is_invalid()));
}

#[tokio::test]
async fn everything_that_is_served_can_be_discovered() {
    let server = ApiServer::start().await;
    let discovery = ::kube::Discovery::new(client(&server)).run().await.unwrap();
    let knative = discovery.get("serving.knative.dev").unwrap();
    let kinds: Vec<_> = knative
        .recommended_resources()
        .iter()
        .map(|(it, _)| it.kind.clone())
        .collect();
    assert!(kinds.contains(&"Revision".to_owned()), "{kinds:?}");
    server.forget_group("serving.knative.dev");
    let discovery = ::kube::Discovery::new(client(&server)).run().await.unwrap();
    assert!(discovery.get("serving.knative.dev").is_none());
    assert_eq!(
        client(&server).apiserver_version().await.unwrap().major,
        "1"
    );
}

#[tokio::test]
async fn a_server_that_is_away_comes_back_at_the_same_port() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    api.get("a").await.unwrap();
    server.stop_listening().await;
    let away = api.get("a").await.unwrap_err();
    assert!(!matches!(away, ::kube::Error::Api(_)), "{away:?}");
    server.listen_again().await;
    api.get("a").await.unwrap();
}
