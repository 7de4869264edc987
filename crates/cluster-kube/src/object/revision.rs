//! Revisions of Knative.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use penstock_types::annotation::{AUTOSCALING, Annotations};
use penstock_types::{Protocol, Reachability, Slots, Timeouts};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Key;
use crate::reflect::shape;

/// Prefixes of the annotations that are kept.
const KEPT: [&str; 4] = [
    AUTOSCALING,
    "features.knative.dev/",
    "serving.knative.dev/progress-deadline",
    "penstock.dev/",
];

/// A Revision as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RevisionObject {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

shape!(RevisionObject: "Revision", "revisions", "serving.knative.dev", "v1");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    container_concurrency: Option<u32>,
    timeout_seconds: Option<u64>,
    response_start_timeout_seconds: Option<u64>,
    idle_timeout_seconds: Option<u64>,
    containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Option<Vec<Port>>,
    readiness_probe: Option<Probe>,
    startup_probe: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Probe {
    exec: Option<IgnoredAny>,
}

/// What is kept of a Revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenRevision {
    pub(crate) key: Key,
    pub(crate) service: String,
    pub(crate) configuration: String,
    pub(crate) annotations: Annotations,
    pub(crate) slots: Slots,
    pub(crate) timeouts: Timeouts,
    pub(crate) protocol: Protocol,
    pub(crate) reachability: Reachability,
    /// Whether a pod that passes a probe may be used before it is called ready.
    pub(crate) early: bool,
}

impl RevisionObject {
    /// What is kept of it (spec/activator.md §1.4).
    pub(crate) fn seen(self) -> SeenRevision {
        let labels = self.metadata.labels.clone().unwrap_or_default();
        let label = |name: &str| {
            let label = labels.get(&format!("serving.knative.dev/{name}"));
            label.cloned().unwrap_or_default()
        };
        let mut annotations = self.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|key, _| KEPT.iter().any(|kept| key.starts_with(kept)));
        let containers = self.spec.containers.unwrap_or_default();
        let seconds = |seconds: Option<u64>| {
            let seconds = seconds.filter(|seconds| *seconds > 0);
            seconds.map(Duration::from_secs)
        };
        SeenRevision {
            key: Key::of(&self.metadata),
            service: label("service"),
            configuration: label("configuration"),
            reachability: match label("routingState").as_str() {
                "active" => Reachability::Reachable,
                "reserve" => Reachability::Unreachable,
                _ => Reachability::Unknown,
            },
            annotations,
            slots: Slots::from_concurrency(self.spec.container_concurrency.unwrap_or(0)),
            timeouts: Timeouts {
                whole: seconds(self.spec.timeout_seconds)
                    .unwrap_or_else(|| Timeouts::default().whole),
                response_start: seconds(self.spec.response_start_timeout_seconds),
                idle: seconds(self.spec.idle_timeout_seconds),
            },
            protocol: protocol(&containers),
            early: early(&containers),
        }
    }
}

/// By the name of the first port of the main container: the only one, or the first with ports.
fn protocol(containers: &[Container]) -> Protocol {
    let mut ports = containers
        .iter()
        .filter_map(|it| it.ports.as_ref()?.first());
    match ports.next() {
        Some(port) if port.name == "h2c" => Protocol::H2c,
        _ => Protocol::Http1,
    }
}

/// Not where the queue-proxy's answer would leave something out: a command as a probe, or a start
/// that the kubelet watches; of any container (spec/activator.md §4.4).
fn early(containers: &[Container]) -> bool {
    !containers.iter().any(|container| {
        let probe = container.readiness_probe.as_ref();
        container.startup_probe.is_some() || probe.is_some_and(|probe| probe.exec.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(spec: &str) -> SeenRevision {
        let text = format!(
            r#"{{"metadata":{{"namespace":"ns","name":"rev","labels":{{
                "serving.knative.dev/service":"svc","serving.knative.dev/configuration":"conf",
                "serving.knative.dev/routingState":"active"}},
                "annotations":{{"autoscaling.knative.dev/target":"5","other":"x"}}}},"spec":{spec}}}"#
        );
        serde_json::from_str::<RevisionObject>(&text)
            .unwrap()
            .seen()
    }

    #[test]
    fn a_revision_is_read_with_the_defaults_of_the_contract() {
        let seen = revision("{}");
        assert_eq!(seen.key.to_string(), "ns/rev");
        assert_eq!(
            (seen.service.as_str(), seen.configuration.as_str()),
            ("svc", "conf")
        );
        assert_eq!(
            (seen.slots, seen.timeouts),
            (Slots::Unlimited, Timeouts::default())
        );
        assert_eq!((seen.protocol, seen.early), (Protocol::Http1, true));
        assert_eq!(seen.reachability, Reachability::Reachable);
        assert_eq!(seen.annotations.len(), 1);
        let seen = revision(
            r#"{"containerConcurrency":7,"timeoutSeconds":60,"responseStartTimeoutSeconds":20,
                "idleTimeoutSeconds":0,"containers":[{},{"ports":[{"name":"h2c"}]}]}"#,
        );
        assert_eq!(seen.slots.as_concurrency(), 7);
        assert_eq!(seen.timeouts.whole, Duration::from_secs(60));
        assert_eq!(seen.timeouts.response_start, Some(Duration::from_secs(20)));
        assert_eq!(seen.timeouts.idle, None);
        assert_eq!(seen.protocol, Protocol::H2c);
    }

    #[test]
    fn cases_77_78_and_84_a_probe_that_only_the_kubelet_knows_forbids_early_use() {
        let early = |containers: &str| revision(&format!(r#"{{"containers":{containers}}}"#)).early;
        assert!(early(r#"[{"readinessProbe":{"httpGet":{"path":"/"}}}]"#));
        assert!(!early(
            r#"[{"readinessProbe":{"exec":{"command":["true"]}}}]"#
        ));
        assert!(
            !early(r#"[{"ports":[{}]},{"readinessProbe":{"exec":{}}}]"#),
            "a sidecar's"
        );
        assert!(!early(r#"[{"startupProbe":{"tcpSocket":{"port":80}}}]"#));
        assert!(
            !early(r#"[{"ports":[{}]},{"startupProbe":{}}]"#),
            "a sidecar's"
        );
    }
}
