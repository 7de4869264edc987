//! Whose `K-Kubelet-Probe` is believed.
//!
//! A request with that header needs no slot and is not counted, so that a busy container is not
//! taken for a dead one. Any caller can write it, and would pass the limit by it. It is therefore
//! taken out of a request that cannot be the kubelet's: one that did not come from the pod's own
//! node, or that went through a proxy. (A mesh's sidecar hands requests of others on from an
//! address of the pod; those say in `X-Forwarded-For` whose they were.)
//!
//! Unlike the original (spec/queue-proxy.md §3.5), which believes everybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName};
use penstock_types::header;

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whose `K-Kubelet-Probe` is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubelet {
    /// The pod's own node: what comes from within the pod, or from one of these addresses.
    Node(Vec<IpAddr>),
    /// Everybody, as the original does.
    Anyone,
}

impl Default for Kubelet {
    /// Only what comes from within.
    fn default() -> Self {
        Self::Node(Vec::new())
    }
}

impl Kubelet {
    /// Whether a request of `caller` is a probe that needs no slot. If it only says so, it says so
    /// no longer.
    pub(crate) fn probes(&self, headers: &mut HeaderMap, caller: IpAddr) -> bool {
        let Some(value) = headers.get(header::KUBELET_PROBE) else {
            return false;
        };
        if value.is_empty() {
            return false;
        }
        let believed = match self {
            Self::Anyone => true,
            Self::Node(node) => {
                let caller = caller.to_canonical();
                (caller.is_loopback() || node.contains(&caller))
                    && !headers.contains_key(FORWARDED)
                    && !headers.contains_key(FORWARDED_FOR)
            }
        };
        if !believed {
            headers.remove(header::KUBELET_PROBE);
        }
        believed
    }
}

/// The gateways of the routes to everywhere, from which a node speaks to its pods in many networks:
/// `v4` is what `/proc/net/route` says, `v6` what `/proc/net/ipv6_route` does.
pub fn gateways(v4: &str, v6: &str) -> Vec<IpAddr> {
    let v4 = v4.lines().skip(1).filter_map(gateway_v4);
    let v6 = v6.lines().filter_map(gateway_v6);
    v4.map(IpAddr::V4).chain(v6.map(IpAddr::V6)).collect()
}

/// `eth0 00000000 0101F40A 0003 ...`: interface, destination, gateway; the addresses as the bytes
/// lie in memory.
fn gateway_v4(line: &str) -> Option<Ipv4Addr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let mut address = || u32::from_str_radix(fields.next()?, 16).ok();
    let (to, by) = (address()?, address()?);
    (to == 0 && by != 0).then(|| Ipv4Addr::from(by.to_ne_bytes()))
}

/// Destination, its prefix, source, its prefix, gateway, ...: 32 digits and two, in reading order.
fn gateway_v6(line: &str) -> Option<Ipv6Addr> {
    let mut fields = line.split_ascii_whitespace();
    let to = u128::from_str_radix(fields.next()?, 16).ok()?;
    let prefix = fields.next()?;
    let by = u128::from_str_radix(fields.nth(2)?, 16).ok()?;
    (to == 0 && prefix == "00" && by != 0).then(|| Ipv6Addr::from(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    #[test]
    fn only_the_node_is_believed_and_only_directly() {
        let node = Kubelet::Node(vec![[10, 0, 0, 1].into()]);
        let mapped = "::ffff:10.0.0.1";
        let table = [
            // rule, caller, further header, whether it is believed
            (&node, "10.0.0.1", "", true),
            (&node, mapped, "", true),
            (&node, "127.0.0.1", "", true),
            (&node, "::1", "", true),
            (&node, "10.0.0.2", "", false),
            (&node, "10.0.0.1", "x-forwarded-for", false),
            (&node, "127.0.0.6", "forwarded", false),
            (&Kubelet::default(), "10.0.0.1", "", false),
            (&Kubelet::Anyone, "203.0.113.9", "x-forwarded-for", true),
        ];
        for (rule, caller, further, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::KUBELET_PROBE, HeaderValue::from_static("x"));
            if !further.is_empty() {
                headers.insert(further, HeaderValue::from_static("for=192.0.2.1"));
            }
            let caller = caller.parse().unwrap();
            let case = format!("{caller} {further}");
            assert_eq!(rule.probes(&mut headers, caller), want, "{case}");
            let kept = headers.contains_key(header::KUBELET_PROBE);
            assert_eq!(kept, want, "{case}");
        }
    }

    #[test]
    fn without_the_header_or_its_value_nobody_is_the_kubelet() {
        let mut headers = HeaderMap::new();
        let caller = Ipv4Addr::LOCALHOST.into();
        assert!(!Kubelet::Anyone.probes(&mut headers, caller));
        headers.insert(header::KUBELET_PROBE, HeaderValue::from_static(""));
        assert!(!Kubelet::Anyone.probes(&mut headers, caller));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn gateways_are_those_of_the_routes_to_everywhere() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
                  eth0\t00000000\t0101F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0001F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  lo\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        let v6 = "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 \
                  00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
                  00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                  fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n";
        let want: [IpAddr; 2] = [[10, 244, 1, 1].into(), "fe80::1".parse().unwrap()];
        assert_eq!(gateways(v4, v6), want);
        for broken in ["", "\n\n", "a b c\n", "eth0 00000000\neth0 00000000 zz\n"] {
            assert!(gateways(broken, broken).is_empty(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn the_header_goes_on_exactly_when_it_is_believed_and_nobody_else_has_it(
            value in prop::collection::vec(prop_oneof![Just(b'x'), 32..=255_u8], 0..6),
            caller: IpAddr,
            from_node: bool,
            forwarded: bool,
        ) {
            let Ok(value) = HeaderValue::from_bytes(&value) else {
                return Ok(()); // never gets here
            };
            let said = !value.is_empty();
            let mut headers = HeaderMap::new();
            headers.insert(header::KUBELET_PROBE, value);
            if forwarded {
                headers.insert(FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
            }
            let node = if from_node { vec![caller.to_canonical()] } else { Vec::new() };
            let believed = Kubelet::Node(node).probes(&mut headers, caller);
            let near = from_node || caller.to_canonical().is_loopback();
            prop_assert_eq!(believed, said && near && !forwarded);
            // An empty one says nothing, and may stay.
            prop_assert_eq!(headers.contains_key(header::KUBELET_PROBE), believed || !said);
        }
    }
}
