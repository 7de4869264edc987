//! `SERVING_READINESS_PROBE`: the probes of a pod's containers, as JSON.
//!
//! What the peer would crash on, or take for a probe that never passes because a type is wrong, is
//! a mistake at the start here, and all mistakes are told at once. As in the peer, the case of keys
//! does not matter, unknown ones are left alone, and `null` inside a probe is the same as nothing.
//!
//! Source: spec/queue-proxy.md §4.2.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use penstock_runtime::vars::BadVars;
use penstock_types::probe::{Check, HttpGet, Probe};

use crate::json::{self, Field, Mistakes};

/// The variable that all this is about.
const VARIABLE: &str = "SERVING_READINESS_PROBE";

/// What other variables say about the probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `ENABLE_MULTI_CONTAINER_PROBES`: it is a list.
    pub several: bool,
    /// `ENABLE_HTTP2_AUTO_DETECTION`: probes over HTTP try HTTP/2 first.
    pub detects_http2: bool,
}

/// Reads the text of the variable. No text, like an empty list, is no probe: always ready.
///
/// # Errors
///
/// All mistakes in it, each with its way from the variable's name on, such as
/// `SERVING_READINESS_PROBE[1].grpc.port`.
pub fn read(text: &str, flags: Flags) -> Result<Vec<Probe>, BadVars> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let json = json::read(VARIABLE, text)?;
    let mut bad = Mistakes::default();
    let root = Field::root(VARIABLE, &json);
    let probes = if flags.several {
        let wanted = "a list of probes, since ENABLE_MULTI_CONTAINER_PROBES is on";
        let items = root.list(wanted, &mut bad).unwrap_or_default();
        let probe = |item| probe(&item, "a probe, which is an object", flags, &mut bad);
        items.into_iter().filter_map(probe).collect()
    } else {
        let wanted = "a probe, which is an object (a list of them needs \
                      ENABLE_MULTI_CONTAINER_PROBES)";
        probe(&root, wanted, flags, &mut bad).into_iter().collect()
    };
    bad.none_or(probes)
}

/// One probe. `None` has left its mistakes in `bad`.
fn probe(
    field: &Field<'_>,
    wanted: &'static str,
    flags: Flags,
    bad: &mut Mistakes,
) -> Option<Probe> {
    let probe = field.object(wanted, bad)?;
    let ways = ["httpGet", "tcpSocket", "grpc", "exec"];
    let mut given = ways.iter().filter_map(|way| Some((*way, probe.get(way)?)));
    let check = match (given.next(), given.next()) {
        (None, _) => Some(Check::Nothing),
        (Some(("httpGet", way)), None) => http_get(&way, flags, bad),
        (Some(("tcpSocket", way)), None) => tcp_socket(&way, bad),
        (Some(("grpc", way)), None) => grpc(&way, bad),
        (Some((_, way)), None) => exec(&way, bad),
        (Some((first, _)), Some((_, second))) => {
            bad.add(&second, format!("alone: {first} stands beside it"));
            None
        }
    };
    let mut number = |name| probe.get(name).map_or(0, |field| field.number(bad));
    // Neither is looked at: the kubelet waits, and counts failures.
    let initial_delay = seconds(number("initialDelaySeconds"));
    let failure_threshold = number("failureThreshold");
    number("terminationGracePeriodSeconds");
    let period = number("periodSeconds");
    Some(Probe {
        check: check?,
        initial_delay,
        period: (period > 0).then(|| seconds(period)),
        timeout: seconds(number("timeoutSeconds")),
        success_threshold: number("successThreshold").max(1),
        failure_threshold,
    })
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

fn http_get(field: &Field<'_>, flags: Flags, bad: &mut Mistakes) -> Option<Check> {
    let get = field.object("how to ask over HTTP, which is an object", bad)?;
    let host = get.get("host").map(|host| host.string(bad));
    let port = get.get("port").map(|port| port.port(bad));
    let path = get.get("path").map(|path| path.string(bad));
    let tls = get.get("scheme").map(|scheme| tls(&scheme, bad));
    let headers = get.get("httpHeaders").map(|headers| {
        let items = headers.list("a list of headers, each with name and value", bad);
        let items = items.unwrap_or_default().into_iter();
        items
            .map(|item| header(&item, bad))
            .collect::<Option<Vec<_>>>()
    });
    Some(Check::Http(HttpGet {
        host: or_none(host)?,
        port: or_none(port)?,
        path: sendable(&or_none(path)?.unwrap_or_default()),
        tls: or_none(tls)?.unwrap_or(false),
        headers: or_none(headers)?.unwrap_or_default(),
        detects_http2: flags.detects_http2,
        leaves_host: true,
    }))
}

/// `None` for a field that was there and bad.
#[expect(
    clippy::option_option,
    reason = "not given, given and bad, given and good"
)]
fn or_none<T>(field: Option<Option<T>>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(None) => None,
        Some(good) => Some(good),
    }
}

fn tls(field: &Field<'_>, bad: &mut Mistakes) -> Option<bool> {
    let scheme = field.string(bad)?;
    if scheme.is_empty() || scheme.eq_ignore_ascii_case("http") {
        return Some(false);
    }
    if scheme.eq_ignore_ascii_case("https") {
        return Some(true);
    }
    bad.add(field, "HTTP or HTTPS");
    None
}

fn header(field: &Field<'_>, bad: &mut Mistakes) -> Option<(String, String)> {
    let header = field.object("a header, which is an object with name and value", bad)?;
    let name = header.need("name", "the name of a header", bad);
    let value = header.get("value").map(|value| {
        let text = value.string(bad)?;
        if HeaderValue::from_str(&text).is_err() {
            bad.add(
                &value,
                "the value of a header: one line without control characters",
            );
            return None;
        }
        Some(text)
    });
    let name = name.and_then(|name| {
        let text = name.string(bad)?;
        if text.parse::<HeaderName>().is_err() {
            bad.add(&name, "the name of a header: letters, digits and -");
            return None;
        }
        Some(text)
    });
    Some((name?, or_none(value)?.unwrap_or_default()))
}

/// Path and query as they can be sent: without a fragment, and with `%xx` for what has no place in
/// a request line.
fn sendable(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut sent = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            sent.push(char::from(byte));
        } else {
            sent.push_str(&format!("%{byte:02X}"));
        }
    }
    sent
}

fn tcp_socket(field: &Field<'_>, bad: &mut Mistakes) -> Option<Check> {
    let socket = field.object("where to connect, which is an object", bad)?;
    let host = socket.get("host").map(|host| host.string(bad));
    let port = socket.get("port").map(|port| port.port(bad));
    Some(Check::Tcp {
        host: or_none(host)?,
        port: or_none(port)?,
    })
}

fn grpc(field: &Field<'_>, bad: &mut Mistakes) -> Option<Check> {
    let grpc = field.object("how to ask over gRPC, which is an object", bad)?;
    let port = grpc.get("port").map(|port| port.port(bad));
    let service = grpc.get("service").map(|service| service.string(bad));
    Some(Check::Grpc {
        port: or_none(port)?,
        service: or_none(service)?.unwrap_or_default(),
    })
}

fn exec(field: &Field<'_>, bad: &mut Mistakes) -> Option<Check> {
    let exec = field.object("what to run, which is an object", bad)?;
    let command = exec.get("command").map(|command| {
        let words = command.list("a list of strings: the program and its arguments", bad);
        let words = words.unwrap_or_default().into_iter();
        words
            .map(|word| word.string(bad))
            .collect::<Option<Vec<_>>>()
    });
    Some(Check::Exec {
        command: or_none(command)?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
