//! EndpointSlices and Endpoints: where a Service leads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::Version;
use crate::Key;
use crate::reflect::shape;

/// Label of a slice: the Service that it belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SliceObject {
    pub(crate) metadata: ObjectMeta,
    endpoints: Option<Vec<SliceEndpoint>>,
    ports: Option<Vec<WirePort>>,
}

shape!(SliceObject: "EndpointSlice", "endpointslices", "discovery.k8s.io", "v1");

#[derive(Clone, Debug, Deserialize)]
struct SliceEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    #[serde(rename = "targetRef")]
    target: Option<TargetRef>,
}

#[derive(Clone, Debug, Deserialize)]
struct TargetRef {
    name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct WirePort {
    name: Option<String>,
    port: Option<u16>,
}

/// What is kept of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndpointSlice {
    pub(crate) key: Key,
    pub(crate) version: Version,
    /// The Service that it belongs to; empty for none.
    pub(crate) service: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Only ours.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) ports: Vec<SlicePort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlicePort {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// One endpoint. Those that terminate are not kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    pub(crate) ready: bool,
    /// Name of the pod.
    pub(crate) name: Option<String>,
}

impl SliceObject {
    /// What is kept of it.
    pub(crate) fn seen(self) -> EndpointSlice {
        let labels = self.metadata.labels.clone().unwrap_or_default();
        let mut annotations = self.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| key.starts_with("penstock.dev/"));
        let ports = self.ports.into_iter().flatten().filter_map(|port| {
            Some(SlicePort {
                name: port.name.unwrap_or_default(),
                port: port.port?,
            })
        });
        let endpoints = self.endpoints.into_iter().flatten().filter_map(|endpoint| {
            let leaves = endpoint.conditions.terminating == Some(true);
            Some(Endpoint {
                // All addresses of one endpoint are the same pod; the first is what others use.
                ip: endpoint.addresses.first()?.parse().ok()?,
                // Unknown counts as ready (EndpointConditions, `ready`).
                ready: endpoint.conditions.ready.unwrap_or(true),
                name: endpoint.target.and_then(|target| target.name),
            })
            .filter(|_| !leaves)
        });
        EndpointSlice {
            key: Key::of(&self.metadata),
            version: Version::of(&self.metadata),
            service: labels.get(SERVICE_NAME).cloned().unwrap_or_default(),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
            labels,
            annotations,
        }
    }
}
