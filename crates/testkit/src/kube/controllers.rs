//! What makes a cluster of objects: the controllers of Deployments and StatefulSets, of the
//! endpoints of Services, that of Knative's ServerlessServices, and a kubelet that runs pods, all
//! within the test.
//!
//! ```text
//! changes ──► workloads: pods made and removed ──► kubelet: scheduled, started, ready, stopped
//!         ├─► endpoints: slices and Endpoints of Services with a selector
//!         ├─► mirror: slices of Endpoints that are written by hand
//!         └─► paths: Services and public Endpoints of ServerlessServices
//! ```
//!
//! Approximated: a Deployment owns its pods itself, there is no ReplicaSet between them; its
//! revisions are told apart by the label `pod-template-hash`. A StatefulSet makes its pods all
//! at once and replaces outdated ones from the highest, one by one. Every pod is on one node.

mod endpoints;
mod kubelet;
mod mirror;
mod paths;
mod workloads;

use std::any::Any;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use kubelet::Kubelet;
pub(super) use kubelet::status;

use super::object::text;
use super::real::Node;
use super::server::ApiServer;
use super::shared::Shared;
use super::store::{Change, Key, Store};
use super::write::Writer;

/// The controllers of an [`ApiServer`]; they end when this is dropped, and with them what runs
/// for pods.
#[derive(Debug)]
pub struct Controllers {
    held: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

/// Controllers to be started.
pub struct Setup {
    shared: Arc<Shared>,
    times: Times,
    start: Option<StartPod>,
}

/// How long things take that a pod goes through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) start_up: Duration,
    pub(super) readiness: Duration,
    pub(super) stop: Duration,
}

/// A pod that is to be started.
#[derive(Clone, Debug)]
pub struct NewPod {
    /// Its object, scheduled and with its address.
    pub object: Arc<Value>,
    /// Its own address on the loopback: every port of it is free.
    pub ip: Ipv4Addr,
}

/// What runs for a pod, dropped when it stops.
pub type Running = Box<dyn Any + Send>;

pub(super) type StartPod =
    Arc<dyn Fn(NewPod) -> Pin<Box<dyn Future<Output = Running> + Send>> + Send + Sync>;

impl Controllers {
    /// Starts them with pods that are ready at once, behind which nothing runs.
    pub fn start(server: &ApiServer) -> Self {
        Self::setup(server).start()
    }

    /// To say first how pods behave.
    pub fn setup(server: &ApiServer) -> Setup {
        Setup {
            shared: Arc::clone(server.shared()),
            times: Times::default(),
            start: None,
        }
    }

    /// Makes and removes no pods from now on, as a controller manager that is away; the kubelet
    /// and the endpoints go on.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Whether they still work: a panic, such as one within what a test does to start a pod, has
    /// ended none of them.
    pub fn are_well(&self) -> bool {
        !self.held.is_closed()
    }

    /// Goes on with what was held.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

impl Setup {
    /// How long it takes until a pod's containers run.
    #[must_use]
    pub fn start_up(mut self, time: Duration) -> Self {
        self.times.start_up = time;
        self
    }

    /// How long it takes from there until the kubelet says that it is ready.
    #[must_use]
    pub fn readiness(mut self, time: Duration) -> Self {
        self.times.readiness = time;
        self
    }

    /// How long what runs for a pod goes on after it was told to stop; its grace period at most.
    #[must_use]
    pub fn stop_time(mut self, time: Duration) -> Self {
        self.times.stop = time;
        self
    }

    /// Does this to start a pod, after its start-up time; the pod runs once it is done, and
    /// what it answers is dropped when the pod stops.
    #[must_use]
    pub fn on_start<F, R>(mut self, start: F) -> Self
    where
        F: Fn(NewPod) -> R + Send + Sync + 'static,
        R: Future<Output = Running> + Send + 'static,
    {
        self.start = Some(Arc::new(move |pod| Box::pin(start(pod))));
        self
    }

    /// Starts them.
    pub fn start(self) -> Controllers {
        let held = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        if let Some(real) = &self.shared.real {
            // The cluster has controllers of its own; what it lacks is a node for these pods.
            let node = Node {
                real: Arc::clone(real),
                times: self.times,
                start: self.start,
            };
            tasks.spawn(node.run());
            return Controllers {
                held,
                _tasks: tasks,
            };
        }
        let kubelet = Kubelet::new(Arc::clone(&self.shared), self.times, self.start);
        tasks.spawn(run(self.shared, kubelet, held.subscribe()));
        Controllers {
            held,
            _tasks: tasks,
        }
    }
}

/// What is to be looked at again.
#[derive(Debug, Default)]
struct Dirty {
    workloads: BTreeSet<Key>,
    services: BTreeSet<Key>,
    paths: BTreeSet<Key>,
    pods: BTreeSet<Key>,
}

async fn run(shared: Arc<Shared>, mut kubelet: Kubelet, mut held: watch::Receiver<bool>) {
    let mut versions = shared.versions.subscribe();
    let mut seen = None;
    let mut dirty = Dirty::default();
    loop {
        versions.mark_unchanged();
        let holding = *held.borrow_and_update();
        shared.change(|store| {
            dirty.collect(store, seen);
            seen = Some(store.version());
            if !holding {
                for key in std::mem::take(&mut dirty.workloads) {
                    workloads::reconcile(store, &key);
                }
            }
            for key in std::mem::take(&mut dirty.services) {
                endpoints::reconcile(store, &key);
            }
            for key in std::mem::take(&mut dirty.paths) {
                paths::reconcile(store, &key);
            }
            for key in std::mem::take(&mut dirty.pods) {
                kubelet.look_at(store, &key);
            }
        });
        tokio::select! {
            changed = versions.changed() => if changed.is_err() { return },
            changed = held.changed() => if changed.is_err() { return },
            () = kubelet.work() => {}
        }
    }
}

impl Dirty {
    /// Adds what the changes after `seen` concern; everything, if they are not known.
    fn collect(&mut self, store: &Store, seen: Option<u64>) {
        match seen {
            Some(seen) if seen >= store.oldest() => {
                for change in store.since(seen) {
                    self.add(store, change);
                }
            }
            _ => {
                for kind in store.kinds() {
                    let all = store.objects(kind, "").map(|(key, _)| key.clone());
                    match (kind.group, kind.plural) {
                        ("apps", "deployments" | "statefulsets") => self.workloads.extend(all),
                        ("", "services") => self.services.extend(all),
                        (_, "serverlessservices") => self.paths.extend(all),
                        ("", "pods") => self.pods.extend(all),
                        _ => {}
                    }
                }
            }
        }
    }

    fn add(&mut self, store: &Store, change: &Change) {
        let key = &change.key;
        match (key.kind.group, key.kind.plural) {
            ("apps", "deployments" | "statefulsets") => {
                self.workloads.insert(key.clone());
            }
            ("", "services") => {
                self.services.insert(key.clone());
            }
            (_, "serverlessservices") => {
                self.paths.insert(key.clone());
            }
            ("", "pods") => {
                self.pods.insert(key.clone());
                for object in [&change.before, &change.after].into_iter().flatten() {
                    self.workloads.extend(workloads::owner(store, object));
                    self.services.extend(endpoints::services_of(store, object));
                }
            }
            ("", "endpoints") | ("discovery.k8s.io", "endpointslices") => {
                if key.kind.plural == "endpoints" {
                    self.paths
                        .extend(paths::concerned(store, key, &change.told));
                }
                let service =
                    match text(&change.told, "/metadata/labels/kubernetes.io~1service-name") {
                        "" => &key.name,
                        name => name,
                    };
                if let Some(kind) = store.kind_named("Service") {
                    self.services.insert(Key {
                        kind,
                        namespace: key.namespace.clone(),
                        name: service.to_owned(),
                    });
                }
            }
            _ => {}
        }
    }
}

/// Who writes what controllers write.
fn writer(name: &str) -> Writer {
    Writer {
        manager: name.to_owned(),
        dry_run: false,
    }
}

/// A short name for a value that is the same for the same value.
fn hash(value: &Value) -> String {
    // FNV-1a: small, and the same in every run.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in value.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:010x}", hash & 0xff_ffff_ffff)
}
