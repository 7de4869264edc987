//! What the server fills in: of the real one's defaults, those that a reader may rely on.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::object::text;

/// Fills in what is missing. `seed` varies the addresses of new Services.
pub(super) fn set_defaults(kind: &'static Kind, object: &mut Value, seed: u64) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    members.insert("apiVersion".to_owned(), kind.api_version().into());
    members.insert("kind".to_owned(), kind.kind.into());
    if kind.custom {
        return;
    }
    match kind.plural {
        "deployments" | "statefulsets" | "replicasets" => workload(kind, object),
        "services" => service(object, seed),
        "pods" => pod(object),
        "namespaces" => {
            default(object, &["spec", "finalizers"], json!(["kubernetes"]));
            default(object, &["status", "phase"], json!("Active"));
        }
        _ => {}
    }
}

/// Sets a member of the object at `path` unless it is there; not if something else than an
/// object is in the way, which a check complains about.
fn default(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, way)) = path.split_last() else {
        return;
    };
    let mut at = object;
    for step in way {
        let Some(members) = at.as_object_mut() else {
            return;
        };
        at = members
            .entry((*step).to_owned())
            .or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(members) = at.as_object_mut() {
        let member = members.entry((*last).to_owned()).or_insert(Value::Null);
        if member.is_null() {
            *member = value;
        }
    }
}

fn workload(kind: &Kind, object: &mut Value) {
    if object.get("spec").is_none() {
        return; // a check says so
    }
    default(object, &["spec", "replicas"], json!(1));
    if kind.plural == "deployments" {
        default(
            object,
            &["spec", "strategy", "type"],
            json!("RollingUpdate"),
        );
        if text(object, "/spec/strategy/type") == "RollingUpdate" {
            let rolling = ["spec", "strategy", "rollingUpdate"];
            for bound in ["maxSurge", "maxUnavailable"] {
                default(
                    object,
                    &[rolling[0], rolling[1], rolling[2], bound],
                    json!("25%"),
                );
            }
        }
        default(object, &["spec", "progressDeadlineSeconds"], json!(600));
        default(object, &["spec", "revisionHistoryLimit"], json!(10));
    }
    if object.pointer("/spec/template").is_some() {
        pod_spec(object, &["spec", "template", "spec"]);
    }
}

fn pod(object: &mut Value) {
    if object.get("spec").is_some() {
        pod_spec(object, &["spec"]);
    }
    default(object, &["status", "phase"], json!("Pending"));
}

fn pod_spec(object: &mut Value, at: &[&str]) {
    let mut set = |field: &str, value: Value| {
        let mut path = at.to_vec();
        path.push(field);
        default(object, &path, value);
    };
    set("restartPolicy", json!("Always"));
    set("terminationGracePeriodSeconds", json!(30));
    set("dnsPolicy", json!("ClusterFirst"));
    set("schedulerName", json!("default-scheduler"));
    let pointer = format!("/{}/containers", at.join("/"));
    let containers = object.pointer_mut(&pointer).and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if let Some(ports) = container.get_mut("ports").and_then(Value::as_array_mut) {
            for port in ports {
                default(port, &["protocol"], json!("TCP"));
            }
        }
    }
}

fn service(object: &mut Value, seed: u64) {
    if object.get("spec").is_none() {
        return;
    }
    default(object, &["spec", "type"], json!("ClusterIP"));
    default(object, &["spec", "sessionAffinity"], json!("None"));
    if text(object, "/spec/type") != "ExternalName" {
        // On the loopback, where nothing listens: whoever dials it is refused at once.
        let address = format!("127.255.{}.{}", seed / 250 % 250 + 1, seed % 250 + 1);
        default(object, &["spec", "clusterIP"], address.into());
        let address = object["spec"]["clusterIP"].clone();
        default(object, &["spec", "clusterIPs"], json!([address]));
        default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
        default(object, &["spec", "ipFamilyPolicy"], json!("SingleStack"));
    }
    default(object, &["status", "loadBalancer"], json!({}));
    let ports = object
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        default(port, &["protocol"], json!("TCP"));
        let number = port.get("port").cloned().unwrap_or_default();
        default(port, &["targetPort"], number);
    }
}
