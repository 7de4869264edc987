//! Pods: when they are there, what they work on, what they cost.

use std::collections::{BTreeSet, VecDeque};

use penstock_types::Slots;

use super::{Agenda, Event};
use crate::simulate::chance::{Chance, Time};
use crate::simulate::traffic::{Micros, Request, SECOND, micros};

/// How pods behave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodRules {
    /// Pods that are ready at the beginning.
    pub(crate) begin: u32,
    /// From the scale call to readiness.
    pub(crate) start: Time,
    /// Requests that a container works on at once; `None` for all that it is given.
    pub(crate) capacity: Option<u32>,
    /// Nodes that pods have to find room on; `None` if there is always room.
    pub(crate) nodes: Option<Nodes>,
}

/// How nodes behave. One that came stays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Nodes {
    /// Pods that fit on one.
    pub(crate) pods: u32,
    /// Nodes that are there at the beginning; more if the first pods need them.
    pub(crate) begin: u32,
    /// From the first pod without room to the node.
    pub(crate) start: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a node.
    Pending,
    Starting,
    Ready,
    /// Finishes what it has.
    Draining,
    Gone,
}

#[derive(Debug)]
struct Pod {
    phase: Phase,
    /// Requests that hold a slot.
    in_flight: u32,
    /// Of these, the ones that are worked on.
    working: u32,
    /// The others.
    backlog: VecDeque<Request>,
}

/// What follows from a request's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freed {
    /// Who is worked on next, inside the same pod.
    pub(super) next: Option<Request>,
    /// Requests that had waited inside too long, and are given up.
    pub(super) late: u32,
}

/// All pods of the revision.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    rules: &'a PodRules,
    slots: Slots,
    chance: Chance,
    pods: Vec<Pod>,
    /// Pods that are to stay, the oldest first.
    staying: Vec<u32>,
    /// Ready pods with a free slot: requests in flight, pod.
    open: BTreeSet<(u32, u32)>,
    /// Pods that wait for a node.
    pending: VecDeque<u32>,
    /// Free places on nodes, and nodes that are on their way.
    places: u32,
    nodes_coming: u32,
    ready: u32,
    /// Pods that exist: on a node, not gone.
    existing: u32,
    peak: u32,
    in_flight: u32,
    backlog: u32,
    now: Micros,
    /// Microseconds that pods existed, summed.
    cost: u128,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(slots: Slots, rules: &'a PodRules, chance: Chance) -> Self {
        let places = rules.nodes.as_ref().map_or(u32::MAX, |nodes| {
            let needed = rules.begin.div_ceil(nodes.pods);
            nodes.begin.max(needed).saturating_mul(nodes.pods)
        });
        let mut this = Self {
            rules,
            slots,
            chance,
            pods: Vec::new(),
            staying: Vec::new(),
            open: BTreeSet::new(),
            pending: VecDeque::new(),
            places,
            nodes_coming: 0,
            ready: 0,
            existing: 0,
            peak: 0,
            in_flight: 0,
            backlog: 0,
            now: 0,
            cost: 0,
        };
        for _ in 0..rules.begin {
            let pod = this.enter();
            this.place(pod);
            this.is_ready(pod);
        }
        this
    }

    /// Pods that take requests.
    pub(super) fn ready(&self) -> u32 {
        self.ready
    }

    /// Most pods that existed at one time.
    pub(super) fn peak(&self) -> u32 {
        self.peak
    }

    /// Requests that hold a slot.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Of these, the ones that are not worked on.
    pub(super) fn backlog(&self) -> u32 {
        self.backlog
    }

    /// Seconds that pods existed until now, summed.
    pub(super) fn pod_seconds(&self) -> f64 {
        self.cost as f64 / SECOND as f64
    }

    pub(super) fn advance(&mut self, now: Micros) {
        self.cost += u128::from(self.existing) * u128::from(now - self.now);
        self.now = now;
    }

    /// Whether a pod has a free slot.
    pub(super) fn has_room(&self) -> bool {
        !self.open.is_empty()
    }

    /// Gives `request` a slot of the pod with the fewest requests, if there is a free one. Returns the
    /// pod if it begins to work on it at once.
    pub(super) fn admit(&mut self, request: Request) -> Option<u32> {
        let (_, pod) = self.open.pop_first()?;
        let capacity = self.rules.capacity.unwrap_or(u32::MAX);
        let member = &mut self.pods[pod as usize];
        member.in_flight += 1;
        self.in_flight += 1;
        if self.slots.has_room(member.in_flight as usize) {
            self.open.insert((member.in_flight, pod));
        }
        if member.working < capacity {
            member.working += 1;
            Some(pod)
        } else {
            member.backlog.push_back(request);
            self.backlog += 1;
            None
        }
    }

    /// `pod` has done a request. Of those that wait inside, the first that has waited no longer
    /// than `patience` is next.
    pub(super) fn done(&mut self, pod: u32, patience: Micros) -> Freed {
        let member = &mut self.pods[pod as usize];
        let before = member.in_flight;
        member.in_flight -= 1;
        member.working -= 1;
        let (mut next, mut late) = (None, 0);
        while let Some(request) = member.backlog.pop_front() {
            self.backlog -= 1;
            if self.now - request.arrives < patience {
                member.working += 1;
                next = Some(request);
                break;
            }
            member.in_flight -= 1;
            late += 1;
        }
        self.in_flight -= before - member.in_flight;
        if member.phase == Phase::Ready {
            self.open.remove(&(before, pod));
            self.open.insert((member.in_flight, pod));
        }
        Freed { next, late }
    }

    /// Lets `pod` end if it drains and has nothing left.
    pub(super) fn settle(&mut self, pod: u32, agenda: &mut Agenda) {
        let member = &mut self.pods[pod as usize];
        if member.phase == Phase::Draining && member.in_flight == 0 {
            self.leave(pod, agenda);
        }
    }

    /// A pod has come up; it may have been let go meanwhile.
    pub(super) fn is_ready(&mut self, pod: u32) {
        let member = &mut self.pods[pod as usize];
        if member.phase == Phase::Starting {
            member.phase = Phase::Ready;
            self.ready += 1;
            self.open.insert((0, pod));
        }
    }

    /// Makes `wanted` pods the ones that stay or come.
    pub(super) fn scale(&mut self, wanted: u32, agenda: &mut Agenda) {
        let staying = u32::try_from(self.staying.len()).unwrap_or(u32::MAX);
        for _ in staying..wanted {
            let pod = self.enter();
            self.pending.push_back(pod);
        }
        self.dismiss(staying.saturating_sub(wanted), agenda);
        self.use_places(agenda);
        if let Some(nodes) = &self.rules.nodes {
            let waiting = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
            while self.nodes_coming.saturating_mul(nodes.pods) < waiting {
                self.nodes_coming += 1;
                let up = self.now + micros(nodes.start.draw(&mut self.chance));
                agenda.add(up, Event::NodeUp);
            }
        }
    }

    /// A node has come.
    pub(super) fn node_is_up(&mut self, agenda: &mut Agenda) {
        if let Some(nodes) = &self.rules.nodes {
            self.nodes_coming -= 1;
            self.places = self.places.saturating_add(nodes.pods);
            self.use_places(agenda);
        }
    }

    /// A pod that has no place yet.
    fn enter(&mut self) -> u32 {
        let pod = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        self.pods.push(Pod {
            phase: Phase::Pending,
            in_flight: 0,
            working: 0,
            backlog: VecDeque::new(),
        });
        self.staying.push(pod);
        pod
    }

    /// From now on it exists, and starts.
    fn place(&mut self, pod: u32) {
        self.pods[pod as usize].phase = Phase::Starting;
        if self.rules.nodes.is_some() {
            self.places -= 1;
        }
        self.existing += 1;
        self.peak = self.peak.max(self.existing);
    }

    fn use_places(&mut self, agenda: &mut Agenda) {
        while self.places > 0
            && let Some(pod) = self.pending.pop_front()
        {
            // One that is being let go stands in line until all of them are.
            if self.pods[pod as usize].phase != Phase::Pending {
                continue;
            }
            self.place(pod);
            let up = self.now + micros(self.rules.start.draw(&mut self.chance));
            agenda.add(up, Event::Ready { pod });
        }
    }

    /// Lets `count` pods go, as the local cluster does: first those that are not ready, then the
    /// youngest.
    fn dismiss(&mut self, count: u32, agenda: &mut Agenda) {
        if count == 0 {
            return;
        }
        let mut order = self.staying.clone();
        order.sort_by_key(|pod| {
            let ready = self.pods[*pod as usize].phase == Phase::Ready;
            (ready, std::cmp::Reverse(*pod))
        });
        for pod in order.into_iter().take(count as usize) {
            let member = &mut self.pods[pod as usize];
            match member.phase {
                Phase::Pending => member.phase = Phase::Gone,
                Phase::Ready => {
                    self.ready -= 1;
                    self.open.remove(&(member.in_flight, pod));
                    member.phase = Phase::Draining;
                    self.settle(pod, agenda);
                }
                Phase::Starting => self.leave(pod, agenda),
                Phase::Draining | Phase::Gone => {}
            }
        }
        let pods = &self.pods;
        self.staying.retain(|pod| {
            let phase = pods[*pod as usize].phase;
            !matches!(phase, Phase::Draining | Phase::Gone)
        });
        self.pending
            .retain(|pod| pods[*pod as usize].phase == Phase::Pending);
    }

    /// A pod that existed does so no more.
    fn leave(&mut self, pod: u32, agenda: &mut Agenda) {
        self.pods[pod as usize].phase = Phase::Gone;
        self.existing -= 1;
        if self.rules.nodes.is_some() {
            self.places += 1;
            self.use_places(agenda);
        }
    }
}
