//! What makes two label sets the same, compared without owning either.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use http::{Method, Version};

use super::{HttpLabels, MAX_LABEL_VALUE, Outcome, Peer, Scheme};

/// [`HttpLabels`] in the form in which equal series are equal.
#[derive(Debug, Hash)]
pub(super) struct Key<'a> {
    method: &'static str,
    outcome: Outcome,
    version: &'static str,
    scheme: Scheme,
    address: Address<'a>,
    port: Option<u16>,
    further: &'a [(&'static str, &'a str)],
}

/// An address is an IP whether it came as text or as a number, so that it is one series.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Address<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

#[derive(Debug)]
pub(super) struct OwnedKey {
    method: &'static str,
    outcome: Outcome,
    version: &'static str,
    scheme: Scheme,
    address: OwnedAddress,
    port: Option<u16>,
    further: Box<[(&'static str, Box<str>)]>,
}

#[derive(Debug)]
enum OwnedAddress {
    Ip(IpAddr),
    Name(Box<str>),
}

impl<'a> Key<'a> {
    pub(super) fn new(labels: HttpLabels<'a>) -> Self {
        let (address, port) = match labels.peer {
            Peer::Addr(addr) => (Address::Ip(addr.ip()), Some(addr.port())),
            Peer::Host(host) => split(host),
        };
        let (_, usual_port) = labels.scheme.name_and_port();
        Self {
            method: method(labels.method),
            outcome: labels.outcome,
            version: version(labels.version),
            scheme: labels.scheme,
            address,
            port: port.filter(|&port| port != usual_port),
            further: labels.further,
        }
    }

    pub(super) fn is_too_long(&self) -> bool {
        let long = |text: &str| text.len() > MAX_LABEL_VALUE;
        matches!(self.address, Address::Name(name) if long(name))
            || self.further.iter().any(|(_, value)| long(value))
    }

    pub(super) fn labels(&self) -> HashMap<String, String> {
        let mut labels: HashMap<String, String> = self
            .further
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut add = |name: &str, value: String| labels.insert(name.to_owned(), value);
        add("http_request_method", self.method.to_owned());
        match self.outcome {
            Outcome::Status(status) => add("http_response_status_code", status.as_str().to_owned()),
            Outcome::Error(word) => add("error_type", word.to_owned()),
        };
        add("network_protocol_name", "http".to_owned());
        add("network_protocol_version", self.version.to_owned());
        add("url_scheme", self.scheme.name_and_port().0.to_owned());
        match self.address {
            Address::Ip(ip) => add("server_address", ip.to_string()),
            Address::Name(name) => add("server_address", name.to_owned()),
        };
        if let Some(port) = self.port {
            add("server_port", port.to_string());
        }
        labels
    }

    pub(super) fn to_owned(&self) -> OwnedKey {
        OwnedKey {
            method: self.method,
            outcome: self.outcome,
            version: self.version,
            scheme: self.scheme,
            address: match self.address {
                Address::Ip(ip) => OwnedAddress::Ip(ip),
                Address::Name(name) => OwnedAddress::Name(name.into()),
            },
            port: self.port,
            further: self
                .further
                .iter()
                .map(|&(name, value)| (name, value.into()))
                .collect(),
        }
    }
}

impl OwnedKey {
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        let (_, usual_port) = self.scheme.name_and_port();
        match &self.address {
            OwnedAddress::Ip(ip) => Some(SocketAddr::new(*ip, self.port.unwrap_or(usual_port))),
            OwnedAddress::Name(_) => None,
        }
    }

    pub(super) fn further(&self) -> &[(&'static str, Box<str>)] {
        &self.further
    }

    pub(super) fn is(&self, key: &Key<'_>) -> bool {
        let same_address = match (&self.address, &key.address) {
            (OwnedAddress::Ip(mine), Address::Ip(other)) => mine == other,
            (OwnedAddress::Name(mine), Address::Name(other)) => **mine == **other,
            _ => false,
        };
        let mine = self.further.iter().map(|(name, value)| (*name, &**value));
        same_address
            && self.method == key.method
            && self.outcome == key.outcome
            && self.version == key.version
            && self.scheme == key.scheme
            && self.port == key.port
            && mine.eq(key.further.iter().copied())
    }
}

/// Splits a Host header. A port that is not a number is no port.
fn split(host: &str) -> (Address<'_>, Option<u16>) {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => match host.split_once(':') {
            // More than one colon without brackets: an IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => (host, None),
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let address = name.parse().map_or(Address::Name(name), Address::Ip);
    (address, port.and_then(|port| port.parse().ok()))
}

pub(super) fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    }
}
