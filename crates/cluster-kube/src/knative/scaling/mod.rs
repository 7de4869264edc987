//! A Knative install as its autoscaler sees and writes it.
//!
//! ```text
//! PodAutoscaler ─┐                                   ┌─► scale of the Deployment
//! SKS, Metric   ─┼─► store ─► Snapshot ─► the loop ──┤
//! Deployment    ─┤                                   └─► SKS, Metric, status of the PodAutoscaler
//! pods          ─┘
//! ```
//!
//! Changes of scale are told by Events on the Deployment.
//!
//! A revision is a PodAutoscaler of the class `kpa.autoscaling.knative.dev`; those of other classes
//! are not in the picture. What Knative's own RBAC gives its autoscaler is enough.
//!
//! Source: spec/autoscaler.md §3, §7 and §9.

mod objects;
mod settle;
mod status;
mod store;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use penstock_cluster::{BoxFuture, Change, Cluster, ScaleError, Snapshot, Wish};
use penstock_types::RevisionId;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::Options;
use crate::Key;
use crate::event::{Events, News};
use crate::picture::{BACKLOG, Complete, Tasks, keep};
use crate::reflect::{Complaints, Reach, Reflector, Selection, chain};
use crate::scale::{self, Target, Unscaled};
use objects::{Deployment, Metric, PodAutoscaler, PodObject, ServerlessService, TargetRef};
use store::{Canvas, Member, REVISION, Seen, Store, Workload};

/// Longest time that all that is wished of one revision may take to be written.
const LIMIT: Duration = Duration::from_secs(20);

/// The cluster of a Knative install, to be scaled.
pub struct Scaling {
    client: Client,
    store: Store,
    events: Events,
    pictures: watch::Receiver<Arc<Snapshot>>,
    complete: Complete,
    reach: watch::Receiver<Reach>,
    _tasks: Tasks,
}

impl Scaling {
    /// Begins to look. The tasks run on the runtime that this is called in, until the cluster is
    /// dropped.
    pub fn start(client: Client, options: &Options) -> Arc<Self> {
        let complaints = Complaints::new();
        let reach = complaints.reach();
        let tasks = Tasks::default();
        let store = Store::default();
        let events = Events::start(&client, "autoscaler", &complaints, &tasks);
        let (to, changes) = mpsc::channel(BACKLOG);
        follow(&client, options, &complaints, &tasks, &to);
        let (snapshots, pictures) = watch::channel(Arc::default());
        let (told, complete) = watch::channel(false);
        let canvas = Canvas::new(store.clone(), options.domain.as_str().into());
        tasks.spawn(keep(canvas, changes, snapshots, told));
        Arc::new(Self {
            client,
            store,
            events,
            pictures,
            complete,
            reach,
            _tasks: tasks,
        })
    }

    /// Waits for the first whole picture.
    pub async fn complete(&self) {
        // The other end lives as long as the cluster.
        let _ = self.complete.clone().wait_for(|complete| *complete).await;
    }

    /// Whether what is shown is what is.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }
}

/// Follows all kinds of objects that a revision is made of.
fn follow(
    client: &Client,
    options: &Options,
    complaints: &Complaints,
    tasks: &Tasks,
    to: &mpsc::Sender<Seen>,
) {
    let reflector = Reflector::new(client.clone(), options.rhythm, complaints.clone());
    let all = Selection {
        namespace: options.namespace.clone(),
        ..Selection::default()
    };
    let labelled = Selection {
        labels: Some(REVISION.to_owned()),
        ..all.clone()
    };
    macro_rules! watch {
        ($kind:ty, $selection:expr, $trim:expr, $seen:path) => {{
            let (reflector, selection, to) = (reflector.clone(), $selection.clone(), to.clone());
            tasks.spawn(async move {
                let trim: fn($kind) -> Option<_> = $trim;
                reflector.follow(&selection, trim, &to, $seen).await;
            });
        }};
    }
    watch!(
        PodAutoscaler,
        all,
        |it| Some(without_managers(it)),
        Seen::Autoscaler
    );
    watch!(
        ServerlessService,
        all,
        |it| Some(without_managers(it)),
        Seen::Path
    );
    watch!(Metric, all, |it| Some(without_managers(it)), Seen::Metric);
    watch!(Deployment, labelled, |it| Workload::of(&it), Seen::Workload);
    watch!(PodObject, labelled, |it| Member::of(&it), Seen::Pod);
}

/// Who wrote which field is half of an object, and of no use here.
fn without_managers<K: kube::Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

impl Cluster for Scaling {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.pictures.clone()
    }

    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        let key = Key::from(revision);
        let autoscaler = self.store.autoscaler(&key);
        Box::pin(async move {
            let unknown = || ScaleError::UnknownRevision(revision.clone());
            let autoscaler = autoscaler.ok_or_else(unknown)?;
            let target = target(&key, &autoscaler.spec.scale_target_ref);
            match scale::patch(&self.client, &target, pods).await {
                Ok(_) => Ok(()),
                Err(Unscaled::Absent) => Err(unknown()),
                Err(error) => Err(ScaleError::Refused {
                    revision: revision.clone(),
                    reason: error.to_string(),
                }),
            }
        })
    }

    fn settle<'a>(
        &'a self,
        revision: &'a RevisionId,
        wish: Wish,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move {
            let settling = settle::settle(&self.client, &self.store, revision, &wish);
            match timeout(LIMIT, settling).await {
                Ok(settled) => settled,
                Err(late) => Err(refused(revision, &late)),
            }
        })
    }
    fn told(&self, revision: &RevisionId, change: Change<'_>) {
        let known = self.store.known(&Key::from(revision));
        if let Some(subject) = known.and_then(|known| known.subject()) {
            self.events.tell(News::scaled(subject, change));
        }
    }
}

/// The object that has the number of pods.
fn target(key: &Key, target: &TargetRef) -> Target {
    Target {
        api_version: target.api_version.clone(),
        plural: format!("{}s", target.kind.to_ascii_lowercase()),
        key: Key::new(Arc::clone(&key.namespace), target.name.as_str()),
    }
}

/// Why it was not done, in the words of the server or of the way to it.
fn refused(revision: &RevisionId, error: &dyn std::error::Error) -> ScaleError {
    ScaleError::Refused {
        revision: revision.clone(),
        reason: chain(error),
    }
}

#[cfg(test)]
mod tests;
