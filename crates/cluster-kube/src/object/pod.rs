//! Pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use penstock_cluster::{Phase, Pod};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Version, cut, instant};
use crate::Key;
use crate::reflect::shape;

/// A pod as it is on the wire.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PodObject {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

shape!(PodObject: "Pod", "pods", "", "v1");

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    init_container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    last_transition_time: Option<Time>,
}

#[derive(Clone, Debug, Deserialize)]
struct ContainerStatus {
    #[serde(default)]
    name: String,
    #[serde(default)]
    state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Waiting>,
    running: Option<Running>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    started_at: Option<Time>,
}

/// How far a pod is, by the word of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Is not on a node yet, or its containers have not been made (`Pending`).
    Pending,
    /// Its containers run, but it is not ready.
    Running,
    /// It is ready.
    Ready,
    /// It is being deleted.
    Leaving,
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenPod {
    pub(crate) name: Arc<str>,
    pub(crate) version: Version,
    pub(crate) state: State,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) created: Instant,
    pub(crate) started: Option<Instant>,
    pub(crate) ready: Option<Instant>,
    /// What its deletion costs, as its annotation says.
    pub(crate) cost: Option<i32>,
    /// Why it does not come up.
    pub(crate) trouble: Option<Arc<str>>,
}

/// Annotation by which a ReplicaSet chooses whom to delete first: the cheapest.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

impl PodObject {
    pub(crate) fn key(&self) -> Key {
        Key::of(&self.metadata)
    }

    pub(crate) fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.labels.as_ref()
    }

    /// What is kept of it; `None` if it has ended, for good.
    pub(crate) fn seen(&self) -> Option<SeenPod> {
        if matches!(self.status.phase.as_str(), "Succeeded" | "Failed") {
            return None;
        }
        let conditions = self.status.conditions.as_deref().unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|condition| condition.kind == "Ready");
        let ready = ready.filter(|condition| condition.status == "True");
        let state = if self.metadata.deletion_timestamp.is_some() {
            State::Leaving
        } else if ready.is_some() {
            State::Ready
        } else if self.status.phase == "Running" {
            State::Running
        } else {
            State::Pending
        };
        let created = self.metadata.creation_timestamp.as_ref();
        let cost = self.metadata.annotations.as_ref();
        let cost = cost.and_then(|all| all.get(DELETION_COST));
        Some(SeenPod {
            name: self.metadata.name.as_deref().unwrap_or_default().into(),
            version: Version::of(&self.metadata),
            state,
            ip: self.status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
            created: created.and_then(instant).unwrap_or_else(Instant::now),
            started: self.started(),
            ready: ready.and_then(|ready| instant(ready.last_transition_time.as_ref()?)),
            cost: cost.and_then(|cost| cost.parse().ok()),
            trouble: self.trouble(conditions).map(|text| cut(&text).into()),
        })
    }

    /// When the last of its containers was started.
    fn started(&self) -> Option<Instant> {
        let running = self.status.container_statuses.iter().flatten();
        running
            .filter_map(|container| container.state.running.as_ref()?.started_at.as_ref())
            .filter_map(instant)
            .max()
    }

    fn trouble(&self, conditions: &[Condition]) -> Option<String> {
        let unplaced = conditions.iter().find(|condition| {
            condition.kind == "PodScheduled"
                && condition.status == "False"
                && condition.reason == "Unschedulable"
        });
        if let Some(unplaced) = unplaced {
            return Some(format!("no node takes the pod: {}", unplaced.message));
        }
        let init = self.status.init_container_statuses.iter().flatten();
        let containers = init.chain(self.status.container_statuses.iter().flatten());
        for container in containers {
            if let Some(waiting) = &container.state.waiting
                && !matches!(
                    waiting.reason.as_str(),
                    "" | "ContainerCreating" | "PodInitializing"
                )
            {
                let (name, reason) = (&container.name, &waiting.reason);
                return Some(match waiting.message.as_str() {
                    "" => format!("the container {name} does not start: {reason}"),
                    why => format!("the container {name} does not start: {reason}: {why}"),
                });
            }
        }
        None
    }
}

impl SeenPod {
    /// What this one was before: what is seen to change changed now, not at the whole second that
    /// is written there.
    pub(crate) fn after(&mut self, before: &Self) {
        let now = Instant::now();
        self.created = before.created;
        if self.started.is_some() {
            self.started = before.started.or(Some(now));
        }
        if self.ready.is_some() {
            self.ready = before.ready.or(Some(now));
        }
    }

    /// As the picture has it, at `port`, asked for at `asked` if that is known; `None` without an
    /// address.
    pub(crate) fn picture(&self, port: u16, asked: Option<Instant>) -> Option<Pod> {
        let phase = match self.state {
            State::Pending | State::Running => Phase::Starting,
            State::Ready => Phase::Ready,
            State::Leaving => Phase::Draining,
        };
        let asked = asked.unwrap_or(self.created);
        let started = self.started.map(|started| started.max(asked));
        Some(Pod {
            name: Arc::clone(&self.name),
            addr: (self.ip?, port).into(),
            phase,
            asked: asked.into_std(),
            started: started.map(Instant::into_std),
            ready: self.ready.map(|ready| {
                started
                    .map_or(ready, |started| ready.max(started))
                    .into_std()
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> SeenPod {
        let object: PodObject = serde_json::from_str(text).unwrap();
        object.seen().unwrap()
    }

    #[test]
    fn a_pod_is_read_as_far_as_it_is() {
        let pending =
            r#"{"metadata":{"name":"a","resourceVersion":"7"},"status":{"phase":"Pending"}}"#;
        assert_eq!(pod(pending).state, State::Pending);
        assert_eq!(pod(pending).picture(80, None), None, "it has no address");
        let running = r#"{"metadata":{"name":"a"},"status":{"phase":"Running","podIP":"fd00::7",
            "conditions":[{"type":"Ready","status":"False"}],
            "containerStatuses":[{"name":"c","state":{"running":{"startedAt":"2024-01-01T00:00:00Z"}}}]}}"#;
        let running = pod(running);
        assert_eq!(running.state, State::Running);
        let picture = running.picture(8012, None).unwrap();
        assert_eq!(picture.addr.to_string(), "[fd00::7]:8012");
        assert_eq!((picture.phase, picture.ready), (Phase::Starting, None));
        let leaving = r#"{"metadata":{"name":"a","deletionTimestamp":"2024-01-01T00:00:00Z"},
            "status":{"phase":"Running","podIP":"10.0.0.1","conditions":[{"type":"Ready","status":"True"}]}}"#;
        assert_eq!(pod(leaving).state, State::Leaving);
        let over: PodObject =
            serde_json::from_str(r#"{"metadata":{},"status":{"phase":"Failed"}}"#).unwrap();
        assert_eq!(over.seen(), None);
    }

    #[test]
    fn why_a_pod_does_not_come_up_is_told() {
        let image = r#"{"metadata":{},"status":{"phase":"Pending","containerStatuses":[
            {"name":"web","state":{"waiting":{"reason":"ImagePullBackOff","message":"no such image"}}}]}}"#;
        assert_eq!(
            pod(image).trouble.as_deref(),
            Some("the container web does not start: ImagePullBackOff: no such image")
        );
        let made = r#"{"metadata":{},"status":{"phase":"Pending","containerStatuses":[
            {"name":"web","state":{"waiting":{"reason":"ContainerCreating"}}}]}}"#;
        assert_eq!(pod(made).trouble, None);
        let full = r#"{"metadata":{},"status":{"phase":"Pending","conditions":[
            {"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes"}]}}"#;
        assert_eq!(
            pod(full).trouble.as_deref(),
            Some("no node takes the pod: 0/3 nodes")
        );
    }

    #[test]
    fn times_of_a_pod_are_in_order_whatever_the_clocks_say() {
        let text = r#"{"metadata":{"name":"a","creationTimestamp":"2024-01-01T00:00:09Z"},
            "status":{"phase":"Running","podIP":"10.0.0.1","conditions":[
            {"type":"Ready","status":"True","lastTransitionTime":"2024-01-01T00:00:01Z"}],
            "containerStatuses":[{"name":"c","state":{"running":{"startedAt":"2024-01-01T00:00:05Z"}}}]}}"#;
        let pod = pod(text).picture(80, Some(Instant::now())).unwrap();
        assert!(
            Some(pod.asked) <= pod.started && pod.started <= pod.ready,
            "{pod:?}"
        );
    }
}
