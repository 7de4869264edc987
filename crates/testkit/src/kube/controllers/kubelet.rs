//! The kubelet of the one node: every pod gets an address of its own on the loopback, starts,
//! becomes ready, and stops when it is told to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::deletes::{self, Deletion};
use super::super::object::{is_leaving, number, text, timestamp};
use super::super::shared::Shared;
use super::super::store::{Key, Store};
use super::super::write;
use super::{NewPod, Running, StartPod, Times, writer};

/// Pods of all kubelets of this process so far: tests that run in it at the same time share none.
static ADDRESSES: AtomicU32 = AtomicU32::new(0);

/// All pods that it runs.
pub(super) struct Kubelet {
    shared: Arc<Shared>,
    times: Times,
    start: Option<StartPod>,
    pods: BTreeMap<Key, Known>,
    tasks: JoinSet<()>,
}

/// A pod whose task goes on.
struct Known {
    uid: String,
    /// Tells the task how long it has to stop; dropped, it has no time at all.
    stop: Option<oneshot::Sender<Duration>>,
}

impl Kubelet {
    pub(super) fn new(shared: Arc<Shared>, times: Times, start: Option<StartPod>) -> Self {
        Self {
            shared,
            times,
            start,
            pods: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Starts, stops or forgets a pod, as its object says.
    pub(super) fn look_at(&mut self, store: &mut Store, key: &Key) {
        let Some(pod) = store.object(key).cloned() else {
            self.pods.remove(key);
            return;
        };
        let uid = text(&pod, "/metadata/uid");
        if let Some(known) = self.pods.get_mut(key).filter(|known| known.uid == uid) {
            if is_leaving(&pod)
                && let Some(stop) = known.stop.take()
            {
                let grace = number(&pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
                // A task that is gone has nothing to stop.
                let _ = stop.send(Duration::from_secs(grace.unsigned_abs()));
            }
            return;
        }
        // Those that a test put there with a node of their own are the test's to run.
        if text(&pod, "/spec/nodeName").is_empty() && !is_leaving(&pod) {
            let ip = address(ADDRESSES.fetch_add(1, Ordering::Relaxed));
            self.schedule(store, key, &pod, ip);
        }
    }

    fn schedule(&mut self, store: &mut Store, key: &Key, pod: &Value, ip: Ipv4Addr) {
        let mut pod = pod.clone();
        pod["spec"]["nodeName"] = "node".into();
        pod["status"] = status(&pod, ip, "Pending", false);
        let object = write::put(store, key.clone(), pod, &writer("kubelet"));
        let (stop, stopped) = oneshot::channel();
        let uid = text(&object, "/metadata/uid").to_owned();
        let known = Known {
            uid: uid.clone(),
            stop: Some(stop),
        };
        // What ran for another pod of this name ends here.
        self.pods.insert(key.clone(), known);
        let life = Life {
            shared: Arc::clone(&self.shared),
            key: key.clone(),
            uid,
            times: self.times,
            pod: NewPod { object, ip },
            start: self.start.clone(),
        };
        self.tasks.spawn(life.live(stopped));
    }

    /// Takes the ended tasks away; never done.
    pub(super) async fn work(&mut self) {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => {
                    std::panic::resume_unwind(error.into_panic())
                }
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// One pod, from its node to its end.
struct Life {
    shared: Arc<Shared>,
    key: Key,
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
        let now = Deletion {
            grace: Some(0),
            uid: self.uid.clone(),
            ..Deletion::default()
        };
        // One that somebody else has removed by force is gone.
        let _ = self
            .shared
            .change(|store| deletes::delete(store, &self.key, &now));
    }

    async fn begin(&self, running: &mut Option<Running>) {
        if !self.times.start_up.is_zero() {
            sleep(self.times.start_up).await;
        }
        if let Some(start) = &self.start {
            *running = Some(start(self.pod.clone()).await);
        }
        if !self.times.readiness.is_zero() {
            self.tell("Running", false);
            sleep(self.times.readiness).await;
        }
        self.tell("Running", true);
    }

    fn tell(&self, phase: &str, ready: bool) {
        self.shared.change(|store| {
            let Some(pod) = store.object(&self.key) else {
                return;
            };
            if text(pod, "/metadata/uid") != self.uid {
                return;
            }
            let mut pod = Value::clone(pod);
            pod["status"] = status(&pod, self.pod.ip, phase, ready);
            write::put(store, self.key.clone(), pod, &writer("kubelet"));
        });
    }
}

pub(in super::super) fn status(pod: &Value, ip: Ipv4Addr, phase: &str, ready: bool) -> Value {
    let word = |is: bool| if is { "True" } else { "False" };
    let now = timestamp(SystemTime::now());
    let condition = |name: &str, is: bool| json!({ "type": name, "status": word(is), "lastTransitionTime": now });
    let containers = super::super::object::list(pod, "/spec/containers").iter();
    let containers = containers.map(|container| {
        let state = match phase {
            "Running" => json!({ "running": { "startedAt": now } }),
            _ => json!({ "waiting": { "reason": "ContainerCreating" } }),
        };
        json!({
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "started": phase == "Running",
            "restartCount": 0,
            "state": state,
        })
    });
    json!({
        "phase": phase,
        "podIP": ip.to_string(),
        "podIPs": [{ "ip": ip.to_string() }],
        "hostIP": "127.0.0.1",
        "startTime": now,
        "qosClass": "BestEffort",
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": containers.collect::<Value>(),
    })
}

/// The address of the `nth` pod of this process. Tests run in processes of their own at the
/// same time, so each begins elsewhere, with room for a thousand before the next one's.
fn address(nth: u32) -> Ipv4Addr {
    // 127.0.0.0/16 is everybody's, 127.255.0.0/16 that of Services.
    const PLACES: u64 = 254 * 250 * 250;
    let place = (u64::from(std::process::id() % 15_875) * 1000 + u64::from(nth)) % PLACES;
    let octet = |value: u64| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(
        127,
        octet(1 + place / 62_500),
        octet(place / 250 % 250),
        octet(1 + place % 250),
    )
}
