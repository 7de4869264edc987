//! Where the pods of a revision are, by its private endpoints; and who its public ones are.
//!
//! Both come as Endpoints or as EndpointSlices, whatever the process may read. Either way they
//! become lists of addresses by the name of their port.
//!
//! Source: spec/activator.md §1.4, §3.7, §4.1.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Key;
use crate::object::{EndpointsObject, SliceObject, Subset};

/// Label of both: whose endpoints they are.
const REVISION: &str = "serving.knative.dev/revision";
/// Label of both: the private or the public Service's.
pub(crate) const TYPE: &str = "networking.internal.knative.dev/serviceType";

/// Which of the two Services of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Leads to its pods, ready or not.
    Private,
    /// Leads to activators while they are in the path, else to its pods.
    Public,
}

/// What one object tells of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The object.
    pub(crate) source: Key,
    pub(crate) revision: Key,
    pub(crate) side: Side,
    pub(crate) places: Vec<Place>,
}

/// One address under one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the pod; of an address without one, the address.
    pub(crate) name: Arc<str>,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) port_name: PortName,
    pub(crate) ready: bool,
}

/// The ports that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortName {
    Http,
    Http2,
}

impl PortName {
    fn of(name: &str) -> Option<Self> {
        match name {
            "http" => Some(Self::Http),
            "http2" => Some(Self::Http2),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
        }
    }
}

/// What an Endpoints object tells; `None` if it is of no revision.
pub(crate) fn of_endpoints(object: EndpointsObject) -> Option<Places> {
    let places = object.subsets.into_iter().flatten().flat_map(of_subset);
    places_of(&object.metadata, places.collect())
}

fn of_subset(subset: Subset) -> Vec<Place> {
    let ports = subset.ports.unwrap_or_default();
    let ports = ports
        .iter()
        .filter_map(|port| Some((PortName::of(&port.name)?, port.port)));
    let ports: Vec<(PortName, u16)> = ports.collect();
    let ready = subset.addresses.into_iter().flatten();
    let ready = ready.map(|address| (address, true));
    let others = subset.not_ready_addresses.into_iter().flatten();
    let others = others.map(|address| (address, false));
    let mut places = Vec::new();
    for (address, ready) in ready.chain(others) {
        let Ok(ip) = address.ip.parse() else {
            continue;
        };
        let name = address.target_ref.map_or(address.ip, |target| target.name);
        places.extend(ports.iter().map(|(port_name, port)| Place {
            name: name.as_str().into(),
            ip,
            port: *port,
            port_name: *port_name,
            ready,
        }));
    }
    places
}

/// What an EndpointSlice tells; `None` if it is of no revision.
pub(crate) fn of_slice(object: SliceObject) -> Option<Places> {
    let meta = object.metadata.clone();
    let slice = object.seen();
    let ports = slice
        .ports
        .iter()
        .filter_map(|port| Some((PortName::of(&port.name)?, port.port)));
    let ports: Vec<(PortName, u16)> = ports.collect();
    let places = slice.endpoints.iter().flat_map(|endpoint| {
        ports.iter().map(|(port_name, port)| Place {
            name: endpoint
                .name
                .as_deref()
                .map_or_else(|| endpoint.ip.to_string().into(), Into::into),
            ip: endpoint.ip,
            port: *port,
            port_name: *port_name,
            ready: endpoint.ready,
        })
    });
    places_of(&meta, places.collect())
}

fn places_of(meta: &ObjectMeta, places: Vec<Place>) -> Option<Places> {
    let source = Key::of(meta);
    let labels = meta.labels.as_ref()?;
    let revision = labels.get(REVISION)?;
    Some(Places {
        revision: Key::new(Arc::clone(&source.namespace), revision.as_str()),
        side: match labels.get(TYPE).map(String::as_str) {
            Some("Private") => Side::Private,
            Some("Public") => Side::Public,
            _ => return None,
        },
        source,
        places,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(side: &str, subsets: &str) -> Option<Places> {
        let text = format!(
            r#"{{"metadata":{{"namespace":"ns","name":"rev-private","labels":{{
                "serving.knative.dev/revision":"rev","networking.internal.knative.dev/serviceType":"{side}"}}}},
                "subsets":{subsets}}}"#
        );
        of_endpoints(serde_json::from_str(&text).unwrap())
    }

    fn shown(places: &Places) -> Vec<String> {
        let places = places.places.iter();
        places
            .map(|it| {
                let ready = if it.ready { "+" } else { "-" };
                format!("{ready}{}:{} {}", it.ip, it.port, it.port_name.as_str())
            })
            .collect()
    }

    #[test]
    fn case_66_ports_count_by_their_names() {
        let places = endpoints(
            "Private",
            r#"[{"addresses":[{"ip":"10.0.0.1","targetRef":{"name":"pod-1"}}],
                 "notReadyAddresses":[{"ip":"fd00::2"}],
                 "ports":[{"name":"http2","port":8013},{"name":"http-usermetric","port":9091}]},
                {"addresses":[{"ip":"10.0.0.3"}],"ports":[{"name":"metrics","port":9090}]}]"#,
        )
        .unwrap();
        assert_eq!(
            shown(&places),
            ["+10.0.0.1:8013 http2", "-fd00::2:8013 http2"]
        );
        assert_eq!(places.places[0].name.as_ref(), "pod-1");
        assert_eq!(places.places[1].name.as_ref(), "fd00::2");
        assert_eq!(places.revision.to_string(), "ns/rev");
        assert!(endpoints("Private", "null").unwrap().places.is_empty());
        assert!(endpoints("Other", "null").is_none());
    }

    #[test]
    fn a_slice_tells_the_same_and_those_that_terminate_are_absent() {
        let text = r#"{"metadata":{"namespace":"ns","name":"rev-private-x7","labels":{
                "kubernetes.io/service-name":"rev-private","serving.knative.dev/revision":"rev",
                "networking.internal.knative.dev/serviceType":"Private"}},
            "addressType":"IPv4","ports":[{"name":"http","port":8012},{"name":"http-autometric","port":9090}],
            "endpoints":[
                {"addresses":["10.0.0.1"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"pod-1"}},
                {"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":false}},
                {"addresses":["10.0.0.3"],"conditions":{"ready":false,"serving":true,"terminating":true}}]}"#;
        let places = of_slice(serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(
            shown(&places),
            ["+10.0.0.1:8012 http", "-10.0.0.2:8012 http"]
        );
        assert_eq!(places.places[0].name.as_ref(), "pod-1");
        assert_eq!(places.side, Side::Private);
    }
}
