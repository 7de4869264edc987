//! Settings of a workload, from its annotations and containers.
//!
//! | annotation | value | without it |
//! |---|---|---|
//! | `penstock.dev/host` | hosts whose requests are for it, separated by commas | only those of its Service |
//! | `penstock.dev/port` | port of the container | the only one, or the one named `http1`, `http` or `h2c` |
//! | `penstock.dev/container-concurrency` | requests that one pod takes at once, 0 for no limit | 0 |
//! | `penstock.dev/timeout` | seconds for a whole request, or a duration such as `1m30s` | 300 |
//! | `penstock.dev/service` | name of the Service that leads to it | its own name |
//!
//! The hosts of its Service (`NAME.NAMESPACE`, `NAME.NAMESPACE.svc`, and that with the cluster's
//! domain) lead to it without being named.

use std::sync::Arc;

use penstock_types::annotation::{Annotations, Rejected};
use penstock_types::workload::{concurrency, port, timeout};
use penstock_types::{Protocol, Slots, Timeouts};

use serde::Deserialize;

use crate::object::{Container, DeploymentObject, StatefulSetObject, Workload};

/// Name of the container that a queue-proxy runs in.
const QUEUE_PROXY: &str = "queue-proxy";
/// Where a queue-proxy takes requests, of HTTP/1 and of HTTP/2.
const QUEUE_PORTS: (u16, u16) = (8012, 8013);
/// Longest name of a Service, and longest label of a host (RFC 1123, 2.1).
const LABEL: usize = 63;
/// Longest host (RFC 1123, 2.1).
const HOST: usize = 253;

/// Rejects annotations of the autoscaler that it does not understand.
pub type AnnotationCheck = Arc<dyn Fn(&Annotations) -> Vec<Rejected> + Send + Sync>;

/// What the annotations and containers of a workload come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Its hosts, without those of its Service.
    pub(crate) hosts: Vec<String>,
    /// Where its pods take requests; `None` if that cannot be known.
    pub(crate) port: Option<u16>,
    /// Whether a queue-proxy takes them.
    pub(crate) queue_proxy: bool,
    pub(crate) protocol: Protocol,
    pub(crate) slots: Slots,
    pub(crate) timeouts: Timeouts,
    /// Name of its Service.
    pub(crate) service: String,
}

/// Reads the settings. What is wrong counts as absent, and is in the list.
pub(crate) fn read(workload: &Workload) -> (Settings, Vec<Rejected>) {
    let mut reader = Reader {
        annotations: &workload.annotations,
        rejected: Vec::new(),
    };
    let queue_proxy = workload
        .containers
        .iter()
        .any(|container| container.name == QUEUE_PROXY);
    let (own, protocol) = reader.port(&workload.containers, queue_proxy);
    let timeout = reader.value("penstock.dev/timeout", timeout);
    let defaults = Timeouts::default();
    let settings = Settings {
        hosts: reader.hosts(),
        port: match (queue_proxy, protocol) {
            (true, Protocol::Http1) => Some(QUEUE_PORTS.0),
            (true, Protocol::H2c) => Some(QUEUE_PORTS.1),
            (false, _) => own,
        },
        queue_proxy,
        protocol,
        slots: Slots::from_concurrency(
            reader
                .value("penstock.dev/container-concurrency", concurrency)
                .unwrap_or(0),
        ),
        timeouts: Timeouts {
            whole: timeout.unwrap_or(defaults.whole),
            ..defaults
        },
        service: reader
            .value("penstock.dev/service", service)
            .unwrap_or_else(|| service_of(&workload.key.name)),
    };
    (settings, reader.rejected)
}

/// What is wrong with the annotations of a Deployment or StatefulSet, as the API server has it.
/// Nothing is said of what is no such object.
pub fn rejected(object: &serde_json::Value) -> Vec<Rejected> {
    let workload = match object["kind"].as_str() {
        Some("Deployment") => DeploymentObject::deserialize(object).map(DeploymentObject::seen),
        Some("StatefulSet") => StatefulSetObject::deserialize(object).map(StatefulSetObject::seen),
        _ => return Vec::new(),
    };
    match workload {
        Ok(Some(workload)) => read(&workload).1,
        Ok(None) | Err(_) => Vec::new(),
    }
}

struct Reader<'a> {
    annotations: &'a Annotations,
    rejected: Vec<Rejected>,
}

impl Reader<'_> {
    fn value<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = self.annotations.get(key)?;
        match read(text.trim()) {
            Ok(value) => Some(value),
            Err(right) => {
                self.reject(
                    key,
                    format!("{:?} is not {right}", crate::object::cut(text)),
                );
                None
            }
        }
    }

    fn reject(&mut self, key: &str, reason: String) {
        self.rejected.push(Rejected {
            keys: vec![key.to_owned()],
            reason,
        });
    }

    fn hosts(&mut self) -> Vec<String> {
        const KEY: &str = "penstock.dev/host";
        let Some(text) = self.annotations.get(KEY) else {
            return Vec::new();
        };
        let mut hosts = Vec::new();
        for host in text.split(',').map(str::trim) {
            let lower = host.to_ascii_lowercase();
            if !is_host(&lower) {
                let reason = format!(
                    "{:?} is not a host: letters, digits, dashes and dots, without a port",
                    crate::object::cut(host)
                );
                self.reject(KEY, reason);
            } else if !hosts.contains(&lower) {
                hosts.push(lower);
            }
        }
        hosts
    }

    /// The container's port, and what it speaks. With a queue-proxy it is no matter which.
    fn port(&mut self, containers: &[Container], queue_proxy: bool) -> (Option<u16>, Protocol) {
        const KEY: &str = "penstock.dev/port";
        let own = containers.iter().filter(|c| c.name != QUEUE_PROXY);
        let ports: Vec<&(String, u16)> = own.flat_map(|container| &container.ports).collect();
        let named = |name: &str| {
            let found = ports.iter().find(|(known, _)| known == name);
            found.map(|(_, port)| *port)
        };
        let said = self.value(KEY, port);
        let chosen = said.or_else(|| match ports.as_slice() {
            [(_, port)] => Some(*port),
            _ => named("http1")
                .or_else(|| named("http"))
                .or_else(|| named("h2c")),
        });
        if chosen.is_none() && !queue_proxy && !self.annotations.contains_key(KEY) {
            let reason = if ports.is_empty() {
                "is needed: no container names a port".to_owned()
            } else {
                let ports: Vec<String> = ports.iter().map(|(_, port)| port.to_string()).collect();
                format!("is needed: there are several ports, {}", ports.join(", "))
            };
            self.reject(KEY, reason);
        }
        let h2c = ports
            .iter()
            .any(|(name, port)| name == "h2c" && Some(*port) == chosen);
        let protocol = if h2c { Protocol::H2c } else { Protocol::Http1 };
        (chosen, protocol)
    }
}

fn service(text: &str) -> Result<String, &'static str> {
    is_service(text)
        .then(|| text.to_owned())
        .ok_or("a name for a Service: up to 63 small letters, digits and dashes, a letter first")
}

/// RFC 1035 label, which a Service's name has to be.
fn is_service(text: &str) -> bool {
    is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= LABEL
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_host(text: &str) -> bool {
    text.len() <= HOST && text.split('.').all(is_label)
}

/// The Service of a workload that names none: its own name where that can be a Service's, else one
/// that is made from it. A workload's name may have 253 characters, and dots.
fn service_of(name: &str) -> String {
    if is_service(name) {
        return name.to_owned();
    }
    // FNV-1a, so that two names that are cut alike stay apart.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let start: String = name.chars().take(50).collect();
    let start = start.replace('.', "-");
    let start = start.trim_end_matches('-');
    let first = if start.starts_with(|c: char| c.is_ascii_lowercase()) {
        ""
    } else {
        "s-"
    };
    format!("{first}{start}-{hash:08x}")
}

/// The hosts that lead to a Service.
pub(crate) fn hosts_of(service: &str, namespace: &str, domain: &str) -> [String; 3] {
    [
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.{domain}"),
    ]
}

#[cfg(test)]
mod tests;
