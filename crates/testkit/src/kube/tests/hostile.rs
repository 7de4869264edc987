//! Whatever is sent, it is answered: nothing ends the server.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::ApiServer;
use super::wire::ask;
use super::{config_map, deployment};

/// Words that mean something somewhere, so that values meet the code that reads them.
const WORDS: [&str; 24] = [
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "resourceVersion",
    "replicas",
    "selector",
    "matchLabels",
    "template",
    "containers",
    "ports",
    "containerPort",
    "env",
    "$patch",
    "delete",
    "replace",
    "strategy",
    "rollingUpdate",
];

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(&WORDS[..]).prop_map(str::to_owned)
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

/// Anything, also within a Deployment that would be one.
fn body() -> impl Strategy<Value = Value> {
    let within = document().prop_map(|document| {
        let mut body = deployment("b", 2);
        json_patch::merge(&mut body, &document);
        body
    });
    prop_oneof![document(), within]
}

fn media() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "application/json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "application/json-patch+json",
    ])
}

fn asked() -> impl Strategy<Value = (&'static str, String)> {
    let method = prop::sample::select(vec!["POST", "PUT", "PATCH", "DELETE", "GET"]);
    let path = prop::sample::select(vec![
        "/api/v1/namespaces/default/configmaps/a",
        "/api/v1/namespaces/default/configmaps",
        "/api/v1/namespaces/other",
        "/api/v1/namespaces/other/status",
        "/api/v1/namespaces/default/services",
        "/api/v1/namespaces/default/pods",
        "/apis/apps/v1/namespaces/default/deployments",
        "/apis/apps/v1/namespaces/default/deployments/a",
        "/apis/apps/v1/namespaces/default/deployments/a/status",
        "/apis/apps/v1/namespaces/default/deployments/a/scale",
        "/apis/serving.knative.dev/v1/namespaces/default/revisions",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "//apis/%zz/",
    ]);
    let query = prop::sample::select(vec![
        "",
        "?fieldManager=m&force=true",
        "?labelSelector=a+in+(b",
        "?limit=x&continue=1:",
        "?dryRun=All",
    ]);
    (method, path, query).prop_map(|(method, path, query)| (method, format!("{path}{query}")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered(
        requests in prop::collection::vec((asked(), media(), body()), 1..20)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = ApiServer::start().await;
            server.put(config_map("a", &json!({})));
            server.put(deployment("a", 1));
            server.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "other" } }));
            let controllers = super::super::Controllers::start(&server);
            for ((method, path), media, body) in &requests {
                // A connection that broke fails within.
                let (status, _) = ask(&server, method, path, media, body).await;
                assert!((200..500).contains(&status), "{status} for {method} {path} {media} {body}");
            }
            assert!(controllers.are_well());
        });
    }
}
