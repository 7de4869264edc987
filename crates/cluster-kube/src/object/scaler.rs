//! HorizontalPodAutoscalers: who else scales.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::reflect::shape;

/// A HorizontalPodAutoscaler as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ScalerObject {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: ScalerSpec,
}

shape!(ScalerObject: "HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2");

/// What is read of its spec.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScalerSpec {
    pub(crate) scale_target_ref: TargetRef,
}

/// What it scales.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TargetRef {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) name: String,
}
