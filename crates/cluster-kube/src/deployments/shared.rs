//! What the picture shares with those around it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, watch};

use super::desk::Desk;
use super::owners::Owners;
use super::settings::AnnotationCheck;
use crate::event::{Events, News, Subject, Tone};
use crate::object::Workload;

/// What the picture shares with others.
pub(crate) struct Shared {
    pub(crate) domain: String,
    pub(crate) check: AnnotationCheck,
    pub(crate) events: Events,
    /// Selectors, for who has to know whose a pod is.
    pub(crate) owners: Arc<RwLock<Owners>>,
    /// What else is known of each revision.
    pub(crate) desk: Arc<Desk>,
    /// Gets every workload whose pods may have come before it.
    pub(crate) newcomers: mpsc::UnboundedSender<Workload>,
    /// Whether all workloads are known, so that it can be said whose a pod is.
    pub(crate) workloads_known: watch::Sender<bool>,
    /// Parts without which the picture is not whole.
    pub(crate) needed: HashSet<Part>,
    /// Whether what a cluster remembers is read from Services.
    pub(crate) remembers: bool,
}

/// A part of what is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Deployments,
    StatefulSets,
    Pods,
    Services,
    Paths,
}

impl Shared {
    pub(super) fn owners_mut(&self, change: impl FnOnce(&mut Owners)) {
        change(&mut self.owners.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells it, if it is this process that looks after the workload.
    pub(super) fn warn(&self, about: Subject, reason: &'static str, note: String) {
        if self.desk.is_ours(&about.key.revision()) {
            self.events.tell(News {
                about,
                tone: Tone::Warning,
                reason,
                note,
            });
        }
    }
}
