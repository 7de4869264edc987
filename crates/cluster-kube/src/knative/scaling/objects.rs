//! The objects that an autoscaler of a Knative install reads, as far as it reads them.
//!
//! Source: spec/autoscaler.md §3 and §9.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer, Serialize};

use crate::reflect::shape;

/// Group of the objects of scaling.
pub(super) const AUTOSCALING: &str = "autoscaling.internal.knative.dev";
/// Group of the objects of the path.
pub(super) const NETWORKING: &str = "networking.internal.knative.dev";

/// What is to be scaled, and how that stands.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodAutoscaler {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: PodAutoscalerSpec,
    #[serde(default)]
    pub(super) status: PodAutoscalerStatus,
}

shape!(PodAutoscaler: "PodAutoscaler", "podautoscalers", "autoscaling.internal.knative.dev", "v1alpha1");

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodAutoscalerSpec {
    pub(super) container_concurrency: i64,
    pub(super) scale_target_ref: TargetRef,
    pub(super) reachability: String,
    pub(super) protocol_type: String,
}

/// The object that has the number of pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TargetRef {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodAutoscalerStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) observed_generation: Option<i64>,
    #[serde(deserialize_with = "list")]
    pub(super) conditions: Vec<Condition>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) service_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) metrics_service_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) desired_scale: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) actual_scale: Option<i32>,
}

/// One condition of a status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_transition_time: Option<Time>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
}

/// The path of requests to one revision (an SKS).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ServerlessService {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: ServerlessServiceSpec,
    #[serde(default)]
    pub(super) status: ServerlessServiceStatus,
}

shape!(ServerlessService: "ServerlessService", "serverlessservices", "networking.internal.knative.dev", "v1alpha1");

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServerlessServiceSpec {
    /// `Proxy` or `Serve`.
    pub(super) mode: String,
    pub(super) object_ref: TargetRef,
    pub(super) protocol_type: String,
    pub(super) num_activators: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServerlessServiceStatus {
    #[serde(deserialize_with = "list")]
    pub(super) conditions: Vec<Condition>,
    pub(super) service_name: String,
    pub(super) private_service_name: String,
}

/// What is collected of one revision.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metric {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: MetricSpec,
    #[serde(default)]
    pub(super) status: MetricStatus,
}

shape!(Metric: "Metric", "metrics", "autoscaling.internal.knative.dev", "v1alpha1");

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricSpec {
    /// Nanoseconds.
    pub(super) stable_window: i64,
    /// Nanoseconds.
    pub(super) panic_window: i64,
    /// Name of the Service in front of the pods; empty if they are not asked.
    pub(super) scrape_target: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MetricStatus {
    /// `None` until somebody has told that it is collected.
    pub(super) observed_generation: Option<i64>,
}

/// What is read of a Deployment.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Deployment {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: DeploymentSpec,
}

shape!(Deployment: "Deployment", "deployments", "apps", "v1");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeploymentSpec {
    pub(super) replicas: Option<u32>,
}

/// What is read of a pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodObject {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) status: PodStatus,
}

shape!(PodObject: "Pod", "pods", "", "v1");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: String,
    pub(super) start_time: Option<Time>,
    #[serde(deserialize_with = "list")]
    pub(super) conditions: Vec<Condition>,
}

/// A list that may be `null`, as an empty one of Go is.
fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Condition>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

impl Condition {
    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// The condition of one type.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

impl ServerlessServiceStatus {
    /// The Service in front of the pods, once there is one.
    pub(super) fn private_service(&self) -> Option<&str> {
        Some(self.private_service_name.as_str()).filter(|name| !name.is_empty())
    }

    /// The Service that clients use, once there is one.
    pub(super) fn public_service(&self) -> Option<&str> {
        Some(self.service_name.as_str()).filter(|name| !name.is_empty())
    }
}

/// Whether the object with this metadata is the one that controls `meta`'s.
pub(super) fn controls(owner: &ObjectMeta, meta: &ObjectMeta) -> bool {
    let mut references = meta.owner_references.iter().flatten();
    references.any(|it| it.controller == Some(true) && Some(&it.uid) == owner.uid.as_ref())
}
