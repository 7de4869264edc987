//! The variables of the process, all read at once.
//!
//! | Variable | Default | Use |
//! |---|---|---|
//! | `POD_NAME`, `POD_IP` | required | identity in leases (spec/autoscaler.md §4.5) |
//! | `SYSTEM_NAMESPACE` | required | where ConfigMaps, leases and bucket Services are |
//! | `CLUSTER_DOMAIN` | `cluster.local` | end of Service hosts |
//! | `METRICS_PROMETHEUS_HOST`, `_PORT` | `0.0.0.0`, 9090 | metrics and `/explain` |
//! | `PENSTOCK_STATS_PORT` | 8080 | statistics of activators, probes |
//! | `PENSTOCK_POLICY` | `knative` | `knative` or `demand` |
//! | `PENSTOCK_METRICS_NAMES` | `current` | `current` or `classic` (`autoscaler_*`) |
//! | `PENSTOCK_CONFIG_DIR` | none | a folder for each ConfigMap, a file for each of its keys |

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use penstock_runtime::vars::{BadVars, Vars, parsed};
use penstock_scaling::bucket::Identity;

use crate::metrics::Names;
use crate::policy::PolicyKind;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who this process is in leases.
    pub identity: Identity,
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
    /// Under which names the figures are exported.
    pub names: Names,
    /// Where ConfigMaps are as files; without it the defaults hold.
    pub config_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads every variable through `get`: the environment in `main`, a map in tests.
    ///
    /// # Errors
    ///
    /// All rejected variables together, so that one restart mends them all.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, BadVars> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut vars = Vars::new(get);
        // A name with an underscore would make an identity that reads as another one.
        let pod = |it: &str| some(it).filter(|name| !name.contains('_'));
        let pod = vars.required("POD_NAME", "the pod's name", pod);
        let ip = vars.required("POD_IP", "the pod's address", |it| {
            Some(Some(it.parse().ok()?))
        });
        let settings = Self {
            identity: Identity {
                pod,
                ip: ip.unwrap_or(any),
            },
            system_namespace: vars.required("SYSTEM_NAMESPACE", "a namespace", some),
            cluster_domain: vars.read(
                "CLUSTER_DOMAIN",
                "cluster.local".to_owned(),
                "a DNS name",
                some,
            ),
            admin: {
                let host = vars.read("METRICS_PROMETHEUS_HOST", any, "an IP address", |text| {
                    if text.is_empty() {
                        Some(any)
                    } else {
                        text.parse().ok()
                    }
                });
                let port = vars.read("METRICS_PROMETHEUS_PORT", 9090, "a port", parsed);
                (host, port).into()
            },
            stats: {
                let port = vars.read("PENSTOCK_STATS_PORT", 8080, "a port", parsed);
                (any, port).into()
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
}

/// A text that is not empty.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, BadVars> {
        Settings::read(|name| {
            let found = set.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const GOOD: [(&str, &str); 3] = [
        ("POD_NAME", "as"),
        ("POD_IP", "1.2.3.4"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
    ];

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

    #[test]
    fn case_106_every_mistake_is_told_at_once() {
        let bad = read(&[
            ("POD_NAME", ""),
            ("POD_IP", "here"),
            ("PENSTOCK_POLICY", "both"),
            ("PENSTOCK_STATS_PORT", "70000"),
        ]);
        let bad = bad.unwrap_err().to_string();
        for name in [
            "POD_NAME",
            "POD_IP",
            "SYSTEM_NAMESPACE",
            "PENSTOCK_POLICY",
            "PENSTOCK_STATS_PORT",
        ] {
            assert!(bad.contains(name), "{name} in {bad}");
        }
    }
}
