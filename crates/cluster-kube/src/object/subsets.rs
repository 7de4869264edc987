//! Endpoints: what EndpointSlices took the place of, and all that Knative's RBAC lets an activator
//! see.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::reflect::shape;

/// An Endpoints object as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EndpointsObject {
    pub(crate) metadata: ObjectMeta,
    pub(crate) subsets: Option<Vec<Subset>>,
}

shape!(EndpointsObject: "Endpoints", "endpoints", "", "v1");

/// Addresses that have the same ports.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subset {
    pub(crate) addresses: Option<Vec<Address>>,
    pub(crate) not_ready_addresses: Option<Vec<Address>>,
    pub(crate) ports: Option<Vec<Port>>,
}

/// One address.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) ip: String,
    pub(crate) target_ref: Option<TargetRef>,
}

/// Who has the address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetRef {
    pub(crate) name: String,
}

/// One port.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Port {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) port: u16,
}
