//! One revision under traffic, in virtual time: an activator, an autoscaler and pods.
//!
//! ```text
//!  arrivals ──► line ──► slot of a pod ──► its container (works on some at once) ──► done
//!     │           │ first word, a table each second            ▲ started, drained
//!     └─ counted  └──► Scaler (the one of production) ──► fleet ┘
//! ```
//!
//! What decides is [`Scaler`], driven as the autoscaler's loop does it: a decision where a report
//! says so, one on each tick. What is modelled is everything around it:
//!
//! - **Activator**: one line, first in, first out, as long as `penstock up` lets it become and as
//!   patient as the revision's timeouts. A request gets a slot of the ready pod with the fewest
//!   requests. The first word and the reports of a closed gate come as from the real one.
//! - **Pods** ([`fleet`]): ready after a time that is drawn, perhaps on a node that has to come
//!   first. Who is let go ends when its last request does.
//! - **Container**: works on all that it is given, or on so many at once; the others wait inside.
//!
//! Not modelled: the network, the time a decision or a scale call takes, failures.

mod activator;
mod fleet;
mod steps;
mod waits;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use penstock_autoscaler::{Due, PolicyKind, Scaler, TICK};
use penstock_scaling::spec::Spec;
use penstock_types::Slots;
use penstock_types::demand::Demand;

use super::chance::Chance;
use super::traffic::{Arrivals, Micros, Request, SECOND, Traffic, micros};
use activator::Activator;
use fleet::{Fleet, Freed};

pub(crate) use fleet::{Nodes, PodRules};
pub(crate) use steps::{Lack, steps};
pub(crate) use waits::Waits;

/// Any whole second will do.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// Requests that may wait for a revision under `penstock up`.
const LINE: usize = 10_000;
/// Time in which a burst settles before it is reported out of turn.
const SETTLE: Micros = 1_000;
/// Time between two reports out of turn.
const AGAIN: Micros = 100_000;

/// What is simulated, under whatever policy.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) spec: Spec,
    pub(crate) slots: Slots,
    /// How long a request waits before it is refused.
    pub(crate) patience: Duration,
    pub(crate) pods: PodRules,
    pub(crate) seed: u64,
    /// Whether every change of scale is kept, with its reason.
    pub(crate) decisions: bool,
}

/// What became of the traffic.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) policy: PolicyKind,
    /// Requests that came.
    pub(crate) requests: u64,
    /// Of these, the ones that found no pod ready.
    pub(crate) cold: u64,
    /// Of these, the ones that found the line full.
    pub(crate) turned_away: u64,
    /// Of these, the ones that waited too long.
    pub(crate) late: u64,
    /// From arrival to the beginning of the work, of each request that was served.
    pub(crate) waits: Waits,
    /// Seconds that pods existed, summed, until the traffic ended.
    pub(crate) pod_seconds: f64,
    /// Most pods that existed at one time.
    pub(crate) peak: u32,
    /// How often another number of pods was wanted.
    pub(crate) changes: u64,
    /// Longest lack of pods after a step of the load; `None` if there was no step.
    pub(crate) lack: Option<Lack>,
    /// One entry per second.
    pub(crate) samples: Vec<Sample>,
    /// Every change of scale, if they were to be kept.
    pub(crate) decisions: Vec<Change>,
}

/// A change of scale.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) at: Micros,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Which figure against which target, and what bounded it.
    pub(crate) why: String,
}

/// One second of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Requests that arrived in it.
    pub(crate) arrived: u32,
    /// Pods wanted at its end.
    pub(crate) wanted: u32,
    /// Pods ready at its end.
    pub(crate) ready: u32,
    /// Most requests that waited in it.
    pub(crate) waiting: u32,
}

/// Something that happens at a known time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A pod has done a request.
    Done { pod: u32 },
    /// A pod is ready.
    Ready { pod: u32 },
    /// A node is there.
    NodeUp,
    /// A report out of turn is due.
    Urge { first: bool },
    /// Another one may follow.
    UrgeAgain,
    /// A decision is due that a report had to wait for.
    Decide,
}

/// What is due, the earliest first; of the same time, the one that was known first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    known: u64,
}

impl Agenda {
    fn add(&mut self, at: Micros, event: Event) {
        self.known += 1;
        self.events.push(Reverse((at, self.known, event)));
    }

    fn next(&self) -> Micros {
        self.events
            .peek()
            .map_or(Micros::MAX, |Reverse((at, ..))| *at)
    }

    fn take(&mut self) -> Option<Event> {
        self.events.pop().map(|Reverse((.., event))| event)
    }
}

/// Runs the whole traffic, and on until its last request has left.
pub(crate) fn run(setup: &Setup, traffic: &Traffic, policy: PolicyKind) -> Outcome {
    let mut world = World::new(setup, policy);
    let mut arrivals = Arrivals::new(traffic, Chance::new(setup.seed, REQUESTS)).peekable();
    let end = traffic.end();
    world.decide();
    let mut second = SECOND;
    loop {
        let arrival = arrivals.peek().map_or(Micros::MAX, |next| next.arrives);
        let (event, expiry) = (world.agenda.next(), world.expiry());
        let now = arrival.min(event).min(expiry).min(second);
        if now > end && arrival == Micros::MAX && world.activator.is_empty() {
            break;
        }
        world.advance(now);
        if event == now {
            world.take_event();
        } else if second == now {
            world.end_of_second(end);
            second += SECOND;
        } else if expiry == now {
            world.expire();
        } else if let Some(request) = arrivals.next() {
            world.arrive(request);
        }
    }
    world.outcome(traffic)
}

/// Purposes of chance.
const REQUESTS: u64 = 1;
const PODS: u64 = 2;

struct World<'a> {
    setup: &'a Setup,
    policy: PolicyKind,
    now: Micros,
    agenda: Agenda,
    activator: Activator,
    line: VecDeque<Request>,
    fleet: Fleet<'a>,
    scaler: Scaler,
    patience: Micros,
    wanted: u32,
    changes: u64,
    requests: u64,
    cold: u64,
    turned_away: u64,
    late: u64,
    waits: Waits,
    /// Of the current second.
    arrived: u32,
    most_waiting: u32,
    samples: Vec<Sample>,
    decisions: Vec<Change>,
    /// Pods ready, from when on.
    ready: Vec<(Micros, u32)>,
    /// What the traffic had cost when it ended.
    at_end: Option<(f64, u64)>,
}

impl<'a> World<'a> {
    fn new(setup: &'a Setup, policy: PolicyKind) -> Self {
        let begin = setup.pods.begin;
        let scaler = Scaler::new(policy, setup.spec.clone(), setup.slots, begin, begin, EPOCH);
        let fleet = Fleet::new(setup.slots, &setup.pods, Chance::new(setup.seed, PODS));
        Self {
            setup,
            policy,
            now: 0,
            agenda: Agenda::default(),
            activator: Activator::default(),
            line: VecDeque::new(),
            ready: vec![(0, fleet.ready())],
            fleet,
            scaler,
            patience: micros(setup.patience),
            wanted: begin,
            changes: 0,
            requests: 0,
            cold: 0,
            turned_away: 0,
            late: 0,
            waits: Waits::default(),
            arrived: 0,
            most_waiting: 0,
            samples: Vec::new(),
            decisions: Vec::new(),
            at_end: None,
        }
    }

    fn clock(&self) -> Duration {
        EPOCH + Duration::from_micros(self.now)
    }

    fn advance(&mut self, now: Micros) {
        self.now = now;
        self.fleet.advance(now);
    }

    fn arrive(&mut self, request: Request) {
        self.requests += 1;
        self.arrived += 1;
        if self.activator.enter(self.now) {
            // The first word of a revision that was not tracked.
            self.activator.begin_urging();
            self.agenda
                .add(self.now + SETTLE, Event::Urge { first: true });
        }
        self.cold += u64::from(self.fleet.ready() == 0);
        if self.line.is_empty() && self.fleet.has_room() {
            self.admit(request);
        } else if self.line.len() >= LINE {
            self.turned_away += 1;
            self.activator.leave(self.now);
        } else {
            self.line.push_back(request);
            if self.fleet.ready() == 0 && self.activator.begin_urging() {
                self.agenda
                    .add(self.now + SETTLE, Event::Urge { first: false });
            }
        }
        self.note_waiting();
    }

    /// Gives a request a slot.
    fn admit(&mut self, request: Request) {
        if let Some(pod) = self.fleet.admit(request) {
            self.begin(pod, request);
        }
    }

    /// A container begins to work on a request.
    fn begin(&mut self, pod: u32, request: Request) {
        self.waits.add(self.now - request.arrives);
        self.agenda
            .add(self.now + request.work, Event::Done { pod });
    }

    fn take_event(&mut self) {
        match self.agenda.take() {
            Some(Event::Done { pod }) => {
                self.activator.leave(self.now);
                self.free(pod);
            }
            Some(Event::Ready { pod }) => {
                self.fleet.is_ready(pod);
                self.serve_line();
            }
            Some(Event::NodeUp) => self.fleet.node_is_up(&mut self.agenda),
            Some(Event::Urge { first }) => self.urge(first),
            Some(Event::UrgeAgain) => self.urge_again(),
            Some(Event::Decide) => self.decide(),
            None => {}
        }
        self.note_ready();
        self.note_waiting();
    }

    /// A slot is free again, and whoever waits inside the pod comes before the line.
    fn free(&mut self, pod: u32) {
        let Freed { next, late } = self.fleet.done(pod, self.patience);
        if let Some(request) = next {
            self.begin(pod, request);
        }
        for _ in 0..late {
            self.late += 1;
            self.activator.leave(self.now);
        }
        self.fleet.settle(pod, &mut self.agenda);
        self.serve_line();
    }

    fn serve_line(&mut self) {
        while self.fleet.has_room()
            && let Some(request) = self.line.pop_front()
        {
            self.admit(request);
        }
    }

    /// When the patience of the first in line ends.
    fn expiry(&self) -> Micros {
        self.line.front().map_or(Micros::MAX, |request| {
            request.arrives.saturating_add(self.patience)
        })
    }

    fn expire(&mut self) {
        if self.line.pop_front().is_some() {
            self.late += 1;
            self.activator.leave(self.now);
        }
    }

    /// The table of the activator and, every other second, the tick of the autoscaler.
    fn end_of_second(&mut self, end: Micros) {
        let now = self.clock();
        let (waiting, in_flight) = self.requests_now();
        if let Some(report) = self.activator.table(self.now, waiting, in_flight) {
            self.hear(report);
        }
        if self.now.is_multiple_of(micros(TICK)) {
            self.scaler.look_for_absence(now);
            self.decide();
        }
        if self.now <= end {
            self.samples.push(Sample {
                arrived: std::mem::take(&mut self.arrived),
                wanted: self.wanted,
                ready: self.fleet.ready(),
                waiting: self.most_waiting,
            });
            self.at_end = Some((self.fleet.pod_seconds(), self.changes));
        }
        self.most_waiting = self.waiting_now();
    }

    fn urge(&mut self, first: bool) {
        let (waiting, in_flight) = self.requests_now();
        let report = self.activator.urge(waiting, in_flight, first);
        self.agenda.add(self.now + AGAIN, Event::UrgeAgain);
        if let Some(report) = report {
            self.hear(report);
        }
    }

    fn urge_again(&mut self) {
        let (waiting, in_flight) = self.requests_now();
        let places = self.fleet.ready() > 0;
        if let Some(report) = self.activator.urge_again(waiting, in_flight, places) {
            self.hear(report);
        }
    }

    fn hear(&mut self, report: Demand) {
        let now = self.clock();
        match self.scaler.observe(&report, self.fleet.ready(), now) {
            Due::Now => self.decide(),
            Due::After(rest) => self.agenda.add(self.now + micros(rest), Event::Decide),
            Due::Later => {}
        }
    }

    fn decide(&mut self) {
        let verdict = self.scaler.decide(self.fleet.ready(), self.clock());
        if verdict.pods != self.wanted {
            if self.setup.decisions {
                self.decisions.push(Change {
                    at: self.now,
                    from: self.wanted,
                    to: verdict.pods,
                    why: verdict.words(),
                });
            }
            self.wanted = verdict.pods;
            self.changes += 1;
            self.fleet.scale(verdict.pods, &mut self.agenda);
            self.note_ready();
        }
    }

    /// Requests in line and inside pods, as the activator sees them.
    fn requests_now(&self) -> (u32, u32) {
        let line = u32::try_from(self.line.len()).unwrap_or(u32::MAX);
        (line, self.fleet.in_flight())
    }

    /// Requests that nobody works on.
    fn waiting_now(&self) -> u32 {
        u32::try_from(self.line.len()).unwrap_or(u32::MAX) + self.fleet.backlog()
    }

    fn note_waiting(&mut self) {
        self.most_waiting = self.most_waiting.max(self.waiting_now());
    }

    fn note_ready(&mut self) {
        let ready = self.fleet.ready();
        if self.ready.last().is_none_or(|(_, before)| *before != ready) {
            self.ready.push((self.now, ready));
        }
    }

    fn outcome(self, traffic: &Traffic) -> Outcome {
        let (pod_seconds, changes) = self
            .at_end
            .unwrap_or((self.fleet.pod_seconds(), self.changes));
        let steps = steps(&self.setup.spec, traffic);
        Outcome {
            policy: self.policy,
            requests: self.requests,
            cold: self.cold,
            turned_away: self.turned_away,
            late: self.late,
            waits: self.waits,
            pod_seconds,
            peak: self.fleet.peak(),
            changes,
            lack: steps::longest_lack(&steps, &self.ready),
            samples: self.samples,
            decisions: self.decisions,
        }
    }
}

#[cfg(test)]
mod tests;
