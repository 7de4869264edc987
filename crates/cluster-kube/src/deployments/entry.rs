//! One revision of the picture, and what follows from what is seen of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Reachability, Readiness, Revision, Standing};
use penstock_types::RevisionId;
use penstock_types::annotation::{Annotations, Rejected};
use tokio::time::Instant;

use super::services::SeenService;
use super::settings::{self, Settings};
use super::shared::Shared;
use super::standing;
use crate::Key;
use crate::event::Subject;
use crate::object::{Kind, Probed, SeenPod, Version, Workload};
use crate::position::Positions;
use crate::scale::MANAGER;

/// Time for which a number that somebody else has set is left alone.
const HOLD: Duration = Duration::from_secs(60);

/// One revision: a workload of either kind. With both of the same name, the Deployment counts.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) workloads: BTreeMap<Kind, Workload>,
    pub(super) settings: Option<Settings>,
    pub(super) annotations: Arc<Annotations>,
    /// What was wrong when it was last read, so that it is told once.
    pub(super) rejected: Vec<Rejected>,
    /// Its pods by name, each with when it was asked for, if that is known.
    pub(super) pods: BTreeMap<Arc<str>, (SeenPod, Option<Instant>)>,
    pub(super) asked: Option<Asked>,
    pub(super) service: Option<SeenService>,
    /// Somebody else has set the number: it is theirs until then.
    pub(super) held: Option<Instant>,
}

/// What we asked for last.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) pods: u32,
    pub(super) version: Version,
    pub(super) at: Instant,
}

impl Entry {
    /// The one that counts.
    pub(super) fn chosen(&self) -> Option<&Workload> {
        self.workloads.values().next()
    }

    pub(super) fn wanted(&self) -> u32 {
        let Some(workload) = self.chosen() else {
            return 0;
        };
        match self.asked {
            // What is seen of it is older than our own word.
            Some(asked) if workload.version.is_before(asked.version) => asked.pods,
            _ => workload.replicas,
        }
    }

    /// Whether somebody else has changed the number that we asked for.
    pub(super) fn look_for_others(&mut self, shared: &Shared) {
        let Some((workload, asked)) = self.workloads.values().next().zip(self.asked) else {
            return;
        };
        if workload.version.is_before(asked.version) || workload.replicas == asked.pods {
            return;
        }
        self.asked = None;
        let ours = shared.desk.asked(&workload.key.revision()) == Some(workload.replicas);
        if ours || workload.scaled_by.as_deref() == Some(MANAGER) {
            // Our own word, of which the answer is not here yet; or that of another autoscaler of
            // ours, which looks after it now.
            return;
        }
        let who = workload.scaled_by.as_deref().unwrap_or("somebody else");
        let (wanted, now) = (asked.pods, workload.replicas);
        let follows = if now == 0 {
            // As `kubectl apply` does with each change to a manifest that says `replicas: 0`. At zero
            // nobody is served, so pods come for whoever asks, as ever.
            "pods come back when they are asked for; a manifest that sets spec.replicas does this \
             whenever it is applied"
                .to_owned()
        } else {
            self.held = Some(Instant::now() + HOLD);
            format!("its scale is left alone for {} s", HOLD.as_secs())
        };
        let text = format!("{who} has scaled it to {now}, where {wanted} was asked for: {follows}");
        shared.warn(subject(workload), "ScaledByAnother", text);
    }

    pub(super) fn revision(
        &self,
        id: &RevisionId,
        shared: &Shared,
        positions: &Positions,
    ) -> Option<Revision> {
        let workload = self.chosen()?;
        let settings = self.settings.as_ref()?;
        let port = settings.port.unwrap_or(0);
        let placed = self.pods.values();
        let mut pods: Vec<_> = placed
            .filter_map(|(pod, asked)| pod.picture(port, *asked))
            .filter(|_| settings.port.is_some())
            .collect();
        pods.sort_by_key(|pod| pod.addr);
        let unplaced = self.pods.values().filter(|(pod, _)| pod.ip.is_none());
        let trouble = self.pods.values().find_map(|(pod, _)| pod.trouble.clone());
        let trouble = trouble.or_else(|| Some(workload.trouble.as_deref()?.into()));
        Some(Revision {
            id: id.clone(),
            service: settings.service.as_str().into(),
            configuration: workload.key.name.clone(),
            annotations: Arc::clone(&self.annotations),
            slots: settings.slots,
            timeouts: settings.timeouts,
            protocol: settings.protocol,
            reachability: Reachability::Reachable,
            wanted: self.wanted(),
            pods: pods.into(),
            unplaced: u32::try_from(unplaced.count()).unwrap_or(u32::MAX),
            position: positions.of(&workload.key),
            readiness: if settings.queue_proxy {
                Readiness::Probed {
                    early: workload.probed == Probed::ByAnswer,
                    service: None,
                }
            } else {
                Readiness::Trusted
            },
            queue_proxy: settings.queue_proxy,
            standing: shared.remembers.then(|| self.standing(shared)).flatten(),
            trouble: match settings.port {
                Some(_) => trouble,
                None => Some("it is not known where its pods take requests".into()),
            },
        })
    }

    /// `None` where a Service of that name is somebody else's: then nothing can be remembered.
    pub(super) fn standing(&self, shared: &Shared) -> Option<Arc<Standing>> {
        let workload = self.chosen()?;
        let settings = self.settings.as_ref()?;
        let name = Key::new(
            Arc::clone(&workload.key.namespace),
            settings.service.as_str(),
        );
        if shared.desk.is_foreign(&name) {
            return None;
        }
        let service = self.service.as_ref().filter(|service| service.key == name);
        let [_, _, host] = settings::hosts_of(&settings.service, &name.namespace, &shared.domain);
        let none = BTreeMap::new();
        Some(Arc::new(standing::read(
            service.map_or(&none, |service| &service.annotations),
            service.map(|_| format!("{host}:80").into()),
            workload.created,
        )))
    }
}

/// Whether anything differs that shows.
pub(super) fn differs(before: &Workload, now: &Workload) -> bool {
    before.uid != now.uid
        || before.replicas != now.replicas
        || before.annotations != now.annotations
        || before.containers != now.containers
        || before.probed != now.probed
        || before.trouble != now.trouble
        || before.selector != now.selector
}

/// Whom Events are about.
pub(crate) fn subject(workload: &Workload) -> Subject {
    Subject {
        api_version: "apps/v1",
        kind: workload.kind.to_string(),
        key: workload.key.clone(),
        uid: workload.uid.clone(),
    }
}
