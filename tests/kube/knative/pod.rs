//! Pods of a revision, as their kubelet runs them: a server as the user's container, and behind it
//! the real queue-proxy with the environment that its container has in the pod's object.
//!
//! Pods share the loopback, so what every pod has to itself elsewhere is told apart: the port of
//! the user's container, and the address to listen at.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use penstock_testkit::client::RawClient;
use penstock_testkit::kube::{NewPod, Running};
use penstock_testkit::workload::Workload;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::harness::PATIENCE;
use crate::kube::program::Program;

/// Where the user's container listens, in every pod.
const USER_PORT: &str = "8080";

/// A pod that runs.
struct Pod {
    ip: IpAddr,
    web: Option<Workload>,
    sidecar: Option<Program>,
}

/// Starts both containers, and waits until the kubelet's readiness probe passes.
pub(super) async fn start(pod: NewPod) -> Running {
    let ip: IpAddr = pod.ip.into();
    let web = Workload::start().await;
    let port = web.addr().port().to_string();
    let variables = environment(&pod.object, &port);
    let mut variables: Vec<(&str, String)> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    variables.extend([
        ("METRICS_PROMETHEUS_HOST", ip.to_string()),
        ("PENSTOCK_LISTEN_HOST", ip.to_string()),
        ("PENSTOCK_WORKERS", "1".to_owned()),
        ("PENSTOCK_DRAIN_QUIET_MS", "500".to_owned()),
    ]);
    let mut sidecar = Program::start("queue-proxy", &variables);
    let open = [8012, 8022, 9090, 9091].map(|port| SocketAddr::from((ip, port)));
    sidecar.until_open(&open).await;
    until_ready((ip, 8012).into()).await;
    Box::new(Pod {
        ip,
        web: Some(web),
        sidecar: Some(sidecar),
    })
}

/// What the container's `env` says, with the fields of the pod that it refers to.
fn environment(pod: &Value, port: &str) -> Vec<(String, String)> {
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let container = containers.iter().find(|it| it["name"] == "queue-proxy");
    let env = container.unwrap()["env"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    env.iter()
        .map(|entry| {
            let field = entry.pointer("/valueFrom/fieldRef/fieldPath");
            let value = match field.and_then(Value::as_str) {
                Some(path) => {
                    text(&pod[path.split('.').next().unwrap()][path.rsplit('.').next().unwrap()])
                }
                None => text(&entry["value"]),
            };
            let name = text(&entry["name"]);
            let value = match name.as_str() {
                "USER_PORT" => port.to_owned(),
                "SERVING_READINESS_PROBE" => value.replace(USER_PORT, port),
                _ => value,
            };
            (name, value)
        })
        .collect()
}

/// Asks as the kubelet does, by the probe that the controller gave the container.
async fn until_ready(addr: SocketAddr) {
    let probing = async {
        loop {
            let mut client = RawClient::connect(addr).await;
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\n\
                 K-Network-Probe: queue\r\nConnection: close\r\n\r\n"
            );
            client.send(request).await;
            if client.read_to_close().await.starts_with(b"HTTP/1.1 200") {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, probing).await.expect("the pod is ready");
}

impl Drop for Pod {
    /// As a kubelet ends a pod: the sidecar has SIGTERM, and the user's container lives until its
    /// preStop hook is answered.
    fn drop(&mut self) {
        let (Some(sidecar), web) = (self.sidecar.take(), self.web.take()) else {
            return;
        };
        sidecar.terminate();
        let admin = SocketAddr::from((self.ip, 8022));
        tokio::spawn(async move {
            let _web = web;
            let ending = async {
                // One that has ended already has drained.
                if let Ok(mut hook) = tokio::net::TcpStream::connect(admin).await {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    let asked =
                        b"GET /wait-for-drain HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
                    let _ = hook.write_all(asked).await;
                    let _ = hook.read_to_end(&mut Vec::new()).await;
                }
                sidecar.ended().await;
            };
            timeout(Duration::from_secs(70), ending).await
        });
    }
}
