//! What is watched, and by whom it is taken.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::StreamExt;
use futures_util::stream;
use kube::Client;
use penstock_cluster::Snapshot;
use tokio::sync::{mpsc, watch};

use super::arrange::{self, Arranger};
use super::desk::Desk;
use super::owners::Owners;
use super::picture::{Change, OwnedPod, Picture, Scaler};
use super::scale_in::Marker;
use super::services::{self, MANAGED_BY};
use super::shared::{Part, Shared};
use super::slices::{SLICE_MANAGED_BY, TO, To};
use super::{Deployments, Hands, LABEL, Options, Role};
use crate::Key;
use crate::event::Events;
use crate::object::{
    DeploymentObject, EndpointSlice, Kind, PodObject, SERVICE_NAME, ScalerObject, SliceObject,
    StatefulSetObject, Workload,
};
use crate::picture::{BACKLOG, Tasks, keep};
use crate::position::Positions;
use crate::reflect::{self, Backoff, Complaints, Reflector, Selection};
use crate::write::Writer;

/// Workloads whose pods are looked for at the same time.
const SEARCHES: usize = 4;

pub(super) fn start(client: Client, options: Options, role: Role) -> Deployments {
    let tasks = Tasks::default();
    let complaints = Complaints::new();
    let reach = complaints.reach();
    let reflector = Reflector::new(client.clone(), options.rhythm, complaints.clone());
    let (changes, taken) = mpsc::channel(BACKLOG);
    let (snapshots, pictures) = watch::channel(Arc::new(Snapshot::default()));
    let (complete_sender, complete) = watch::channel(false);
    let (newcomers, searched) = mpsc::unbounded_channel();
    let (known_sender, workloads_known) = watch::channel(false);

    let (own, ours, activators) = match role {
        Role::Activator { own } => (own, Arc::new(|_: &_| false) as _, None),
        Role::Autoscaler { ours, activators } => (None, ours, Some(activators)),
    };
    let desk = Arc::new(Desk::new(ours, activators.is_some()));
    let owners = Arc::new(RwLock::new(Owners::default()));
    let events = match activators {
        Some(_) => Events::start(&client, "autoscaler", &complaints, &tasks),
        None => Events::nowhere(),
    };
    let mut needed = HashSet::from([Part::Deployments, Part::StatefulSets, Part::Pods]);
    if activators.is_some() {
        needed.insert(Part::Services);
    }
    let shared = Shared {
        domain: options.domain.clone(),
        check: Arc::clone(&options.check),
        events: events.clone(),
        owners: Arc::clone(&owners),
        desk: Arc::clone(&desk),
        newcomers,
        workloads_known: known_sender,
        needed,
        remembers: activators.is_some(),
    };
    let picture = Picture::new(shared, Positions::new(own));
    tasks.spawn(keep(picture, taken, snapshots, complete_sender));

    let watched = Watched {
        reflector: reflector.clone(),
        namespace: options.namespace.clone(),
        changes: changes.clone(),
    };
    tasks.spawn(watched.clone().workloads());
    tasks.spawn(watched.clone().pods(owners, workloads_known, searched));
    let hands = match activators {
        None => {
            tasks.spawn(watched.paths());
            None
        }
        Some(activators) => {
            // Without a right to see HorizontalPodAutoscalers, one that fights is just not told.
            let aside = Reflector::new(client.clone(), options.rhythm, Complaints::new());
            tasks.spawn(watched.clone().scalers(aside));
            tasks.spawn(watched.services());
            tasks.spawn(slices(
                reflector.clone(),
                options.namespace,
                Arc::clone(&desk),
            ));
            tasks.spawn(activator_slices(reflector, activators, Arc::clone(&desk)));
            let writer = Writer::new(client.clone(), complaints);
            let arranger = Arc::new(Arranger {
                desk: Arc::clone(&desk),
                writer: writer.clone(),
                events: events.clone(),
                pictures: pictures.clone(),
                changes: changes.clone(),
            });
            tasks.spawn(arrange::work(Arc::clone(&arranger), complete.clone()));
            Some(Hands {
                client,
                changes,
                arranger,
                marker: Marker::new(writer),
                events,
            })
        }
    };
    Deployments {
        pictures,
        complete,
        reach,
        desk,
        hands,
        _tasks: tasks,
    }
}

/// What becomes changes of the picture.
#[derive(Clone)]
struct Watched {
    reflector: Reflector,
    namespace: Option<String>,
    changes: mpsc::Sender<Change>,
}

impl Watched {
    fn selection(&self, labels: Option<String>) -> Selection {
        Selection {
            namespace: self.namespace.clone(),
            labels,
            fields: None,
        }
    }

    async fn workloads(self) {
        let selection = self.selection(Some(format!("{}={}", LABEL.0, LABEL.1)));
        let deployments = self.reflector.follow(
            &selection,
            // One that is being deleted is as good as gone.
            |object: DeploymentObject| match object.metadata.deletion_timestamp {
                Some(_) => None,
                None => object.seen(),
            },
            &self.changes,
            |change| Change::Workload(Kind::Deployment, change),
        );
        let sets = self.reflector.follow(
            &selection,
            |object: StatefulSetObject| match object.metadata.deletion_timestamp {
                Some(_) => None,
                None => object.seen(),
            },
            &self.changes,
            |change| Change::Workload(Kind::StatefulSet, change),
        );
        tokio::join!(deployments, sets);
    }

    /// Pods of all namespaces pass by; those of our workloads are taken. A workload that comes
    /// later may have pods already: they are looked for by its selector.
    async fn pods(
        self,
        owners: Arc<RwLock<Owners>>,
        mut workloads_known: watch::Receiver<bool>,
        newcomers: mpsc::UnboundedReceiver<Workload>,
    ) {
        if workloads_known.wait_for(|known| *known).await.is_err() {
            return;
        }
        let (late, found) = mpsc::channel(BACKLOG);
        let trim = |object: PodObject| {
            let owners = owners.read().unwrap_or_else(PoisonError::into_inner);
            let owner = owners.of(&object.key().namespace, object.labels())?;
            drop(owners);
            Some(OwnedPod {
                owner,
                pod: object.seen()?,
            })
        };
        let selection = self.selection(None);
        let following =
            self.reflector
                .follow_with(&selection, found, trim, &self.changes, Change::Pod);
        let newcomers = stream::unfold(newcomers, |mut newcomers| async {
            Some((newcomers.recv().await?, newcomers))
        });
        let searching = newcomers.for_each_concurrent(SEARCHES, |workload| {
            search(self.reflector.clone(), workload, late.clone())
        });
        tokio::join!(following, searching);
    }

    async fn services(self) {
        let selection = self.selection(Some(format!("{}={}", MANAGED_BY.0, MANAGED_BY.1)));
        let services =
            self.reflector
                .follow(&selection, services::seen, &self.changes, Change::Service);
        services.await;
    }

    /// Those that lead to activators.
    async fn paths(self) {
        let labels = format!(
            "{}={},{TO}={}",
            SLICE_MANAGED_BY.0,
            SLICE_MANAGED_BY.1,
            To::Activators.as_str()
        );
        let selection = self.selection(Some(labels));
        let seen = |slice: SliceObject| Some(slice.seen());
        let slices = self
            .reflector
            .follow(&selection, seen, &self.changes, Change::Path);
        slices.await;
    }

    async fn scalers(self, reflector: Reflector) {
        let seen = |object: ScalerObject| {
            let target = object.spec.scale_target_ref;
            let kind = match target.kind.as_str() {
                "Deployment" => Kind::Deployment,
                "StatefulSet" => Kind::StatefulSet,
                _ => return None,
            };
            Some(Scaler {
                key: Key::of(&object.metadata),
                kind,
                of: target.name,
            })
        };
        let selection = self.selection(None);
        let scalers = reflector.follow(&selection, seen, &self.changes, Change::Scaler);
        scalers.await;
    }
}

/// Looks for the pods of one workload, until an answer came.
async fn search(reflector: Reflector, workload: Workload, late: mpsc::Sender<PodObject>) {
    let writer = Writer::new(reflector.client.clone(), reflector.complaints.clone());
    let labels = workload.selector.to_string();
    let mut backoff = Backoff::new(reflector.rhythm.longest_wait);
    loop {
        let pods = writer.list::<PodObject>(&workload.key.namespace, &labels);
        match pods.await {
            Ok(pods) => {
                for pod in pods {
                    if late.send(pod).await.is_err() {
                        return;
                    }
                }
                return;
            }
            Err(_) => tokio::time::sleep(backoff.next(None)).await,
        }
    }
}

/// All slices of ours.
async fn slices(reflector: Reflector, namespace: Option<String>, desk: Arc<Desk>) {
    let selection = Selection {
        namespace,
        labels: Some(format!("{}={}", SLICE_MANAGED_BY.0, SLICE_MANAGED_BY.1)),
        fields: None,
    };
    follow_slices(&reflector, &selection, |change| desk.take_slice(change)).await;
}

/// The slices of the activators' own Service.
async fn activator_slices(
    reflector: Reflector,
    (namespace, service): (String, String),
    desk: Arc<Desk>,
) {
    let selection = Selection {
        namespace: Some(namespace),
        labels: Some(format!("{SERVICE_NAME}={service}")),
        fields: None,
    };
    follow_slices(&reflector, &selection, |change| {
        desk.take_activators(change)
    })
    .await;
}

async fn follow_slices(
    reflector: &Reflector,
    selection: &Selection,
    take: impl Fn(reflect::Change<EndpointSlice>),
) {
    let (sender, mut changes) = mpsc::channel(BACKLOG);
    let seen = |slice: SliceObject| Some(slice.seen());
    let following = reflector.follow(selection, seen, &sender, |change| change);
    let taking = async {
        while let Some(change) = changes.recv().await {
            take(change);
        }
    };
    tokio::join!(following, taking);
}
