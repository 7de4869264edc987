//! What the controller of a Knative install keeps.
//!
//! [`Knative`] is the install as its activator sees it: it reads Revisions, their endpoints and
//! their private Services. [`scaling`] is the same as its autoscaler sees and writes it.
//!
//! Knative's own RBAC lets an activator see Endpoints and not EndpointSlices. Where it may see
//! slices they are taken: an Endpoints object ends at a thousand addresses.
//!
//! Source: spec/activator.md §1.4, §4.1, §9.

pub mod name;
mod picture;
mod places;
pub mod scaling;
mod trust;

use std::net::IpAddr;
use std::sync::Arc;

use kube::Client;
use penstock_cluster::{BoxFuture, Cluster, ScaleError, Snapshot};
use penstock_types::RevisionId;
use tokio::sync::{mpsc, watch};

pub use trust::{Trust, Trusted};

use crate::Key;
use crate::object::{RevisionObject, ServiceObject};
use crate::picture::{BACKLOG, Complete, Tasks, keep};
use crate::position::Positions;
use crate::reflect::{Complaints, Reach, Reflector, Rhythm, Selection};
use crate::review::may_watch;
use picture::{Change, Picture, Private};
use places::{TYPE, of_endpoints, of_slice};

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

/// A Knative install, to forward requests to. It is only read.
pub struct Knative {
    pictures: watch::Receiver<Arc<Snapshot>>,
    complete: Complete,
    reach: watch::Receiver<Reach>,
    _tasks: Tasks,
}

impl Knative {
    /// Begins to look. The tasks run on the runtime that this is called in, until the cluster is
    /// dropped. `own` is the address under which this activator is among others; `None` if it is
    /// alone.
    pub fn start(client: Client, options: &Options, own: Option<IpAddr>) -> Arc<Self> {
        let tasks = Tasks::default();
        let complaints = Complaints::new();
        let reach = complaints.reach();
        let reflector = Reflector::new(client, options.rhythm, complaints);
        let (changes, taken) = mpsc::channel(BACKLOG);
        let (snapshots, pictures) = watch::channel(Arc::default());
        let (complete_sender, complete) = watch::channel(false);
        let picture = Picture::new(Positions::new(own));
        tasks.spawn(keep(picture, taken, snapshots, complete_sender));
        let namespace = options.namespace.clone();
        tasks.spawn(follow(reflector, namespace, changes));
        Arc::new(Self {
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

async fn follow(reflector: Reflector, namespace: Option<String>, changes: mpsc::Sender<Change>) {
    let selected = |labels: Option<String>| Selection {
        namespace: namespace.clone(),
        labels,
        fields: None,
    };
    let all = selected(None);
    let seen = |object: RevisionObject| Some(object.seen());
    let revisions = reflector.follow(&all, seen, &changes, Change::Revision);
    let private = selected(Some(format!("{TYPE}=Private")));
    let services = reflector.follow(&private, private_service, &changes, Change::Service);
    let both = selected(Some(format!("{TYPE} in (Private,Public)")));
    let places = async {
        let scope = namespace.as_deref();
        let slices = ("discovery.k8s.io", "endpointslices");
        if may_watch(&reflector.client, slices, scope).await {
            let slices = reflector.follow(&both, of_slice, &changes, Change::Places);
            slices.await;
        } else {
            let endpoints = reflector.follow(&both, of_endpoints, &changes, Change::Places);
            endpoints.await;
        }
    };
    tokio::join!(revisions, services, places);
}

/// A private Service with an address, which one that is headless has not.
fn private_service(service: ServiceObject) -> Option<Private> {
    let ip = service.spec.cluster_ip.as_deref()?.parse().ok()?;
    let ports = service.spec.ports.unwrap_or_default().into_iter();
    Some(Private {
        key: Key::of(&service.metadata),
        ip,
        ports: ports.map(|port| (port.name, port.port)).collect(),
    })
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
        Box::pin(async move {
            Err(ScaleError::Refused {
                revision: revision.clone(),
                reason: "an activator does not scale".to_owned(),
            })
        })
    }
}
