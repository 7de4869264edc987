//! Random operations, each compared with a model that is too simple to be wrong.
//!
//! With a limit the model foretells everything: who is inside where, who waits, in which order.
//! Without one the place is chance; there the gate is asked for it and must name an open one.

use proptest::prelude::*;

use super::*;

const WAITING: usize = 6;

#[derive(Clone, Debug)]
enum Operation {
    Arrive,
    TryAdmit,
    /// Polls, drops, sends elsewhere the request or slot of this number, modulo how many are there.
    Poll(usize),
    GiveUp(usize),
    Finish(usize),
    Elsewhere(usize),
    SetPlaces(Vec<u8>),
    /// The same with another limit, where there is one.
    SetPlacesOf(u32, Vec<u8>),
    SetAside(u8),
    BringBack(u8),
}

fn operation() -> impl Strategy<Value = Operation> {
    let names = proptest::sample::subsequence((0..6).collect::<Vec<u8>>(), 0..=5);
    prop_oneof![
        6 => Just(Operation::Arrive),
        2 => Just(Operation::TryAdmit),
        6 => any::<usize>().prop_map(Operation::Poll),
        2 => any::<usize>().prop_map(Operation::GiveUp),
        4 => any::<usize>().prop_map(Operation::Finish),
        1 => any::<usize>().prop_map(Operation::Elsewhere),
        2 => names.clone().prop_shuffle().prop_map(Operation::SetPlaces),
        1 => (1..8_u32, names.prop_shuffle())
            .prop_map(|(limit, names)| Operation::SetPlacesOf(limit, names)),
        1 => (0..6_u8).prop_map(Operation::SetAside),
        2 => (0..6_u8).prop_map(Operation::BringBack),
    ]
}

/// A place in the model; `life` tells a returned one from its former self.
#[derive(Clone)]
struct Place {
    name: u8,
    life: usize,
    inside: usize,
    aside: bool,
}

/// Where the model believes a request to be that has been polled and not answered yet.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Waiting,
    /// Has a slot in this life; unknown without a limit.
    Granted(Option<usize>),
}

struct Model {
    slots: Slots,
    /// The most that it ever was: who is inside stays when there are fewer.
    most: Slots,
    places: Vec<Place>,
    lives: usize,
    cursor: usize,
    /// By arrival.
    requests: Vec<(u64, Standing)>,
    fetched: usize,
}

impl Model {
    fn new(slots: Slots) -> Self {
        Self {
            slots,
            most: slots,
            places: Vec::new(),
            lives: 0,
            cursor: 0,
            requests: Vec::new(),
            fetched: 0,
        }
    }

    fn waiting(&self) -> usize {
        let waits = |(_, standing): &&(u64, Standing)| *standing == Standing::Waiting;
        self.requests.iter().filter(waits).count()
    }

    fn in_flight(&self) -> usize {
        self.fetched + self.requests.len() - self.waiting()
    }

    fn is_open(&self, place: &Place) -> bool {
        !place.aside && self.slots.has_room(place.inside)
    }

    /// The standing that the next one gets, if there is room.
    fn take(&mut self) -> Option<Standing> {
        let open = |at: &usize| self.is_open(&self.places[*at]);
        let all = 0..self.places.len();
        let at = match self.slots {
            Slots::Unlimited => return all.clone().find(open).map(|_| Standing::Granted(None)),
            Slots::Limited(limit) if limit.get() < 4 => all.clone().find(open)?,
            Slots::Limited(_) => {
                let start = self.cursor.min(all.end);
                let at = (start..all.end).chain(0..start).find(open)?;
                self.cursor = at + 1;
                at
            }
        };
        self.places[at].inside += 1;
        Some(Standing::Granted(Some(self.places[at].life)))
    }

    fn let_in(&mut self) {
        while let Some(next) = self
            .requests
            .iter()
            .position(|(_, standing)| *standing == Standing::Waiting)
            && let Some(granted) = self.take()
        {
            self.requests[next].1 = granted;
        }
    }

    fn leave(&mut self, life: Option<usize>) {
        if let Some(place) = self.places.iter_mut().find(|p| Some(p.life) == life) {
            place.inside -= 1;
        }
    }

    /// Slots that were not fetched are taken back where their place is gone or set aside.
    fn recall(&mut self) {
        let open = self.places.iter().any(|place| !place.aside);
        for at in 0..self.requests.len() {
            let Standing::Granted(life) = self.requests[at].1 else {
                continue;
            };
            let stays = match life {
                None => open,
                Some(_) => self.places.iter().any(|p| Some(p.life) == life && !p.aside),
            };
            if !stays {
                self.leave(life);
                self.requests[at].1 = Standing::Waiting;
            }
        }
        self.let_in();
    }

    fn set_places(&mut self, names: &[u8]) {
        let old = std::mem::take(&mut self.places);
        for &name in names {
            let stays = old.iter().find(|place| place.name == name).cloned();
            self.lives += 1;
            self.places.push(stays.unwrap_or(Place {
                name,
                life: self.lives,
                inside: 0,
                aside: false,
            }));
        }
        self.recall();
    }

    fn set_aside(&mut self, name: u8, aside: bool) {
        for place in &mut self.places {
            if place.name == name {
                place.aside = aside;
            }
        }
        self.recall();
    }

    fn admit(&mut self, arrival: u64) {
        let at = self.requests.partition_point(|(other, _)| *other < arrival);
        self.requests.insert(at, (arrival, Standing::Waiting));
        self.let_in();
    }

    fn name(&self, life: usize) -> u8 {
        let place = self.places.iter().find(|place| place.life == life);
        place
            .expect("slots at places that left are taken back")
            .name
    }

    /// The life that a fetched slot names, which must be the one foretold, or an open one.
    fn fetch(&mut self, arrival: u64, name: u8) -> Option<usize> {
        let at = self.requests.iter().position(|(a, _)| *a == arrival);
        let (_, standing) = self.requests.remove(at.expect("it waited"));
        self.fetched += 1;
        match standing {
            Standing::Waiting => panic!("request {arrival} overtook"),
            Standing::Granted(Some(life)) => {
                assert_eq!(self.name(life), name);
                Some(life)
            }
            Standing::Granted(None) => {
                let open = |p: &&Place| p.name == name && !p.aside;
                assert!(self.places.iter().any(|p| open(&p)), "{name} is closed");
                None
            }
        }
    }
}

/// The gate and the model side by side.
struct Pair {
    gate: Arc<Gate<u8>>,
    model: Model,
    /// Polled, not answered; with arrival and whether it was woken for a slot.
    line: Vec<(u64, Request<u8>)>,
    inside: Vec<(u64, Option<usize>, Slot<u8>)>,
    arrivals: u64,
}

impl Pair {
    fn new(slots: Slots, seed: u64) -> Self {
        Self {
            gate: Gate::new(slots, Limits { waiting: WAITING }, seed),
            model: Model::new(slots),
            line: Vec::new(),
            inside: Vec::new(),
            arrivals: 0,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Arrive => {
                let request = Request::new(&self.gate);
                self.arrive(self.arrivals, request, WAITING);
            }
            Operation::TryAdmit => self.try_admit(),
            Operation::Poll(at) if !self.line.is_empty() => self.poll(at % self.line.len()),
            Operation::GiveUp(at) if !self.line.is_empty() => self.give_up(at % self.line.len()),
            Operation::Finish(at) if !self.inside.is_empty() => {
                self.finish(at % self.inside.len());
            }
            Operation::Elsewhere(at) if !self.inside.is_empty() => {
                let (arrival, life, slot) = self.inside.swap_remove(at % self.inside.len());
                self.left(life);
                let request = Request::from(slot.elsewhere());
                self.arrive(arrival, request, usize::MAX);
            }
            Operation::Poll(_)
            | Operation::GiveUp(_)
            | Operation::Finish(_)
            | Operation::Elsewhere(_) => {}
            Operation::SetPlaces(names) => {
                self.gate.set_places(&names);
                self.model.set_places(&names);
            }
            Operation::SetPlacesOf(limit, names) => {
                if self.model.slots != Slots::Unlimited {
                    let model = &mut self.model;
                    model.slots = limited(limit);
                    if !model.most.has_room(limit as usize - 1) {
                        model.most = model.slots;
                    }
                }
                self.gate.set_places_of(self.model.slots, &names);
                self.model.set_places(&names);
            }
            Operation::SetAside(name) => {
                self.gate.set_aside(&name);
                self.model.set_aside(name, true);
            }
            Operation::BringBack(name) => {
                self.gate.bring_back(&name);
                self.model.set_aside(name, false);
            }
        }
        self.compare();
    }

    /// The first poll of a request.
    fn arrive(&mut self, arrival: u64, mut request: Request<u8>, limit: usize) {
        let before = self.model.waiting();
        self.model.admit(arrival);
        let waits = self.model.waiting() > before;
        match request.poll() {
            Poll::Ready(Err(Refused::Closed)) => panic!("nobody closed it"),
            Poll::Ready(Err(Refused::Full)) => {
                assert!(waits && before >= limit, "refused with {before} waiting");
                self.model.requests.retain(|(other, _)| *other != arrival);
            }
            Poll::Ready(Ok(slot)) => {
                assert!(!waits, "overtook");
                self.arrived(arrival);
                self.went_inside(arrival, slot);
            }
            Poll::Pending => {
                assert!(waits && before < limit, "waits beside a free slot");
                self.arrived(arrival);
                self.line.push((arrival, request));
            }
        }
    }

    fn arrived(&mut self, arrival: u64) {
        self.arrivals = self.arrivals.max(arrival + 1);
    }

    fn try_admit(&mut self) {
        let arrival = self.arrivals;
        match self.gate.try_admit() {
            Some(slot) => {
                assert_eq!(self.model.waiting(), 0, "overtook");
                self.model.admit(arrival);
                self.arrived(arrival);
                self.went_inside(arrival, slot);
            }
            None => assert!(
                self.model.waiting() > 0
                    || !self.model.places.iter().any(|p| self.model.is_open(p)),
                "refused beside a free slot"
            ),
        }
    }

    fn went_inside(&mut self, arrival: u64, slot: Slot<u8>) {
        let life = self.model.fetch(arrival, *slot.place());
        self.inside.push((arrival, life, slot));
    }

    fn poll(&mut self, at: usize) {
        let (arrival, request) = &mut self.line[at];
        let arrival = *arrival;
        let granted = self
            .model
            .requests
            .iter()
            .any(|(other, standing)| *other == arrival && *standing != Standing::Waiting);
        match request.poll() {
            Poll::Ready(Ok(slot)) => {
                drop(self.line.remove(at));
                self.went_inside(arrival, slot);
            }
            Poll::Ready(Err(_)) => panic!("refused after it was accepted"),
            Poll::Pending => assert!(!granted, "request {arrival} was passed over"),
        }
    }

    fn give_up(&mut self, at: usize) {
        let (arrival, request) = self.line.remove(at);
        drop(request);
        let requests = &mut self.model.requests;
        let at = requests.iter().position(|(other, _)| *other == arrival);
        if let (_, Standing::Granted(life)) = requests.remove(at.expect("it was in the line")) {
            self.model.leave(life);
        }
        self.model.let_in();
    }

    fn finish(&mut self, at: usize) {
        let (_, life, slot) = self.inside.swap_remove(at);
        drop(slot);
        self.left(life);
    }

    fn left(&mut self, life: Option<usize>) {
        self.model.fetched -= 1;
        self.model.leave(life);
        self.model.let_in();
    }

    fn compare(&self) {
        let model = &self.model;
        assert_eq!(self.gate.waiting(), model.waiting());
        assert_eq!(self.gate.in_flight(), model.in_flight());
        let places = self.gate.places();
        if model.slots == Slots::Unlimited {
            let inside: usize = places.iter().map(|(_, inside)| inside).sum();
            assert!(inside <= model.in_flight());
        } else {
            let want: Vec<_> = model.places.iter().map(|p| (p.name, p.inside)).collect();
            assert_eq!(places, want);
            assert!(
                want.iter()
                    .all(|(_, n)| *n == 0 || model.most.has_room(n - 1))
            );
        }
        for (arrival, request) in &self.line {
            let (_, standing) = model.requests.iter().find(|(a, _)| a == arrival).unwrap();
            let woken = request.woken() > 0;
            assert!(woken || *standing == Standing::Waiting, "lost wake-up");
        }
    }

    /// Everyone is let in and finishes: then nothing may be left.
    fn end(mut self) {
        self.apply(Operation::SetPlaces(vec![9]));
        while !self.line.is_empty() || !self.inside.is_empty() {
            let before = self.line.len() + self.inside.len();
            for at in (0..self.line.len()).rev() {
                self.poll(at);
            }
            while !self.inside.is_empty() {
                self.apply(Operation::Finish(0));
            }
            assert!(self.line.len() < before, "nobody came further");
        }
        assert_eq!((self.gate.waiting(), self.gate.in_flight()), (0, 0));
        assert_eq!(self.gate.places(), [(9, 0)]);
    }
}

proptest! {
    #[test]
    fn the_gate_does_what_the_model_says(
        limit in prop_oneof![Just(0_u32), 1..3_u32, 4..6_u32],
        seed in any::<u64>(),
        operations in proptest::collection::vec(operation(), 1..200),
    ) {
        let mut pair = Pair::new(Slots::from_concurrency(limit), seed);
        for operation in operations {
            pair.apply(operation);
        }
        pair.end();
    }

    #[test]
    fn a_closed_gate_lets_all_who_wait_go_and_what_runs_finish(
        limit in prop_oneof![Just(0_u32), 1..3_u32, 4..6_u32],
        operations in proptest::collection::vec(operation(), 1..100),
    ) {
        let mut pair = Pair::new(Slots::from_concurrency(limit), 7);
        for operation in operations {
            pair.apply(operation);
        }
        let Pair { gate, line, mut inside, .. } = pair;
        gate.close();
        assert_eq!((gate.waiting(), gate.in_flight()), (0, inside.len()));
        gate.set_places(&[1, 2]);
        for (arrival, mut request) in line {
            // Every second is dropped without a look.
            if arrival % 2 == 0 {
                assert!(matches!(request.poll(), Poll::Ready(Err(Refused::Closed))));
            }
        }
        assert!(gate.try_admit().is_none());
        assert!(matches!(Request::new(&gate).poll(), Poll::Ready(Err(Refused::Closed))));
        if let Some((_, _, slot)) = inside.pop() {
            let mut again = Request::from(slot.elsewhere());
            assert!(matches!(again.poll(), Poll::Ready(Err(Refused::Closed))));
        }
        drop(inside);
        assert_eq!((gate.waiting(), gate.in_flight()), (0, 0));
    }
}
