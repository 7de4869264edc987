//! The container `queue-proxy`, as Knative's controller makes it (spec/queue-proxy.md §0, §1).

use super::document::Value;
use super::settings::Settings;

/// Its name, by which everybody knows it.
pub(super) const NAME: &str = "queue-proxy";
/// Where its drain is waited for.
pub(super) const DRAIN_PORT: i64 = 8022;
/// Ports that are its own in a pod: requests by HTTP/1.1, by HTTP/2, by TLS, the drain,
/// statistics and metrics.
pub(super) const PORTS: [i64; 6] = [8012, 8013, 8112, DRAIN_PORT, 9090, 9091];

/// What it stands in front of.
pub(super) struct Front<'a> {
    /// Name of the workload.
    pub(super) name: &'a str,
    /// Where the serving container listens.
    pub(super) port: i64,
    /// Whether that speaks HTTP/2 without TLS.
    pub(super) h2c: bool,
    /// Its readiness probe, if the queue-proxy can ask it itself.
    pub(super) probe: Option<&'a Value>,
    pub(super) settings: Settings,
}

/// The container.
pub(super) fn container(front: &Front<'_>, image: &str) -> Value {
    let serving = if front.h2c { 8013 } else { 8012 };
    let port = |name: &str, number: i64| {
        Value::map([("name", name.into()), ("containerPort", number.into())])
    };
    Value::map([
        ("name", NAME.into()),
        ("image", image.into()),
        (
            "ports",
            Value::List(vec![
                port("queue-port", serving),
                port("http-autometric", 9090),
                port("http-usermetric", 9091),
            ]),
        ),
        ("env", Value::List(env(front, serving))),
        ("readinessProbe", readiness(front.probe, serving)),
        (
            "resources",
            Value::map([("requests", Value::map([("cpu", "25m".into())]))]),
        ),
        (
            "securityContext",
            Value::map([
                ("allowPrivilegeEscalation", false.into()),
                ("readOnlyRootFilesystem", true.into()),
                ("runAsNonRoot", true.into()),
                (
                    "capabilities",
                    Value::map([("drop", Value::List(vec!["ALL".into()]))]),
                ),
                (
                    "seccompProfile",
                    Value::map([("type", "RuntimeDefault".into())]),
                ),
            ]),
        ),
    ])
}

fn env(front: &Front<'_>, serving: i64) -> Vec<Value> {
    let set =
        |name: &str, value: String| Value::map([("name", name.into()), ("value", value.into())]);
    let field = |name: &str, path: &str| {
        let from = Value::map([("fieldRef", Value::map([("fieldPath", path.into())]))]);
        Value::map([("name", name.into()), ("valueFrom", from)])
    };
    let observed = r#"{"requestMetrics":{"protocol":"prometheus"}}"#;
    vec![
        set(
            "CONTAINER_CONCURRENCY",
            front.settings.concurrency.to_string(),
        ),
        set("QUEUE_SERVING_PORT", serving.to_string()),
        set("QUEUE_SERVING_TLS_PORT", "8112".to_owned()),
        set("USER_PORT", front.port.to_string()),
        set(
            "REVISION_TIMEOUT_SECONDS",
            front.settings.timeout.to_string(),
        ),
        set("SERVING_READINESS_PROBE", asked(front)),
        set("SERVING_LOGGING_CONFIG", String::new()),
        set("SERVING_LOGGING_LEVEL", String::new()),
        set("OBSERVABILITY_CONFIG", observed.to_owned()),
        field("SERVING_NAMESPACE", "metadata.namespace"),
        set("SERVING_SERVICE", front.name.to_owned()),
        set("SERVING_CONFIGURATION", front.name.to_owned()),
        set("SERVING_REVISION", front.name.to_owned()),
        field("SERVING_POD", "metadata.name"),
        field("SERVING_POD_IP", "status.podIP"),
        field("HOST_IP", "status.hostIP"),
    ]
}

/// How the queue-proxy asks the container: as it was asked before, else by a TCP connection, as
/// often as it takes.
fn asked(front: &Front<'_>) -> String {
    let mut probe = match front.probe {
        Some(probe) => probe.clone(),
        None => Value::map([
            ("tcpSocket", Value::map([("port", front.port.into())])),
            ("periodSeconds", 0.into()),
            ("successThreshold", 1.into()),
        ]),
    };
    for kind in ["httpGet", "tcpSocket"] {
        if let Some(action) = probe.get_mut(kind)
            && action.get("host").is_none()
        {
            action.set("host", Some("127.0.0.1".into()));
        }
    }
    serde_json::to_string(&probe).unwrap_or_default()
}

/// How the kubelet asks the queue-proxy: with the timings that the container had.
fn readiness(probe: Option<&Value>, serving: i64) -> Value {
    let header = Value::map([
        ("name", "K-Network-Probe".into()),
        ("value", "queue".into()),
    ]);
    let mut readiness = Value::map([(
        "httpGet",
        Value::map([
            ("path", "/".into()),
            ("port", serving.into()),
            ("httpHeaders", Value::List(vec![header])),
        ]),
    )]);
    match probe {
        Some(probe) => {
            for key in [
                "initialDelaySeconds",
                "timeoutSeconds",
                "periodSeconds",
                "successThreshold",
                "failureThreshold",
            ] {
                if let Some(value) = probe.get(key) {
                    readiness.set(key, Some(value.clone()));
                }
            }
        }
        // Nothing is asked of the container by it, so it may be asked often.
        None => {
            readiness.set("periodSeconds", Some(1.into()));
        }
    }
    readiness
}
