//! What spans tell of a request of HTTP.
//!
//! Source: OpenTelemetry's semantic conventions for HTTP; spec/queue-proxy.md §7.3.

use std::net::SocketAddr;

use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::Value;
use crate::metrics::{Peer, Scheme, address_and_port};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What else there is to tell of a span, in this order.
pub type Attributes = Vec<(&'static str, Value)>;

/// What is told of a request as it came from `peer`, for `host`.
pub fn as_it_came(
    head: &Parts,
    peer: SocketAddr,
    scheme: Scheme,
    host: Option<&HeaderValue>,
) -> Attributes {
    let peer_ip = peer.ip().to_canonical().to_string();
    let said = |name| head.headers.get(name).map(HeaderValue::as_bytes);
    let first = said(FORWARDED_FOR).and_then(|all| all.split(|&byte| byte == b',').next());
    let first = first.map(<[u8]>::trim_ascii);
    let client = first.filter(|first| !first.is_empty());
    let mut told = vec![
        ("url.scheme", scheme.name_and_port().0.into()),
        ("url.path", Value::of_others(head.uri.path().as_bytes())),
        (
            "client.address",
            Value::of_others(client.unwrap_or(peer_ip.as_bytes())),
        ),
        ("network.peer.address", peer_ip.into()),
        ("network.peer.port", peer.port().into()),
    ];
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        add_address(&mut told, address_and_port(Peer::Host(host), scheme));
    }
    if let Some(agent) = said(USER_AGENT) {
        told.push(("user_agent.original", Value::of_others(agent)));
    }
    told
}

/// Who was asked: name or address, and the port unless the scheme implies it.
pub fn add_address(to: &mut Attributes, (address, port): (String, Option<u16>)) {
    to.push(("server.address", Value::of_others(address.as_bytes())));
    if let Some(port) = port {
        to.push(("server.port", port.into()));
    }
}
