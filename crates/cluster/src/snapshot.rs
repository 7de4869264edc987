//! What is known of the cluster at one moment. Never changed, only replaced.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use penstock_types::annotation::Annotations;
use penstock_types::{Protocol, Reachability, RevisionId, Slots, Timeouts};

use crate::{Routes, Standing};

/// All revisions and routes at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Every revision that may get a request.
    pub revisions: HashMap<RevisionId, Arc<Revision>>,
    /// Hosts that this cluster routes itself; empty where an ingress does it.
    pub routes: Arc<Routes>,
}

/// One revision, its rules and its pods.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Its key.
    pub id: RevisionId,
    /// Service it belongs to; empty if none.
    pub service: Arc<str>,
    /// Configuration it was made from; empty if none.
    pub configuration: Arc<str>,
    /// Its annotations, from which the autoscaler takes its parameters.
    pub annotations: Arc<Annotations>,
    /// Concurrency limit of each pod.
    pub slots: Slots,
    /// Time limits of each request.
    pub timeouts: Timeouts,
    /// What its pods speak.
    pub protocol: Protocol,
    /// Whether any route leads here.
    pub reachability: Reachability,
    /// Pods that were last asked for.
    pub wanted: u32,
    /// Its pods, ordered by address.
    pub pods: Arc<[Pod]>,
    /// Pods that have no address yet.
    pub unplaced: u32,
    /// Where this activator stands among those that serve the revision; `None` while that is not
    /// known: it then serves all pods.
    pub position: Option<Position>,
    /// How it is found out which of its pods take requests.
    pub readiness: Readiness,
    /// Whether a queue-proxy stands before each container, and keeps its limit. Without one the
    /// activator has to be in the path always, and the container is sent the caller's own `Host`.
    pub queue_proxy: bool,
    /// What the cluster remembers of its scaling; `None` where it keeps nothing.
    pub standing: Option<Arc<Standing>>,
    /// Why its pods do not come up, in a phrase for a person; `None` while all is well.
    pub trouble: Option<Arc<str>>,
}

impl Revision {
    /// Pods that take requests now.
    pub fn ready(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| pod.phase == Phase::Ready)
    }
}

/// Where an activator stands among those that serve a revision (spec/activator.md §3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its own number, from 0.
    pub index: usize,
    /// How many there are.
    pub activators: usize,
}

/// How it is found out which pods take requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// The cluster's word counts: those in [`Phase::Ready`] do, no others.
    #[default]
    Trusted,
    /// An activator asks each pod's queue-proxy itself (spec/activator.md §4.2 to §4.5).
    Probed {
        /// Whether a pod that passes takes requests before the cluster calls it ready (§4.4).
        early: bool,
        /// The address that stands for all its pods, where they may not be reachable each
        /// (a service mesh); `None` while there is none.
        service: Option<SocketAddr>,
    },
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: Arc<str>,
    /// Where its queue-proxy listens; without one, its container.
    pub addr: SocketAddr,
    /// How far it is.
    pub phase: Phase,
    /// When the scale call that brought it was made.
    pub asked: Instant,
    /// When its container was started, last.
    pub started: Option<Instant>,
    /// When it became ready, last.
    pub ready: Option<Instant>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet, or not any more.
    Starting,
    /// Takes requests.
    Ready,
    /// Finishes what it has; gets nothing new.
    Draining,
}
