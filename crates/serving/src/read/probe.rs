//! Probes, with the defaults of Kubernetes and what Knative adds for readiness.
//!
//! Source: spec/queue-proxy.md §4; a readiness probe without `periodSeconds` is asked as fast as
//! it helps, and then has neither a timeout nor a failure threshold of its own.

use std::time::Duration;

use penstock_types::Protocol;
use penstock_types::probe::{Check, HttpGet, Probe};

use super::fields::{Field, HIGHEST, Object, Report};
use crate::yaml::{Kind, Value};
use crate::{Fault, yaml};

/// The port that a container declares.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) number: Option<u16>,
    pub(super) protocol: Protocol,
}

/// The port of a container that declares none.
const DEFAULT_PORT: u16 = 8080;

/// Reads a readiness probe.
pub(super) fn readiness(
    field: &Field<'_>,
    port: Option<&Port>,
    report: &mut Report,
) -> Option<Probe> {
    let mut probe = field.object(report)?;
    // Without a handler Knative connects to the workload's port.
    let check = match handler(&mut probe, port, report) {
        Handler::None => Some(Check::OWN_PORT),
        Handler::Bad => None,
        Handler::Of(check) => Some(check),
    };
    let initial_delay = probe.integer("initialDelaySeconds", 0..=HIGHEST, report);
    let period = probe.integer("periodSeconds", 0..=HIGHEST, report);
    let success = probe.integer("successThreshold", 1..=HIGHEST, report);
    let (mut timeout, mut failure) = (1, 3);
    if period.unwrap_or(0) == 0 {
        for name in ["timeoutSeconds", "failureThreshold"] {
            if let Some(field) = probe.take(name)
                && field
                    .integer(0..=HIGHEST, report)
                    .is_some_and(|value| value > 0)
            {
                let why = "needs a periodSeconds above 0: without one, the workload is asked as \
                           fast as it helps";
                field.conflict(why, report);
            }
        }
    } else {
        timeout = probe
            .integer("timeoutSeconds", 1..=HIGHEST, report)
            .unwrap_or(1);
        failure = probe
            .integer("failureThreshold", 1..=HIGHEST, report)
            .unwrap_or(3);
    }
    probe.ignore(&["terminationGracePeriodSeconds"], report);
    probe.finish(report);
    Some(Probe {
        check: check?,
        initial_delay: seconds(initial_delay.unwrap_or(0)),
        period: period.filter(|period| *period > 0).map(seconds),
        timeout: seconds(timeout),
        success_threshold: success.unwrap_or(1),
        failure_threshold: failure,
    })
}

/// Reads a startup or a liveness probe.
pub(super) fn other(field: &Field<'_>, port: Option<&Port>, report: &mut Report) -> Option<Probe> {
    let mut probe = field.object(report)?;
    let check = match handler(&mut probe, port, report) {
        Handler::None => {
            let expected = "one of httpGet, tcpSocket, exec or grpc".to_owned();
            let path = yaml::join(&field.path, "httpGet");
            report.error(field.line, &path, Fault::Missing { expected });
            None
        }
        Handler::Bad => None,
        Handler::Of(check) => Some(check),
    };
    // 0 is "not given" in Kubernetes, whose defaults these are.
    let mut number = |name, default| {
        let given = probe.integer(name, 0..=HIGHEST, report);
        given.filter(|value| *value > 0).unwrap_or(default)
    };
    let initial_delay = number("initialDelaySeconds", 0);
    let period = number("periodSeconds", 10);
    let timeout = number("timeoutSeconds", 1);
    let failure = number("failureThreshold", 3);
    let success = probe
        .integer("successThreshold", 0..=1, report)
        .unwrap_or(1);
    probe.ignore(&["terminationGracePeriodSeconds"], report);
    probe.finish(report);
    Some(Probe {
        check: check?,
        initial_delay: seconds(initial_delay),
        period: Some(seconds(period)),
        timeout: seconds(timeout),
        success_threshold: success.max(1),
        failure_threshold: failure,
    })
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// What was found among the four ways to ask.
enum Handler {
    None,
    /// Something, but nothing that holds.
    Bad,
    Of(Check),
}

fn handler(probe: &mut Object<'_>, port: Option<&Port>, report: &mut Report) -> Handler {
    let ways = ["httpGet", "tcpSocket", "exec", "grpc"];
    let given = ways.map(|way| (way, probe.take(way)));
    let given: Vec<(&str, Field<'_>)> = given
        .into_iter()
        .filter_map(|(way, field)| Some((way, field?)))
        .collect();
    let [(way, field)] = given.as_slice() else {
        let Some((_, second)) = given.get(1) else {
            return Handler::None;
        };
        second.conflict("stands beside another way to ask; keep one of them", report);
        return Handler::Bad;
    };
    let Some(mut object) = field.object(report) else {
        return Handler::Bad;
    };
    let check = match *way {
        "httpGet" => http(&mut object, port, report),
        "tcpSocket" => {
            let port = port_of(&mut object, port, report);
            object.ignore(&["host"], report);
            port.map(|port| Check::Tcp { host: None, port })
        }
        "exec" => exec(&mut object, report),
        _ => grpc(&mut object, port, report),
    };
    object.finish(report);
    check.map_or(Handler::Bad, Handler::Of)
}

fn http(http: &mut Object<'_>, port: Option<&Port>, report: &mut Report) -> Option<Check> {
    let port = port_of(http, port, report);
    let path = path(http, report);
    let tls = match http.take("scheme") {
        None => Some(false),
        Some(scheme) => match scheme.string(report)?.as_str() {
            "HTTP" | "" => Some(false),
            "HTTPS" => Some(true),
            _ => {
                scheme.wrong("HTTP or HTTPS", report);
                None
            }
        },
    };
    let headers = http
        .take("httpHeaders")
        .and_then(|headers| headers.list(report));
    let header = |item: Field<'_>| {
        let mut item = item.object(report)?;
        let name = item.need("name", "the name of a header", report);
        let value = item.need("value", "the value of the header", report);
        item.finish(report);
        let (name, value) = (name?, value?);
        let (name_text, value_text) = (name.string(report)?, value.string(report)?);
        if name_text.is_empty() || !name_text.bytes().all(of_a_name) {
            name.wrong("the name of a header: letters, digits and -", report);
            return None;
        }
        if value_text.chars().any(char::is_control) {
            value.wrong("one line", report);
            return None;
        }
        Some((name_text, value_text))
    };
    let headers = headers.unwrap_or_default().into_iter().filter_map(header);
    let headers = headers.collect();
    // The probe goes to the pod itself, as Knative rewrites it.
    http.ignore(&["host"], report);
    Some(Check::Http(HttpGet {
        port: port?,
        path: path?,
        tls: tls?,
        headers,
        ..HttpGet::default()
    }))
}

/// Path and query; a missing slash is put in front.
fn path(http: &mut Object<'_>, report: &mut Report) -> Option<String> {
    let Some(field) = http.take("path") else {
        return Some("/".to_owned());
    };
    let path = field.string(report)?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
        field.wrong("a path in ASCII, without spaces; write them as %20", report);
        return None;
    }
    if path.starts_with('/') {
        return Some(path);
    }
    Some(format!("/{path}"))
}

/// RFC 9110 §5.6.2: what the name of a header is made of.
fn of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn exec(exec: &mut Object<'_>, report: &mut Report) -> Option<Check> {
    let field = exec.need("command", "a list: the program and its arguments", report)?;
    let command = field.strings(report)?;
    if command.is_empty() {
        field.fault_of("empty", "a list: the program and its arguments", report);
        return None;
    }
    Some(Check::Exec { command })
}

fn grpc(grpc: &mut Object<'_>, port: Option<&Port>, report: &mut Report) -> Option<Check> {
    let port = port_of(grpc, port, report);
    let service = grpc.string("service", report).unwrap_or_default();
    Some(Check::Grpc {
        port: port?,
        service,
    })
}

/// The port to ask: a number, a number in quotes, or the name of the declared port. The
/// workload's own is `None`, since whoever starts it may give it another.
fn port_of(
    object: &mut Object<'_>,
    declared: Option<&Port>,
    report: &mut Report,
) -> Option<Option<u16>> {
    let Some(field) = object.take("port") else {
        return Some(None);
    };
    let own = declared
        .and_then(|port| port.number)
        .unwrap_or(DEFAULT_PORT);
    let own_name = declared.and_then(|port| port.name.as_deref());
    if let Value::Scalar(scalar) = &field.node.value {
        let number = match scalar.kind() {
            Kind::Integer(number) => u16::try_from(number).ok(),
            Kind::Text if Some(scalar.text.as_str()) == own_name => return Some(None),
            Kind::Text => scalar.text.parse().ok(),
            Kind::Null | Kind::Boolean(_) | Kind::Float => None,
        };
        match number {
            Some(0) => return Some(None),
            Some(number) if number == own => return Some(None),
            Some(number) => return Some(Some(number)),
            None => {}
        }
    }
    let expected = match own_name {
        Some(name) => format!("a port from 1 to 65535, or {name}, the name of the declared one"),
        None => "a port from 1 to 65535; no declared one has a name".to_owned(),
    };
    field.wrong(expected, report);
    None
}
