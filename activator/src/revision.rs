//! What the activator keeps for one revision.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::HeaderValue;
use penstock_cluster::{Phase, Pod, Revision};
use penstock_gate::{Gate, Limits};
use penstock_types::{Protocol, RevisionId, Slots, Timeouts};

use crate::aside::Doubt;
use crate::budget::Share;
use crate::demand::Tracker;
use crate::metrics::RevisionGauges;
use crate::pace::Pace;
use crate::subset::{Position, subset};

/// A pod that may take requests. Two are the same if name and address are.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<PodEntry>);

#[derive(Debug)]
struct PodEntry {
    name: Arc<str>,
    addr: SocketAddr,
    host: HeaderValue,
    asked: Instant,
    started: Option<Instant>,
    ready: Option<Instant>,
    /// Whether it has answered a request.
    served: AtomicBool,
    doubt: Doubt,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.0.addr == other.0.addr && self.0.name == other.0.name
    }
}

impl Place {
    fn new(pod: &Pod) -> Self {
        let host = HeaderValue::try_from(pod.addr.to_string());
        Self(Arc::new(PodEntry {
            name: Arc::clone(&pod.name),
            addr: pod.addr,
            host: host.unwrap_or(HeaderValue::from_static("pod")),
            asked: pod.asked,
            started: pod.started,
            ready: pod.ready,
            served: AtomicBool::new(false),
            doubt: Doubt::default(),
        }))
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Its address as a Host header.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.0.host
    }

    /// Says that it has answered a request which came at `since`. The first time, if it has come
    /// up while that request waited: when it was asked for, started and ready.
    pub(crate) fn served(&self, since: Instant) -> Option<[Instant; 3]> {
        let entry = &*self.0;
        entry.doubt.is_over();
        // Read first: all requests but one find it set.
        if entry.served.load(Ordering::Relaxed) || entry.served.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.came_up_since(since)
    }

    /// When it was asked for, started and ready, if it became ready at `since` or later.
    pub(crate) fn came_up_since(&self, since: Instant) -> Option<[Instant; 3]> {
        let entry = &*self.0;
        let (started, ready) = (entry.started?, entry.ready?);
        (ready >= since).then_some([entry.asked, started, ready])
    }

    /// What is held against it.
    pub(crate) fn doubt(&self) -> &Doubt {
        &self.0.doubt
    }
}

/// One revision: its rules, the gate before its pods, its demand.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: RevisionId,
    pub(crate) service: Arc<str>,
    pub(crate) configuration: Arc<str>,
    pub(crate) timeouts: Timeouts,
    pub(crate) protocol: Protocol,
    pub(crate) gate: Arc<Gate<Place>>,
    pub(crate) demand: Tracker,
    pub(crate) held: Share,
    pub(crate) pace: Pace,
    pub(crate) gauges: RevisionGauges,
    seen: Mutex<Seen>,
}

impl Entry {
    pub(crate) fn new(
        revision: &Revision,
        waiting: usize,
        seed: u64,
        gauges: RevisionGauges,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: revision.id.clone(),
            service: Arc::clone(&revision.service),
            configuration: Arc::clone(&revision.configuration),
            timeouts: revision.timeouts,
            protocol: revision.protocol,
            gate: Gate::new(revision.slots, Limits { waiting }, seed),
            demand: Tracker::default(),
            held: Share::default(),
            pace: Pace::default(),
            gauges,
            seen: Mutex::default(),
        })
    }

    /// Opens the gate to the pods that are ready now. One that had been set aside and now comes as
    /// a newly ready pod is used again.
    pub(crate) fn see(&self, revision: &Arc<Revision>, before: Option<&Revision>) {
        let mut seen = self.lock_seen();
        seen.revision = Some(Arc::clone(revision));
        // Who stands nowhere by the cluster's word may have been told by `stand_at`.
        if revision.position.is_some() {
            seen.position = revision.position;
        }
        let places = self.open_to(revision, seen.position);
        drop(seen);
        let starts = revision.ready().filter_map(|pod| {
            let ready = pod.ready?;
            Some((ready, ready.saturating_duration_since(pod.asked)))
        });
        let pods = revision.pods.iter();
        let starting = pods.filter(|pod| pod.phase == Phase::Starting);
        self.pace.pods(
            starts.max().map(|(_, start)| start),
            starting.map(|pod| pod.asked).min(),
        );
        for place in places {
            let known = before.is_some_and(|before| {
                let at = before
                    .pods
                    .binary_search_by_key(&place.addr(), |old| old.addr);
                let old = at.ok().and_then(|at| before.pods.get(at));
                old.is_some_and(|old| old.phase == Phase::Ready && old.ready == place.0.ready)
            });
            if !known {
                self.gate.bring_back(&place);
            }
        }
    }

    /// From now on only the pods are served that fall to `position`.
    pub(crate) fn stand_at(&self, position: Option<Position>) {
        let mut seen = self.lock_seen();
        if seen.position != position {
            seen.position = position;
            if let Some(revision) = &seen.revision {
                self.open_to(revision, position);
            }
        }
    }

    /// In the order of their addresses, as text: so that all activators divide them alike.
    fn open_to(&self, revision: &Revision, position: Option<Position>) -> Vec<Place> {
        let mut places: Vec<Place> = revision.ready().map(Place::new).collect();
        if revision.slots != Slots::Unlimited && position.is_some() {
            places.sort_by_cached_key(|place| place.addr().to_string());
            places = subset(&places, position);
            places.sort_by_key(Place::addr);
        }
        self.gate.set_places(&places);
        places
    }

    fn lock_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the places of a revision follow from.
#[derive(Debug, Default)]
struct Seen {
    revision: Option<Arc<Revision>>,
    position: Option<Position>,
}
