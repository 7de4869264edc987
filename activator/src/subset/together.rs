//! Several activators before the same pods, as they come, leave and die: each has its gate and its
//! own knowledge of who there is, which may be old. A pod lets in as many as it has slots and keeps
//! the others in line, as its queue-proxy does.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use penstock_gate::{Admit, Gate, Limits, Slot};
use penstock_types::Slots;
use proptest::prelude::*;

use super::{Position, subset};

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A request comes to the activator of this number, modulo how many there are; and so on.
    Ask(usize),
    /// A pod is done with what it has had inside for longest.
    Serve(usize),
    /// An activator hears who there is now.
    Hear(usize),
    Join,
    /// It takes no more requests, and serves those that it has.
    Leave(usize),
    /// All its connections end.
    Die(usize),
    AddPod,
    RemovePod(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any::<usize>().prop_map(Step::Ask),
        12 => any::<usize>().prop_map(Step::Serve),
        4 => any::<usize>().prop_map(Step::Hear),
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Die),
        1 => Just(Step::AddPod),
        1 => any::<usize>().prop_map(Step::RemovePod),
    ]
}

/// The number of an activator, which is its address.
type Name = u32;
type Pod = u32;

struct Activator {
    gate: Arc<Gate<Pod>>,
    /// In order of arrival.
    line: VecDeque<(u64, Admit<Pod>)>,
    inside: BTreeMap<u64, Slot<Pod>>,
    /// Whom it serves, by its own knowledge, and since when: a pod that comes back begins anew.
    serves: BTreeMap<Pod, u64>,
    leaves: bool,
}

/// A request in a pod: whose it is, and since when its activator had served the pod when it came.
struct Sent {
    by: Name,
    request: u64,
    since: u64,
}

struct World {
    slots: u32,
    activators: BTreeMap<Name, Activator>,
    /// All that there are, in order of what they took: the first `slots` are inside.
    pods: BTreeMap<Pod, VecDeque<Sent>>,
    listed: Vec<Pod>,
    /// The next request, activator, pod and moment.
    next: u64,
    asked: usize,
    served: usize,
    died: usize,
}

impl World {
    fn new(slots: u32, activators: usize, pods: usize) -> Self {
        let mut world = Self {
            slots,
            activators: BTreeMap::new(),
            pods: BTreeMap::new(),
            listed: Vec::new(),
            next: 0,
            asked: 0,
            served: 0,
            died: 0,
        };
        (0..pods).for_each(|_| world.take(Step::AddPod));
        (0..activators).for_each(|_| world.take(Step::Join));
        world.all_hear();
        world
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap()
    }

    /// Those that requests still come to, in the order that everybody puts them in.
    fn standing(&self) -> Vec<Name> {
        let standing = self.activators.iter().filter(|(_, one)| !one.leaves);
        standing.map(|(name, _)| *name).collect()
    }

    fn take(&mut self, step: Step) {
        let standing = self.standing();
        let chosen =
            |number: usize| (!standing.is_empty()).then(|| standing[number % standing.len()]);
        match step {
            Step::Ask(number) => {
                if let Some(name) = chosen(number) {
                    let request = self.number();
                    self.asked += 1;
                    let one = self.activators.get_mut(&name).unwrap();
                    one.line.push_back((request, one.gate.admit()));
                }
            }
            Step::Serve(number) if !self.pods.is_empty() => {
                let pods = self.pods.values_mut();
                let mut busy: Vec<_> = pods.filter(|pod| !pod.is_empty()).collect();
                if !busy.is_empty() {
                    let at = number % busy.len();
                    let sent = busy[at].pop_front().unwrap();
                    let one = self.activators.get_mut(&sent.by).unwrap();
                    drop(one.inside.remove(&sent.request).unwrap());
                    self.served += 1;
                }
            }
            Step::Serve(_) => {}
            Step::Hear(number) => chosen(number).into_iter().for_each(|name| self.hear(name)),
            Step::Join => {
                let limits = Limits {
                    waiting: usize::MAX,
                };
                let gate = Gate::new(Slots::from_concurrency(self.slots), limits, 1);
                // Until it knows where it stands it serves all.
                gate.set_places(&subset(&self.listed, None));
                let now = self.number();
                let new = Activator {
                    gate,
                    line: VecDeque::new(),
                    inside: BTreeMap::new(),
                    serves: self.listed.iter().map(|pod| (*pod, now)).collect(),
                    leaves: false,
                };
                let name = self.small();
                self.activators.insert(name, new);
            }
            Step::Leave(number) if standing.len() > 1 => {
                let name = chosen(number).unwrap();
                self.activators.get_mut(&name).unwrap().leaves = true;
            }
            Step::Die(number) if standing.len() > 1 => {
                let name = chosen(number).unwrap();
                let dead = self.activators.remove(&name).unwrap();
                self.died += dead.line.len() + dead.inside.len();
                for pod in self.pods.values_mut() {
                    pod.retain(|sent| sent.by != name);
                }
            }
            Step::Leave(_) | Step::Die(_) => {}
            Step::AddPod => {
                let pod = self.small();
                self.listed.push(pod);
                self.pods.insert(pod, VecDeque::new());
            }
            Step::RemovePod(number) if self.listed.len() > 1 => {
                self.listed.remove(number % self.listed.len());
            }
            Step::RemovePod(_) => {}
        }
        self.go_on();
    }

    fn hear(&mut self, name: Name) {
        let standing = self.standing();
        // Who is not among them any more stays where it was.
        let index = standing.iter().position(|other| *other == name).unwrap();
        let activators = standing.len();
        let own = subset(&self.listed, Some(Position { index, activators }));
        let now = self.number();
        let one = self.activators.get_mut(&name).unwrap();
        let since = |pod| (pod, one.serves.get(&pod).copied().unwrap_or(now));
        one.serves = own.iter().copied().map(since).collect();
        one.gate.set_places(&own);
    }

    fn all_hear(&mut self) {
        for name in self.standing() {
            self.hear(name);
        }
        self.go_on();
    }

    /// Whoever has been given a slot goes to its pod.
    fn go_on(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for (name, one) in &mut self.activators {
            let mut still = VecDeque::new();
            for (request, mut admit) in one.line.drain(..) {
                let Poll::Ready(slot) = Pin::new(&mut admit).poll(&mut cx) else {
                    still.push_back((request, admit));
                    continue;
                };
                assert!(still.is_empty(), "a newcomer has overtaken");
                let slot = slot.unwrap();
                self.pods.get_mut(slot.place()).unwrap().push_back(Sent {
                    by: *name,
                    request,
                    since: one.serves[slot.place()],
                });
                one.inside.insert(request, slot);
            }
            one.line = still;
        }
    }

    /// What holds at every moment, whoever has heard what.
    fn check(&self) {
        let slots = self.slots as usize;
        for (name, one) in &self.activators {
            for (pod, since) in &one.serves {
                let own = self.pods[pod].iter();
                let own = own.filter(|sent| (sent.by, sent.since) == (*name, *since));
                let own = own.count();
                assert!(own <= slots, "{own} of one activator in one pod");
                let waits = !one.line.is_empty();
                assert!(!waits || own == slots, "it waits beside a slot of its own");
            }
        }
    }

    /// What holds once all have heard, and what they had sent before is over.
    fn check_settled(&self) {
        let (slots, standing) = (self.slots as usize, self.standing());
        for pod in &self.listed {
            let serve = |name: &&Name| self.activators[*name].serves.contains_key(pod);
            let sharers = standing.iter().filter(serve).count();
            let most = standing.len().div_ceil(self.listed.len());
            assert!((1..=most).contains(&sharers));
            let there = &self.pods[pod];
            let waiting = there.len().saturating_sub(slots);
            assert!(waiting <= slots * (sharers - 1), "{waiting} wait in a pod");
            // Turns: no other has more before the last one of somebody than its slots.
            for name in &standing {
                let of_it = there.iter().filter(|sent| sent.by == *name).count();
                assert!(of_it <= slots);
            }
        }
        for name in &standing {
            let one = &self.activators[name];
            let least = (self.listed.len() / standing.len()).max(1);
            assert!(one.serves.len() >= least, "less than its share");
            let full = one.inside.len() >= slots * one.serves.len();
            assert!(one.line.is_empty() || full, "it starves");
        }
    }

    /// All hear, and each pod serves what it had; those who wait come after that.
    fn settle(&mut self) {
        self.all_hear();
        let old = self.next;
        let is_old = |world: &Self| {
            let all = world.pods.values().flatten();
            all.filter(|sent| sent.request <= old).count()
        };
        let mut steps = 0;
        while is_old(self) > 0 || self.activators.values().any(|one| one.leaves) {
            self.take(Step::Serve(steps));
            self.check();
            let done = |one: &Activator| one.leaves && one.line.is_empty() && one.inside.is_empty();
            self.activators.retain(|_, one| !done(one));
            steps += 1;
            assert!(steps < 100_000, "somebody is never served");
        }
    }
}

proptest! {
    #[test]
    fn each_keeps_its_bounds_and_its_share_whoever_comes_leaves_or_dies(
        slots in 1..4_u32,
        activators in 1..6_usize,
        pods in 1..5_usize,
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let mut world = World::new(slots, activators, pods);
        world.check_settled();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.settle();
        world.check_settled();
        // From here on nobody comes or goes: each moment is within the bounds.
        for number in 0..60 {
            world.take(Step::Ask(number * 7));
            world.take(Step::Ask(number));
            world.take(Step::Serve(number));
            world.check();
            world.check_settled();
        }
        for number in 0.. {
            if world.pods.values().all(VecDeque::is_empty) {
                break;
            }
            world.take(Step::Serve(number));
        }
        prop_assert!(world.activators.values().all(|one| one.line.is_empty()));
        prop_assert_eq!(world.asked, world.served + world.died, "none is lost");
    }
}

#[test]
fn before_one_slot_three_take_turns_however_long_the_line_of_one_is() {
    let mut world = World::new(1, 3, 1);
    for _ in 0..300 {
        world.take(Step::Ask(0));
    }
    for number in 0..24 {
        world.take(Step::Ask(1 + number % 2));
    }
    let pod = world.listed[0];
    let mut turns = BTreeMap::new();
    for _ in 0..30 {
        world.check_settled();
        assert_eq!(world.pods[&pod].len(), 3, "one inside, two wait");
        *turns.entry(world.pods[&pod][0].by).or_insert(0) += 1;
        world.take(Step::Serve(0));
    }
    assert_eq!(turns.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}
