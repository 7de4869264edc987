//! The variables of the process, all read at once.
//!
//! | Variable | Default | Use |
//! |---|---|---|
//! | `POD_NAME`, `POD_IP` | required | identity in leases (spec/autoscaler.md §4.5) |
//! | `STATEFUL_CONTROLLER_ORDINAL` | none | this pod's name in a StatefulSet: the bucket of its ordinal is held without a lease |
//! | `STATEFUL_SERVICE_NAME` | none | Service of that StatefulSet; the two come together |
//! | `STATEFUL_SERVICE_PROTOCOL`, `_PORT` | `http`, 80 | of the addresses that name its buckets |
//! | `SYSTEM_NAMESPACE` | required | where ConfigMaps, leases and bucket Services are |
//! | `CLUSTER_DOMAIN` | of resolv.conf, else `cluster.local` | end of Service hosts |
//! | `METRICS_PROMETHEUS_HOST`, `_PORT` | `0.0.0.0`, 9090 | metrics and `/explain` |
//! | `PENSTOCK_LISTEN_HOST` | all addresses | of statistics and probes |
//! | `PENSTOCK_STATS_PORT` | 8080 | statistics of activators, probes |
//! | `PENSTOCK_POLICY` | `knative` | `knative` or `demand` |
//! | `PENSTOCK_COMPATIBLE` | `false` | `true` keeps what the original gets wrong in policy `knative` |
//! | `PENSTOCK_METRICS_NAMES` | `current` | `current` or `classic` (`autoscaler_*`) |
//! | `PENSTOCK_CLUSTER` | `knative` where the API group `serving.knative.dev` is served, else `deployments` | which revisions are scaled |
//! | `PENSTOCK_SERVICES` | none | IP:PORT of a proxy by which Services are reached; for an autoscaler outside the cluster's network |
//! | `PENSTOCK_ACTIVATORS` | `activator-service` | Service of the activators, in the same namespace; for `deployments` |
//! | `KUBECONFIG` | none | how to reach the API server from outside of a pod |
//! | `CONFIG_LOGGING_NAME`, `CONFIG_OBSERVABILITY_NAME` | `config-logging`, `config-observability` | names of ConfigMaps |
//! | `OTEL_*` | | of a collector of metrics; win over config-observability |
//! | `PENSTOCK_CONFIG_DIR` | none | a folder for each ConfigMap, a file for each of its keys |

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use penstock_cluster::Leases;
use penstock_runtime::observability::OTEL;
use penstock_runtime::resolver;
use penstock_runtime::vars::{BadVars, Vars, parsed};
use penstock_scaling::bucket::{Identity, Ordinal};
use penstock_types::KubernetesVersion;

use crate::metrics::Names;
use crate::policy::PolicyKind;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who this process is in leases.
    pub identity: Identity,
    /// Who holds which bucket for ever, where pods of a StatefulSet do.
    pub stateful: Option<Stateful>,
    /// Where ConfigMaps, leases and the Services of buckets are.
    pub system_namespace: String,
    /// End of Service hosts.
    pub cluster_domain: String,
    /// Where metrics and explanations are served.
    pub admin: SocketAddr,
    /// Where activators tell their statistics.
    pub stats: SocketAddr,
    /// Which policy decides.
    pub policy: PolicyKind,
    /// Whether the original's mistakes are kept.
    pub compatible: bool,
    /// Under which names the figures are exported.
    pub names: Names,
    /// Where ConfigMaps are as files; without it the defaults hold.
    pub config_dir: Option<PathBuf>,
    /// Which revisions are scaled; `None` leaves it to what the API server serves.
    pub cluster: Option<ClusterKind>,
    /// Service of the activators, in the system's namespace.
    pub activators: String,
    /// A proxy to Services; `None` where they are reached directly.
    pub services: Option<SocketAddr>,
    /// How to reach the API server; `None` is as a pod of its cluster.
    pub kubeconfig: Option<PathBuf>,
    /// The oldest version of it that will do; `None` leaves it to what is served.
    pub min_version: Option<KubernetesVersion>,
    /// Name of the ConfigMap `config-logging`.
    pub config_logging: String,
    /// Name of the ConfigMap `config-observability`.
    pub config_observability: String,
    /// Variables of OpenTelemetry that are set.
    pub otel: BTreeMap<&'static str, String>,
}

/// What revisions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// What the controller of a Knative install keeps.
    Knative,
    /// Deployments and StatefulSets with a label.
    Deployments,
}

impl ClusterKind {
    fn named(name: &str) -> Option<Self> {
        match name {
            "knative" => Some(Self::Knative),
            "deployments" => Some(Self::Deployments),
            _ => None,
        }
    }
}

/// Ownership of buckets by ordinal (spec/autoscaler.md §4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stateful {
    /// Which pod of which StatefulSet this is.
    pub pod: Ordinal,
    /// The set's Service.
    pub service: String,
    /// Scheme and port of the addresses that name the buckets.
    pub protocol: String,
    /// See `protocol`.
    pub port: u16,
}

/// There are fewer buckets than pods of the StatefulSet.
#[derive(Debug, thiserror::Error)]
#[error(
    "STATEFUL_CONTROLLER_ORDINAL={set}-{ordinal} has no bucket: config-leader-election has buckets: \
     {buckets}, which is to be above {ordinal}"
)]
pub struct NoBucket {
    set: String,
    ordinal: u32,
    buckets: u32,
}

impl Settings {
    /// Reads every variable through `get`: the environment in `main`, a map in tests. `resolv_conf` is
    /// the text of `/etc/resolv.conf`; empty if there is none.
    ///
    /// # Errors
    ///
    /// All rejected variables together, so that one restart mends them all.
    pub fn read(get: impl Fn(&str) -> Option<String>, resolv_conf: &str) -> Result<Self, BadVars> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let host = |text: &str| match text {
            "" => Some(any),
            text => text.parse().ok(),
        };
        let mut vars = Vars::new(get);
        // A name with an underscore would make an identity that reads as another one.
        let pod = |it: &str| some(it).filter(|name| !name.contains('_'));
        let pod = vars.required("POD_NAME", "the pod's name", pod);
        let ip = vars.required("POD_IP", "the pod's address", |it| {
            Some(Some(it.parse().ok()?))
        });
        let stateful = stateful(&mut vars);
        let settings = Self {
            stateful,
            identity: Identity {
                pod,
                ip: ip.unwrap_or(any),
            },
            system_namespace: vars.required("SYSTEM_NAMESPACE", "a namespace", some),
            cluster_domain: vars
                .optional("CLUSTER_DOMAIN", "a DNS name", some)
                .or_else(|| resolver::cluster_domain(resolv_conf))
                .unwrap_or_else(|| "cluster.local".to_owned()),
            admin: {
                let host = vars.read("METRICS_PROMETHEUS_HOST", any, "an IP address", host);
                let port = vars.read("METRICS_PROMETHEUS_PORT", 9090, "a port", parsed);
                (host, port).into()
            },
            stats: {
                let host = vars.read("PENSTOCK_LISTEN_HOST", any, "an IP address", host);
                let port = vars.read("PENSTOCK_STATS_PORT", 8080, "a port", parsed);
                (host, port).into()
            },
            policy: vars.read(
                "PENSTOCK_POLICY",
                PolicyKind::Knative,
                "knative or demand",
                |text| match text {
                    "knative" => Some(PolicyKind::Knative),
                    "demand" => Some(PolicyKind::Demand),
                    _ => None,
                },
            ),
            compatible: vars.read("PENSTOCK_COMPATIBLE", false, "true or false", parsed),
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
            config_dir: vars.optional("PENSTOCK_CONFIG_DIR", "a folder", |it| {
                some(it).map(PathBuf::from)
            }),
            cluster: {
                let wanted = "knative or deployments";
                vars.optional("PENSTOCK_CLUSTER", wanted, ClusterKind::named)
            },
            activators: vars.read(
                "PENSTOCK_ACTIVATORS",
                "activator-service".to_owned(),
                "the name of a Service",
                some,
            ),
            services: vars.optional("PENSTOCK_SERVICES", "an IP address and port", |it| {
                it.parse().ok()
            }),
            kubeconfig: vars.optional("KUBECONFIG", "a file", |it| some(it).map(PathBuf::from)),
            min_version: vars.optional(
                "KUBERNETES_MIN_VERSION",
                "a version, such as v1.34.0",
                KubernetesVersion::read,
            ),
            config_logging: vars.read(
                "CONFIG_LOGGING_NAME",
                "config-logging".to_owned(),
                "the name of a ConfigMap",
                some,
            ),
            config_observability: vars.read(
                "CONFIG_OBSERVABILITY_NAME",
                "config-observability".to_owned(),
                "the name of a ConfigMap",
                some,
            ),
            otel: OTEL
                .into_iter()
                .filter_map(|name| Some((name, vars.text(name)?)))
                .collect(),
        };
        vars.finish(settings)
    }

    /// What follows the name of a bucket in the host and port of its Service.
    pub fn bucket_service(&self) -> String {
        let Self {
            system_namespace,
            cluster_domain,
            stats,
            ..
        } = self;
        format!(".{system_namespace}.svc.{cluster_domain}:{}", stats.port())
    }

    /// Who holds the `buckets`, if that is settled without leases.
    ///
    /// # Errors
    ///
    /// This pod's ordinal has no bucket.
    pub fn fixed_leases(&self, buckets: u32) -> Result<Option<Leases>, NoBucket> {
        let Some(Stateful {
            pod: Ordinal { set, ordinal },
            service,
            protocol,
            port,
        }) = &self.stateful
        else {
            return Ok(None);
        };
        if *ordinal >= buckets {
            return Err(NoBucket {
                set: set.clone(),
                ordinal: *ordinal,
                buckets,
            });
        }
        let Self {
            system_namespace: namespace,
            cluster_domain: domain,
            ..
        } = self;
        let name = |n| format!("{protocol}://{set}-{n}.{service}.{namespace}.svc.{domain}:{port}");
        let names: Vec<String> = (0..buckets).map(name).collect();
        Ok(Some(Leases::named(names, *ordinal as usize)))
    }
}

/// Ownership by ordinal, if the two variables that bring it are there.
fn stateful<G: Fn(&str) -> Option<String>>(vars: &mut Vars<G>) -> Option<Stateful> {
    const BOTH: [&str; 2] = ["STATEFUL_CONTROLLER_ORDINAL", "STATEFUL_SERVICE_NAME"];
    let pod = vars.optional(BOTH[0], "a StatefulSet's name, - and a number", |it| {
        it.parse::<Ordinal>().ok()
    });
    let service = vars.optional(BOTH[1], "a Service's name", some);
    let protocol = vars.read("STATEFUL_SERVICE_PROTOCOL", "http".to_owned(), "http", some);
    let port = vars.read("STATEFUL_SERVICE_PORT", 80, "a port", parsed);
    match BOTH.map(|name| vars.text(name).is_some()) {
        [true, false] => vars.reject(BOTH[1], None, "the Service of that StatefulSet"),
        [false, true] => vars.reject(BOTH[0], None, "this pod's name in that StatefulSet"),
        _ => {}
    }
    Some(Stateful {
        pod: pod?,
        service: service?,
        protocol,
        port,
    })
}

/// A text that is not empty.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use penstock_cluster::Holder;

    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, BadVars> {
        let get = |name: &str| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::read(get, "")
    }

    const GOOD: [(&str, &str); 3] = [
        ("POD_NAME", "as"),
        ("POD_IP", "1.2.3.4"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
    ];

    #[test]
    fn the_domain_is_the_variable_or_what_the_resolver_searches() {
        for (variable, want) in [(None, "searched"), (Some("own"), "own")] {
            let get = |name: &str| match name {
                "CLUSTER_DOMAIN" => variable.map(str::to_owned),
                name => GOOD
                    .iter()
                    .find(|it| it.0 == name)
                    .map(|it| it.1.to_owned()),
            };
            let settings = Settings::read(get, "search svc.searched").unwrap();
            assert_eq!(settings.cluster_domain, want);
        }
    }

    #[test]
    fn case_106_the_identity_comes_from_the_pod() {
        let settings = read(&GOOD).unwrap();
        assert_eq!(settings.identity.to_string(), "as_1.2.3.4");
        assert_eq!(
            settings.bucket_service(),
            ".knative-serving.svc.cluster.local:8080"
        );
        assert_eq!(settings.policy, PolicyKind::Knative);
        assert_eq!(settings.admin.port(), 9090);
    }

    fn with(more: &[(&'static str, &'static str)]) -> Result<Settings, BadVars> {
        read(&[&GOOD[..], more].concat())
    }

    #[test]
    fn a_pod_of_a_stateful_set_holds_the_bucket_of_its_ordinal_without_a_lease() {
        assert_eq!(read(&GOOD).unwrap().fixed_leases(3).unwrap(), None);
        let set = [
            ("STATEFUL_CONTROLLER_ORDINAL", "as-1"),
            ("STATEFUL_SERVICE_NAME", "autoscaler"),
        ];
        let settings = with(&set).unwrap();
        let leases = settings.fixed_leases(3).unwrap().unwrap();
        let holders = [Holder::ByName, Holder::Here, Holder::ByName];
        assert_eq!(leases.holders, holders);
        assert_eq!(
            leases.names.unwrap()[2],
            "http://as-2.autoscaler.knative-serving.svc.cluster.local:80"
        );
        let more = [
            ("STATEFUL_SERVICE_PROTOCOL", "ws"),
            ("STATEFUL_SERVICE_PORT", "8080"),
            ("CLUSTER_DOMAIN", "local"),
        ];
        let settings = with(&[&set[..], &more].concat()).unwrap();
        let leases = settings.fixed_leases(2).unwrap().unwrap();
        assert_eq!(
            leases.names.unwrap()[0],
            "ws://as-0.autoscaler.knative-serving.svc.local:8080"
        );
        let none = settings.fixed_leases(1).unwrap_err().to_string();
        assert!(
            none.contains("as-1 has no bucket") && none.contains("buckets: 1"),
            "{none}"
        );
    }

    #[test]
    fn one_of_the_two_variables_of_a_stateful_set_is_a_mistake() {
        for (name, value, missing) in [
            (
                "STATEFUL_CONTROLLER_ORDINAL",
                "as-1",
                "STATEFUL_SERVICE_NAME",
            ),
            ("STATEFUL_SERVICE_NAME", "as", "STATEFUL_CONTROLLER_ORDINAL"),
        ] {
            let bad = with(&[(name, value)]).unwrap_err().to_string();
            assert!(bad.contains(missing), "{bad}");
        }
        let both = [
            ("STATEFUL_CONTROLLER_ORDINAL", "autoscaler"),
            ("STATEFUL_SERVICE_NAME", ""),
            ("STATEFUL_SERVICE_PORT", "http"),
        ];
        let bad = with(&both).unwrap_err().to_string();
        for (name, _) in both {
            assert!(bad.contains(name), "{name} in {bad}");
        }
    }

    #[test]
    fn the_series_have_current_names_unless_the_classic_ones_are_wanted() {
        assert_eq!(read(&GOOD).unwrap().names, Names::Current);
        let name = "PENSTOCK_METRICS_NAMES";
        assert_eq!(with(&[(name, "classic")]).unwrap().names, Names::Classic);
        assert!(with(&[(name, "old")]).is_err());
    }

    #[test]
    fn case_106_every_mistake_is_told_at_once() {
        let bad = read(&[
            ("POD_NAME", ""),
            ("POD_IP", "here"),
            ("PENSTOCK_POLICY", "both"),
            ("PENSTOCK_STATS_PORT", "70000"),
            ("PENSTOCK_CLUSTER", "mesos"),
        ]);
        let bad = bad.unwrap_err().to_string();
        for name in [
            "POD_NAME",
            "POD_IP",
            "SYSTEM_NAMESPACE",
            "PENSTOCK_POLICY",
            "PENSTOCK_STATS_PORT",
            "PENSTOCK_CLUSTER",
        ] {
            assert!(bad.contains(name), "{name} in {bad}");
        }
    }
}
