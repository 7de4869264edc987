//! The installation: its programs, its rights, the resources that it needs, the clocks.

use std::time::Duration;

use serde_json::Value;

use super::Finding;
use super::fetch::{Facts, Right};

/// What Knative's controller and our autoscaler talk through.
const KNATIVE: [(&str, &str); 4] = [
    ("serving.knative.dev", "revisions"),
    ("autoscaling.internal.knative.dev", "podautoscalers"),
    ("autoscaling.internal.knative.dev", "metrics"),
    ("networking.internal.knative.dev", "serverlessservices"),
];
/// Beyond it, leases and times of conditions are judged wrongly. An answer's date has whole
/// seconds, and some time on its way.
const SKEW: Duration = Duration::from_secs(5);

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    programs(facts, &mut findings);
    resources(facts, &mut findings);
    findings.extend(facts.denied.iter().map(denied));
    clocks(facts, &mut findings);
    findings
}

/// Activator and autoscaler are there, available, and found by their Services.
fn programs(facts: &Facts, findings: &mut Vec<Finding>) {
    let apply = if facts.is_knative() {
        "install Knative Serving, then the overlay: kubectl apply -k deploy/knative"
    } else {
        "kubectl apply -k deploy/kube"
    };
    for (name, service) in [
        ("activator", "activator-service"),
        ("autoscaler", "autoscaler"),
    ] {
        let object = format!("Deployment {}/{name}", facts.system);
        let Some(deployment) = facts
            .programs
            .iter()
            .find(|it| text(it, "/metadata/name") == name)
        else {
            findings.push(Finding::error(object, "it is not there", apply));
            continue;
        };
        if deployment["status"]["availableReplicas"]
            .as_u64()
            .unwrap_or(0)
            == 0
        {
            let look = format!("kubectl -n {} logs deployment/{name}", facts.system);
            findings.push(Finding::error(object, "no pod of it is available", look));
        }
        let of = |it: &&Value| {
            text(it, "/metadata/namespace") == facts.system && text(it, "/metadata/name") == service
        };
        let object = format!("Service {}/{service}", facts.system);
        let Some(found) = facts.services.iter().find(of) else {
            findings.push(Finding::error(object, "it is not there", apply));
            continue;
        };
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        if !selects(&found["spec"]["selector"], labels) {
            let wrong = format!("its selector matches no pod of Deployment {name}");
            findings.push(Finding::error(object, wrong, apply));
        }
    }
}

fn resources(facts: &Facts, findings: &mut Vec<Finding>) {
    if !facts.is_knative() {
        return;
    }
    for (group, resource) in KNATIVE {
        let known = facts.resources.get(group);
        if !known.is_some_and(|known| known.contains(resource)) {
            findings.push(Finding::error(
                format!("CustomResourceDefinition {resource}.{group}"),
                "it is not there, though serving.knative.dev is",
                "apply serving-crds.yaml of the Knative release that is installed",
            ));
        }
    }
}

fn denied(right: &Right) -> Finding {
    let Right {
        account,
        namespace,
        verb,
        group,
        resource,
    } = right;
    let resource = match group.as_str() {
        "" => resource.clone(),
        group => format!("{resource}.{group}"),
    };
    let place = match namespace.as_str() {
        "" => "in all namespaces".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    Finding::error(
        format!("ServiceAccount {account}"),
        format!("it may not {verb} {resource} {place}"),
        "kubectl apply -k deploy/kube brings its roles and bindings",
    )
}

fn clocks(facts: &Facts, findings: &mut Vec<Finding>) {
    let Some(there) = facts.server_time else {
        return;
    };
    let (skew, which) = match there.duration_since(facts.now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if skew > SKEW {
        findings.push(Finding::warning(
            "API server",
            format!("its clock is {} s {which} the one here", skew.as_secs()),
            "synchronise the clocks (NTP): leases and scale-to-zero times are judged by them",
        ));
    }
}

/// What stands at a JSON pointer, or an empty text.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether a Service's selector takes pods with these labels; an empty one takes none.
pub(super) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object().filter(|it| !it.is_empty()) else {
        return false;
    };
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
