//! Deployments and StatefulSets, which are alike as far as they are read here.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::core::Selector;
use penstock_types::annotation::{AUTOSCALING, Annotations};
use serde::Deserialize;

use super::{Version, cut};
use crate::Key;
use crate::reflect::shape;

/// Prefixes of the annotations that are kept.
const KEPT: [&str; 4] = [
    AUTOSCALING,
    "penstock.dev/",
    "features.knative.dev/",
    "serving.knative.dev/",
];

/// A Deployment as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DeploymentObject {
    pub(crate) metadata: ObjectMeta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

shape!(DeploymentObject: "Deployment", "deployments", "apps", "v1");

/// A StatefulSet as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StatefulSetObject {
    pub(crate) metadata: ObjectMeta,
    spec: Spec,
    #[serde(default)]
    status: Status,
}

shape!(StatefulSetObject: "StatefulSet", "statefulsets", "apps", "v1");

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    replicas: Option<u32>,
    #[serde(default)]
    selector: LabelSelector,
    #[serde(default)]
    template: Template,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Option<Vec<ContainerObject>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerObject {
    name: String,
    ports: Option<Vec<PortObject>>,
    readiness_probe: Option<ProbeObject>,
    startup_probe: Option<ProbeObject>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortObject {
    name: String,
    container_port: u16,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ProbeObject {
    exec: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    message: String,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Deployment,
    StatefulSet,
}

impl Kind {
    /// As a path has it.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::StatefulSet => "statefulsets",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        })
    }
}

/// What is kept of one.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) key: Key,
    pub(crate) kind: Kind,
    pub(crate) uid: String,
    pub(crate) version: Version,
    pub(crate) created: Option<Timestamp>,
    pub(crate) annotations: Annotations,
    pub(crate) replicas: u32,
    /// Who set the number of replicas last, by the name under which the server knows changes.
    pub(crate) scaled_by: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) containers: Vec<Container>,
    /// How its pods are asked whether they are ready.
    pub(crate) probed: Probed,
    /// Why it cannot have pods.
    pub(crate) trouble: Option<String>,
}

/// A container of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// Names and numbers of its ports.
    pub(crate) ports: Vec<(String, u16)>,
}

/// What the kubelet asks the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Nothing that an answer of the queue-proxy would not cover.
    ByAnswer,
    /// Something that only the kubelet knows: a command, or a start-up probe
    /// (spec/activator.md §4.4).
    ByKubelet,
}

impl DeploymentObject {
    pub(crate) fn seen(self) -> Option<Workload> {
        seen(Kind::Deployment, self.metadata, self.spec, self.status)
    }
}

impl StatefulSetObject {
    pub(crate) fn seen(self) -> Option<Workload> {
        seen(Kind::StatefulSet, self.metadata, self.spec, self.status)
    }
}

fn seen(kind: Kind, meta: ObjectMeta, spec: Spec, status: Status) -> Option<Workload> {
    let key = Key::of(&meta);
    let selector = match Selector::try_from(spec.selector) {
        // One that selects every pod is none: the API server would not have taken it.
        Ok(selector) if !selector.selects_all() => selector,
        Ok(_) | Err(_) => {
            tracing::warn!(%kind, %key, "left out: its selector cannot be understood");
            return None;
        }
    };
    let containers = spec.template.spec.containers.unwrap_or_default();
    let by_kubelet = containers.iter().any(|container| {
        let probe = container.readiness_probe.as_ref();
        container.startup_probe.is_some() || probe.is_some_and(|probe| probe.exec.is_some())
    });
    let conditions = status.conditions.unwrap_or_default();
    let failure = conditions
        .into_iter()
        .find(|condition| condition.kind == "ReplicaFailure" && condition.status == "True");
    Some(Workload {
        kind,
        uid: meta.uid.clone().unwrap_or_default(),
        version: Version::of(&meta),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        scaled_by: scaled_by(&meta),
        annotations: kept(meta.annotations.unwrap_or_default()),
        // Absent is 1 (apps/v1, `replicas`).
        replicas: spec.replicas.unwrap_or(1),
        selector,
        containers: containers
            .into_iter()
            .map(|container| Container {
                name: container.name,
                ports: container
                    .ports
                    .into_iter()
                    .flatten()
                    .map(|port| (port.name, port.container_port))
                    .collect(),
            })
            .collect(),
        probed: if by_kubelet {
            Probed::ByKubelet
        } else {
            Probed::ByAnswer
        },
        trouble: failure.map(|failure| cut(&failure.message).to_owned()),
        key,
    })
}

fn kept(mut annotations: Annotations) -> Annotations {
    annotations.retain(|key, _| KEPT.iter().any(|prefix| key.starts_with(prefix)));
    annotations
}

/// Who owns `spec.replicas`; the last one, if several do.
fn scaled_by(meta: &ObjectMeta) -> Option<String> {
    let entries = meta.managed_fields.as_ref()?.iter();
    let owners = entries.filter(|entry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
    });
    let last = owners.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last?.manager.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(text: &str) -> Workload {
        let object: DeploymentObject = serde_json::from_str(text).unwrap();
        object.seen().unwrap()
    }

    #[test]
    fn a_deployment_is_trimmed_to_what_is_used_of_it() {
        let seen = deployment(
            r#"{"metadata":{"namespace":"default","name":"hello","uid":"u","resourceVersion":"12",
                "annotations":{"penstock.dev/port":"80","kubectl.kubernetes.io/x":"y"},
                "managedFields":[
                  {"manager":"kubectl","time":"2024-01-01T00:00:00Z","fieldsV1":{"f:spec":{"f:replicas":{}}}},
                  {"manager":"keda","time":"2024-01-02T00:00:00Z","subresource":"scale","fieldsV1":{"f:spec":{"f:replicas":{}}}},
                  {"manager":"kubelet","time":"2024-01-03T00:00:00Z","fieldsV1":{"f:status":{}}}]},
              "spec":{"selector":{"matchLabels":{"app":"hello"}},"template":{"spec":{"containers":[
                {"name":"web","ports":[{"name":"h2c","containerPort":8080}],
                 "readinessProbe":{"exec":{"command":["true"]}}}]}}}}"#,
        );
        assert_eq!(seen.key.to_string(), "default/hello");
        assert_eq!(seen.annotations.len(), 1);
        assert_eq!(seen.replicas, 1, "absent is one");
        assert_eq!(seen.scaled_by.as_deref(), Some("keda"));
        assert_eq!(seen.probed, Probed::ByKubelet);
        assert_eq!(seen.containers[0].ports, [("h2c".to_owned(), 8080)]);
    }

    #[test]
    fn one_without_a_selector_is_left_out() {
        let object: DeploymentObject =
            serde_json::from_str(r#"{"metadata":{"name":"a"},"spec":{"replicas":2}}"#).unwrap();
        assert!(object.seen().is_none());
    }
}
