//! A Knative install that is emulated, and autoscalers beside it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::SinkExt;
use penstock_autoscaler::env::Settings;
use penstock_autoscaler::kube;
use penstock_testkit::kube::{ApiServer, Call};
use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use penstock_types::header::{DEMAND_EXTENSION, DEMAND_EXTENSION_VERSION};
use penstock_types::wire::Frame;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

pub(crate) const SYSTEM: &str = "knative-serving";
pub(crate) const BUCKET: &str = "autoscaler-bucket-00-of-01";

/// A running autoscaler.
pub(crate) struct Running {
    pub(crate) stats: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), kube::Unreached>>,
}

impl Running {
    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Variables of the pod `name`, and how it reaches `server`.
pub(crate) fn settings(server: &ApiServer, name: &str, more: &[(&str, &str)]) -> Settings {
    let kubeconfig = file(&server.kubeconfig());
    let kubeconfig = kubeconfig.to_str().unwrap().to_owned();
    let set = [
        ("POD_NAME", name),
        ("POD_IP", "127.0.0.1"),
        ("SYSTEM_NAMESPACE", SYSTEM),
        ("METRICS_PROMETHEUS_HOST", "127.0.0.1"),
        ("METRICS_PROMETHEUS_PORT", "0"),
        ("PENSTOCK_STATS_PORT", "0"),
        ("KUBECONFIG", kubeconfig.as_str()),
    ];
    let get = |name: &str| {
        let found = more.iter().chain(&set).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::read(get, "").unwrap()
}

/// A file of its own with this text.
fn file(text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("penstock-kubeconfig-{}-{next}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Starts an autoscaler, and waits until it listens.
pub(crate) async fn start(server: &ApiServer, name: &str, more: &[(&str, &str)]) -> Running {
    let settings = settings(server, name, more);
    let kubeconfig = settings.kubeconfig.clone();
    let stop = CancellationToken::new();
    let (tell, told) = oneshot::channel();
    let running = kube::run(settings, stop.clone(), |_, addrs| {
        tell.send(addrs).unwrap();
    });
    let task = tokio::spawn(running);
    let [stats, _] = told.await.expect("it starts");
    if let Some(kubeconfig) = kubeconfig {
        let _ = std::fs::remove_file(kubeconfig);
    }
    Running {
        stats: ([127, 0, 0, 1], stats.port()).into(),
        stop,
        task,
    }
}

pub(crate) async fn until_held_by(server: &ApiServer, name: &str) {
    let holder = format!("{name}_127.0.0.1");
    let held = |lease: &Value| lease["spec"]["holderIdentity"] == holder;
    server.wait_until("Lease", SYSTEM, BUCKET, held).await;
}

/// Puts a ConfigMap of the system's namespace.
pub(crate) fn configure(server: &ApiServer, name: &str, data: &Value) {
    server.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": SYSTEM }, "data": data,
    }));
}

fn labels(name: &str) -> Value {
    json!({ "serving.knative.dev/revision": name })
}

/// A revision that has been there for long: with so many pods wanted, or inactive without any.
pub(crate) fn put_revision(server: &ApiServer, name: &str, replicas: u32) {
    let uid = format!("00000000-0000-0000-0000-{name:0>12}");
    let deployment = format!("{name}-deployment");
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment });
    let long_ago = "2024-05-01T10:00:00Z";
    let active = match replicas {
        0 => json!({ "type": "Active", "status": "False", "reason": "NoTraffic",
                     "message": "The target is not receiving traffic.", "lastTransitionTime": long_ago }),
        _ => json!({ "type": "Active", "status": "True", "lastTransitionTime": long_ago }),
    };
    server.put(json!({
        "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
        "metadata": { "name": name, "namespace": "default", "uid": uid, "labels": labels(name),
            "annotations": { "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev" } },
        "spec": { "containerConcurrency": 10, "protocolType": "http1", "reachability": "Reachable",
                  "scaleTargetRef": target },
        "status": { "conditions": [active,
            { "type": "ScaleTargetInitialized", "status": "True", "lastTransitionTime": long_ago }] },
    }));
    server.put(json!({
        "apiVersion": "networking.internal.knative.dev/v1alpha1", "kind": "ServerlessService",
        "metadata": { "name": name, "namespace": "default", "ownerReferences": [{
            "apiVersion": "autoscaling.internal.knative.dev/v1alpha1", "kind": "PodAutoscaler",
            "name": name, "uid": uid, "controller": true }] },
        "spec": { "mode": "Proxy", "numActivators": 2, "protocolType": "http1", "objectRef": target },
        "status": { "serviceName": name, "privateServiceName": format!("{name}-private"),
            "conditions": [{ "type": "Ready", "status": "True" }] },
    }));
    server.put(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": deployment, "namespace": "default", "labels": labels(name) },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels(name) },
            "template": { "metadata": { "labels": labels(name) },
                "spec": { "containers": [{ "name": "user-container", "image": "hello" }] } } },
    }));
}

/// A ready pod of a revision.
pub(crate) fn put_pod(server: &ApiServer, revision: &str, number: u32) {
    server.put(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("{revision}-{number}"), "namespace": "default", "labels": labels(revision) },
        "spec": { "containers": [{ "name": "user-container", "image": "hello" }] },
        "status": { "phase": "Running", "podIP": format!("127.9.0.{number}"),
            "startTime": "2024-05-01T10:00:00Z",
            "conditions": [{ "type": "Ready", "status": "True" }] },
    }));
}

/// Whether this writes the number of pods of a Deployment.
pub(crate) fn scales(call: &Call) -> bool {
    call.subresource == "scale"
}

/// Waits until so many pods of `name` were asked for.
pub(crate) async fn until_asked(server: &ApiServer, name: &str, pods: u32) -> Arc<Value> {
    let asked = |it: &Value| it["spec"]["replicas"] == pods;
    let name = format!("{name}-deployment");
    server
        .wait_until("Deployment", "default", &name, asked)
        .await
}

/// An activator's connection.
pub(crate) struct Activator(WebSocketStream<TcpStream>);

impl Activator {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut request = format!("ws://{addr}/").into_client_request().unwrap();
        let version = http::HeaderValue::from_static(DEMAND_EXTENSION_VERSION);
        request.headers_mut().insert(DEMAND_EXTENSION, version);
        let (socket, _) = client_async(request, stream).await.unwrap();
        Self(socket)
    }

    /// A first word about a revision of which so many requests wait.
    pub(crate) async fn say_first(&mut self, revision: &str, waiting: u32) {
        self.say(&[demand(revision, 1.0, waiting, 0, true)]).await;
    }

    /// One frame.
    pub(crate) async fn say(&mut self, reports: &[Demand]) {
        let frame = Frame::of(reports, "activator-1", true);
        let message = Message::binary(frame.encode_to_vec());
        self.0.send(message).await.unwrap();
    }
}

pub(crate) fn demand(
    revision: &str,
    average: f64,
    waiting: u32,
    in_flight: u32,
    first: bool,
) -> Demand {
    Demand {
        revision: RevisionId::new("default", revision),
        average_concurrency: average,
        average_proxied_concurrency: 0.0,
        request_count: average,
        proxied_request_count: 0.0,
        waiting,
        in_flight,
        first,
    }
}
