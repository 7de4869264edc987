//! What the server does to objects, and what it refuses.

use serde_json::{Value, json};

use super::super::ApiServer;
use super::wire::{ask, get};
use super::{config_map, deployment};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    object.pointer(pointer).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn refusals_are_worded_as_kubernetes_words_them() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let stale = json!({ "metadata": { "resourceVersion": "1" } });
    let table = [
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/none",
            "",
            Value::Null,
            404,
            "NotFound",
            "configmaps \"none\" not found",
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/default/deployments/none",
            "",
            Value::Null,
            404,
            "NotFound",
            "deployments.apps \"none\" not found",
        ),
        (
            "POST",
            MAPS,
            JSON,
            config_map("a", &json!({})),
            409,
            "AlreadyExists",
            "configmaps \"a\" already exists",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a",
            MERGE,
            stale,
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "POST",
            "/api/v1/configmaps",
            JSON,
            config_map("b", &json!({})),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "PUT",
            MAPS,
            JSON,
            config_map("b", &json!({})),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            "/api/v1/namespaces/nowhere/configmaps",
            JSON,
            json!({ "metadata": { "name": "a" } }),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
        ),
        (
            "POST",
            MAPS,
            JSON,
            json!("{broken"),
            400,
            "BadRequest",
            "couldn't get version/kind; json parse error: the body is neither JSON nor YAML",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/a/scale",
            "",
            Value::Null,
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
    ];
    for (method, path, media, body, code, reason, message) in table {
        let (status, object) = ask(&server, method, path, media, &body).await;
        let case = format!("{method} {path}: {object}");
        assert_eq!(status, code, "{case}");
        assert_eq!(
            (&object["kind"], &object["code"]),
            (&json!("Status"), &json!(code)),
            "{case}"
        );
        assert_eq!(
            (&object["reason"], &object["message"]),
            (&json!(reason), &json!(message))
        );
    }
}

#[tokio::test]
async fn media_types_that_are_not_known_are_refused() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let revision = json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": { "name": "r" },
    });
    server.put(revision);
    let revision = "/apis/serving.knative.dev/v1/namespaces/default/revisions/r";
    let map = format!("{MAPS}/a");
    let empty = json!({});
    let (status, object) = ask(&server, "PATCH", &map, JSON, &empty).await;
    assert_eq!(
        (status, &object["reason"]),
        (415, &json!("UnsupportedMediaType"))
    );
    // Only built-in kinds tell how their lists merge.
    assert_eq!(
        ask(&server, "PATCH", revision, STRATEGIC, &empty).await.0,
        415
    );
    assert_eq!(ask(&server, "PATCH", revision, MERGE, &empty).await.0, 200);
    let protobuf = "application/vnd.kubernetes.protobuf";
    assert_eq!(ask(&server, "POST", MAPS, protobuf, &empty).await.0, 415);
    assert_eq!(
        ask(&server, "GET", "/apis/apps/v2/pods", "", &Value::Null).await,
        (404, Value::Null)
    );
}

#[tokio::test]
async fn objects_of_the_wrong_shape_are_invalid_and_all_causes_are_told() {
    let server = ApiServer::start().await;
    let post = async |path: &str, body: Value| ask(&server, "POST", path, JSON, &body).await;
    let mut wrong = deployment("Wrong_Name", -1);
    wrong["spec"]["selector"] = json!({});
    wrong["spec"]["template"]["spec"]["containers"] = json!([{ "name": "user" }]);
    let (status, object) = post(DEPLOYMENTS, wrong).await;
    assert_eq!((status, &object["reason"]), (422, &json!("Invalid")));
    let causes = object["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.replicas",
            "spec.selector",
            "spec.template.spec.containers[0].image"
        ],
    );
    let long = "a".repeat(254);
    assert_eq!(post(MAPS, config_map(&long, &json!({}))).await.0, 422);
    assert_eq!(
        post(MAPS, config_map(&long[..253], &json!({}))).await.0,
        201
    );
    let label = json!({ "metadata": { "name": "a", "labels": { "k": "b".repeat(64) } } });
    assert_eq!(post(MAPS, label).await.0, 422);
    let number = json!({ "metadata": { "name": "a", "annotations": { "k": 1 } } });
    let (status, object) = post(MAPS, number).await;
    assert_eq!(status, 400, "{object}");
    let annotations =
        json!({ "metadata": { "name": "a", "annotations": { "k": "b".repeat(300_000) } } });
    assert_eq!(post(MAPS, annotations).await.0, 422);
    let large = config_map("large", &json!({ "k": "b".repeat(1_600_000) }));
    assert_eq!(post(MAPS, large).await.0, 413);
    let larger = config_map("large", &json!({ "k": "b".repeat(3_200_000) }));
    assert_eq!(post(MAPS, larger).await.0, 413);
    let service = json!({ "metadata": { "name": "0a" }, "spec": { "ports": [] } });
    let (_, object) = post("/api/v1/namespaces/default/services", service).await;
    assert_eq!(
        object["details"]["causes"].as_array().unwrap().len(),
        2,
        "{object}"
    );
}

#[tokio::test]
async fn the_generation_counts_what_was_asked_for_and_nothing_else() {
    let server = ApiServer::start().await;
    let (_, made) = ask(&server, "POST", DEPLOYMENTS, JSON, &deployment("a", 1)).await;
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{DEPLOYMENTS}/a");
    let status = format!("{path}/status");
    let table = [
        (
            "labels",
            &path,
            json!({ "metadata": { "labels": { "x": "y" } } }),
            1,
        ),
        (
            "its status",
            &status,
            json!({ "status": { "replicas": 1 } }),
            1,
        ),
        (
            "the annotations of a Deployment",
            &path,
            json!({ "metadata": { "annotations": { "x": "y" } } }),
            2,
        ),
        (
            "its replicas",
            &path,
            json!({ "spec": { "replicas": 2 } }),
            3,
        ),
        ("nothing", &path, json!({ "spec": { "replicas": 2 } }), 3),
    ];
    let mut version = Value::Null;
    for (what, path, patch, generation) in table {
        let (_, now) = ask(&server, "PATCH", path, MERGE, &patch).await;
        assert_eq!(now["metadata"]["generation"], generation, "{what}");
        let same = now["metadata"]["resourceVersion"] == version;
        assert_eq!(same, what == "nothing", "{what}");
        version = now["metadata"]["resourceVersion"].clone();
    }
}

#[tokio::test]
async fn a_dry_run_answers_and_keeps_nothing() {
    let server = ApiServer::start().await;
    let dry = format!("{MAPS}?dryRun=All");
    let (status, made) = ask(&server, "POST", &dry, JSON, &config_map("a", &json!({}))).await;
    assert_eq!((status, made["metadata"]["uid"].is_string()), (201, true));
    assert_eq!(get(&server, &format!("{MAPS}/a")).await.0, 404);
}

#[tokio::test]
async fn a_strategic_patch_merges_lists_by_their_keys() {
    let server = ApiServer::start().await;
    let mut object = deployment("a", 1);
    object["spec"]["template"]["spec"]["containers"] = json!([
        {
            "name": "user", "image": "hello",
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
            "ports": [{ "containerPort": 80, "name": "web" }],
        },
        { "name": "old", "image": "old" },
    ]);
    server.put(object);
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "user", "env": [{ "name": "B", "value": "3" }, { "name": "C", "value": "4" }],
          "ports": [{ "containerPort": 80, "name": "http" }] },
        { "name": "old", "$patch": "delete" },
        { "name": "new", "image": "new" },
    ] } } } });
    let (_, now) = ask(
        &server,
        "PATCH",
        &format!("{DEPLOYMENTS}/a"),
        STRATEGIC,
        &patch,
    )
    .await;
    assert_eq!(
        now["spec"]["template"]["spec"]["containers"],
        json!([
            {
                "name": "user", "image": "hello",
                "env": [
                    { "name": "A", "value": "1" },
                    { "name": "B", "value": "3" },
                    { "name": "C", "value": "4" },
                ],
                "ports": [{ "containerPort": 80, "name": "http", "protocol": "TCP" }],
            },
            { "name": "new", "image": "new" },
        ])
    );
}

#[tokio::test]
async fn who_applies_what_somebody_else_has_set_is_told_whose_it_is() {
    let server = ApiServer::start().await;
    let path = |who: &str, force: bool| format!("{DEPLOYMENTS}/a?fieldManager={who}&force={force}");
    let apply = async |who: &str, force: bool, body: Value| {
        ask(&server, "PATCH", &path(who, force), APPLY, &body).await
    };
    assert_eq!(apply("one", false, deployment("a", 1)).await.0, 201);
    let two = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "replicas": 2 } });
    let (status, object) = apply("two", false, two.clone()).await;
    assert_eq!((status, &object["reason"]), (409, &json!("Conflict")));
    let cause = json!({
        "reason": "FieldManagerConflict",
        "message": "conflict with \"one\"",
        "field": ".spec.replicas",
    });
    assert_eq!(object["details"]["causes"], json!([cause]));
    assert_eq!(apply("two", true, two).await.1["spec"]["replicas"], 2);
    // Now it is two's: one may agree, and no longer change it.
    assert_eq!(apply("one", false, deployment("a", 2)).await.0, 200);
    assert_eq!(apply("one", false, deployment("a", 3)).await.0, 409);
    let nobody = format!("{DEPLOYMENTS}/a");
    assert_eq!(
        ask(&server, "PATCH", &nobody, APPLY, &deployment("a", 2))
            .await
            .0,
        422
    );
}

#[tokio::test]
async fn what_a_manager_applied_and_no_longer_names_goes() {
    let server = ApiServer::start().await;
    let apply = async |who: &str, containers: Value| {
        let path = format!("{DEPLOYMENTS}/a?fieldManager={who}");
        let mut body = deployment("a", 1);
        body["spec"]["template"]["spec"]["containers"] = containers;
        let (status, object) = ask(&server, "PATCH", &path, APPLY, &body).await;
        assert!(status < 300, "{object}");
        object["spec"]["template"]["spec"]["containers"].clone()
    };
    let user = json!({ "name": "user", "image": "hello" });
    let sidecar = json!({ "name": "queue", "image": "q", "env": [{ "name": "A", "value": "1" }] });
    assert_eq!(apply("owner", json!([user])).await, json!([user]));
    assert_eq!(
        apply("us", json!([user, sidecar])).await,
        json!([user, sidecar])
    );
    // It is not the owner's, so it stays.
    assert_eq!(apply("owner", json!([user])).await, json!([user, sidecar]));
    assert_eq!(apply("us", json!([user])).await, json!([user]));
    let object = server.get("Deployment", "default", "a").unwrap();
    let managers: Vec<&Value> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["manager"])
        .collect();
    assert_eq!(managers, ["owner", "us"]);
}

#[tokio::test]
async fn who_scaled_a_deployment_shows_in_its_managed_fields() {
    let server = ApiServer::start().await;
    server.put(deployment("a", 1));
    let path = format!("{DEPLOYMENTS}/a/scale?fieldManager=hpa");
    let (status, scale) = ask(
        &server,
        "PATCH",
        &path,
        MERGE,
        &json!({ "spec": { "replicas": 4 } }),
    )
    .await;
    assert_eq!(
        (status, &scale["kind"], &scale["spec"]["replicas"]),
        (200, &json!("Scale"), &json!(4))
    );
    let object = server.get("Deployment", "default", "a").unwrap();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["manager"] == "hpa")
        .unwrap();
    assert_eq!(entry["subresource"], "scale");
    assert_eq!(entry["fieldsV1"], json!({ "f:spec": { "f:replicas": {} } }));
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": { "replicas": 5 } });
    assert_eq!(ask(&server, "PUT", &path, JSON, &stale).await.0, 409);
}

#[tokio::test]
async fn an_object_with_finalizers_stays_until_they_are_gone() {
    let server = ApiServer::start().await;
    let mut object = config_map("a", &json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/mine"]);
    server.put(object);
    let path = format!("{MAPS}/a");
    let (status, leaving) = ask(&server, "DELETE", &path, "", &Value::Null).await;
    assert_eq!(status, 200);
    assert!(
        at(&leaving, "/metadata/deletionTimestamp").is_string(),
        "{leaving}"
    );
    let more = json!({ "metadata": { "finalizers": ["example.com/mine", "example.com/other"] } });
    assert_eq!(ask(&server, "PATCH", &path, MERGE, &more).await.0, 422);
    let none = json!({ "metadata": { "finalizers": null } });
    assert_eq!(ask(&server, "PATCH", &path, MERGE, &none).await.0, 200);
    assert!(server.get("ConfigMap", "default", "a").is_none());
}

#[tokio::test]
async fn a_namespace_takes_everything_in_it_along_and_waits_for_finalizers() {
    let server = ApiServer::start().await;
    let within = |name: &str| {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["namespace"] = "n".into();
        object
    };
    server.put(within("a"));
    let mut held = within("held");
    held["metadata"]["finalizers"] = json!(["example.com/mine"]);
    server.put(held);
    ask(&server, "DELETE", "/api/v1/namespaces/n", "", &Value::Null).await;
    assert!(server.get("ConfigMap", "n", "a").is_none());
    assert_eq!(
        server.get("Namespace", "", "n").unwrap()["status"]["phase"],
        "Terminating"
    );
    let maps = "/api/v1/namespaces/n/configmaps";
    let (status, _) = ask(&server, "POST", maps, JSON, &within("late")).await;
    assert_eq!(status, 403);
    let none = json!({ "metadata": { "finalizers": null } });
    ask(&server, "PATCH", &format!("{maps}/held"), MERGE, &none).await;
    assert!(server.get("Namespace", "", "n").is_none());
}

#[tokio::test]
async fn preconditions_of_a_deletion_hold() {
    let server = ApiServer::start().await;
    server.put(config_map("a", &json!({})));
    let other = json!({ "preconditions": { "uid": "other" } });
    assert_eq!(
        ask(&server, "DELETE", &format!("{MAPS}/a"), JSON, &other)
            .await
            .0,
        409
    );
    assert!(server.get("ConfigMap", "default", "a").is_some());
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_chosen() {
    let server = ApiServer::start().await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut object = config_map(name, &json!({}));
        object["metadata"]["labels"] = json!({ "app": app });
        server.put(object);
    }
    let (status, _) = ask(
        &server,
        "DELETE",
        &format!("{MAPS}?labelSelector=app%3Dx"),
        "",
        &Value::Null,
    )
    .await;
    let left = server.list("ConfigMap", "default");
    assert_eq!(
        (status, left.len(), &left[0]["metadata"]["name"]),
        (200, 1, &json!("b"))
    );
}
