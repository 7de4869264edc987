//! Child processes behind the port [`Cluster`]: pods without a cluster.
//!
//! A pod is a program with its own port and process group, and a sidecar (the queue-proxy) in
//! front of it. This crate plays the kubelet: it starts the program the moment a pod is asked
//! for, gives it the runtime contract's variables, probes it, restarts it with back-off, and
//! stops it by drain, SIGTERM, grace, SIGKILL. Every step is in the snapshot at once.
//!
//! Read `pod.rs` first: the life of a pod. `state.rs` is what there is of them. [`reaper`] sees
//! to it that no program outlives this process, however it ends.

#![forbid(unsafe_code)]

mod backoff;
mod container;
mod expand;
mod group;
mod health;
mod launch;
mod output;
mod pod;
mod port;
pub mod reaper;
mod sidecar;
mod state;
mod workload;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{BoxFuture, Cluster, ScaleError, Snapshot};
use penstock_types::RevisionId;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::pod::Pod;
use crate::state::{NewPod, Refusal, Shared};

pub use output::Output;
pub use reaper::Reaper;
pub use sidecar::{NotReady, PodSpec, RunningSidecar, Sidecar};
pub use workload::{Desired, Workload};

/// What all pods share.
#[derive(Clone)]
pub struct Options {
    /// Variables that every program gets, below its own: `PATH`, `HOME`, `LANG` and the like.
    pub base_env: Vec<(String, String)>,
    /// Gets every line that a pod prints. It is called on the runtime's threads.
    pub output: Output,
    /// Kills what is left when this process is no more; `None` leaves that to the caller.
    pub reaper: Option<Arc<Reaper>>,
    /// No pod has longer than this from the wish to stop it to SIGKILL, whatever its manifest says.
    pub longest_grace: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("reaper", &self.reaper)
            .field("longest_grace", &self.longest_grace)
            .finish_non_exhaustive()
    }
}

/// Pods as child processes of this one.
///
/// A revision without pods costs its entry in the snapshot: no task, no timer, no polling.
pub struct LocalCluster {
    shared: Arc<Shared>,
    /// Where pods live, whoever asks for them.
    runtime: Handle,
}

impl LocalCluster {
    /// An empty cluster; its pods run on the runtime that this is called in.
    pub fn new(sidecars: Arc<dyn Sidecar>, options: Options) -> Self {
        Self {
            shared: Arc::new(Shared::new(options, sidecars)),
            runtime: Handle::current(),
        }
    }

    /// Replaces the set of revisions and routes.
    ///
    /// A revision that is not there any more leaves the snapshot at once, and its pods drain.
    /// One that stays keeps its pods: revisions do not change, but for what is around them
    /// (annotations, reachability). New ones have no pods until they are scaled.
    pub fn apply(&self, desired: Desired) {
        self.shared.apply(desired);
    }

    /// Stops every pod, as its manifest says, and returns when nothing is left.
    ///
    /// From then on every wish is refused. The reaper is left to its owner.
    pub async fn shutdown(&self) {
        self.shared.close();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn scale_now(&self, revision: &RevisionId, pods: u32) -> Result<(), ScaleError> {
        let asked = Instant::now();
        // A shutdown that comes in between waits for what is started here.
        let _running = self.shared.tasks.token();
        let new = self.shared.scale(revision, pods, asked);
        let new = new.map_err(|refusal| match refusal {
            Refusal::UnknownRevision => ScaleError::UnknownRevision(revision.clone()),
            Refusal::Closed => ScaleError::Refused {
                revision: revision.clone(),
                reason: "it is shutting down".to_owned(),
            },
        })?;
        // Starting a program takes its caller the better part of a millisecond: the first is
        // started right here, and the others meanwhile by their own tasks.
        let mut new = new.into_iter().map(|new| self.pod(new));
        let Some(first) = new.next() else {
            return Ok(());
        };
        for pod in new {
            self.shared.tasks.spawn_on(pod.live(None), &self.runtime);
        }
        let _inside = self.runtime.enter();
        let start = first.start();
        self.shared
            .tasks
            .spawn_on(first.live(Some(start)), &self.runtime);
        Ok(())
    }

    fn pod(&self, new: NewPod) -> Pod {
        Pod {
            shared: Arc::clone(&self.shared),
            workload: new.workload,
            id: new.id,
            name: new.name,
            stop: new.stop,
        }
    }
}

/// Without a shutdown before, pods are dismissed and end on their own while the runtime lives.
impl Drop for LocalCluster {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Cluster for LocalCluster {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.shared.snapshot()
    }

    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move { self.scale_now(revision, pods) })
    }
}
