//! The pods of Deployments and StatefulSets.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletes::{self, Deletion};
use super::super::object::{is_leaving, list, metadata, number, text};
use super::super::store::{Key, Store};
use super::super::write;
use super::{hash, writer};

const HASH: &str = "pod-template-hash";
const COST: &str = "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost";

/// The Deployment or StatefulSet that an object says controls it.
pub(super) fn owner(store: &Store, object: &Value) -> Option<Key> {
    let owners = list(object, "/metadata/ownerReferences").iter();
    let owner = owners
        .into_iter()
        .find(|owner| owner["controller"] == true)?;
    let kind = match text(owner, "/kind") {
        kind @ ("Deployment" | "StatefulSet") => store.kind_named(kind)?,
        _ => return None,
    };
    Some(Key {
        kind,
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: text(owner, "/name").to_owned(),
    })
}

/// Whether a pod says that it is ready.
pub(super) fn is_ready(pod: &Value) -> bool {
    list(pod, "/status/conditions")
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// One pod of a workload.
struct Pod {
    key: Key,
    object: Arc<Value>,
    current: bool,
}

impl Pod {
    fn is_ready(&self) -> bool {
        is_ready(&self.object)
    }

    /// The lowest goes first when pods have to go, as ReplicaSets choose.
    fn worth(&self) -> impl Ord + use<> {
        let cost = text(&self.object, COST).parse::<i64>().unwrap_or(0);
        let made = text(&self.object, "/metadata/uid").to_owned();
        (
            !text(&self.object, "/spec/nodeName").is_empty(),
            text(&self.object, "/status/phase") == "Running",
            self.is_ready(),
            cost,
            Reverse(made), // uids are counted up, so of equal ones the youngest goes first
        )
    }
}

/// Makes and removes pods until they are what the workload asks for, as far as the rules of
/// its rollout allow at this moment, and tells so in its status.
pub(super) fn reconcile(store: &mut Store, key: &Key) {
    let Some(workload) = store.object(key).cloned() else {
        return; // its pods go as its dependants
    };
    if is_leaving(&workload) {
        return;
    }
    let hash = hash(&workload["spec"]["template"]);
    let (pods, _) = pods_of(store, &workload, &hash);
    let wanted = number(&workload, "/spec/replicas").unwrap_or(1).max(0);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    if key.kind.plural == "deployments" {
        roll(store, key, &workload, pods, wanted, &hash);
    } else {
        order(store, key, &workload, &pods, wanted, &hash);
    }
    tell(store, key, &workload, &hash);
}

/// The pods of a workload that stay, and how many are leaving.
fn pods_of(store: &Store, workload: &Value, hash: &str) -> (Vec<Pod>, usize) {
    let owned = store.owned_by(text(workload, "/metadata/uid"));
    let of_pods = owned.into_iter().filter(|key| key.kind.plural == "pods");
    let mut pods: Vec<Pod> = of_pods
        .filter_map(|key| {
            let object = Arc::clone(store.object(&key)?);
            let current = text(&object, &format!("/metadata/labels/{HASH}")) == hash;
            Some(Pod {
                key,
                object,
                current,
            })
        })
        .collect();
    let all = pods.len();
    pods.retain(|pod| {
        let ended = matches!(text(&pod.object, "/status/phase"), "Failed" | "Succeeded");
        !is_leaving(&pod.object) && !ended
    });
    let leaving = all - pods.len();
    (pods, leaving)
}

/// One step of a Deployment towards `wanted` pods of the present template.
fn roll(store: &mut Store, key: &Key, workload: &Value, pods: Vec<Pod>, wanted: usize, hash: &str) {
    let all = pods.len();
    let (mut current, mut old): (Vec<Pod>, Vec<Pod>) =
        pods.into_iter().partition(|pod| pod.current);
    current.sort_by_cached_key(Pod::worth);
    old.sort_by_cached_key(Pod::worth);
    if text(workload, "/spec/strategy/type") == "Recreate" {
        for pod in &old {
            remove(store, &pod.key);
        }
        let (left, leaving) = pods_of(store, workload, hash);
        if left.iter().any(|pod| !pod.current) || leaving > 0 && !old.is_empty() {
            return;
        }
    }
    // Those that are too many, whatever the rollout does.
    for pod in current.iter().take(current.len().saturating_sub(wanted)) {
        remove(store, &pod.key);
    }
    let kept = current.len().min(wanted);
    let (surge, unavailable) = bounds(workload, wanted);
    let room = (wanted + surge).saturating_sub(all);
    let room = if old.is_empty() {
        wanted - kept
    } else {
        room.min(wanted - kept)
    };
    for _ in 0..room {
        make(store, key, workload, hash, None);
    }
    let unready = current
        .iter()
        .rev()
        .take(kept)
        .filter(|pod| !pod.is_ready())
        .count()
        + room;
    let least = wanted.saturating_sub(unavailable);
    let may_go = (kept + room + old.len()).saturating_sub(least + unready);
    for pod in old.iter().take(may_go) {
        remove(store, &pod.key);
    }
}

/// `maxSurge`, rounded up, and `maxUnavailable`, rounded down; never both 0.
fn bounds(workload: &Value, wanted: usize) -> (usize, usize) {
    let bound = |name: &str, up: bool| {
        let value = &workload["spec"]["strategy"]["rollingUpdate"][name];
        if let Some(pods) = value.as_u64() {
            return usize::try_from(pods).unwrap_or(usize::MAX);
        }
        let percent = value
            .as_str()
            .and_then(|it| it.trim_end_matches('%').parse().ok());
        let parts = wanted.saturating_mul(percent.unwrap_or(25));
        if up { parts.div_ceil(100) } else { parts / 100 }
    };
    match (bound("maxSurge", true), bound("maxUnavailable", false)) {
        (0, 0) => (0, 1),
        both => both,
    }
}

/// One step of a StatefulSet: its pods have the ordinals below `wanted`.
fn order(store: &mut Store, key: &Key, workload: &Value, pods: &[Pod], wanted: usize, hash: &str) {
    let named = |ordinal: usize| format!("{}-{ordinal}", key.name);
    let kept: Vec<String> = (0..wanted).map(named).collect();
    for pod in pods.iter().filter(|pod| !kept.contains(&pod.key.name)) {
        remove(store, &pod.key);
    }
    for name in &kept {
        // One that is leaving has its name until it is gone.
        make(store, key, workload, hash, Some(name));
    }
    let outdated = pods
        .iter()
        .filter(|pod| !pod.current && kept.contains(&pod.key.name));
    let all_ready = pods.len() == wanted && pods.iter().all(Pod::is_ready);
    if let Some(last) = outdated.max_by_key(|pod| (pod.key.name.len(), pod.key.name.clone()))
        && (all_ready || !last.is_ready())
    {
        remove(store, &last.key);
    }
}

fn remove(store: &mut Store, pod: &Key) {
    // One that is gone by now needs no removal.
    let _ = deletes::delete(store, pod, &Deletion::default());
}

fn make(store: &mut Store, key: &Key, workload: &Value, hash: &str, name: Option<&str>) {
    let Some(kind) = store.kind_named("Pod") else {
        return;
    };
    let mut pod = workload["spec"]["template"].clone();
    let fields = metadata(&mut pod);
    match name {
        Some(name) => fields.insert("name".to_owned(), name.into()),
        None => {
            let prefix = format!("{}-{hash}-", key.name);
            fields.insert("generateName".to_owned(), prefix.into())
        }
    };
    let owner = json!([{
        "apiVersion": key.kind.api_version(),
        "kind": key.kind.kind,
        "name": key.name,
        "uid": workload["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    }]);
    fields.insert("ownerReferences".to_owned(), owner);
    super::super::object::members(&mut pod["metadata"], "labels")
        .insert(HASH.to_owned(), hash.into());
    let writer = writer("kube-controller-manager");
    // A pod that is refused (a namespace that is leaving, a name that is taken, a template that
    // makes no pod) shows in the count of those that are missing.
    let _ = write::create(store, kind, &key.namespace, pod, &writer);
}

/// Writes the workload's status, as far as it changed.
fn tell(store: &mut Store, key: &Key, workload: &Value, hash: &str) {
    let (pods, _) = pods_of(store, workload, hash);
    let wanted = number(workload, "/spec/replicas").unwrap_or(1);
    let ready = pods.iter().filter(|pod| pod.is_ready()).count();
    let current = pods.iter().filter(|pod| pod.current).count();
    let mut status = json!({ "observedGeneration": workload["metadata"]["generation"] });
    let mut count = |field: &str, pods: usize| {
        if pods > 0 {
            status[field] = pods.into(); // Go leaves zeros out
        }
    };
    count("replicas", pods.len());
    count("updatedReplicas", current);
    count("readyReplicas", ready);
    count("availableReplicas", ready);
    if key.kind.plural == "deployments" {
        let missing = usize::try_from(wanted).unwrap_or(0).saturating_sub(ready);
        count("unavailableReplicas", missing);
        let (_, unavailable) = bounds(workload, usize::try_from(wanted).unwrap_or(0));
        let enough = missing <= unavailable;
        let done = missing == 0 && current == pods.len();
        status["conditions"] = json!([
            {
                "type": "Available",
                "status": if enough { "True" } else { "False" },
                "reason": if enough { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
            },
            {
                "type": "Progressing",
                "status": "True",
                "reason": if done { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" },
            },
        ]);
    }
    let mut new = workload.clone();
    new["status"] = status;
    let part = write::Part::Status;
    // It was there a moment ago, and nobody else has the store.
    let _ = write::update(store, key, part, new, &writer("kube-controller-manager"));
}
