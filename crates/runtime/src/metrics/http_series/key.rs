//! What makes two label sets the same, compared without owning either, and their labels as text.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Version};

use super::super::family::{LabelSet, OVERFLOW};
use super::super::rows::Labels;
use super::{HttpLabels, MAX_LABEL_VALUE, Outcome, Peer, Scheme};

/// [`HttpLabels`] with a method of the fixed set. Hosts are compared as they came: those that
/// mean the same become one series when they are scraped.
#[derive(Debug, Hash)]
pub(super) struct Key<'a> {
    method: &'static str,
    outcome: Outcome,
    version: Version,
    scheme: Scheme,
    peer: Peer<'a>,
    further: &'a [(&'static str, &'a str)],
}

/// What a request was counted under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Filed {
    Set(OwnedKey),
    Overflow,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct OwnedKey {
    method: &'static str,
    outcome: Outcome,
    version: Version,
    scheme: Scheme,
    peer: OwnedPeer,
    further: Box<[(&'static str, Box<str>)]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OwnedPeer {
    Host(Box<str>),
    Addr(SocketAddr),
}

impl<'a> Key<'a> {
    pub(super) fn new(labels: HttpLabels<'a>) -> Self {
        Self {
            method: known_method(labels.method),
            outcome: labels.outcome,
            version: labels.version,
            scheme: labels.scheme,
            peer: labels.peer,
            further: labels.further,
        }
    }

    fn is_too_long(&self) -> bool {
        let long = |text: &str| text.len() > MAX_LABEL_VALUE;
        matches!(self.peer, Peer::Host(host) if long(host))
            || self.further.iter().any(|(_, value)| long(value))
    }
}

impl Labels for Key<'_> {
    type Key = Filed;

    #[inline]
    fn is(&self, filed: &Filed) -> bool {
        let Filed::Set(set) = filed else {
            return false;
        };
        let same_peer = || match (&self.peer, &set.peer) {
            (Peer::Host(mine), OwnedPeer::Host(other)) => **mine == **other,
            (Peer::Addr(mine), OwnedPeer::Addr(other)) => mine == other,
            _ => false,
        };
        let others = set.further.iter().map(|(name, value)| (*name, &**value));
        self.outcome == set.outcome
            && self.method == set.method
            && self.version == set.version
            && self.scheme == set.scheme
            && same_peer()
            && self.further.iter().copied().eq(others)
    }

    fn key(&self) -> Option<Filed> {
        if self.is_too_long() {
            return None;
        }
        let further = self.further.iter();
        Some(Filed::Set(OwnedKey {
            method: self.method,
            outcome: self.outcome,
            version: self.version,
            scheme: self.scheme,
            peer: match self.peer {
                Peer::Host(host) => OwnedPeer::Host(host.into()),
                Peer::Addr(addr) => OwnedPeer::Addr(addr),
            },
            further: further.map(|&(name, value)| (name, value.into())).collect(),
        }))
    }

    fn overflow(&self) -> Filed {
        Filed::Overflow
    }
}

impl Filed {
    pub(super) fn labels(&self) -> LabelSet {
        let Self::Set(set) = self else {
            return OVERFLOW
                .map(|(name, value)| (name, value.to_owned()))
                .into();
        };
        let further = set.further.iter();
        let mut labels: LabelSet = further
            .map(|(name, value)| (*name, value.to_string()))
            .collect();
        labels.extend(exchange_labels(
            set.method,
            set.outcome,
            set.version,
            set.scheme,
        ));
        labels.extend(address_labels(
            match &set.peer {
                OwnedPeer::Host(host) => Peer::Host(host),
                OwnedPeer::Addr(addr) => Peer::Addr(*addr),
            },
            set.scheme,
        ));
        labels
    }
}

impl OwnedKey {
    /// The address that was asked, if it was one.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        match &self.peer {
            OwnedPeer::Addr(addr) => Some(*addr),
            OwnedPeer::Host(host) => {
                let (name, port) = split(host);
                let (_, usual_port) = self.scheme.name_and_port();
                let ip = name.parse().ok()?;
                Some(SocketAddr::new(ip, port.unwrap_or(usual_port)))
            }
        }
    }

    pub(super) fn further(&self) -> &[(&'static str, Box<str>)] {
        &self.further
    }
}

/// Labels of method, outcome, protocol and scheme. `method` is of [`known_method`].
pub fn exchange_labels(
    method: &'static str,
    outcome: Outcome,
    version: Version,
    scheme: Scheme,
) -> [(&'static str, String); 5] {
    let outcome = match &outcome {
        Outcome::Status(status) => ("http_response_status_code", status.as_str()),
        Outcome::Error(word) => ("error_type", *word),
    };
    [
        ("http_request_method", method),
        outcome,
        ("network_protocol_name", "http"),
        ("network_protocol_version", version_name(version)),
        ("url_scheme", scheme.name_and_port().0),
    ]
    .map(|(name, value)| (name, value.to_owned()))
}

/// `server_address`, and `server_port` where the scheme does not imply it.
pub fn address_labels(peer: Peer<'_>, scheme: Scheme) -> LabelSet {
    let (address, port) = address_and_port(peer, scheme);
    let port = port.map(|port| ("server_port", port.to_string()));
    [("server_address", address)]
        .into_iter()
        .chain(port)
        .collect()
}

/// Name or address, and the port where the scheme does not imply it.
pub fn address_and_port(peer: Peer<'_>, scheme: Scheme) -> (String, Option<u16>) {
    let (address, port) = match peer {
        Peer::Addr(addr) => (addr.ip().to_string(), Some(addr.port())),
        Peer::Host(host) => {
            let (name, port) = split(host);
            // In the one form in which an address is written, however the caller wrote it.
            let ip = name.parse::<IpAddr>().map(|ip| ip.to_string());
            (ip.unwrap_or_else(|_| name.to_owned()), port)
        }
    };
    let (_, usual_port) = scheme.name_and_port();
    (address, port.filter(|&port| port != usual_port))
}

/// Splits a Host header. A port that is not a number is no port.
fn split(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, rest)) => (name, rest.strip_prefix(':')),
        None => match host.split_once(':') {
            // More than one colon without brackets: an IPv6 address without a port.
            Some((_, rest)) if rest.contains(':') => (host, None),
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    (name, port.and_then(|port| port.parse().ok()))
}

/// A method of RFC 9110, PATCH, or `_OTHER`.
pub fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

/// `network.protocol.version`, of HTTP.
pub fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    }
}
