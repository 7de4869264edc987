//! The EndpointSlices of a Service of ours: how they have to be, and what that takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use penstock_types::choice::subset;
use serde_json::{Value, json};

use super::desk::{Filed, Path};
use super::services::{MANAGED_BY, SeenService};
use crate::object::{EndpointSlice, SERVICE_NAME};

/// Label of a slice: whom it leads to.
pub(crate) const TO: &str = "penstock.dev/to";
/// Annotation of a slice: the workload whose requests are led.
pub(crate) const WORKLOAD: &str = "penstock.dev/workload";
/// Label by which every controller knows its own slices. The one of a Service's other labels says
/// nothing: Kubernetes' own controller copies them onto the slices that it makes.
pub(crate) const SLICE_MANAGED_BY: (&str, &str) =
    ("endpointslice.kubernetes.io/managed-by", "penstock.dev");
/// Most endpoints in one slice, as Kubernetes' own controller has it.
const MOST: usize = 100;

/// Whom a slice leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum To {
    Activators,
    Pods,
}

impl To {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Activators => "activators",
            Self::Pods => "pods",
        }
    }
}

/// A slice as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    to: To,
    ipv6: bool,
    port: u16,
    ips: Vec<IpAddr>,
}

/// Who takes the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) to: To,
    pub(crate) slices: Vec<Wanted>,
}

/// Who is to take the requests of a workload, which has these pods that take some now.
///
/// Activators if they are meant to or if there are no pods; pods if there are no activators
/// (spec/activator.md §9). Without either, activators: none.
pub(crate) fn way(
    filed: &Filed,
    path: Path,
    ready: &BTreeSet<(IpAddr, u16)>,
    activators: &BTreeSet<(IpAddr, u16)>,
) -> Way {
    // Only an activator keeps the limit of a container without a queue-proxy.
    let proxied = path.proxied || !filed.queue_proxy || ready.is_empty();
    let to = if activators.is_empty() && !ready.is_empty() || !proxied {
        To::Pods
    } else {
        To::Activators
    };
    let chosen = match to {
        To::Pods => ready.clone(),
        To::Activators => some(activators, path.activators, &filed.key.name),
    };
    let mut parts: BTreeMap<(bool, u16), Vec<IpAddr>> = BTreeMap::new();
    for (ip, port) in chosen {
        parts.entry((ip.is_ipv6(), port)).or_default().push(ip);
    }
    let slices = parts.into_iter().flat_map(|((ipv6, port), ips)| {
        let family = if ipv6 { "6" } else { "4" };
        let chunks: Vec<Vec<IpAddr>> = ips.chunks(MOST).map(<[IpAddr]>::to_vec).collect();
        chunks.into_iter().enumerate().map(move |(n, ips)| Wanted {
            name: format!("{}-{}-{family}-{port}-{n}", filed.service, to.as_str()),
            to,
            ipv6,
            port,
            ips,
        })
    });
    Way {
        to,
        slices: slices.collect(),
    }
}

/// So many of all activators, chosen for `target`; all of them for 0.
fn some(all: &BTreeSet<(IpAddr, u16)>, count: u32, target: &str) -> BTreeSet<(IpAddr, u16)> {
    let count = count as usize;
    if count == 0 || count >= all.len() {
        return all.clone();
    }
    let texts: Vec<String> = all.iter().map(|(ip, _)| ip.to_string()).collect();
    let chosen: BTreeSet<&str> = subset(&texts, count, target).into_iter().collect();
    let ips = all
        .iter()
        .filter(|(ip, _)| chosen.contains(ip.to_string().as_str()));
    ips.copied().collect()
}

impl Wanted {
    /// Whether `seen` is like that.
    pub(crate) fn is(&self, seen: &EndpointSlice, port_name: &str) -> bool {
        let port = seen.ports.as_slice();
        let ready = seen.endpoints.iter().filter(|endpoint| endpoint.ready);
        let ips: BTreeSet<IpAddr> = ready.map(|endpoint| endpoint.ip).collect();
        matches!(port, [one] if one.name == port_name && one.port == self.port)
            && ips
                .iter()
                .eq(&self.ips.iter().copied().collect::<BTreeSet<_>>())
            && seen.labels.get(TO).map(String::as_str) == Some(self.to.as_str())
    }

    /// As an object to be made.
    pub(crate) fn object(&self, filed: &Filed, service: &SeenService) -> Value {
        let mut object = self.patch(filed);
        object["apiVersion"] = json!("discovery.k8s.io/v1");
        object["kind"] = json!("EndpointSlice");
        object["addressType"] = json!(if self.ipv6 { "IPv6" } else { "IPv4" });
        object["metadata"]["name"] = json!(self.name);
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1",
            "kind": "Service",
            "name": service.key.name.as_ref(),
            "uid": service.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        }]);
        object
    }

    /// As a change of one that is there.
    pub(crate) fn patch(&self, filed: &Filed) -> Value {
        let endpoints: Vec<Value> = self
            .ips
            .iter()
            .map(|ip| json!({ "addresses": [ip.to_string()], "conditions": { "ready": true } }))
            .collect();
        json!({
            "metadata": {
                "labels": {
                    SERVICE_NAME: filed.service,
                    SLICE_MANAGED_BY.0: SLICE_MANAGED_BY.1,
                    MANAGED_BY.0: MANAGED_BY.1,
                    TO: self.to.as_str(),
                },
                "annotations": { WORKLOAD: filed.key.name.as_ref() },
            },
            "ports": [{
                "name": filed.port_name(),
                "port": self.port,
                "protocol": "TCP",
                "appProtocol": filed.app_protocol(),
            }],
            "endpoints": endpoints,
        })
    }
}

#[cfg(test)]
mod tests {
    use penstock_types::Protocol;

    use super::*;
    use crate::Key;
    use crate::object::Kind;

    fn filed(queue_proxy: bool) -> Filed {
        Filed {
            key: Key::new("shop", "cart"),
            kind: Kind::Deployment,
            uid: "u".to_owned(),
            service: "cart".to_owned(),
            port: Some(8012),
            protocol: Protocol::Http1,
            queue_proxy,
            left_alone: None,
        }
    }

    fn at(ips: &[&str]) -> BTreeSet<(IpAddr, u16)> {
        ips.iter().map(|ip| (ip.parse().unwrap(), 8012)).collect()
    }

    #[test]
    fn case_108_who_takes_requests_when_one_side_is_empty() {
        let (pods, activators) = (at(&["10.0.0.1"]), at(&["10.9.0.1"]));
        let proxied = |proxied| Path {
            proxied,
            activators: 0,
        };
        let to = |queue_proxy, path, pods: &_, activators: &_| {
            way(&filed(queue_proxy), path, pods, activators).to
        };
        assert_eq!(to(true, proxied(true), &pods, &activators), To::Activators);
        assert_eq!(to(true, proxied(false), &pods, &activators), To::Pods);
        assert_eq!(
            to(true, proxied(false), &at(&[]), &activators),
            To::Activators,
            "no pods, though they were to serve"
        );
        assert_eq!(
            to(true, proxied(true), &pods, &at(&[])),
            To::Pods,
            "no activators, though they were to be in the path"
        );
        assert_eq!(
            to(false, proxied(false), &pods, &activators),
            To::Activators,
            "nobody else keeps the limit"
        );
        let none = way(&filed(true), proxied(true), &at(&[]), &at(&[]));
        assert_eq!((none.to, none.slices.len()), (To::Activators, 0));
    }

    #[test]
    fn case_110_ready_pods_take_no_activator_out_of_the_path_and_its_endpoints_are_ready() {
        let path = Path {
            proxied: true,
            activators: 2,
        };
        let (pods, activators) = (at(&["10.0.0.1", "10.0.0.2"]), at(&["10.9.0.1"]));
        let way = way(&filed(true), path, &pods, &activators);
        assert_eq!(way.to, To::Activators);
        let patch = way.slices[0].patch(&filed(true));
        let endpoint = json!({ "addresses": ["10.9.0.1"], "conditions": { "ready": true } });
        assert_eq!(patch["endpoints"], json!([endpoint]));
    }

    #[test]
    fn case_109_as_many_activators_as_wanted() {
        let eight: Vec<String> = (1..9).map(|n| format!("10.9.0.{n}")).collect();
        let eight = at(&eight.iter().map(String::as_str).collect::<Vec<_>>());
        let of = |count| {
            let path = Path {
                proxied: true,
                activators: count,
            };
            let way = way(&filed(true), path, &at(&[]), &eight);
            way.slices
                .iter()
                .map(|slice| slice.ips.len())
                .sum::<usize>()
        };
        assert_eq!((of(5), of(8), of(0), of(100)), (5, 8, 8, 8));
    }

    #[test]
    fn slices_are_cut_at_a_hundred_and_by_family() {
        let mut pods: BTreeSet<(IpAddr, u16)> = (0..250_u8)
            .map(|n| (IpAddr::from([10, 0, 0, n]), 8012))
            .collect();
        pods.extend(at(&["fd00::1"]));
        let path = Path {
            proxied: false,
            activators: 2,
        };
        let way = way(&filed(true), path, &pods, &at(&["10.9.0.1"]));
        let names: Vec<&str> = way.slices.iter().map(|slice| slice.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "cart-pods-4-8012-0",
                "cart-pods-4-8012-1",
                "cart-pods-4-8012-2",
                "cart-pods-6-8012-0"
            ]
        );
        assert_eq!(way.slices[2].ips.len(), 50);
    }
}
