//! A node of the cluster whose kubelet is the test: it takes the test's pods, has them started, tells
//! that they are ready, and that they are gone.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::controllers::{NewPod, Running, StartPod, Times, status};
use super::super::object::{is_leaving, number, text, timestamp};
use super::ask::{ask, request, send};
use super::{JSON, LABEL, MERGE, Real, SCHEDULER, address};

/// Between two signs of life of the node.
const BEAT: Duration = Duration::from_secs(8);
/// Before the pods are looked at again after an error.
const AGAIN: Duration = Duration::from_millis(100);
/// The first address that is a pod's.
const FIRST: u32 = 50;

/// The node.
pub(in super::super) struct Node {
    pub(in super::super) real: Arc<Real>,
    pub(in super::super) times: Times,
    pub(in super::super) start: Option<StartPod>,
}

/// Pods whose tasks go on, by uid, each with how to stop it.
type Pods = HashMap<String, Option<oneshot::Sender<Duration>>>;

impl Node {
    /// Runs pods; never done.
    pub(in super::super) async fn run(self) {
        let mut pods = Pods::new();
        let mut tasks = JoinSet::new();
        let mut beat = Instant::now();
        loop {
            // A watch that ends begins again, with all pods there are then.
            let _ = self.watch(&mut pods, &mut tasks, &mut beat).await;
            sleep(AGAIN).await;
        }
    }

    fn name(&self) -> String {
        format!("{}node", self.real.prefix)
    }

    async fn watch(
        &self,
        pods: &mut Pods,
        tasks: &mut JoinSet<()>,
        beat: &mut Instant,
    ) -> io::Result<()> {
        let watch = request(Method::GET, "/api/v1/pods?watch=true", JSON, &Value::Null);
        let mut body = send(self.real.base, watch).await?.into_body();
        let mut rest = BytesMut::new();
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sleep_until(*beat) => {
                    *beat = Instant::now() + BEAT;
                    self.tell_alive().await?;
                    continue;
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        std::panic::resume_unwind(error.into_panic());
                    }
                    continue;
                }
            };
            let Some(frame) = frame else { return Ok(()) };
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
                continue;
            };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1);
                if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                    self.look_at(&event, pods, tasks).await?;
                }
            }
        }
    }

    async fn tell_alive(&self) -> io::Result<()> {
        let name = self.name();
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": { LABEL: "" } },
            // None of the cluster's own pods is for it.
            "spec": { "taints": [{ "key": LABEL, "effect": "NoSchedule" }] },
        });
        self.ask(Method::POST, "/api/v1/nodes", JSON, &node).await?;
        let now = timestamp(SystemTime::now());
        let alive = json!({ "status": {
            "capacity": { "pods": "1000" }, "allocatable": { "pods": "1000" },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
        } });
        let path = format!("/api/v1/nodes/{name}/status");
        self.ask(Method::PATCH, &path, MERGE, &alive).await?;
        Ok(())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &Value,
    ) -> io::Result<(u16, Value)> {
        ask(self.real.base, request(method, path, media, body)).await
    }

    async fn look_at(
        &self,
        event: &Value,
        pods: &mut Pods,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let pod = &event["object"];
        if self.real.ours(text(pod, "/metadata/namespace")).is_none() {
            return Ok(());
        }
        let uid = text(pod, "/metadata/uid");
        if event["type"] == "DELETED" {
            pods.remove(uid);
            return Ok(());
        }
        if let Some(stop) = pods.get_mut(uid) {
            if is_leaving(pod)
                && let Some(stop) = stop.take()
            {
                let grace = number(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
                // A task that is gone has nothing to stop.
                let _ = stop.send(Duration::from_secs(grace.unsigned_abs()));
            }
            return Ok(());
        }
        let is_free = text(pod, "/spec/nodeName").is_empty();
        if !is_free || is_leaving(pod) || text(pod, "/spec/schedulerName") != SCHEDULER {
            return Ok(());
        }
        let name = text(pod, "/metadata/name");
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}",
            text(pod, "/metadata/namespace")
        );
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
            "target": { "apiVersion": "v1", "kind": "Node", "name": self.name() },
        });
        let bind = format!("{path}/binding");
        let (done, _) = self.ask(Method::POST, &bind, JSON, &binding).await?;
        if done >= 300 {
            return Ok(()); // it is gone, or its next event tells
        }
        static PODS: AtomicU32 = AtomicU32::new(0);
        let ip = address(FIRST + PODS.fetch_add(1, Ordering::Relaxed) % (250 - FIRST));
        let (stop, stopped) = oneshot::channel();
        pods.insert(uid.to_owned(), Some(stop));
        let mut object = pod.clone();
        self.real.to_ours(&mut object);
        let object = Arc::new(object);
        let life = Life {
            real: Arc::clone(&self.real),
            path,
            uid: uid.to_owned(),
            times: self.times,
            pod: NewPod { object, ip },
            start: self.start.clone(),
        };
        tasks.spawn(life.live(stopped));
        Ok(())
    }
}

/// One pod, from its node to its end.
struct Life {
    real: Arc<Real>,
    path: String,
    uid: String,
    times: Times,
    pod: NewPod,
    start: Option<StartPod>,
}

impl Life {
    async fn live(self, mut stopped: oneshot::Receiver<Duration>) {
        let mut running = None;
        let told = tokio::select! {
            told = &mut stopped => told,
            () = self.begin(&mut running) => (&mut stopped).await,
        };
        // Removed without grace, it ends at once.
        let Ok(grace) = told else { return };
        sleep(self.times.stop.min(grace)).await;
        drop(running);
        let now = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": self.uid } });
        let gone = request(Method::DELETE, &self.path, JSON, &now);
        // One that somebody else has removed by force is gone.
        let _ = ask(self.real.base, gone).await;
    }

    async fn begin(&self, running: &mut Option<Running>) {
        self.tell("Pending", false).await;
        if !self.times.start_up.is_zero() {
            sleep(self.times.start_up).await;
        }
        if let Some(start) = &self.start {
            *running = Some(start(self.pod.clone()).await);
        }
        if !self.times.readiness.is_zero() {
            self.tell("Running", false).await;
            sleep(self.times.readiness).await;
        }
        self.tell("Running", true).await;
    }

    async fn tell(&self, phase: &str, ready: bool) {
        let status = status(&self.pod.object, self.pod.ip, phase, ready);
        let part = json!({ "metadata": { "uid": self.uid }, "status": status });
        let path = format!("{}/status", self.path);
        let part = request(Method::PATCH, &path, MERGE, &part);
        // One that is gone has no status.
        let _ = ask(self.real.base, part).await;
    }
}
