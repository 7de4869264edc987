//! Ordinary Deployments and StatefulSets that carry the label `penstock.dev/scale: "true"`.
//!
//! A revision is one of them: `namespace/name`. `settings.rs` has the table of annotations. An
//! activator reads: workloads, their pods, and the EndpointSlices that lead to activators, among
//! which it finds itself. An autoscaler writes too: the subresource `scale`, Events, marks on pods
//! that may go, and for each workload a Service with its EndpointSlices. What is remembered of a
//! revision is written on that Service, so that an autoscaler that starts anew goes on from there.
//!
//! ```text
//! workloads, pods, Services, slices ── picture ──► Snapshot
//!                                         │
//!                                        desk ◄── scale · settle
//!                                         │
//!                                      arrange ──► Service, EndpointSlices
//! ```
//!
//! Source: spec/activator.md §10; the path of requests as in §9.

mod arrange;
mod desk;
mod entry;
mod hosts;
mod let_go;
mod owners;
mod picture;
mod scale_in;
mod services;
mod settings;
mod shared;
mod slices;
mod standing;
mod start;

use std::net::IpAddr;
use std::sync::Arc;

use kube::Client;
use penstock_cluster::{BoxFuture, Change, Cluster, ScaleError, Snapshot, Wish};
use penstock_types::RevisionId;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub use desk::IsOurs;
pub use settings::{AnnotationCheck, rejected};

use crate::Key;
use crate::event::{Events, News};
use crate::picture::{Complete, Tasks};
use crate::reflect::{Reach, Rhythm};
use crate::scale::{self, Unscaled};
use arrange::Arranger;
use desk::{Desk, Filed, LeftAlone};
use scale_in::Marker;

/// Label and value by which a workload is ours to scale.
pub const LABEL: (&str, &str) = ("penstock.dev/scale", "true");

/// What this process does with them.
#[derive(Clone)]
pub enum Role {
    /// Reads, to forward requests.
    Activator {
        /// Its own address, by which it finds itself among others; `None` if it is alone.
        own: Option<IpAddr>,
    },
    /// Scales, and arranges the path of requests.
    Autoscaler {
        /// Whether this process looks after a revision. Others are shown, and left alone.
        ours: IsOurs,
        /// Namespace and name of the Service whose endpoints are the activators.
        activators: (String, String),
    },
}

/// How the cluster is looked at.
#[derive(Clone)]
pub struct Options {
    /// Only what is in this namespace; `None` is all of them.
    pub namespace: Option<String>,
    /// Domain of the cluster's Services, such as `cluster.local`.
    pub domain: String,
    /// How lists and watches are made.
    pub rhythm: Rhythm,
    /// Rejects annotations of the autoscaler that it does not understand.
    pub check: AnnotationCheck,
}

/// The cluster of Deployments.
pub struct Deployments {
    pictures: watch::Receiver<Arc<Snapshot>>,
    complete: Complete,
    reach: watch::Receiver<Reach>,
    desk: Arc<Desk>,
    /// What only an autoscaler does.
    hands: Option<Hands>,
    _tasks: Tasks,
}

struct Hands {
    client: Client,
    changes: mpsc::Sender<picture::Change>,
    arranger: Arc<Arranger>,
    marker: Marker,
    events: Events,
}

impl Deployments {
    /// Begins to look. The tasks run on the runtime that this is called in, until the cluster is
    /// dropped.
    pub fn start(client: Client, options: Options, role: Role) -> Arc<Self> {
        Arc::new(start::start(client, options, role))
    }

    /// Waits for the first whole picture; an autoscaler also until it is known where paths lead.
    pub async fn complete(&self) {
        // The other end lives as long as the cluster.
        let _ = self.complete.clone().wait_for(|complete| *complete).await;
        if self.hands.is_some() {
            self.desk.until_paths_known().await;
        }
    }

    /// Whether what is shown is what is.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }

    /// What is ours has changed: all of it is looked at again.
    pub fn look_again(&self) {
        self.desk.all_changed();
    }

    async fn scale_now(&self, id: &RevisionId, pods: u32) -> Result<(), ScaleError> {
        let refused = |reason: String| ScaleError::Refused {
            revision: id.clone(),
            reason,
        };
        let unknown = || ScaleError::UnknownRevision(id.clone());
        let Some(hands) = &self.hands else {
            return Err(refused("an activator does not scale".to_owned()));
        };
        let filed = self.desk.filed(id).ok_or_else(unknown)?;
        if let Some(reason) = left_alone(&filed) {
            return Err(refused(reason));
        }
        let revision = self.pictures.borrow().revisions.get(id).cloned();
        let revision = revision.ok_or_else(unknown)?;
        // The picture may be a moment behind our own last word.
        if revision.wanted == pods && self.desk.asked(id).is_none_or(|asked| asked == pods) {
            return Ok(());
        }
        self.desk.asks(id, pods);
        if pods < revision.wanted
            && filed.queue_proxy
            && filed.kind == crate::object::Kind::Deployment
        {
            hands.marker.mark(&revision, pods).await;
        }
        match scale::patch(&hands.client, &filed.target(), pods).await {
            Ok(scaled) => {
                let change = picture::Change::Asked(Key::from(id), pods, scaled.version);
                // It ends with the cluster only.
                let _ = hands.changes.send(change).await;
                Ok(())
            }
            Err(Unscaled::Absent) => Err(unknown()),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// Why the number of pods is not ours to set, as a sentence.
fn left_alone(filed: &Filed) -> Option<String> {
    match filed.left_alone.as_ref()? {
        LeftAlone::By(scaler) => Some(format!(
            "the HorizontalPodAutoscaler {scaler} scales the {} too",
            filed.kind
        )),
        LeftAlone::Until(end) => {
            let left = end.checked_duration_since(Instant::now())?;
            Some(format!(
                "somebody else has scaled the {}; it is left alone for {} s more",
                filed.kind,
                left.as_secs() + 1
            ))
        }
    }
}

impl Cluster for Deployments {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.pictures.clone()
    }

    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(self.scale_now(revision, pods))
    }

    fn settle<'a>(
        &'a self,
        revision: &'a RevisionId,
        wish: Wish,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move {
            let Some(hands) = &self.hands else {
                return Ok(());
            };
            let filed = self.desk.filed(revision);
            let filed = filed.ok_or_else(|| ScaleError::UnknownRevision(revision.clone()))?;
            let settled = hands.arranger.settle(&filed, &wish).await;
            settled.map_err(|reason| ScaleError::Refused {
                revision: revision.clone(),
                reason,
            })
        })
    }

    fn told(&self, revision: &RevisionId, change: Change<'_>) {
        let filed = self.desk.filed(revision);
        let Some((hands, filed)) = self.hands.as_ref().zip(filed) else {
            return;
        };
        hands.events.tell(News::scaled(filed.subject(), change));
    }
}
