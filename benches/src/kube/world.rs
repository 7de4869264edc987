//! The API server, its objects, and the two programs that look at them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_testkit::kube::{ApiServer, Controllers, NewPod, Running as PodRunning};
use penstock_testkit::workload::Workload;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::PATIENCE;
use crate::process::{Outcome, Running, cpu_of, program};

const SYSTEM: &str = "penstock-system";
/// Addresses of the two programs, which are no pod's.
const ACTIVATOR: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 1);
const AUTOSCALER: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 2);

/// When each pod began to take requests, by its workload.
type Started = Arc<Mutex<BTreeMap<String, Instant>>>;

/// All of it.
pub(super) struct World {
    pub(super) server: Arc<ApiServer>,
    /// Where requests go.
    pub(super) activator: SocketAddr,
    /// Time until every revision had its Service and EndpointSlice.
    pub(super) arranged: Duration,
    started: Started,
    kubeconfig: PathBuf,
    processes: Processes,
    _controllers: Controllers,
}

struct Processes {
    activator: Running,
    /// `None` while it is restarted.
    autoscaler: Option<Running>,
}

impl World {
    /// Starts both programs, and waits until every revision has its path.
    pub(super) async fn start(revisions: usize, pods: usize) -> Outcome<Self> {
        let server = Arc::new(ApiServer::start().await);
        server.put(activators());
        server.put(settings());
        for number in 0..revisions {
            server.put(deployment(&name(number)));
        }
        for number in 0..pods {
            // Those of the last revisions, which nobody wakes.
            server.put(pod(&name(revisions - 1 - number % (revisions / 2)), number));
        }
        let started = Started::default();
        let noted = Arc::clone(&started);
        let controllers = Controllers::setup(&server)
            .on_start(move |pod| start_pod(pod, Arc::clone(&noted)))
            .start();
        let kubeconfig = std::env::temp_dir().join(format!("benches-{}.yaml", std::process::id()));
        std::fs::write(&kubeconfig, server.kubeconfig()).map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let autoscaler = start("autoscaler", "autoscaler-1", AUTOSCALER, &kubeconfig)?;
        until_open((AUTOSCALER, 8080).into()).await?;
        let activator = start("activator", "activator-1", ACTIVATOR, &kubeconfig)?;
        let addr = (ACTIVATOR, 8012).into();
        until_open(addr).await?;
        let mut world = Self {
            server,
            activator: addr,
            arranged: Duration::ZERO,
            started,
            kubeconfig,
            processes: Processes {
                activator,
                autoscaler: Some(autoscaler),
            },
            _controllers: controllers,
        };
        let arranged = async {
            while world.server.list("EndpointSlice", "default").len() < revisions {
                sleep(Duration::from_millis(100)).await;
            }
        };
        let arranged = timeout(PATIENCE * 5, arranged).await;
        arranged.map_err(|_| "not every revision got its path".to_owned())?;
        world.arranged = begun.elapsed();
        Ok(world)
    }

    /// When the PATCH for more pods of this workload was at the server.
    pub(super) async fn patched(&self, name: &str) -> Outcome<Instant> {
        let called = self.server.until_called(|call| {
            call.verb == "patch" && call.subresource == "scale" && call.name == name
        });
        let called = timeout(PATIENCE, called).await;
        let call = called.map_err(|_| format!("no PATCH for {name}"))?;
        Ok(call.at)
    }

    /// When the pod of this workload was told to be ready.
    pub(super) fn started(&self, name: &str) -> Option<Instant> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.get(name).copied()
    }

    /// Resident memory of activator and autoscaler, in MB.
    pub(super) fn memory(&self) -> (u64, u64) {
        let of = |process: &Running| process.rss() / 1_000_000;
        let Processes {
            activator,
            autoscaler,
        } = &self.processes;
        (of(activator), autoscaler.as_ref().map_or(0, of))
    }

    /// Processor time so far: of this process without the others, of activator and autoscaler.
    pub(super) fn cpu(&self) -> [Duration; 3] {
        let Processes {
            activator,
            autoscaler,
        } = &self.processes;
        let theirs = autoscaler.as_ref().map_or(Duration::ZERO, Running::cpu);
        [cpu_of(std::process::id()), activator.cpu(), theirs]
    }

    /// Ends the autoscaler by SIGTERM.
    pub(super) fn stop_autoscaler(&mut self) {
        self.processes.autoscaler = None;
    }

    /// Starts another one in its place.
    pub(super) fn start_autoscaler(&mut self) -> Outcome {
        let started = start("autoscaler", "autoscaler-2", AUTOSCALER, &self.kubeconfig)?;
        self.processes.autoscaler = Some(started);
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// The name of one workload.
pub(super) fn name(number: usize) -> String {
    format!("w{number}")
}

fn start(component: &str, pod: &str, ip: Ipv4Addr, kubeconfig: &PathBuf) -> Outcome<Running> {
    let mut command = Command::new(program(component, &format!("penstock-{component}"))?);
    command
        .env_clear()
        .env("POD_NAME", pod)
        .env("POD_IP", ip.to_string())
        .env("SYSTEM_NAMESPACE", SYSTEM)
        .env("KUBECONFIG", kubeconfig)
        .env("CLUSTER_DOMAIN", "cluster.local")
        .env("METRICS_PROMETHEUS_HOST", ip.to_string())
        .env("PENSTOCK_CLUSTER", "deployments")
        .env("PENSTOCK_POLICY", "demand")
        .env("PENSTOCK_LISTEN_HOST", ip.to_string())
        .env("PENSTOCK_AUTOSCALER", format!("{AUTOSCALER}:8080"))
        .env("PENSTOCK_LAME_DUCK_MS", "100");
    Running::start(&mut command)
}

async fn until_open(addr: SocketAddr) -> Outcome {
    let opening = async {
        while TcpStream::connect(addr).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let open = timeout(PATIENCE, opening).await;
    open.map_err(|_| format!("nothing listens on {addr}"))
}

async fn start_pod(pod: NewPod, started: Started) -> PodRunning {
    let workload = pod.object["metadata"]["labels"]["app"].as_str();
    let workload = workload.unwrap_or_default().to_owned();
    let ip: IpAddr = pod.ip.into();
    let Ok(listener) = TcpListener::bind((ip, 8080)).await else {
        // Whoever waits for it says that there was no answer.
        return Box::new(());
    };
    let running = Workload::on(listener);
    let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
    started.entry(workload).or_insert_with(Instant::now);
    Box::new(running)
}

/// As deploy/kube has them: nothing is started before somebody asks.
fn settings() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "config-autoscaler", "namespace": SYSTEM },
        "data": { "allow-zero-initial-scale": "true", "initial-scale": "0" },
    })
}

fn activators() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "activator-service-abc", "namespace": SYSTEM,
            "labels": { "kubernetes.io/service-name": "activator-service" },
        },
        "addressType": "IPv4",
        "ports": [
            { "name": "http", "port": 8012, "protocol": "TCP" },
            { "name": "http2", "port": 8013, "protocol": "TCP" },
        ],
        "endpoints": [{ "addresses": [ACTIVATOR.to_string()], "conditions": { "ready": true } }],
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": name, "namespace": "default",
            "labels": { "penstock.dev/scale": "true" },
            "annotations": { "penstock.dev/host": format!("{name}.example.com") },
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

/// A pod that is ready already, on a node of its own; nothing runs in it.
fn pod(workload: &str, number: usize) -> Value {
    let ip = format!("10.1.{}.{}", number / 250 % 250, 1 + number % 250);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("{workload}-{number}"), "namespace": "default",
            "labels": { "app": workload },
        },
        "spec": {
            "nodeName": "elsewhere",
            "containers": [{ "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] }],
        },
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}
