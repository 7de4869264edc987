//! The environment as the controller writes it, read once; all mistakes are told together.
//!
//! - `observability.rs`: `OBSERVABILITY_CONFIG`, and what installations before 1.19 had in its place
//!
//! Our own variables begin with `PENSTOCK_`; [`OWN`] lists them. Everything else is the contract's:
//! spec/queue-proxy.md §1 and §10. Unknown variables are left alone.

mod observability;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use penstock_relay::body::Late;
use penstock_relay::tls::Pair;
use penstock_runtime::log::Logging;
use penstock_runtime::otlp;
use penstock_runtime::vars::{BadVars, Vars, go, parsed, text};
use penstock_types::{Slots, Timeouts};

pub use observability::{Observability, Prometheus, Push, RequestLog};

use crate::metrics::Names;
use crate::probe_json::{self, Flags};
use crate::tls::Secured;
use crate::{Choices, Config, Kubelet, Probes};

/// Time without a request after which a drain goes on, and time for what then does not end by
/// itself (spec/queue-proxy.md §5).
const QUIET: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(60);

/// No limit of a request is longer: a clock can still reckon with it.
const MAX_SECONDS: u64 = 30 * 365 * 86_400;

/// Our own variables: name, default, meaning.
pub const OWN: [(&str, &str, &str); 13] = [
    (
        "PENSTOCK_WORKERS",
        "the CPU limit, rounded up; without a limit the processors, at most 4",
        "threads that serve requests",
    ),
    (
        "PENSTOCK_DRAIN_QUIET_MS",
        "30000",
        "milliseconds without a request, once told to stop, after which the listeners close",
    ),
    (
        "PENSTOCK_DRAIN_GRACE_MS",
        "60000",
        "milliseconds that HTTP/2 streams and upgraded connections then get to end",
    ),
    (
        "PENSTOCK_KUBELET_PROBE",
        "node",
        "whose K-Kubelet-Probe needs no slot: the pod's own node, or anyone",
    ),
    (
        "PENSTOCK_PROXY_STATUS_DETAIL",
        "false",
        "whether Proxy-Status tells callers what exactly went wrong, with addresses",
    ),
    (
        "PENSTOCK_LATE_ANSWER",
        "text",
        "an answer that begins in time and takes too long: text (`request timeout`, and a proper end) or reset",
    ),
    (
        "PENSTOCK_METRICS_NAMES",
        "current",
        "names of the series on the metrics port: current or classic (revision_*)",
    ),
    (
        "PENSTOCK_TLS_DIR",
        "/var/lib/knative/certs",
        "folder of tls.crt and tls.key, with which requests are taken over TLS as well",
    ),
    (
        "PENSTOCK_TLS_POLL_MS",
        "60000",
        "milliseconds between two looks whether certificates have changed",
    ),
    (
        "PENSTOCK_LISTEN_HOST",
        "all addresses",
        "address of all listeners but the metrics', which METRICS_PROMETHEUS_HOST is for",
    ),
    (
        "PENSTOCK_ADMIN_PORT",
        "8022",
        "port of /wait-for-drain; the pod's preStop hooks call 8022",
    ),
    (
        "PENSTOCK_STATS_PORT",
        "9090",
        "port of the statistics; the autoscaler reads 9090",
    ),
    (
        "PENSTOCK_METRICS_PORT",
        "9091",
        "port of the metrics; wins over METRICS_PROMETHEUS_PORT, may be 0 for any",
    ),
];

/// Everything that a queue-proxy of a pod is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where it listens.
    pub ports: Ports,
    /// What the container needs.
    pub container: Config,
    /// What may be chosen beside that.
    pub choices: Choices,
    /// Whose pod it is in.
    pub identity: Identity,
    /// How it logs.
    pub logging: Logging,
    /// What is measured and logged of requests, and where to.
    pub observability: Observability,
    /// Which listeners have TLS.
    pub tls: Secured,
    /// Threads that serve requests; `None` follows the CPU limit.
    pub workers: Option<NonZeroUsize>,
    /// Time without a request after which a drain goes on.
    pub quiet: Duration,
    /// Time for what then does not end by itself.
    pub grace: Duration,
}

/// Where a queue-proxy listens; 0 is any free port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Address of all of these; `None` is all that there are.
    pub host: Option<IpAddr>,
    /// Requests.
    pub main: u16,
    /// Requests over TLS, if certificates are mounted.
    pub tls: Option<u16>,
    /// `/wait-for-drain`.
    pub admin: u16,
    /// Statistics for the autoscaler.
    pub stats: u16,
    /// What the process tells of itself, if [`Observability::profiling`] is on.
    pub profiling: u16,
}

/// Names of what the pod belongs to; any may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `SERVING_NAMESPACE`
    pub namespace: String,
    /// `SERVING_SERVICE`
    pub service: String,
    /// `SERVING_CONFIGURATION`
    pub configuration: String,
    /// `SERVING_REVISION`
    pub revision: String,
    /// `SERVING_POD`
    pub pod: String,
    /// `SERVING_POD_IP`
    pub pod_ip: String,
    /// `POD_NAME`, or else `HOSTNAME`: what telemetry calls the pod.
    pub host: String,
    /// `OTEL_SERVICE_NAME`
    pub telemetry_service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`: what telemetry tells beside all this. What is none is left out.
    pub telemetry_attributes: Vec<(String, String)>,
}

/// Reads every variable through `get`: the environment in `main`, a map in tests. `is_there` looks
/// whether a pair of certificate and key is there, without which TLS is not read.
///
/// # Errors
///
/// All mistakes together, so that one restart mends them all.
pub fn read(
    get: impl Fn(&str) -> Option<String>,
    is_there: impl Fn(&Pair) -> bool,
) -> Result<Setup, BadVars> {
    let mut vars = Vars::new(get);
    let identity = identity(&mut vars);
    let container = container(&mut vars);
    let ports = ports(&mut vars);
    let choices = Choices {
        pod: identity.pod.clone(),
        kubelet: kubelet(&mut vars),
        detail: vars.read(
            "PENSTOCK_PROXY_STATUS_DETAIL",
            false,
            "true or false",
            go::bool,
        ),
        late: vars.read("PENSTOCK_LATE_ANSWER", Late::Told, "text or reset", late),
        ..Choices::default()
    };
    let logging = logging(&mut vars);
    let observability = Observability::read(&mut vars);
    let scraped = observability.prometheus.is_some();
    let tls = Secured::read(&mut vars, ports.tls.is_some(), scraped, is_there);
    let mut millis = |name, default| vars.read(name, default, "whole milliseconds", self::millis);
    let quiet = millis("PENSTOCK_DRAIN_QUIET_MS", QUIET);
    let grace = millis("PENSTOCK_DRAIN_GRACE_MS", GRACE);
    let workers = vars.optional("PENSTOCK_WORKERS", "a count from 1 to 1024", |text| {
        let count = parsed::<NonZeroUsize>(text)?;
        (count.get() <= 1024).then_some(count)
    });
    vars.finish(Setup {
        ports,
        container,
        choices,
        identity,
        logging,
        observability,
        tls,
        workers,
        quiet,
        grace,
    })
}

fn identity<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Identity {
    let mut name = |name| vars.required(name, "a text, which may be empty", text);
    let mut identity = Identity {
        namespace: name("SERVING_NAMESPACE"),
        configuration: name("SERVING_CONFIGURATION"),
        revision: name("SERVING_REVISION"),
        pod: name("SERVING_POD"),
        pod_ip: name("SERVING_POD_IP"),
        ..Identity::default()
    };
    let given = |name| vars.text(name).filter(|text| !text.is_empty());
    identity.service = given("SERVING_SERVICE").unwrap_or_default();
    identity.host = given("POD_NAME")
        .or_else(|| given("HOSTNAME"))
        .unwrap_or_default();
    identity.telemetry_service = given("OTEL_SERVICE_NAME").unwrap_or_default();
    let attributes = given("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    (identity.telemetry_attributes, _) = otlp::pairs(&attributes);
    identity
}

fn container<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Config {
    let slots = vars.required(
        "CONTAINER_CONCURRENCY",
        "a whole number; below 1 is no limit",
        |text| go::int(text).map(slots).map(Some),
    );
    let user_port = vars.required("USER_PORT", "a port from 1 to 65535", |text| {
        parsed(text).filter(|port: &u16| *port > 0)
    });
    let whole = vars.required("REVISION_TIMEOUT_SECONDS", "whole seconds", seconds);
    let mut limit = |name| {
        let limit = vars.read(
            name,
            Duration::ZERO,
            "whole seconds; 0 is no limit",
            seconds,
        );
        Some(limit).filter(|limit| !limit.is_zero())
    };
    let timeouts = Timeouts {
        whole,
        response_start: limit("REVISION_RESPONSE_START_TIMEOUT_SECONDS"),
        idle: limit("REVISION_IDLE_TIMEOUT_SECONDS"),
    };
    let mut switch = |name| vars.read(name, false, "true or false", go::bool);
    let flags = Flags {
        several: switch("ENABLE_MULTI_CONTAINER_PROBES"),
        detects_http2: switch("ENABLE_HTTP2_AUTO_DETECTION"),
    };
    // This proxy is always full duplex, which satisfies both settings (§3.6).
    switch("ENABLE_HTTP_FULL_DUPLEX");
    let probes = vars.text("SERVING_READINESS_PROBE").unwrap_or_default();
    let probes = probe_json::read(&probes, flags).unwrap_or_else(|bad| {
        vars.reject_all(bad);
        Vec::new()
    });
    Config {
        user_addr: SocketAddr::from((Ipv4Addr::LOCALHOST, user_port)),
        slots: slots.unwrap_or(Slots::Unlimited),
        timeouts,
        readiness: Probes::new(probes),
    }
}

fn ports<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Ports {
    const PORT: &str = "a port from 0 to 65535";
    Ports {
        host: vars.read(
            "PENSTOCK_LISTEN_HOST",
            None,
            "an IP address",
            |text| match text {
                "" => Some(None),
                host => parsed(host).map(Some),
            },
        ),
        main: vars.required("QUEUE_SERVING_PORT", PORT, parsed),
        tls: vars.required(
            "QUEUE_SERVING_TLS_PORT",
            "a port from 0 to 65535, or empty",
            |text| match text {
                "" => Some(None),
                port => parsed(port).map(Some),
            },
        ),
        admin: vars.read("PENSTOCK_ADMIN_PORT", 8022, PORT, parsed),
        stats: vars.read("PENSTOCK_STATS_PORT", 9090, PORT, parsed),
        profiling: vars.read("PROFILING_PORT", 8008, PORT, parsed),
    }
}

fn late(text: &str) -> Option<Late> {
    match text {
        "text" => Some(Late::Told),
        "reset" => Some(Late::Reset),
        _ => None,
    }
}

/// The node's own address is added here; its gateway's is the system's to tell, not a variable's.
fn kubelet<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Kubelet {
    let anyone = vars.read(
        "PENSTOCK_KUBELET_PROBE",
        false,
        "node or anyone",
        |text| match text {
            "node" => Some(false),
            "anyone" => Some(true),
            _ => None,
        },
    );
    if anyone {
        return Kubelet::Anyone;
    }
    // The original ignores this variable, so nothing in it is a mistake.
    let node = vars.text("HOST_IP").unwrap_or_default();
    let node = node.split(',').filter_map(|one| parsed(one.trim()));
    Kubelet::Node(node.map(|one: IpAddr| one.to_canonical()).collect())
}

fn logging<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Logging {
    const ANY: &str = "a text, which may be empty";
    let config = vars.required("SERVING_LOGGING_CONFIG", ANY, text);
    let level = vars.required("SERVING_LOGGING_LEVEL", ANY, text);
    Logging::read(&config, &level, "queueproxy")
}

fn slots(concurrency: i64) -> Slots {
    let limit = u32::try_from(concurrency.max(0)).unwrap_or(u32::MAX);
    NonZeroU32::new(limit).map_or(Slots::Unlimited, Slots::Limited)
}

/// What is below zero counts as zero.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = u64::try_from(go::int(text)?).unwrap_or(0);
    Some(Duration::from_secs(seconds.min(MAX_SECONDS)))
}

fn millis(text: &str) -> Option<Duration> {
    let millis: u64 = parsed(text)?;
    Some(Duration::from_millis(millis).min(Duration::from_secs(MAX_SECONDS)))
}

/// Names the series on the metrics port may have.
fn names(text: &str) -> Option<Names> {
    match text {
        "current" => Some(Names::Current),
        "classic" => Some(Names::Classic),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
