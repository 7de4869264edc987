//! Our own variables.
//!
//! In compatible mode the defaults are what the original does: a fixed hold of 45 s, a line without
//! a limit, a backlog that is released at once, and a liveness that depends on the autoscaler. A
//! variable that is set wins over that.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::HeaderName;
use penstock_runtime::drain::Times;
use penstock_runtime::vars::{Vars, go, parsed};

use super::{COUNT, Surroundings, count, some};
use crate::bind::{Options, Overflow};
use crate::choices::waiting_page;
use crate::metrics::Names;

/// Our own variables: name, default, meaning.
pub const OWN: [(&str, &str, &str); 21] = [
    (
        "PENSTOCK_CLUSTER",
        "knative where the API group serving.knative.dev is served, else deployments",
        "what requests are for: Revisions, or Deployments and StatefulSets with a label",
    ),
    (
        "PENSTOCK_COMPATIBLE",
        "false",
        "whether the defaults below are what the original does",
    ),
    (
        "PENSTOCK_WORKERS",
        "the CPU limit, rounded up; without a limit the processors",
        "threads that carry requests",
    ),
    (
        "PENSTOCK_AUTOSCALER",
        "autoscaler.SYSTEM_NAMESPACE.svc.CLUSTER_DOMAIN:8080",
        "who is told of demand, HOST:PORT or ws://HOST:PORT; none: nobody",
    ),
    (
        "PENSTOCK_WAITING",
        "10000 (compatible: no limit)",
        "requests that may wait for one revision",
    ),
    (
        "PENSTOCK_WAITING_BYTES",
        "a quarter of the memory limit; without one 256Mi",
        "memory that all waiting requests may hold, in bytes or with Ki, Mi, Gi",
    ),
    (
        "PENSTOCK_CONNECTIONS",
        "0",
        "connections of callers at the same time, who is beyond that is told 503; 0: no limit",
    ),
    (
        "PENSTOCK_OVERFLOW_STATUS",
        "503",
        "the status where there is no room to wait: 503 or 429",
    ),
    (
        "PENSTOCK_FIRST_WINDOW",
        "100 (compatible: 0)",
        "how many of a backlog go into a revision without a limit at first; 0: all",
    ),
    (
        "PENSTOCK_LIMIT_HEADER",
        "",
        "a request header in which callers may limit their request, in milliseconds",
    ),
    (
        "PENSTOCK_SERVER_TIMING",
        "false",
        "whether answers to requests that waited say what for",
    ),
    (
        "PENSTOCK_WAITING_PAGE",
        "false",
        "whether a browser that has waited so long (true: 1s) sees a page, where its revision does not say",
    ),
    (
        "PENSTOCK_LIVENESS_PATH",
        "/livez (compatible: none)",
        "path at which kubelet probes pass as long as the process lives",
    ),
    (
        "PENSTOCK_LAME_DUCK_MS",
        "15000 (compatible: 45000)",
        "milliseconds after SIGTERM in which requests are still taken",
    ),
    (
        "PENSTOCK_DRAIN_GRACE_MS",
        "570000",
        "milliseconds that open requests and streams then get",
    ),
    (
        "PENSTOCK_METRICS_NAMES",
        "current",
        "names of the series: current or classic (activator_*)",
    ),
    (
        "PENSTOCK_LISTEN_HOST",
        "",
        "address of the listeners; empty for all",
    ),
    ("PENSTOCK_HTTP1_PORT", "8012", "port of requests"),
    ("PENSTOCK_H2C_PORT", "8013", "port of requests, too"),
    ("PENSTOCK_HTTPS_PORT", "8112", "port of requests with TLS"),
    (
        "PENSTOCK_METRICS_PORT",
        "9090",
        "port of the metrics; wins over METRICS_PROMETHEUS_PORT, may be 0 for any",
    ),
];

/// The shortest time for load balancers to notice that nothing more is to come here.
const LAME_DUCK: Duration = Duration::from_secs(15);
/// That of the original (§6).
const HOLD: Duration = Duration::from_secs(45);
/// With the longest of these two it ends before the pod's 600 s do.
const GRACE: Duration = Duration::from_secs(555);
const GRACE_AFTER_LAME_DUCK: Duration = Duration::from_secs(570);

/// What our own variables say.
pub(super) struct Own {
    pub(super) options: Options,
    pub(super) names: Names,
    pub(super) drain: Times,
    pub(super) autoscaler: Option<String>,
    pub(super) workers: NonZeroUsize,
}

impl Own {
    pub(super) fn read<G: Fn(&str) -> Option<String>>(
        vars: &mut Vars<G>,
        around: Surroundings<'_>,
        namespace: &str,
        domain: &str,
    ) -> Self {
        const SWITCH: &str = "true or false";
        let compatible = vars.read("PENSTOCK_COMPATIBLE", false, SWITCH, go::bool);
        let usual = Options::default();
        let (waiting, window, liveness) = match compatible {
            true => (usize::MAX, None, None),
            false => (usual.waiting, usual.first_window, Some("/livez".to_owned())),
        };
        let options = Options {
            waiting: vars.read("PENSTOCK_WAITING", waiting, COUNT, count),
            waiting_bytes: vars.read(
                "PENSTOCK_WAITING_BYTES",
                around.memory.map_or(usual.waiting_bytes, |limit| limit / 4),
                "a count of bytes, such as 268435456 or 256Mi",
                quantity,
            ),
            first_window: vars.read("PENSTOCK_FIRST_WINDOW", window, COUNT, |text| {
                count(text).map(NonZeroUsize::new)
            }),
            connections: vars.read("PENSTOCK_CONNECTIONS", None, COUNT, |text| {
                count(text).map(|connections| (connections > 0).then_some(connections))
            }),
            overflow: vars.read(
                "PENSTOCK_OVERFLOW_STATUS",
                Overflow::Unavailable,
                "503 or 429",
                |text| match text {
                    "503" => Some(Overflow::Unavailable),
                    "429" => Some(Overflow::TooMany),
                    _ => None,
                },
            ),
            limit_header: vars.read(
                "PENSTOCK_LIMIT_HEADER",
                None,
                "the name of a header, or empty",
                |text| match text {
                    "" => Some(None),
                    name => parsed::<HeaderName>(name).map(Some),
                },
            ),
            server_timing: vars.read("PENSTOCK_SERVER_TIMING", false, SWITCH, go::bool),
            waiting_page: vars.read(
                "PENSTOCK_WAITING_PAGE",
                None,
                "true, false or a duration",
                waiting_page,
            ),
            liveness_path: vars.read(
                "PENSTOCK_LIVENESS_PATH",
                liveness,
                "a path, or empty",
                |text| match text {
                    "" => Some(None),
                    path => path.starts_with('/').then(|| Some(path.to_owned())),
                },
            ),
            ..usual
        };
        let (lame_duck, grace) = match compatible {
            true => (HOLD, GRACE),
            false => (LAME_DUCK, GRACE_AFTER_LAME_DUCK),
        };
        let mut time = |name, default| {
            let parse = |text: &str| parsed::<u32>(text).map(|it| Duration::from_millis(it.into()));
            vars.read(name, default, "whole milliseconds", parse)
        };
        let drain = Times {
            lame_duck: time("PENSTOCK_LAME_DUCK_MS", lame_duck),
            grace: time("PENSTOCK_DRAIN_GRACE_MS", grace),
        };
        let autoscaler = vars.read(
            "PENSTOCK_AUTOSCALER",
            Some(format!("autoscaler.{namespace}.svc.{domain}:8080")),
            "HOST:PORT, ws://HOST:PORT or none",
            autoscaler,
        );
        Self {
            options,
            drain,
            autoscaler,
            names: vars.read(
                "PENSTOCK_METRICS_NAMES",
                Names::Current,
                "current or classic",
                |text| match text {
                    "current" => Some(Names::Current),
                    "classic" => Some(Names::Classic),
                    _ => None,
                },
            ),
            workers: vars.read(
                "PENSTOCK_WORKERS",
                around.workers,
                "a count from 1 to 1024",
                |text| parsed(text).filter(|count: &NonZeroUsize| count.get() <= 1024),
            ),
        }
    }
}

/// A number of bytes, as Kubernetes writes it.
pub fn quantity(text: &str) -> Option<u64> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30)];
    let unit = units
        .iter()
        .find_map(|(name, shift)| Some((text.strip_suffix(name)?, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn autoscaler(text: &str) -> Option<Option<String>> {
    if text == "none" {
        return Some(None);
    }
    let place = text.strip_prefix("ws://").unwrap_or(text);
    let place = place.strip_suffix('/').unwrap_or(place);
    let (host, port) = place.rsplit_once(':')?;
    let plain = some(host).is_some_and(|host| !host.contains(['/', '@']));
    let port: u16 = parsed(port)?;
    (plain && port > 0).then(|| Some(place.to_owned()))
}
