//! Watches and lists on the wire, and the faults that a script makes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{ApiServer, Fault, Matcher, Rules};
use super::wire::{Watching, answer, ask, get, request};
use super::{config_map, deployment};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn labelled(name: &str, app: &str) -> Value {
    let mut object = config_map(name, &json!({}));
    object["metadata"]["labels"] = json!({ "app": app });
    object
}

fn pair(what: &str, name: &str) -> (String, String) {
    (what.to_owned(), name.to_owned())
}

#[tokio::test]
async fn what_comes_into_view_is_added_and_what_leaves_it_is_deleted() {
    let server = ApiServer::start().await;
    server.put(labelled("a", "x"));
    let path = format!("{MAPS}?watch=true&labelSelector=app%3Dx");
    let mut watch = Watching::open(&server, &path).await.unwrap();
    assert_eq!(watch.brief().await, pair("ADDED", "a"));
    server.put(labelled("b", "y"));
    server.put(labelled("b", "x"));
    assert_eq!(watch.brief().await, pair("ADDED", "b"));
    server.put(labelled("a", "y"));
    let gone = watch.next().await.unwrap().unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["app"], "x");
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    server.delete("ConfigMap", "default", "b");
    assert_eq!(watch.brief().await, pair("DELETED", "b"));
}

#[tokio::test]
async fn a_watch_from_a_version_tells_what_came_after_it() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let version = server.version();
    server.put(config_map("b", &json!({})));
    let path = format!("{MAPS}?watch=1&resourceVersion={version}");
    let mut watch = Watching::open(&server, &path).await.unwrap();
    assert_eq!(watch.brief().await, pair("ADDED", "b"));
    assert_eq!(server.open_watches(), 1);
    drop(watch);
    server.until_open_watches(0).await;
}

#[tokio::test]
async fn bookmarks_are_told_where_they_are_allowed() {
    let server = ApiServer::start().await;
    let from = server.version();
    let path = |more: &str| format!("{MAPS}?watch=1&resourceVersion={from}{more}");
    let mut with = Watching::open(&server, &path("&allowWatchBookmarks=true"))
        .await
        .unwrap();
    let mut without = Watching::open(&server, &path("")).await.unwrap();
    server.put(deployment("elsewhere", 1));
    server.bookmark();
    let mark = with.next().await.unwrap().unwrap();
    assert_eq!(
        (&mark["type"], &mark["object"]["kind"]),
        (&json!("BOOKMARK"), &json!("ConfigMap"))
    );
    assert_eq!(
        mark["object"]["metadata"]["resourceVersion"],
        server.version().to_string()
    );
    server.put(config_map("a", &json!({})));
    assert_eq!(without.brief().await, pair("ADDED", "a"));
}

#[tokio::test]
async fn a_history_that_is_gone_is_told_in_the_stream_or_before_it() {
    let server = ApiServer::start().await;
    let old = server.version();
    server.put(config_map("a", &json!({})));
    server.compact();
    let path = format!("{MAPS}?watch=1&resourceVersion={old}");
    let mut watch = Watching::open(&server, &path).await.unwrap();
    let error = watch.next().await.unwrap().unwrap();
    assert_eq!(
        (&error["type"], &error["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(error["object"]["reason"], "Expired");
    assert!(watch.next().await.unwrap().is_none());
    server.fault(Matcher::any().verb("watch"), Fault::Status(410), 1);
    assert_eq!(Watching::open(&server, &path).await.err(), Some(410));
    let exact = format!("{MAPS}?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(get(&server, &exact).await.0, 410);
    let future = format!("{MAPS}?resourceVersion=999999999");
    let (status, object) = get(&server, &future).await;
    assert_eq!((status, &object["reason"]), (504, &json!("Timeout")));
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_with_a_last_bookmark() {
    let server = ApiServer::start().await;
    let path = format!("{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true");
    let mut watch = Watching::open(&server, &path).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap()["type"], "BOOKMARK");
    assert!(watch.next().await.unwrap().is_none());
}

#[tokio::test]
async fn lists_are_shown_as_the_client_accepts_them() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({ "k": "v" })));
    let shown = async |accept: &'static str| {
        let mut request = request("GET", MAPS, "", &Value::Null);
        request
            .headers_mut()
            .insert("accept", accept.parse().unwrap());
        let (parts, body) = answer(&server, request).await.unwrap();
        (parts.status.as_u16(), body)
    };
    let (_, whole) = shown("application/json").await;
    assert_eq!(
        (&whole["kind"], &whole["items"][0]["data"]["k"]),
        (&json!("ConfigMapList"), &json!("v"))
    );
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let (_, partial) = shown(partial).await;
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(partial["items"][0]["metadata"]["name"], "a");
    assert!(partial["items"][0].get("data").is_none());
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, table) = shown(table).await;
    assert_eq!(
        (&table["kind"], &table["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("a"))
    );
    let (status, _) = shown("application/vnd.kubernetes.protobuf").await;
    assert_eq!(status, 406);
}

#[tokio::test]
async fn a_fault_meets_its_requests_as_often_as_planned() {
    let server = ApiServer::start().await;
    let busy = Fault::RetryAfter(429, 7);
    server.fault(Matcher::any().method("GET").path("/configmaps$"), busy, 1);
    server.fault(
        Matcher::any().when(|call| call.name == "a"),
        Fault::Status(503),
        usize::MAX,
    );
    let asked = request("GET", MAPS, "", &Value::Null);
    let (parts, status) = answer(&server, asked).await.unwrap();
    assert_eq!(parts.status, 429);
    assert_eq!(parts.headers["retry-after"], "7");
    assert_eq!(status["details"]["retryAfterSeconds"], 7);
    assert_eq!(get(&server, MAPS).await.0, 200);
    for _ in 0..3 {
        assert_eq!(get(&server, &format!("{MAPS}/a")).await.0, 503);
    }
    server.heal();
    assert_eq!(
        (
            get(&server, &format!("{MAPS}/a")).await.0,
            server.faults_left()
        ),
        (404, 0)
    );
}

#[tokio::test]
async fn an_answer_that_is_lost_was_to_something_that_is_done() {
    let server = ApiServer::start().await;
    server.fault(Matcher::any().verb("create"), Fault::LoseAnswer, 1);
    server.fault(Matcher::any().verb("create"), Fault::RefuseConnections, 1);
    for name in ["lost", "refused"] {
        let body = config_map(name, &json!({}));
        let asked = request("POST", MAPS, "application/json", &body);
        answer(&server, asked).await.unwrap_err();
    }
    assert!(server.get("ConfigMap", "default", "lost").is_some());
    assert!(server.get("ConfigMap", "default", "refused").is_none());
}

#[tokio::test]
async fn watches_are_cut_held_back_and_silenced() {
    let server = ApiServer::start().await;
    let from = server.version();
    let path = format!("{MAPS}?watch=1&resourceVersion={from}");
    for name in ["a", "b"] {
        server.put(config_map(name, &json!({})));
    }
    server.fault(Matcher::any().verb("watch"), Fault::CutWatchAfter(1), 1);
    let mut cut = Watching::open(&server, &path).await.unwrap();
    assert_eq!(cut.brief().await, pair("ADDED", "a"));
    cut.next().await.unwrap_err();

    let pause = Duration::from_millis(20);
    server.fault(Matcher::any().verb("watch"), Fault::SlowWatch(pause), 1);
    let begun = Instant::now();
    let mut slow = Watching::open(&server, &path).await.unwrap();
    slow.next().await.unwrap();
    slow.next().await.unwrap();
    assert!(begun.elapsed() >= pause * 2);

    server.fault(Matcher::any().verb("watch"), Fault::HalfOpen, 1);
    let mut half_open = Watching::open(&server, &path).await.unwrap();
    server.silence_watches(true);
    let mut silent = Watching::open(&server, &path).await.unwrap();
    server.silence_watches(false);
    assert_eq!(silent.brief().await, pair("ADDED", "a"));
    assert_eq!(server.open_watches(), 3);
    server.cut_watches();
    half_open.next().await.unwrap_err();
    server.fault(Matcher::any().verb("watch"), Fault::WatchError(500), 1);
    let mut error = Watching::open(&server, &path).await.unwrap();
    assert_eq!(error.next().await.unwrap().unwrap()["object"]["code"], 500);
}

#[tokio::test]
async fn only_what_the_rules_allow_is_done_and_what_they_grant_for_nothing_is_told() {
    let server = ApiServer::start().await;
    let rules = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reader }
rules:
- { apiGroups: [''], resources: [configmaps, pods], verbs: [get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: scaler, namespace: default }
rules:
- { apiGroups: [apps], resources: [deployments/scale], verbs: [patch] }
";
    server.authorize(rules);
    server.put(deployment("a", 1));
    assert_eq!(get(&server, MAPS).await.0, 200);
    let (status, object) = get(&server, &format!("{MAPS}?watch=1")).await;
    assert_eq!((status, &object["reason"]), (403, &json!("Forbidden")));
    let message = "configmaps is forbidden: User \"system:serviceaccount:default:default\" cannot watch resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!(object["message"], message);
    let merge = "application/merge-patch+json";
    let patch = json!({ "spec": { "replicas": 2 } });
    let path = "/apis/apps/v1/namespaces/default/deployments/a";
    assert_eq!(
        ask(&server, "PATCH", &format!("{path}/scale"), merge, &patch)
            .await
            .0,
        200
    );
    assert_eq!(ask(&server, "PATCH", path, merge, &patch).await.0, 403);
    let elsewhere = path.replace("default", "other");
    assert_eq!(
        ask(
            &server,
            "PATCH",
            &format!("{elsewhere}/scale"),
            merge,
            &patch
        )
        .await
        .0,
        403
    );
    let may = async |verb: &str, resource: &str| {
        let review =
            json!({ "spec": { "resourceAttributes": { "verb": verb, "resource": resource } } });
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        ask(&server, "POST", reviews, "application/json", &review)
            .await
            .1["status"]["allowed"]
            .clone()
    };
    assert_eq!(
        (may("get", "pods").await, may("delete", "pods").await),
        (json!(true), json!(false))
    );
    let unused = Rules::parse(rules).unused(&server.calls());
    let unused: Vec<_> = unused.iter().map(|it| (&*it.verb, &*it.resource)).collect();
    assert_eq!(
        unused,
        [("get", "configmaps"), ("get", "pods"), ("list", "pods")]
    );
}

#[tokio::test]
async fn every_call_is_recorded_with_who_made_it() {
    let server = ApiServer::start().await;
    let mut asked = request("GET", MAPS, "", &Value::Null);
    asked
        .headers_mut()
        .insert("user-agent", "penstock/1 (test)".parse().unwrap());
    answer(&server, asked).await.unwrap();
    let call = server
        .until_called(|call| call.user_agent.starts_with("penstock/"))
        .await;
    assert_eq!(
        (call.verb, &*call.resource, &*call.namespace),
        ("list", "configmaps", "default")
    );
    assert_eq!(server.calls().len(), 1);
    server.forget_calls();
    assert!(server.calls().is_empty());
}
