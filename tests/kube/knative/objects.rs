//! What Knative's controller writes: the objects of a revision, the Services and ConfigMaps of the
//! install, and the rights of its programs, as far as anything here reads them.
//!
//! ServerlessServices and their Services are written by the emulated controllers, of what the
//! autoscaler asks for.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// Where Knative is.
pub(super) const SYSTEM: &str = "knative-serving";

/// The rights of a stock activator.
pub(super) const ACTIVATOR_RULES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: knative-serving-activator-cluster }
rules:
- { apiGroups: [""], resources: [services, endpoints], verbs: [get, list, watch] }
- { apiGroups: [serving.knative.dev], resources: [revisions], verbs: [get, list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: knative-serving-activator, namespace: knative-serving }
rules:
- { apiGroups: [""], resources: [configmaps, secrets], verbs: [get, list, watch] }
"#;

/// The rights of a stock autoscaler, which it shares with the controller; as far as an autoscaler
/// could use them.
pub(super) const AUTOSCALER_RULES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: knative-serving-core }
rules:
- apiGroups: [""]
  resources: [pods, namespaces, secrets, configmaps, endpoints, services, events, serviceaccounts]
  verbs: [get, list, create, update, delete, patch, watch]
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [get, list, create, update, delete, patch, watch] }
- { apiGroups: [apps], resources: [deployments, deployments/finalizers], verbs: [get, list, create, update, delete, patch, watch] }
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, create, update, delete, patch, watch] }
- apiGroups: [autoscaling.internal.knative.dev, networking.internal.knative.dev]
  resources: [metrics, metrics/status, podautoscalers, podautoscalers/status, serverlessservices, serverlessservices/status]
  verbs: [get, list, create, update, delete, deletecollection, patch, watch]
- { apiGroups: ["*"], resources: ["*/scale"], verbs: [patch] }
"#;

/// A ConfigMap of the install: its example, which nobody reads, and what was set.
pub(super) fn config_map(name: &str, data: &[(&str, &str)]) -> Value {
    let mut all = Map::new();
    all.insert("_example".to_owned(), "stable-window: nonsense\n".into());
    all.extend(
        data.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into())),
    );
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": SYSTEM }, "data": all,
    })
}

/// A Service of the install, that leads to the pods of one of its programs.
pub(super) fn service(name: &str, app: &str, ports: &[(&str, u16, u16)]) -> Value {
    let ports = ports
        .iter()
        .map(|(name, port, target)| json!({ "name": name, "port": port, "targetPort": target }));
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": SYSTEM, "labels": { "app": app } },
        "spec": { "selector": { "app": app }, "ports": ports.collect::<Value>() },
    })
}

/// The pod of one of its programs, which runs and is ready; this process plays its kubelet.
pub(super) fn component(app: &str, name: &str, ip: IpAddr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": SYSTEM, "labels": { "app": app } },
        "spec": { "nodeName": "elsewhere", "containers": [{ "name": app, "image": app }] },
        "status": {
            "phase": "Running", "podIP": ip.to_string(), "podIPs": [{ "ip": ip.to_string() }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// A revision of a Service of the name before its last dash, in the namespace `default`.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub(super) name: &'static str,
    pub(super) annotations: Vec<(&'static str, &'static str)>,
    pub(super) concurrency: u32,
    /// What the controller asks the Deployment for at first.
    pub(super) replicas: u32,
}

impl Revision {
    /// With Knative's defaults: one pod at first, and room for two requests in each.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            annotations: Vec::new(),
            concurrency: 2,
            replicas: 1,
        }
    }

    /// With an annotation `autoscaling.knative.dev/KEY`.
    pub(super) fn with(mut self, key: &'static str, value: &'static str) -> Self {
        self.annotations.push((key, value));
        if key == "initial-scale" {
            self.replicas = value.parse().unwrap();
        }
        self
    }

    /// The host that the public Service has within the cluster.
    pub(super) fn host(&self) -> String {
        format!("{}.default.svc.cluster.local", self.name)
    }

    fn service(&self) -> &str {
        self.name.rsplit_once('-').map_or(self.name, |(it, _)| it)
    }

    fn uid(&self, of: &str) -> String {
        format!("{}-{of}", self.name)
    }

    fn labels(&self) -> Value {
        json!({
            "app": self.name,
            "serving.knative.dev/revision": self.name,
            "serving.knative.dev/revisionUID": self.uid("revision"),
            "serving.knative.dev/configuration": self.service(),
            "serving.knative.dev/configurationGeneration": "1",
            "serving.knative.dev/service": self.service(),
        })
    }

    fn metadata(&self, name: &str, uid: &str) -> Value {
        let mut annotations = Map::new();
        annotations.insert("serving.knative.dev/creator".to_owned(), "somebody".into());
        annotations.extend(self.annotations.iter().map(|(key, value)| {
            let key = format!("autoscaling.knative.dev/{key}");
            (key, (*value).into())
        }));
        json!({
            "name": name, "namespace": "default", "uid": self.uid(uid),
            "labels": self.labels(), "annotations": annotations,
        })
    }

    /// The same for what the revision owns.
    fn owned(&self, name: &str, uid: &str) -> Value {
        let mut metadata = self.metadata(name, uid);
        metadata["ownerReferences"] = json!([{
            "apiVersion": "serving.knative.dev/v1", "kind": "Revision", "name": self.name,
            "uid": self.uid("revision"), "controller": true, "blockOwnerDeletion": true,
        }]);
        metadata
    }

    /// The Revision, its Deployment and its PodAutoscaler, in the order in which they are written.
    pub(super) fn objects(&self) -> [Value; 3] {
        let revision = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
            "metadata": self.metadata(self.name, "revision"),
            "spec": {
                "containerConcurrency": self.concurrency, "timeoutSeconds": 60,
                "containers": [{
                    "name": "user-container", "image": "web",
                    "readinessProbe": { "successThreshold": 1, "tcpSocket": { "port": 0 } },
                }],
            },
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": self.owned(&format!("{}-deployment", self.name), "deployment"),
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": {
                    "serving.knative.dev/revisionUID": self.uid("revision"),
                } },
                "template": {
                    "metadata": { "labels": self.labels() },
                    "spec": {
                        "containers": [user_container(), self.queue_proxy()],
                        "terminationGracePeriodSeconds": 60,
                    },
                },
            },
        });
        let mut metadata = self.owned(self.name, "autoscaler");
        for (key, value) in [
            (
                "autoscaling.knative.dev/class",
                "kpa.autoscaling.knative.dev",
            ),
            ("autoscaling.knative.dev/metric", "concurrency"),
        ] {
            metadata["annotations"][key] = value.into();
        }
        let autoscaler = json!({
            "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
            "metadata": metadata,
            "spec": {
                "containerConcurrency": self.concurrency,
                "protocolType": "http1",
                "reachability": "",
                "scaleTargetRef": {
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "name": format!("{}-deployment", self.name),
                },
            },
        });
        [revision, deployment, autoscaler]
    }

    /// The container that the controller puts into each pod.
    fn queue_proxy(&self) -> Value {
        let probe = json!({
            "tcpSocket": { "port": 8080, "host": "127.0.0.1" }, "successThreshold": 1,
        });
        let logging = r#"{"level":"info","encoding":"json","outputPaths":["stdout"],"errorOutputPaths":["stderr"],"encoderConfig":{"timeKey":"timestamp","levelKey":"severity","messageKey":"message"}}"#;
        let observability = r#"{"tracing":{},"metrics":{},"runtime":{},"requestMetrics":{"protocol":"prometheus"}}"#;
        let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
        let plain = [
            ("SERVING_NAMESPACE", "default".to_owned()),
            ("SERVING_SERVICE", self.service().to_owned()),
            ("SERVING_CONFIGURATION", self.service().to_owned()),
            ("SERVING_REVISION", self.name.to_owned()),
            ("QUEUE_SERVING_PORT", "8012".to_owned()),
            ("QUEUE_SERVING_TLS_PORT", "8112".to_owned()),
            ("CONTAINER_CONCURRENCY", self.concurrency.to_string()),
            ("REVISION_TIMEOUT_SECONDS", "60".to_owned()),
            ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", "0".to_owned()),
            ("REVISION_IDLE_TIMEOUT_SECONDS", "0".to_owned()),
            ("SERVING_LOGGING_CONFIG", logging.to_owned()),
            ("SERVING_LOGGING_LEVEL", String::new()),
            ("USER_PORT", "8080".to_owned()),
            ("SYSTEM_NAMESPACE", SYSTEM.to_owned()),
            ("SERVING_READINESS_PROBE", probe.to_string()),
            ("ENABLE_HTTP2_AUTO_DETECTION", "false".to_owned()),
            ("ENABLE_HTTP_FULL_DUPLEX", "false".to_owned()),
            ("ROOT_CA", String::new()),
            ("ENABLE_MULTI_CONTAINER_PROBES", "false".to_owned()),
            ("OBSERVABILITY_CONFIG", observability.to_owned()),
        ];
        let mut env: Vec<Value> = plain
            .into_iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        for (name, path) in [
            ("SERVING_POD", "metadata.name"),
            ("SERVING_POD_IP", "status.podIP"),
            ("HOST_IP", "status.hostIP"),
        ] {
            env.push(json!({ "name": name, "valueFrom": field(path) }));
        }
        let ports = [
            ("http-queueadm", 8022),
            ("http-autometric", 9090),
            ("http-usermetric", 9091),
            ("queue-port", 8012),
            ("https-port", 8112),
        ];
        let ports = ports.map(|(name, port)| json!({ "name": name, "containerPort": port }));
        json!({
            "name": "queue-proxy", "image": "queue-proxy", "ports": ports, "env": env,
            "readinessProbe": { "successThreshold": 1, "httpGet": {
                "port": 8012, "httpHeaders": [{ "name": "K-Network-Probe", "value": "queue" }],
            } },
        })
    }
}

fn user_container() -> Value {
    json!({
        "name": "user-container", "image": "web",
        "ports": [{ "name": "user-port", "containerPort": 8080 }],
        "lifecycle": { "preStop": { "httpGet": { "port": 8022, "path": "/wait-for-drain" } } },
    })
}
