use std::time::{Duration, SystemTime};

use penstock_cluster_kube::Access;
use penstock_testkit::kube::{ApiServer, Fault, Matcher};
use serde_json::{Value, json};

use super::fetch::{Facts, Right, rights};
use super::finding::{Finding, Severity};
use super::{DoctorArgs, Shape, install, look, told, workloads};

fn program(name: &str) -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {"namespace": "penstock-system", "name": name},
        "spec": {"template": {"metadata": {"labels": {"app": name}}}},
        "status": {"availableReplicas": 2},
    })
}

fn service(namespace: &str, name: &str, selector: Value) -> Value {
    json!({
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": selector},
    })
}

fn workload() -> Value {
    json!({
        "kind": "Deployment",
        "metadata": {
            "namespace": "shop",
            "name": "web",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"penstock.dev/host": "web.example.com"},
        },
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [
                {"name": "web", "ports": [{"name": "http", "containerPort": 8080}]},
                {
                    "name": "queue-proxy",
                    "env": [
                        {"name": "USER_PORT", "value": "8080"},
                        {"name": "QUEUE_SERVING_PORT", "value": "8012"},
                    ],
                    "readinessProbe": {"httpGet": {"port": 8012}},
                },
            ]},
        }},
    })
}

/// An installation that is well, with one workload.
fn well() -> Facts {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Facts {
        now,
        server_time: Some(now),
        resources: Default::default(),
        system: "penstock-system".to_owned(),
        programs: vec![program("activator"), program("autoscaler")],
        workloads: vec![workload()],
        scalers: Vec::new(),
        services: vec![
            service(
                "penstock-system",
                "activator-service",
                json!({"app": "activator"}),
            ),
            service(
                "penstock-system",
                "autoscaler",
                json!({"app": "autoscaler"}),
            ),
        ],
        denied: Vec::new(),
        unread: Vec::new(),
    }
}

fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = install::check(facts);
    findings.extend(workloads::check(facts));
    findings
}

/// The one finding there is: its severity, object and what is wrong.
#[track_caller]
fn only(facts: &Facts) -> (Severity, String, String) {
    let mut found = findings(facts);
    assert_eq!(found.len(), 1, "{found:#?}");
    let found = found.remove(0);
    assert!(!found.mend.is_empty());
    (found.severity, found.object, found.wrong)
}

fn error(object: &str, wrong: &str) -> (Severity, String, String) {
    (Severity::Error, object.to_owned(), wrong.to_owned())
}

fn warning(object: &str, wrong: &str) -> (Severity, String, String) {
    (Severity::Warning, object.to_owned(), wrong.to_owned())
}

#[test]
fn nothing_is_found_where_all_is_well() {
    assert_eq!(findings(&well()), []);
    assert_eq!(told(&[], Shape::Text), "nothing wrong was found\n");
    assert_eq!(told(&[], Shape::Json), "[]\n");
}

#[test]
fn a_program_that_is_missing_or_not_available_is_found() {
    let mut facts = well();
    facts.programs.remove(0);
    assert_eq!(
        only(&facts),
        error("Deployment penstock-system/activator", "it is not there")
    );
    let mut facts = well();
    facts.programs[1]["status"] = json!({});
    assert_eq!(
        only(&facts),
        error(
            "Deployment penstock-system/autoscaler",
            "no pod of it is available"
        )
    );
}

#[test]
fn a_selector_that_matches_nothing_is_found() {
    let mut facts = well();
    facts.services[0]["spec"]["selector"] = json!({"app": "other"});
    assert_eq!(
        only(&facts),
        error(
            "Service penstock-system/activator-service",
            "its selector matches no pod of Deployment activator"
        )
    );
}

#[test]
fn resources_of_knative_that_are_missing_are_found_where_knative_is() {
    let mut facts = well();
    let has = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    facts.resources = [
        ("serving.knative.dev".to_owned(), has(&["revisions"])),
        (
            "autoscaling.internal.knative.dev".to_owned(),
            has(&["podautoscalers", "metrics"]),
        ),
    ]
    .into();
    let (_, object, _) = only(&facts);
    assert_eq!(
        object,
        "CustomResourceDefinition serverlessservices.networking.internal.knative.dev"
    );
}

#[test]
fn a_right_that_is_missing_is_named_with_its_verb() {
    let mut facts = well();
    facts.denied = vec![Right {
        account: "penstock-system/autoscaler".to_owned(),
        namespace: String::new(),
        verb: "patch".to_owned(),
        group: "apps".to_owned(),
        resource: "deployments/scale".to_owned(),
    }];
    assert_eq!(
        only(&facts),
        error(
            "ServiceAccount penstock-system/autoscaler",
            "it may not patch deployments/scale.apps in all namespaces"
        )
    );
}

#[test]
fn the_rights_that_are_asked_for_are_those_of_the_deployed_roles() {
    let rights = rights("here");
    let has = |account: &str, namespace: &str, verb: &str, resource: &str| {
        rights.iter().any(|right| {
            (right.account.as_str(), right.namespace.as_str()) == (account, namespace)
                && (right.verb.as_str(), right.resource.as_str()) == (verb, resource)
        })
    };
    assert!(has("here/autoscaler", "", "patch", "deployments/scale"));
    assert!(has("here/autoscaler", "here", "update", "leases"));
    assert!(has("here/activator", "", "watch", "pods"));
    assert!(!has("here/activator", "", "patch", "pods"));
}

#[test]
fn a_clock_that_is_off_is_found() {
    let mut facts = well();
    facts.server_time = Some(facts.now - Duration::from_secs(90));
    assert_eq!(
        only(&facts),
        warning("API server", "its clock is 90 s behind the one here")
    );
    facts.server_time = Some(facts.now + Duration::from_secs(4));
    assert_eq!(findings(&facts), []);
}

#[test]
fn an_annotation_that_does_not_parse_is_found() {
    let mut facts = well();
    let annotations = &mut facts.workloads[0]["metadata"]["annotations"];
    annotations["autoscaling.knative.dev/max-scale"] = json!("many");
    annotations["penstock.dev/timeout"] = json!("soon");
    let found = findings(&facts);
    let told: Vec<&str> = found.iter().map(|it| it.wrong.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("max-scale") && told[0].contains("many"),
        "{told:?}"
    );
    assert!(
        told[1].contains("penstock.dev/timeout") && told[1].contains("soon"),
        "{told:?}"
    );
}

#[test]
fn an_annotation_that_nobody_reads_is_found() {
    let mut facts = well();
    let annotations = &mut facts.workloads[0]["metadata"]["annotations"];
    annotations["autoscaling.knative.dev/tarrget"] = json!("7");
    let found = findings(&facts);
    let told: Vec<&str> = found.iter().map(|it| it.wrong.as_str()).collect();
    assert_eq!(
        told,
        ["annotation autoscaling.knative.dev/tarrget is not a known one"]
    );
}

#[test]
fn somebody_else_who_scales_is_found() {
    let mut facts = well();
    facts.scalers = vec![json!({
        "metadata": {"namespace": "shop", "name": "web-hpa"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}},
    })];
    assert_eq!(
        only(&facts),
        error(
            "Deployment shop/web",
            "HorizontalPodAutoscaler web-hpa scales it, too"
        )
    );
    let mut facts = well();
    facts.workloads[0]["metadata"]["ownerReferences"] =
        json!([{"kind": "Rollout", "name": "web", "controller": true}]);
    assert_eq!(
        only(&facts),
        warning(
            "Deployment shop/web",
            "it is controlled by Rollout web, which may undo every change of scale"
        )
    );
}

#[test]
fn services_in_the_way_and_around_are_found() {
    let mut facts = well();
    facts
        .services
        .push(service("shop", "web", json!({"app": "web"})));
    facts
        .services
        .push(service("shop", "direct", json!({"app": "web"})));
    facts
        .services
        .push(service("other", "web", json!({"app": "web"})));
    let found = findings(&facts);
    let told: Vec<&str> = found.iter().map(|it| it.wrong.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("Service web is somebody else's"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("Service direct selects its pods"),
        "{told:?}"
    );
    // Our own has no selector, and is in nobody's way.
    let mut facts = well();
    let mut ours = service("shop", "web", Value::Null);
    ours["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "penstock"});
    facts.services.push(ours);
    assert_eq!(findings(&facts), []);
}

#[test]
fn ports_that_do_not_meet_are_found() {
    let proxy = "/spec/template/spec/containers/1";
    let mut facts = well();
    *facts.workloads[0]
        .pointer_mut(&format!("{proxy}/env/0/value"))
        .unwrap() = json!("80");
    assert_eq!(
        only(&facts),
        error(
            "Deployment shop/web",
            "the queue-proxy sends requests to port 80 (USER_PORT), which no container declares"
        )
    );
    let mut facts = well();
    let port = format!("{proxy}/readinessProbe/httpGet/port");
    *facts.workloads[0].pointer_mut(&port).unwrap() = json!(8080);
    assert_eq!(
        only(&facts),
        error(
            "Deployment shop/web",
            "the queue-proxy serves on port 8012, and its readiness probe asks 8080"
        )
    );
    let mut facts = well();
    let containers = "/spec/template/spec/containers";
    let containers = facts.workloads[0]
        .pointer_mut(containers)
        .unwrap()
        .as_array_mut();
    let containers = containers.unwrap();
    containers.pop();
    containers[0]["readinessProbe"] = json!({"httpGet": {"port": "web"}});
    let found = findings(&facts);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].severity, Severity::Warning);
    assert!(found[0].wrong.contains("no queue-proxy"), "{found:?}");
    assert!(found[1].wrong.contains("asks port \"web\""), "{found:?}");
}

#[test]
fn of_two_that_claim_one_host_the_later_one_is_told() {
    let mut facts = well();
    let mut later = workload();
    later["metadata"]["name"] = json!("web-2");
    later["metadata"]["creationTimestamp"] = json!("2026-01-02T00:00:00Z");
    facts.workloads.insert(0, later);
    assert_eq!(
        only(&facts),
        error(
            "Deployment shop/web-2",
            "its host web.example.com is that of Deployment shop/web, which is older"
        )
    );
}

#[test]
fn a_finding_says_in_text_and_json_what_to_do() {
    let mut facts = well();
    facts.programs.remove(0);
    let found = findings(&facts);
    assert_eq!(
        told(&found, Shape::Text),
        "ERROR Deployment penstock-system/activator: it is not there\n      kubectl apply -k deploy/kube\n"
    );
    let read: Value = serde_json::from_str(&told(&found, Shape::Json)).unwrap();
    assert_eq!(
        read,
        json!([{
            "severity": "error",
            "object": "Deployment penstock-system/activator",
            "wrong": "it is not there",
            "mend": "kubectl apply -k deploy/kube",
        }])
    );
}

fn args(namespace: Option<&str>) -> DoctorArgs {
    DoctorArgs {
        namespace: namespace.map(str::to_owned),
        system: None,
        kubeconfig: None,
        output: Shape::Text,
    }
}

#[tokio::test]
async fn a_cluster_is_read_page_by_page_and_what_may_not_be_read_is_told() {
    let server = ApiServer::start().await;
    // The server serves Knative's groups, so the system namespace is Knative's.
    for name in ["activator", "autoscaler"] {
        let mut program = program(name);
        program["apiVersion"] = json!("apps/v1");
        program["metadata"]["namespace"] = json!("knative-serving");
        server.put(program);
    }
    for (name, of) in [
        ("activator-service", "activator"),
        ("autoscaler", "autoscaler"),
    ] {
        let mut service = service("knative-serving", name, json!({"app": of}));
        service["apiVersion"] = json!("v1");
        server.put(service);
    }
    for number in 0..600 {
        let mut workload = workload();
        workload["apiVersion"] = json!("apps/v1");
        workload["metadata"] = json!({
            "namespace": "shop",
            "name": format!("web-{number}"),
            "labels": {"penstock.dev/scale": "true"},
            "annotations": {"penstock.dev/host": format!("web-{number}.example.com")},
        });
        if number == 599 {
            workload["metadata"]["annotations"]["autoscaling.knative.dev/target"] = json!("-1");
        }
        server.put(workload);
    }
    let access = Access::Url(server.url().parse().unwrap());
    let found = look(&args(Some("shop")), &access).await.unwrap();
    let objects: Vec<&str> = found.iter().map(|it| it.object.as_str()).collect();
    assert_eq!(objects, ["Deployment shop/web-599"], "{found:#?}");

    server.fault(
        Matcher::any().resource("horizontalpodautoscalers"),
        Fault::Status(403),
        1,
    );
    let found = look(&args(Some("other")), &access).await.unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].wrong.contains("403"), "{found:#?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_names_the_reason() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let access = Access::Url(format!("http://{addr}").parse().unwrap());
    let error = look(&args(None), &access).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the API server does not answer"),
        "{error}"
    );
    assert!(error.to_lowercase().contains("refused"), "{error}");
}
