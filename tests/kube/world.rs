//! A cluster with Penstock in it: the API server, its controllers and kubelet, pods with the real
//! sidecar, activators and autoscalers.
//!
//! Everything is a process of its own but for the API server and the containers of users. There is
//! no kube-proxy: clients go by the EndpointSlices themselves (`service.rs`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use penstock_testkit::kube::{ApiServer, Controllers, NewPod, Rules, Running};
use penstock_testkit::workload::Workload;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::program::{Program, address};
use super::service::{Proxy, Service, endpoints};
use crate::harness::{Folder, until};

/// Where Penstock itself is.
pub(super) const SYSTEM: &str = "penstock-system";
/// The Service of the activators.
pub(super) const ACTIVATORS: &str = "activator-service";
/// The Service of the autoscalers.
const AUTOSCALERS: &str = "autoscaler";

/// The cluster.
pub(super) struct World {
    pub(super) server: Arc<ApiServer>,
    pub(super) folder: Folder,
    pub(super) proxy: Proxy,
    _controllers: Controllers,
}

/// An activator or an autoscaler, and where it is.
pub(super) struct Component {
    pub(super) program: Program,
    pub(super) ip: IpAddr,
}

impl World {
    /// A cluster without Knative, in which nothing of Penstock runs yet but its settings are.
    pub(super) async fn new() -> Self {
        let server = Arc::new(ApiServer::start_as_asked().await);
        server.forget_group("serving.knative.dev");
        server.put(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "config-autoscaler", "namespace": SYSTEM },
            // The shortest that are allowed; the rest as deploy/kube has it.
            "data": {
                "stable-window": "6s",
                "scale-to-zero-grace-period": "6s",
                "allow-zero-initial-scale": "true",
                "initial-scale": "0",
            },
        }));
        for (component, file) in [
            (
                "activator",
                include_str!("../../deploy/kube/base/activator-rbac.yaml"),
            ),
            (
                "autoscaler",
                include_str!("../../deploy/kube/base/autoscaler-rbac.yaml"),
            ),
        ] {
            server.authorize_token(component, rules(file));
        }
        let controllers = Controllers::setup(&server).on_start(start_pod).start();
        Self {
            proxy: Proxy::start(&server).await,
            folder: Folder::new(),
            server,
            _controllers: controllers,
        }
    }

    /// The same with one activator and one autoscaler at work.
    pub(super) async fn with_both() -> (Self, Component, Component) {
        let world = Self::new().await;
        let autoscaler = world.autoscaler().await;
        let activator = world.activator().await;
        (world, activator, autoscaler)
    }

    /// Starts an autoscaler, and waits until it takes statistics.
    pub(super) async fn autoscaler(&self) -> Component {
        let autoscaler = self.autoscaler_at(address()).await;
        self.enter(AUTOSCALERS, autoscaler.ip, 8080);
        autoscaler
    }

    /// Starts one at the address of another that has ended.
    pub(super) async fn autoscaler_at(&self, ip: IpAddr) -> Component {
        let mut variables = self.variables("autoscaler", ip);
        variables.push(("PENSTOCK_POLICY", "demand".to_owned()));
        variables.push(("PENSTOCK_SERVICES", self.proxy.addr().to_string()));
        let mut program = Program::start("autoscaler", &variables);
        program.until_open(&[(ip, 8080).into()]).await;
        Component { program, ip }
    }

    /// Starts an activator, which tells the newest autoscaler, and waits until it takes requests.
    pub(super) async fn activator(&self) -> Component {
        let mut activator = self.activator_begun();
        activator
            .program
            .until_open(&[(activator.ip, 8012).into()])
            .await;
        self.enter(ACTIVATORS, activator.ip, 8012);
        activator
    }

    /// Starts one, and does not wait for it: nobody is led to it.
    pub(super) fn activator_begun(&self) -> Component {
        let ip = address();
        let autoscaler = Service::of(&self.server, SYSTEM, AUTOSCALERS).next();
        let autoscaler = autoscaler.expect("an autoscaler first").to_string();
        let mut variables = self.variables("activator", ip);
        variables.push(("PENSTOCK_AUTOSCALER", autoscaler));
        variables.push(("PENSTOCK_LAME_DUCK_MS", "500".to_owned()));
        variables.push(("PENSTOCK_WORKERS", "1".to_owned()));
        let program = Program::start("activator", &variables);
        Component { program, ip }
    }

    /// What every program of Penstock is told.
    fn variables(&self, component: &'static str, ip: IpAddr) -> Vec<(&'static str, String)> {
        let config = self.server.kubeconfig();
        let token = format!("user: {{token: {component}}}");
        let config = config.replace("user: {}", &token);
        let config = self.folder.write(&format!("{component}.yaml"), &config);
        vec![
            ("POD_NAME", format!("{component}-{ip}")),
            ("POD_IP", ip.to_string()),
            ("SYSTEM_NAMESPACE", SYSTEM.to_owned()),
            ("KUBECONFIG", config.display().to_string()),
            ("CLUSTER_DOMAIN", "cluster.local".to_owned()),
            ("PENSTOCK_CLUSTER", "deployments".to_owned()),
            ("PENSTOCK_LISTEN_HOST", ip.to_string()),
            ("METRICS_PROMETHEUS_HOST", ip.to_string()),
        ]
    }

    /// Puts an address among the endpoints of a Service of Penstock's own, as the controller of
    /// endpoints would once the pod is ready.
    fn enter(&self, service: &str, ip: IpAddr, port: u16) {
        self.change_endpoints(service, port, |all| all.push(ip.to_string()));
    }

    /// Takes an address out of them, as that controller does when a pod is to end.
    pub(super) fn leave(&self, service: &str, ip: IpAddr) {
        self.change_endpoints(service, 8012, |all| all.retain(|it| *it != ip.to_string()));
    }

    fn change_endpoints(&self, service: &str, port: u16, change: impl FnOnce(&mut Vec<String>)) {
        let before = endpoints(&self.server, SYSTEM, service);
        let mut ips: Vec<String> = before.iter().map(|addr| addr.ip().to_string()).collect();
        change(&mut ips);
        let endpoints = ips
            .iter()
            .map(|ip| json!({ "addresses": [ip], "conditions": { "ready": true } }));
        self.server.put(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-abc"), "namespace": SYSTEM,
                "labels": { "kubernetes.io/service-name": service },
            },
            "addressType": "IPv4",
            "ports": [
                { "name": "http", "port": port, "protocol": "TCP" },
                { "name": "http2", "port": port + 1, "protocol": "TCP" },
            ],
            "endpoints": endpoints.collect::<Vec<_>>(),
        }));
    }

    /// The Service of a workload in the namespace `default`.
    pub(super) fn service(&self, name: &str) -> Service {
        Service::of(&self.server, "default", name)
    }

    /// Waits until the Service of a workload leads to these addresses alone.
    pub(super) async fn until_leads_to(
        &self,
        name: &str,
        what: &str,
        is_it: impl Fn(&[SocketAddr]) -> bool,
    ) {
        until(&format!("{name} leads to {what}"), async || {
            let now = endpoints(&self.server, "default", name);
            (!now.is_empty() && is_it(&now)).then_some(())
        })
        .await;
    }

    /// Waits until a workload has this many pods, all of them ready.
    pub(super) async fn until_pods(&self, kind: &str, name: &str, holds: impl Fn(i64) -> bool) {
        let is_so = |it: &Value| {
            let count = |field: &str| it["status"][field].as_i64().unwrap_or(0);
            holds(it["spec"]["replicas"].as_i64().unwrap_or(0))
                && it["spec"]["replicas"].as_i64() == Some(count("readyReplicas"))
                && count("replicas") == count("readyReplicas")
        };
        let waiting = self.server.wait_until(kind, "default", name, is_so);
        let waited = tokio::time::timeout(crate::harness::PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "{name}: {:?}",
            self.server.get(kind, "default", name)
        );
    }
}

/// The rules of a manifest, in the namespace that it is applied to.
pub(super) fn rules(manifest: &str) -> Rules {
    let place = format!("kind: Role\nmetadata:\n  namespace: {SYSTEM}\n");
    Rules::parse(&manifest.replace("kind: Role\nmetadata:\n", &place))
}

/// A workload that Penstock is to scale, at zero, with its sidecar.
pub(super) fn with_sidecar(kind: &str, name: &str) -> Value {
    let mut workload = without_sidecar(kind, name);
    let containers = &mut workload["spec"]["template"]["spec"]["containers"];
    containers.as_array_mut().unwrap().push(json!({
        "name": "queue-proxy", "image": "queue-proxy", "ports": [{ "containerPort": 8012 }],
    }));
    workload
}

/// The same without a sidecar.
pub(super) fn without_sidecar(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": { "penstock.dev/scale": "true" },
            "annotations": {
                "penstock.dev/host": format!("{name}.example.com"),
                "penstock.dev/container-concurrency": "2",
                // Out of the path as soon as there is a pod.
                "autoscaling.knative.dev/target-burst-capacity": "0",
                "autoscaling.knative.dev/window": "6s",
            },
        },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [
                    { "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] }
                ] },
            },
        },
    })
}

/// A pod that runs: a server as its container and, if it is to have one, the sidecar before it.
struct Pod {
    web: Option<Workload>,
    sidecar: Option<Program>,
}

async fn start_pod(pod: NewPod) -> Running {
    let containers = pod.object["spec"]["containers"].as_array().unwrap();
    let injected = containers.iter().any(|it| it["name"] == "queue-proxy");
    let own: IpAddr = pod.ip.into();
    if !injected {
        let listener = TcpListener::bind((own, 8080)).await.unwrap();
        let web = Some(Workload::on(listener));
        return Box::new(Pod { web, sidecar: None });
    }
    let web = Workload::start().await;
    let port = web.addr().port();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &pod.object["metadata"];
    let probe = json!({ "tcpSocket": { "host": "127.0.0.1", "port": port } });
    let mut sidecar = Program::start(
        "queue-proxy",
        &[
            ("SERVING_NAMESPACE", text(&metadata["namespace"])),
            ("SERVING_CONFIGURATION", text(&metadata["labels"]["app"])),
            ("SERVING_REVISION", text(&metadata["labels"]["app"])),
            ("SERVING_POD", text(&metadata["name"])),
            ("SERVING_POD_IP", own.to_string()),
            ("SERVING_READINESS_PROBE", probe.to_string()),
            ("SERVING_LOGGING_CONFIG", String::new()),
            ("SERVING_LOGGING_LEVEL", String::new()),
            ("CONTAINER_CONCURRENCY", "2".to_owned()),
            ("REVISION_TIMEOUT_SECONDS", "60".to_owned()),
            ("USER_PORT", port.to_string()),
            ("QUEUE_SERVING_PORT", "8012".to_owned()),
            ("QUEUE_SERVING_TLS_PORT", String::new()),
            ("METRICS_PROMETHEUS_HOST", own.to_string()),
            ("PENSTOCK_LISTEN_HOST", own.to_string()),
            ("PENSTOCK_WORKERS", "1".to_owned()),
            ("PENSTOCK_DRAIN_QUIET_MS", "1000".to_owned()),
        ],
    );
    let ports = [8012, 9090].map(|port| (own, port).into());
    sidecar.until_open(&ports).await;
    Box::new(Pod {
        web: Some(web),
        sidecar: Some(sidecar),
    })
}

impl Drop for Pod {
    /// The sidecar is asked to end, and the container goes with it: both may still be asked for a
    /// while by whoever has not heard yet that the pod goes.
    fn drop(&mut self) {
        let Some(sidecar) = self.sidecar.take() else {
            return;
        };
        sidecar.terminate();
        let web = self.web.take();
        tokio::spawn(async move {
            let _web = web;
            tokio::time::timeout(Duration::from_secs(70), sidecar.ended()).await
        });
    }
}
