//! What the activator keeps for one revision.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use penstock_cluster::{Phase, Pod, Readiness, Revision};
use penstock_gate::{Gate, Limits};
use penstock_types::{RevisionId, Slots};

use crate::aside::Doubt;
use crate::bind::ToPods;
use crate::budget::Share;
use crate::choices::Choices;
use crate::demand::Tracker;
use crate::discovery::{Backends, Discovery, Heard, Listed, Scout, Stir, Target, Used};
use crate::metrics::RevisionGauges;
use crate::pace::Pace;
use crate::subset::{Position, share, subset};

/// What the address that stands for all pods is called where pods have their names.
const SERVICE: &str = "service";

/// A pod that may take requests. Two are the same if name and address are.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<PodEntry>);

#[derive(Debug)]
struct PodEntry {
    name: Arc<str>,
    addr: SocketAddr,
    host: HeaderValue,
    /// It stands for all pods.
    is_service: bool,
    asked: Instant,
    started: Option<Instant>,
    ready: Option<Instant>,
    /// When it has passed a probe of ours, where it has to.
    passed: OnceLock<Instant>,
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
    fn new(pod: &Pod, host: HeaderValue, is_service: bool) -> Self {
        Self(Arc::new(PodEntry {
            name: Arc::clone(&pod.name),
            addr: pod.addr,
            host,
            is_service,
            asked: pod.asked,
            started: pod.started,
            ready: pod.ready,
            passed: OnceLock::new(),
            served: AtomicBool::new(false),
            doubt: Doubt::default(),
        }))
    }

    /// The address that stands for all pods of a revision.
    fn service(addr: SocketAddr, host: HeaderValue, now: Instant) -> Self {
        let pod = Pod {
            name: SERVICE.into(),
            addr,
            phase: Phase::Ready,
            asked: now,
            started: None,
            ready: None,
        };
        Self::new(&pod, host, true)
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Where requests are sent: another port if pods speak TLS.
    pub(crate) fn dest(&self, secured: Option<&ToPods>) -> SocketAddr {
        let mut addr = self.addr();
        if let Some(pods) = secured {
            addr.set_port(match self.0.is_service {
                true => pods.service_port,
                false => pods.pod_port,
            });
        }
        addr
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

    /// When it was asked for, started and ready (by its answer to us, if it was asked), if it became ready at `since` or later.
    pub(crate) fn came_up_since(&self, since: Instant) -> Option<[Instant; 3]> {
        let entry = &*self.0;
        let started = entry.started?;
        let ready = entry.passed.get().copied().or(entry.ready)?;
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
    pub(crate) choices: Choices,
    pub(crate) gate: Arc<Gate<Place>>,
    pub(crate) demand: Tracker,
    pub(crate) held: Share,
    pub(crate) pace: Pace,
    pub(crate) gauges: RevisionGauges,
    /// Wakes those who ask its pods.
    pub(crate) stir: Stir,
    /// The host by which its pods are asked for, if not by their addresses.
    host: Option<HeaderValue>,
    seen: Mutex<Seen>,
}

/// What the places of a revision follow from.
#[derive(Debug)]
struct Seen {
    backends: Backends<Place>,
    /// Of each pod.
    slots: Slots,
    /// What its requests are given at most.
    longest: Duration,
    position: Option<Position>,
    /// Who takes requests now.
    used: Used<Place>,
    /// Pods that there are, but for those that leave.
    listed: usize,
}

impl Entry {
    pub(crate) fn new(
        revision: &Revision,
        waiting: usize,
        seed: u64,
        gauges: RevisionGauges,
        how: &Discovery,
    ) -> Arc<Self> {
        let named = || HeaderValue::try_from(penstock_cluster::private_host(&revision.id)).ok();
        Arc::new(Self {
            id: revision.id.clone(),
            service: Arc::clone(&revision.service),
            configuration: Arc::clone(&revision.configuration),
            choices: Choices::read(&revision.annotations, |key, why| {
                tracing::warn!(revision = %revision.id, "{key}: {why}");
            }),
            gate: Gate::new(revision.slots, Limits { waiting }, seed),
            demand: Tracker::default(),
            held: Share::default(),
            pace: Pace::default(),
            gauges,
            stir: Stir::default(),
            host: how.passthrough.then(named).flatten(),
            seen: Mutex::new(Seen {
                backends: Backends::new(how.mesh, how.passthrough),
                slots: revision.slots,
                longest: revision.timeouts.whole,
                position: None,
                used: Used::default(),
                listed: 0,
            }),
        })
    }

    /// Opens the gate to the pods that take requests now, and has `scout` ask the others. One that
    /// had been set aside and now comes as a newly ready pod is used again.
    pub(crate) fn see(self: &Arc<Self>, revision: &Revision, scout: &Scout) {
        let pods = revision.pods.iter();
        let listed = pods.filter(|pod| pod.phase != Phase::Draining);
        let listed = listed.map(|pod| Listed {
            addr: pod.addr,
            ready: pod.phase == Phase::Ready,
            pod: Place::new(pod, self.host_of(pod.addr), false),
        });
        let listed: Vec<_> = listed.collect();
        let mut seen = self.lock_seen();
        seen.listed = listed.len();
        let is_new = seen.backends.list(listed, revision.readiness);
        (seen.slots, seen.longest) = (revision.slots, revision.timeouts.whole);
        // Who stands nowhere by the cluster's word may have been told by `stand_at`.
        if revision.position.is_some() {
            seen.position = revision.position;
        }
        self.open(&mut seen);
        let targets = seen.backends.pursue();
        drop(seen);
        if is_new {
            self.stir.event();
        }
        scout.pursue(self, targets);
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
    }

    /// The cluster has it no more. Those go who wait for it, and nobody is asked.
    pub(crate) fn leave(&self) {
        self.gate.close();
        self.lock_seen()
            .backends
            .list(Vec::new(), Readiness::Trusted);
        self.stir.event();
    }

    /// Takes the answer of somebody who was asked. Whether to go on asking.
    pub(crate) fn heard(self: &Arc<Self>, target: Target, heard: Heard, scout: &Scout) -> bool {
        let mut seen = self.lock_seen();
        if heard == Heard::Passed
            && let Some(place) = seen.backends.pod(target)
        {
            // The first time counts.
            let _ = place.0.passed.set(Instant::now());
        }
        let goes_on = seen.backends.heard(target, heard);
        if seen.backends.used() != seen.used {
            self.open(&mut seen);
        }
        let targets = seen.backends.pursue();
        drop(seen);
        scout.pursue(self, targets);
        goes_on
    }

    /// How long a request of now may take.
    pub(crate) fn longest(&self) -> Duration {
        self.lock_seen().longest
    }

    /// Whether requests go to the address that stands for all pods.
    pub(crate) fn is_by_service(&self) -> bool {
        self.lock_seen().backends.is_by_service()
    }

    /// The Host header for a pod at `addr`.
    pub(crate) fn host_of(&self, addr: SocketAddr) -> HeaderValue {
        let own = || HeaderValue::try_from(addr.to_string());
        let host = self.host.clone().map_or_else(own, Ok);
        host.unwrap_or(HeaderValue::from_static("pod"))
    }

    /// How many pods are starting, and how many take requests.
    pub(crate) fn pods(&self) -> (usize, usize) {
        let seen = self.lock_seen();
        let ready = self.gate.places().len();
        (seen.listed.saturating_sub(ready), ready)
    }

    /// Requests inside pods that count as demand.
    pub(crate) fn in_flight(&self) -> usize {
        let idle = self.demand.streams.idle();
        self.gate.in_flight().saturating_sub(idle)
    }

    /// From now on only the pods are served that fall to `position`.
    pub(crate) fn stand_at(&self, position: Option<Position>) {
        let mut seen = self.lock_seen();
        if seen.position != position {
            seen.position = position;
            self.open(&mut seen);
        }
    }

    /// Has the gate open to those who take requests.
    fn open(&self, seen: &mut Seen) {
        let now = seen.backends.used();
        let before = std::mem::replace(&mut seen.used, now);
        match &seen.used {
            Used::Pods(pods) => {
                let own = own(pods, seen.slots, seen.position);
                self.gate.set_places_of(seen.slots, &own);
                let before = match &before {
                    Used::Pods(before) => &before[..],
                    Used::Service { .. } => &[],
                };
                for place in pods {
                    let at = before.binary_search_by_key(&place.addr(), Place::addr);
                    let old = at.ok().and_then(|at| before.get(at));
                    if old.is_none_or(|old| old.0.ready != place.0.ready) {
                        self.gate.bring_back(place);
                    }
                }
            }
            Used::Service { addr, ready } => match share(seen.slots, *ready, seen.position) {
                Some(slots) => {
                    let place = Place::service(*addr, self.host_of(*addr), Instant::now());
                    self.gate.set_places_of(slots, &[place]);
                }
                None => self.gate.set_places(&[]),
            },
        }
    }

    fn lock_seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of `pods` those that fall to `position`. All activators divide them alike: in the order of
/// their addresses as text.
fn own(pods: &[Place], slots: Slots, position: Option<Position>) -> Vec<Place> {
    if slots == Slots::Unlimited || position.is_none() {
        return pods.to_vec();
    }
    let mut pods = pods.to_vec();
    pods.sort_by_cached_key(|place| place.addr().to_string());
    let mut own = subset(&pods, position);
    own.sort_by_key(Place::addr);
    own
}

#[cfg(test)]
mod tests;
