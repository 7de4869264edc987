//! What is there: revisions and their pods, and how the snapshot follows every change.
//!
//! One mutex, held for the length of a change and its publication, so that snapshots come in
//! the order of the changes. A change replaces its own revision in the snapshot and shares
//! all others.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use penstock_cluster::{Phase, Pod, Readiness, Revision, Snapshot};
use penstock_types::RevisionId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::port::Ports;
use crate::sidecar::Sidecar;
use crate::workload::{Desired, Workload};

/// Reasons of failure that a revision remembers to have said.
const REMEMBERED: usize = 16;

/// What the cluster and all its pods share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) sidecars: Arc<dyn Sidecar>,
    pub(crate) ports: Arc<Ports>,
    pub(crate) tasks: TaskTracker,
    state: Mutex<State>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

#[derive(Default)]
struct State {
    revisions: HashMap<RevisionId, Running>,
    pods_made: u64,
    closed: bool,
}

/// One revision.
struct Running {
    workload: Arc<Workload>,
    wanted: u32,
    /// In the order of their making.
    pods: Vec<Member>,
    said: VecDeque<Arc<str>>,
}

/// One pod, as the cluster sees it.
pub(crate) struct Member {
    id: u64,
    name: Arc<str>,
    asked: Instant,
    stop: CancellationToken,
    /// Where its sidecar listens; before that it is in no snapshot.
    pub(crate) addr: Option<SocketAddr>,
    pub(crate) phase: Phase,
    pub(crate) started: Option<Instant>,
    pub(crate) ready: Option<Instant>,
    pub(crate) trouble: Option<Arc<str>>,
}

/// A pod that was entered, and has to be brought to life.
pub(crate) struct NewPod {
    pub(crate) workload: Arc<Workload>,
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) stop: CancellationToken,
}

/// Why a wish was not taken.
pub(crate) enum Refusal {
    UnknownRevision,
    Closed,
}

impl Shared {
    pub(crate) fn new(options: Options, sidecars: Arc<dyn Sidecar>) -> Self {
        Self {
            options,
            sidecars,
            ports: Arc::default(),
            tasks: TaskTracker::new(),
            state: Mutex::default(),
            snapshot: watch::Sender::default(),
        }
    }

    pub(crate) fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    /// Replaces the set of revisions. Pods of those that stay are not touched, pods of the
    /// others are dismissed as their entries are dropped.
    pub(crate) fn apply(&self, desired: Desired) {
        let mut state = self.state();
        let mut before = std::mem::take(&mut state.revisions);
        for workload in desired.workloads {
            let id = workload.revision.clone();
            let running = match before.remove(&id) {
                Some(running) => Running {
                    workload: Arc::new(workload),
                    ..running
                },
                None => Running {
                    workload: Arc::new(workload),
                    wanted: 0,
                    pods: Vec::new(),
                    said: VecDeque::new(),
                },
            };
            state.revisions.insert(id, running);
        }
        let revisions = state.revisions.values();
        let revisions = revisions
            .map(|running| (running.workload.revision.clone(), running.picture()))
            .collect();
        self.snapshot.send_replace(Arc::new(Snapshot {
            revisions,
            routes: desired.routes,
        }));
    }

    /// Enters and dismisses pods until `pods` are left, not counting those that are leaving.
    pub(crate) fn scale(
        &self,
        revision: &RevisionId,
        pods: u32,
        asked: Instant,
    ) -> Result<Vec<NewPod>, Refusal> {
        let mut state = self.state();
        let State {
            revisions,
            pods_made,
            closed,
        } = &mut *state;
        if *closed {
            return Err(Refusal::Closed);
        }
        let running = revisions
            .get_mut(revision)
            .ok_or(Refusal::UnknownRevision)?;
        running.wanted = pods;
        let staying = running.pods.iter().filter(|pod| pod.stays()).count();
        let pods = pods as usize;
        running.dismiss(staying.saturating_sub(pods));
        let new = (staying..pods)
            .map(|_| {
                *pods_made += 1;
                running.enter(*pods_made, asked)
            })
            .collect();
        self.publish(running);
        Ok(new)
    }

    /// Changes one pod, and publishes it. `None` if its revision is gone.
    pub(crate) fn update<T>(
        &self,
        revision: &RevisionId,
        id: u64,
        change: impl FnOnce(&mut Member) -> T,
    ) -> Option<T> {
        let mut state = self.state();
        let running = state.revisions.get_mut(revision)?;
        let pod = running.pods.iter_mut().find(|pod| pod.id == id)?;
        let answer = change(pod);
        self.publish(running);
        Some(answer)
    }

    /// A pod is no more.
    pub(crate) fn remove(&self, revision: &RevisionId, id: u64) {
        let mut state = self.state();
        if let Some(running) = state.revisions.get_mut(revision) {
            running.pods.retain(|pod| pod.id != id);
            self.publish(running);
        }
    }

    /// Whether `why` was not said of this revision lately; from now on it was.
    pub(crate) fn is_news(&self, revision: &RevisionId, why: &Arc<str>) -> bool {
        let mut state = self.state();
        let Some(running) = state.revisions.get_mut(revision) else {
            return true;
        };
        if running.said.contains(why) {
            return false;
        }
        if running.said.len() == REMEMBERED {
            running.said.pop_front();
        }
        running.said.push_back(Arc::clone(why));
        true
    }

    /// Dismisses every pod, and takes no wish from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for running in state.revisions.values_mut() {
            running.wanted = 0;
            running.dismiss(usize::MAX);
            self.publish(running);
        }
    }

    fn publish(&self, running: &Running) {
        let picture = running.picture();
        self.snapshot.send_modify(|snapshot| {
            let id = running.workload.revision.clone();
            Arc::make_mut(snapshot).revisions.insert(id, picture);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn enter(&mut self, id: u64, asked: Instant) -> NewPod {
        let name = pod_name(&self.workload.revision, id);
        let stop = CancellationToken::new();
        self.pods.push(Member {
            id,
            name: Arc::clone(&name),
            asked,
            stop: stop.clone(),
            addr: None,
            phase: Phase::Starting,
            started: None,
            ready: None,
            trouble: None,
        });
        NewPod {
            workload: Arc::clone(&self.workload),
            id,
            name,
            stop,
        }
    }

    /// Lets `count` pods go: first those that are not ready, then the youngest.
    fn dismiss(&mut self, count: usize) {
        let mut staying: Vec<&mut Member> =
            self.pods.iter_mut().filter(|pod| pod.stays()).collect();
        staying.sort_by_key(|pod| (pod.phase == Phase::Ready, std::cmp::Reverse(pod.id)));
        for pod in staying.into_iter().take(count) {
            pod.phase = Phase::Draining;
            pod.stop.cancel();
        }
    }

    fn picture(&self) -> Arc<Revision> {
        let mut pods: Vec<Pod> = self.pods.iter().filter_map(Member::picture).collect();
        pods.sort_by_key(|pod| pod.addr);
        let workload = &self.workload;
        Arc::new(Revision {
            id: workload.revision.clone(),
            service: Arc::clone(&workload.service),
            configuration: Arc::clone(&workload.configuration),
            annotations: Arc::clone(&workload.annotations),
            slots: workload.slots,
            timeouts: workload.timeouts,
            protocol: workload.protocol,
            reachability: workload.reachability,
            wanted: self.wanted,
            pods: pods.into(),
            unplaced: 0,
            position: None,
            readiness: Readiness::Trusted,
            queue_proxy: true,
            standing: None,
            trouble: self.pods.iter().rev().find_map(|pod| pod.trouble.clone()),
        })
    }
}

/// A pod that is not here any more, for whatever reason, is not wanted any more.
impl Drop for Member {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Member {
    fn stays(&self) -> bool {
        self.phase != Phase::Draining
    }

    fn picture(&self) -> Option<Pod> {
        Some(Pod {
            name: Arc::clone(&self.name),
            addr: self.addr?,
            phase: self.phase,
            asked: self.asked.into_std(),
            started: self.started.map(Instant::into_std),
            ready: self.ready.map(Instant::into_std),
        })
    }
}

/// `REVISION-deployment-xxxxx`, another one for each `number` below 27^5.
fn pod_name(revision: &RevisionId, number: u64) -> Arc<str> {
    // The characters that Kubernetes uses: none that makes a word, none that looks like another.
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const NAMES: u64 = 27_u64.pow(5);
    // Coprime to 27^5, so that it only shuffles.
    const STRIDE: u64 = 8_868_197;
    let mut rest = number.wrapping_mul(STRIDE) % NAMES;
    let mut name = format!("{}-deployment-", revision.name());
    for _ in 0..5 {
        name.push(char::from(LETTERS[(rest % 27) as usize]));
        rest /= 27;
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pod_names_look_like_those_of_a_deployment_and_differ() {
        let revision = RevisionId::new("default", "hello-00001");
        let names: HashSet<Arc<str>> = (0..10_000).map(|n| pod_name(&revision, n)).collect();
        assert_eq!(names.len(), 10_000);
        for name in names {
            let suffix = name.strip_prefix("hello-00001-deployment-").unwrap();
            assert_eq!(suffix.len(), 5, "{name}");
        }
    }
}
