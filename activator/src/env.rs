//! The variables and flags of the process, read once; all mistakes are told together.
//!
//! | Variable | Default | Use |
//! |---|---|---|
//! | `POD_NAME`, `POD_IP` | required | who reports, and its own place among the activators (compared as text) |
//! | `SYSTEM_NAMESPACE` | required | where ConfigMaps, secret and autoscaler are |
//! | `CONFIG_LOGGING_NAME`, `CONFIG_OBSERVABILITY_NAME` | `config-logging`, `config-observability` | names of ConfigMaps |
//! | `MAX_IDLE_PROXY_CONNS`, `_PER_HOST` | 1000, 100 | idle connections to pods |
//! | `PROBE_TIMEOUT`, `PROBE_FREQUENCY` | `300ms`, `200ms` | of probes of pods |
//! | `CLUSTER_DOMAIN` | of resolv.conf, else `cluster.local` | end of service hosts |
//! | `KUBERNETES_MIN_VERSION` | `v1.34.0` for Knative, else none | the API server has to have it at the start |
//! | `KUBECONFIG`, `KUBE_API_QPS`, `KUBE_API_BURST` | in the cluster, 0, 0 | the API; also by flag |
//! | `PROFILING_PORT` | 8008 | answers 404 |
//! | `METRICS_PROMETHEUS_HOST`, `_PORT` | all, 9090 | metrics, if they are asked for |
//! | `METRICS_PROMETHEUS_TLS_*` | none | TLS of that listener |
//! | `ACTIVATOR_TLS_*` | 1.3 | what is spoken on the listener for requests with TLS |
//! | `OTEL_*` | | win over config-observability |
//!
//! Our own begin with `PENSTOCK_`; [`OWN`] lists them. `HTTP_PROXY` and its like are not looked at:
//! pods are reached directly. Source: spec/activator.md §1.1.

mod flags;
mod own;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use penstock_relay::forward::Keep;
use penstock_relay::tls::{BadVariable, Choices, Wanted, choices};
use penstock_runtime::drain::Times;
use penstock_runtime::observability;
use penstock_runtime::resolver;
use penstock_runtime::vars::{BadVars, Vars, go, parsed};
use penstock_types::KubernetesVersion;

pub use flags::{BadFlags, Flags};
pub use own::{OWN, quantity};

use crate::bind::Options;
use crate::discovery::Discovery;
use crate::metrics::Names;

/// Everything that an activator is told from outside, but for what the cluster tells.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who it is.
    pub identity: Identity,
    /// Names of the ConfigMaps.
    pub maps: Maps,
    /// How the cluster is reached.
    pub api: Api,
    /// Where it listens.
    pub ports: Ports,
    /// TLS of the listener for metrics.
    pub metrics_tls: Option<Wanted>,
    /// What is spoken on the listener for requests with TLS.
    pub tls: Choices,
    /// Names of the series.
    pub names: Names,
    /// How requests are treated.
    pub options: Options,
    /// How long the end may take.
    pub drain: Times,
    /// Host and port of the autoscaler; `None`: nobody is told of demand, and health does not
    /// depend on it.
    pub autoscaler: Option<String>,
    /// Threads that carry requests.
    pub workers: NonZeroUsize,
    /// What OpenTelemetry's variables say.
    pub otel: BTreeMap<&'static str, String>,
}

/// Who an activator is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of its pod.
    pub pod: String,
    /// Address of its pod, as it is written in the cluster's objects.
    pub ip: String,
    /// The system namespace.
    pub namespace: String,
}

/// Names of the ConfigMaps; that of the network is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maps {
    /// That of logging.
    pub logging: String,
    /// That of telemetry.
    pub observability: String,
}

/// How the cluster is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// A file with its address and credentials; `None` within the cluster.
    pub kubeconfig: Option<String>,
    /// Wins over the address in that file.
    pub server: Option<String>,
    /// The entry of that file to use.
    pub cluster: Option<String>,
    /// Requests a second; `None` leaves it to the client.
    pub qps: Option<f32>,
    /// Requests at once; `None` leaves it to the client.
    pub burst: Option<NonZeroUsize>,
    /// The oldest version that will do; `None` leaves it to what is served.
    pub min_version: Option<KubernetesVersion>,
    /// What requests are for; `None` leaves it to what the cluster serves.
    pub kind: Option<ClusterKind>,
}

/// What requests are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// Revisions that the controller of a Knative install keeps.
    Knative,
    /// Deployments and StatefulSets with a label.
    Deployments,
}

/// Where an activator listens; 0 is any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Address of all but the metrics; empty for all.
    pub host: String,
    /// Requests.
    pub http1: u16,
    /// Requests as well, in the same protocols.
    pub h2c: u16,
    /// Requests with TLS, if the cluster has that on.
    pub https: u16,
    /// Profiles, which there are none of.
    pub profiling: u16,
    /// Address for metrics; empty for all.
    pub metrics_host: String,
    /// Metrics, if they are asked for.
    pub metrics: u16,
}

/// What the machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// `/etc/resolv.conf`; empty if there is none.
    pub resolv_conf: &'a str,
    /// Threads for requests, unless told otherwise.
    pub workers: NonZeroUsize,
    /// Bytes of memory that the process may use; `None` without a limit.
    pub memory: Option<u64>,
}

impl Settings {
    /// Reads every variable through `get`: the environment in `main`, a map in tests. Flags win.
    ///
    /// # Errors
    ///
    /// All mistakes together, so that one restart mends them all.
    pub fn read(
        get: impl Fn(&str) -> Option<String>,
        flags: &Flags,
        around: Surroundings<'_>,
    ) -> Result<Self, BadVars> {
        let mut vars = Vars::new(|name: &str| flags.of(name).or_else(|| get(name)));
        let identity = Identity {
            pod: vars.required("POD_NAME", "the pod's name", some),
            ip: vars.required("POD_IP", "the pod's address", |text| {
                parsed::<IpAddr>(text).map(|_| text.to_owned())
            }),
            namespace: vars.required("SYSTEM_NAMESPACE", "a namespace", some),
        };
        let mut name = |name, default: &str| vars.read(name, default.to_owned(), "a name", some);
        let maps = Maps {
            logging: name("CONFIG_LOGGING_NAME", "config-logging"),
            observability: name("CONFIG_OBSERVABILITY_NAME", "config-observability"),
        };
        let domain = vars.optional("CLUSTER_DOMAIN", "a DNS name", some);
        let domain = domain
            .or_else(|| resolver::cluster_domain(around.resolv_conf))
            .unwrap_or_else(|| "cluster.local".to_owned());
        let keep = Keep {
            total: vars.read("MAX_IDLE_PROXY_CONNS", 1000, COUNT, count),
            each: vars.read("MAX_IDLE_PROXY_CONNS_PER_HOST", 100, COUNT, count),
        };
        let mut time = |name, millis| {
            let wanted = "a duration above 0, such as 300ms";
            let above = |text: &str| go::duration(text).filter(|time| !time.is_zero());
            vars.read(name, Duration::from_millis(millis), wanted, above)
        };
        // Whether there is a mesh, a ConfigMap says.
        let discovery = Discovery {
            timeout: time("PROBE_TIMEOUT", 300),
            pause: time("PROBE_FREQUENCY", 200),
            ..Discovery::default()
        };
        let api = api(&mut vars);
        let ports = ports(&mut vars);
        let metrics_tls = Wanted::read("METRICS_PROMETHEUS_TLS", |name| vars.text(name));
        let metrics_tls = noted(&mut vars, metrics_tls).flatten();
        let tls = choices("ACTIVATOR_TLS", |name| vars.text(name));
        let tls = noted(&mut vars, tls).unwrap_or_default();
        let otel = observability::OTEL.iter().filter_map(|name| {
            let text = vars.text(name).filter(|text| !text.is_empty())?;
            Some((*name, text))
        });
        let otel = otel.collect();
        let own = own::Own::read(&mut vars, around, &identity.namespace, &domain);
        vars.finish(Self {
            options: Options {
                cluster_domain: domain,
                keep,
                discovery,
                ..own.options
            },
            identity,
            maps,
            api,
            ports,
            metrics_tls,
            tls,
            names: own.names,
            drain: own.drain,
            autoscaler: own.autoscaler,
            workers: own.workers,
            otel,
        })
    }
}

const COUNT: &str = "a count from 0";
const PORT: &str = "a port from 0 to 65535";

fn api<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Api {
    let given = |name| vars.text(name).filter(|text| !text.is_empty());
    let (kubeconfig, server) = (given("KUBECONFIG"), given(flags::SERVER));
    let cluster = given(flags::CLUSTER);
    let qps = vars.read(
        "KUBE_API_QPS",
        0.0,
        "requests a second, 0 for the usual",
        |text| parsed(text).filter(|qps: &f32| qps.is_finite() && *qps >= 0.0),
    );
    let burst = vars.read("KUBE_API_BURST", 0, "a count, 0 for the usual", count);
    Api {
        kubeconfig,
        server,
        cluster,
        kind: vars.optional(
            "PENSTOCK_CLUSTER",
            "knative or deployments",
            |text| match text {
                "knative" => Some(ClusterKind::Knative),
                "deployments" => Some(ClusterKind::Deployments),
                _ => None,
            },
        ),
        qps: Some(qps).filter(|qps| *qps > 0.0),
        burst: NonZeroUsize::new(burst),
        min_version: vars.optional(
            "KUBERNETES_MIN_VERSION",
            "a version, such as v1.34.0",
            KubernetesVersion::read,
        ),
    }
}

fn ports<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Ports {
    let own = vars.optional("PENSTOCK_METRICS_PORT", PORT, parsed);
    let metrics = vars.read(
        "METRICS_PROMETHEUS_PORT",
        9090,
        "a port from 1024 to 65535",
        |text| parsed(text).filter(|port: &u16| *port >= 1024),
    );
    Ports {
        host: vars.text("PENSTOCK_LISTEN_HOST").unwrap_or_default(),
        http1: vars.read("PENSTOCK_HTTP1_PORT", 8012, PORT, parsed),
        h2c: vars.read("PENSTOCK_H2C_PORT", 8013, PORT, parsed),
        https: vars.read("PENSTOCK_HTTPS_PORT", 8112, PORT, parsed),
        profiling: vars.read("PROFILING_PORT", 8008, PORT, parsed),
        metrics_host: vars.text("METRICS_PROMETHEUS_HOST").unwrap_or_default(),
        metrics: own.unwrap_or(metrics),
    }
}

/// What was read of a listener's TLS; its mistakes go to `vars`.
fn noted<G, T>(vars: &mut Vars<G>, read: Result<T, Vec<BadVariable>>) -> Option<T>
where
    G: Fn(&str) -> Option<String>,
{
    read.map_err(|bad| {
        for BadVariable { name, text, wanted } in bad {
            vars.reject(name, text, wanted);
        }
    })
    .ok()
}

/// A text that is not empty.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn count(text: &str) -> Option<usize> {
    usize::try_from(go::int(text)?).ok()
}

#[cfg(test)]
mod tests;
