//! The workloads that ask to be scaled.

use std::collections::{BTreeMap, BTreeSet};

use penstock_scaling::annotation;
use penstock_types::annotation::{AUTOSCALING, Annotations};
use serde_json::Value;

use super::Finding;
use super::fetch::Facts;
use super::install::{selects, text};

const INJECT: &str = "penstock inject -f FILE | kubectl apply -f -";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for workload in &facts.workloads {
        settings(workload, &mut findings);
        owners(facts, workload, &mut findings);
        services(facts, workload, &mut findings);
        containers(workload, &mut findings);
    }
    hosts(facts, &mut findings);
    findings
}

/// `Deployment shop/web`.
pub(super) fn who(object: &Value) -> String {
    format!(
        "{} {}/{}",
        text(object, "/kind"),
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name")
    )
}

/// Annotations that do not read.
fn settings(workload: &Value, findings: &mut Vec<Finding>) {
    let annotations: Annotations = workload["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    for key in annotations
        .keys()
        .filter(|key| key.starts_with(AUTOSCALING))
    {
        if !annotation::spellings().any(|known| known == key) {
            findings.push(Finding::warning(
                who(workload),
                format!("annotation {key} is not a known one"),
                "correct its name, or take it out: nobody reads it",
            ));
        }
    }
    let config = penstock_scaling::config::Config::default();
    let rejected = annotation::validate_alone(&annotations, &config)
        .into_iter()
        .chain(penstock_cluster_kube::deployments::rejected(workload));
    for rejected in rejected {
        findings.push(Finding::error(
            who(workload),
            format!(
                "annotation {}: {}",
                rejected.keys.join(", "),
                rejected.reason
            ),
            "correct it; until then it counts as absent",
        ));
    }
}

/// Somebody else who sets the number of pods.
fn owners(facts: &Facts, workload: &Value, findings: &mut Vec<Finding>) {
    for scaler in &facts.scalers {
        let target = &scaler["spec"]["scaleTargetRef"];
        if text(scaler, "/metadata/namespace") == text(workload, "/metadata/namespace")
            && target["kind"] == workload["kind"]
            && target["name"] == workload["metadata"]["name"]
        {
            findings.push(Finding::error(
                who(workload),
                format!(
                    "HorizontalPodAutoscaler {} scales it, too",
                    text(scaler, "/metadata/name")
                ),
                "delete that one, or take the label penstock.dev/scale from the workload",
            ));
        }
    }
    let controllers = workload["metadata"]["ownerReferences"].as_array();
    let controllers = controllers.into_iter().flatten();
    for owner in controllers.filter(|owner| owner["controller"] == true) {
        findings.push(Finding::warning(
            who(workload),
            format!(
                "it is controlled by {} {}, which may undo every change of scale",
                text(owner, "/kind"),
                text(owner, "/name")
            ),
            "let that controller leave spec.replicas alone",
        ));
    }
}

/// Services that stand in the way, or go around.
fn services(facts: &Facts, workload: &Value, findings: &mut Vec<Finding>) {
    let namespace = text(workload, "/metadata/namespace");
    let name = text(workload, "/metadata/name");
    let wanted = workload["metadata"]["annotations"]["penstock.dev/service"]
        .as_str()
        .unwrap_or(name);
    let labels = &workload["spec"]["template"]["metadata"]["labels"];
    for service in &facts.services {
        if text(service, "/metadata/namespace") != namespace {
            continue;
        }
        let service_name = text(service, "/metadata/name");
        let is_ours = service["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "penstock";
        if service_name == wanted && !is_ours {
            findings.push(Finding::error(
                who(workload),
                format!(
                    "Service {service_name} is somebody else's, so nothing leads to activators"
                ),
                "rename that one, or name another by the annotation penstock.dev/service",
            ));
        } else if selects(&service["spec"]["selector"], labels) {
            findings.push(Finding::warning(
                who(workload),
                format!(
                    "Service {service_name} selects its pods: who calls that does not wake them, \
                     and is not limited"
                ),
                format!("call Service {wanted} instead"),
            ));
        }
    }
}

/// The queue-proxy, and where everybody is asked.
fn containers(workload: &Value, findings: &mut Vec<Finding>) {
    let containers = workload["spec"]["template"]["spec"]["containers"].as_array();
    let containers: Vec<&Value> = containers.into_iter().flatten().collect();
    let (proxies, users): (Vec<&Value>, Vec<&Value>) = containers
        .into_iter()
        .partition(|container| container["name"] == "queue-proxy");
    let declared: BTreeMap<&str, u64> = users
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| Some((text(port, "/name"), port["containerPort"].as_u64()?)))
        .collect();
    let numbers: BTreeSet<u64> = users
        .iter()
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["containerPort"].as_u64())
        .collect();
    let Some(proxy) = proxies.first() else {
        findings.push(Finding::warning(
            who(workload),
            "its pods have no queue-proxy: all requests go by an activator, always",
            INJECT,
        ));
        for container in &users {
            let name = text(container, "/name");
            for kind in ["httpGet", "tcpSocket", "grpc"] {
                let port = &container["readinessProbe"][kind]["port"];
                let is_there = match (port.as_u64(), port.as_str()) {
                    (Some(number), _) => numbers.is_empty() || numbers.contains(&number),
                    (None, Some(named)) => declared.contains_key(named),
                    (None, None) => true,
                };
                if !is_there {
                    findings.push(Finding::error(
                        who(workload),
                        format!("the readiness probe of {name} asks port {port}, which no container declares"),
                        "correct the probe's port, or declare it",
                    ));
                }
            }
        }
        return;
    };
    let env = |name: &str| {
        let all = proxy["env"].as_array().into_iter().flatten();
        let mut found = all.filter(|variable| variable["name"] == name);
        found.next().map(|variable| text(variable, "/value"))
    };
    if let Some(port) = env("USER_PORT").and_then(|port| port.parse::<u64>().ok())
        && !numbers.is_empty()
        && !numbers.contains(&port)
    {
        findings.push(Finding::error(
            who(workload),
            format!("the queue-proxy sends requests to port {port} (USER_PORT), which no container declares"),
            INJECT,
        ));
    }
    let serving = env("QUEUE_SERVING_PORT").unwrap_or_default();
    let probed = &proxy["readinessProbe"]["httpGet"]["port"];
    if !probed.is_null() && probed.to_string().trim_matches('"') != serving {
        findings.push(Finding::error(
            who(workload),
            format!(
                "the queue-proxy serves on port {serving}, and its readiness probe asks {probed}"
            ),
            INJECT,
        ));
    }
}

/// Hosts that more than one workload claims.
fn hosts(facts: &Facts, findings: &mut Vec<Finding>) {
    let mut claims: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for workload in &facts.workloads {
        let claimed = workload["metadata"]["annotations"]["penstock.dev/host"].as_str();
        for host in claimed.into_iter().flat_map(|hosts| hosts.split(',')) {
            let host = host.trim().to_ascii_lowercase();
            if !host.is_empty() {
                claims.entry(host).or_default().push(workload);
            }
        }
    }
    for (host, mut claimants) in claims {
        claimants.sort_by_key(|it| (text(it, "/metadata/creationTimestamp").to_owned(), who(it)));
        for later in &claimants[1..] {
            findings.push(Finding::error(
                who(later),
                format!(
                    "its host {host} is that of {}, which is older",
                    who(claimants[0])
                ),
                "name another host in penstock.dev/host",
            ));
        }
    }
}
