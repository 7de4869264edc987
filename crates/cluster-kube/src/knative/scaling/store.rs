//! All that is known of each revision, from several kinds of objects, and how it becomes the picture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use penstock_cluster::{Phase, Pod, Readiness, Revision, Snapshot};
use penstock_types::annotation::{AUTOSCALING, Annotations};
use penstock_types::{Protocol, Reachability, RevisionId, Slots, Timeouts};

use super::objects::{Deployment, Metric, PodAutoscaler, PodObject, ServerlessService, condition};
use super::status::{moment, standing};
use crate::Key;
use crate::event::Subject;
use crate::picture::Painter;
use crate::reflect::Change;

/// Label with the name of the revision, on all that is made for it.
pub(super) const REVISION: &str = "serving.knative.dev/revision";
const CONFIGURATION: &str = "serving.knative.dev/configuration";
const SERVICE: &str = "serving.knative.dev/service";
const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";
const CLASS: &str = "autoscaling.knative.dev/class";
/// The class that is scaled here.
const KPA: &str = "kpa.autoscaling.knative.dev";
/// Where a pod's queue-proxy takes requests.
const QUEUE_PORT: u16 = 8012;

/// What was seen to change.
#[derive(Debug)]
pub(super) enum Seen {
    Autoscaler(Change<PodAutoscaler>),
    Path(Change<ServerlessService>),
    Metric(Change<Metric>),
    Workload(Change<Workload>),
    Pod(Change<Member>),
}

/// A Deployment of a revision.
#[derive(Debug)]
pub(super) struct Workload {
    own: Key,
    uid: String,
    revision: Key,
    replicas: u32,
}

/// A pod of a revision.
#[derive(Debug)]
pub(super) struct Member {
    own: Key,
    revision: Key,
    ip: Option<IpAddr>,
    /// Time of its start; `None` while it is not running.
    started: Option<Instant>,
    is_ready: bool,
    is_leaving: bool,
}

/// The newest objects of one revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) autoscaler: Option<Arc<PodAutoscaler>>,
    pub(super) path: Option<Arc<ServerlessService>>,
    pub(super) metric: Option<Arc<Metric>>,
    workload: Option<Arc<Workload>>,
    pods: BTreeMap<Arc<str>, Arc<Member>>,
}

/// Everything that is known. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Key, Known>,
    /// Of Deployments and pods: whose they are.
    owners: HashMap<(Kind, Key), Key>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Workload,
    Pod,
}

impl Store {
    /// What is known of one revision.
    pub(super) fn known(&self, key: &Key) -> Option<Known> {
        self.lock().known.get(key).cloned()
    }

    /// The object that is scaled: API version, kind and name.
    pub(super) fn autoscaler(&self, key: &Key) -> Option<Arc<PodAutoscaler>> {
        self.lock().known.get(key)?.autoscaler.clone()
    }

    /// What this process wrote itself, before the watch tells it.
    pub(super) fn wrote_path(&self, key: &Key, path: ServerlessService) -> Arc<ServerlessService> {
        let mut inner = self.lock();
        let known = inner.known.entry(key.clone()).or_default();
        keep(&mut known.path, path, |path| &path.metadata)
    }

    pub(super) fn wrote_metric(&self, key: &Key, metric: Metric) {
        let mut inner = self.lock();
        let known = inner.known.entry(key.clone()).or_default();
        keep(&mut known.metric, metric, |metric| &metric.metadata);
    }

    pub(super) fn wrote_autoscaler(&self, key: &Key, autoscaler: PodAutoscaler) {
        let mut inner = self.lock();
        let known = inner.known.entry(key.clone()).or_default();
        keep(&mut known.autoscaler, autoscaler, |it| &it.metadata);
    }

    /// Takes a change. Returns whose picture it changes.
    fn take(&self, seen: Seen) -> Option<Key> {
        let inner = &mut *self.lock();
        match seen {
            Seen::Autoscaler(change) => {
                object(inner, change, |it| &mut it.autoscaler, |it| &it.metadata)
            }
            Seen::Path(change) => object(inner, change, |it| &mut it.path, |it| &it.metadata),
            Seen::Metric(change) => object(inner, change, |it| &mut it.metric, |it| &it.metadata),
            Seen::Workload(Change::Is(workload)) => {
                let key = workload.revision.clone();
                inner
                    .owners
                    .insert((Kind::Workload, workload.own.clone()), key.clone());
                inner.known.entry(key.clone()).or_default().workload = Some(Arc::new(workload));
                Some(key)
            }
            Seen::Pod(Change::Is(pod)) => {
                let key = pod.revision.clone();
                inner
                    .owners
                    .insert((Kind::Pod, pod.own.clone()), key.clone());
                let pods = &mut inner.known.entry(key.clone()).or_default().pods;
                pods.insert(Arc::clone(&pod.own.name), Arc::new(pod));
                Some(key)
            }
            Seen::Workload(Change::Gone(own)) => {
                let key = inner.owners.remove(&(Kind::Workload, own))?;
                inner.known.get_mut(&key)?.workload = None;
                inner.tidy(&key);
                Some(key)
            }
            Seen::Pod(Change::Gone(own)) => {
                let key = inner.owners.remove(&(Kind::Pod, own.clone()))?;
                inner.known.get_mut(&key)?.pods.remove(&own.name);
                inner.tidy(&key);
                Some(key)
            }
            Seen::Workload(Change::Complete) | Seen::Pod(Change::Complete) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that could panic runs under the lock, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets a revision of which nothing is left.
    fn tidy(&mut self, key: &Key) {
        let is_empty = |known: &Known| {
            known.autoscaler.is_none()
                && known.path.is_none()
                && known.metric.is_none()
                && known.workload.is_none()
                && known.pods.is_empty()
        };
        if self.known.get(key).is_some_and(is_empty) {
            self.known.remove(key);
        }
    }
}

/// Takes a change of one of the objects that are named like their revision.
fn object<T>(
    inner: &mut Inner,
    change: Change<T>,
    place: impl Fn(&mut Known) -> &mut Option<Arc<T>>,
    meta: impl Fn(&T) -> &ObjectMeta,
) -> Option<Key> {
    match change {
        Change::Is(new) => {
            let key = Key::of(meta(&new));
            let known = inner.known.entry(key.clone()).or_default();
            keep(place(known), new, meta);
            Some(key)
        }
        Change::Gone(key) => {
            *place(inner.known.get_mut(&key)?) = None;
            inner.tidy(&key);
            Some(key)
        }
        Change::Complete => None,
    }
}

/// Keeps the newer one of two versions of an object: what this process wrote may come by the watch
/// later than it was answered.
fn keep<T>(place: &mut Option<Arc<T>>, new: T, meta: impl Fn(&T) -> &ObjectMeta) -> Arc<T> {
    let version = |meta: &ObjectMeta| meta.resource_version.as_ref()?.parse::<u64>().ok();
    match place {
        Some(old)
            if meta(old).uid == meta(&new).uid && version(meta(old)) > version(meta(&new)) =>
        {
            Arc::clone(old)
        }
        _ => Arc::clone(place.insert(Arc::new(new))),
    }
}

impl Workload {
    pub(super) fn of(deployment: &Deployment) -> Option<Self> {
        Some(Self {
            own: Key::of(&deployment.metadata),
            uid: deployment.metadata.uid.clone().unwrap_or_default(),
            revision: owner(&deployment.metadata)?,
            // Absent is 1 (apps/v1, `replicas`).
            replicas: deployment.spec.replicas.unwrap_or(1),
        })
    }
}

impl Known {
    /// The Deployment, for who looks at it.
    pub(super) fn subject(&self) -> Option<Subject> {
        let workload = self.workload.as_ref()?;
        Some(Subject {
            api_version: "apps/v1",
            kind: "Deployment".to_owned(),
            key: workload.own.clone(),
            uid: workload.uid.clone(),
        })
    }
}

impl Member {
    /// What is kept of a pod; `None` if it has ended, or belongs to no revision.
    pub(super) fn of(pod: &PodObject) -> Option<Self> {
        let status = &pod.status;
        let is_running = status.phase == "Running";
        if !is_running && status.phase != "Pending" {
            return None;
        }
        let ago = |time| SystemTime::now().duration_since(moment(time)).ok();
        let now = Instant::now();
        let started = status.start_time.as_ref();
        let started = started
            .map(|time| now.checked_sub(ago(time)?))
            .unwrap_or_default();
        Some(Self {
            own: Key::of(&pod.metadata),
            revision: owner(&pod.metadata)?,
            ip: status.pod_ip.parse().ok(),
            started: is_running.then(|| started.unwrap_or(now)),
            is_ready: is_running
                && condition(&status.conditions, "Ready").is_some_and(|it| it.is_true()),
            is_leaving: pod.metadata.deletion_timestamp.is_some(),
        })
    }

    fn picture(&self) -> Option<Pod> {
        let now = Instant::now();
        let started = self.started;
        Some(Pod {
            name: Arc::clone(&self.own.name),
            addr: (self.ip?, QUEUE_PORT).into(),
            phase: match (self.is_leaving, self.is_ready) {
                (true, _) => Phase::Draining,
                (false, true) => Phase::Ready,
                (false, false) => Phase::Starting,
            },
            asked: started.unwrap_or(now),
            started,
            ready: started.filter(|_| self.is_ready),
        })
    }
}

/// The revision that an object is labelled with.
fn owner(meta: &ObjectMeta) -> Option<Key> {
    let name = meta.labels.as_ref()?.get(REVISION)?;
    Some(Key::new(
        meta.namespace.as_deref().unwrap_or_default(),
        name.as_str(),
    ))
}

/// Paints what the store knows.
pub(super) struct Canvas {
    store: Store,
    domain: Arc<str>,
    changed: HashSet<Key>,
    /// Which kinds have been told as a whole.
    complete: [bool; 5],
}

impl Canvas {
    pub(super) fn new(store: Store, domain: Arc<str>) -> Self {
        Self {
            store,
            domain,
            changed: HashSet::new(),
            complete: [false; 5],
        }
    }
}

impl Painter for Canvas {
    type Change = Seen;

    fn take(&mut self, change: Seen) {
        let whole = match &change {
            Seen::Autoscaler(Change::Complete) => Some(0),
            Seen::Path(Change::Complete) => Some(1),
            Seen::Metric(Change::Complete) => Some(2),
            Seen::Workload(Change::Complete) => Some(3),
            Seen::Pod(Change::Complete) => Some(4),
            _ => None,
        };
        if let Some(kind) = whole {
            self.complete[kind] = true;
        }
        self.changed.extend(self.store.take(change));
    }

    fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }

    fn paint(&mut self, snapshot: &mut Snapshot) -> bool {
        let changed = !self.changed.is_empty();
        for key in self.changed.drain() {
            let known = self.store.known(&key);
            let id = RevisionId::new(&*key.namespace, &*key.name);
            match known.and_then(|known| revision(&id, &known, &self.domain)) {
                Some(revision) => {
                    snapshot.revisions.insert(id, Arc::new(revision));
                }
                None => {
                    snapshot.revisions.remove(&id);
                }
            }
        }
        changed
    }
}

/// The revision as the picture has it; `None` if it is not to be scaled here.
fn revision(id: &RevisionId, known: &Known, domain: &str) -> Option<Revision> {
    let pa = known.autoscaler.as_ref()?;
    let annotations = pa.metadata.annotations.as_ref();
    let class = annotations.and_then(|all| all.get(CLASS));
    if class.is_some_and(|class| class != KPA) || pa.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let label = |name| -> Arc<str> {
        let labels = pa.metadata.labels.as_ref();
        let value = labels.and_then(|labels| labels.get(name));
        value.map_or("", String::as_str).into()
    };
    let mut pods: Vec<Pod> = known
        .pods
        .values()
        .filter_map(|pod| pod.picture())
        .collect();
    pods.sort_by_key(|pod| pod.addr);
    let target = &pa.spec.scale_target_ref.name;
    let workload = known.workload.as_ref();
    let workload = workload.filter(|workload| *workload.own.name == **target);
    // Its Deployment is made before it, but may be seen after it. What is unknown is not scaled.
    if workload.is_none() && pa.spec.scale_target_ref.kind == "Deployment" {
        return None;
    }
    Some(Revision {
        id: id.clone(),
        service: label(SERVICE),
        configuration: label(CONFIGURATION),
        annotations: Arc::new(kept(annotations)),
        slots: Slots::from_concurrency(u32::try_from(pa.spec.container_concurrency).unwrap_or(0)),
        timeouts: Timeouts::default(),
        protocol: match pa.spec.protocol_type.as_str() {
            "h2c" => Protocol::H2c,
            _ => Protocol::Http1,
        },
        reachability: match pa.spec.reachability.as_str() {
            "Reachable" => Reachability::Reachable,
            "Unreachable" => Reachability::Unreachable,
            _ => Reachability::Unknown,
        },
        wanted: workload.map_or(1, |workload| workload.replicas),
        unplaced: u32::try_from(known.pods.len() - pods.len()).unwrap_or(u32::MAX),
        pods: pods.into(),
        readiness: Readiness::Trusted,
        queue_proxy: true,
        standing: Some(Arc::new(standing(pa, known.path.as_deref(), domain))),
        position: None,
        trouble: None,
    })
}

/// The annotations that parameters come from.
fn kept(annotations: Option<&BTreeMap<String, String>>) -> Annotations {
    let all = annotations.into_iter().flatten();
    all.filter(|(key, _)| key.starts_with(AUTOSCALING) || *key == PROGRESS_DEADLINE)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
