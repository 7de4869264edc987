//! What the lock guards: the places, the line, and the rule that joins them.

use std::num::NonZeroUsize;
use std::task::Waker;

use penstock_types::Slots;

use crate::Refused;
use crate::line::{Fetched, Line};
use crate::places::{Places, Ticket};

pub(crate) struct State<P> {
    places: Places<P>,
    line: Line,
    /// Inside, in whatever place, also in those that have left.
    in_flight: usize,
    /// The window of a new place without a limit, when others wait for it.
    window: Option<usize>,
    /// Nobody is let in any more.
    closed: bool,
    /// Number of the next arrival.
    arrivals: u64,
    /// Who wants to know when the length of the line changes.
    watchers: Vec<Waker>,
}

/// A slot that was given: to whom, and where.
pub(crate) struct Granted<P> {
    pub(crate) arrival: u64,
    pub(crate) ticket: Ticket,
    pub(crate) place: P,
    /// It is one of a window.
    pub(crate) paced: bool,
}

/// How an arriving request was received.
pub(crate) enum Received<P> {
    Admitted(Granted<P>),
    /// It waits, at this node of the line.
    Waits(u32),
}

impl<P> State<P> {
    pub(crate) fn new(slots: Slots, seed: u64) -> Self {
        Self {
            places: Places::new(slots, seed),
            line: Line::new(),
            in_flight: 0,
            window: None,
            closed: false,
            arrivals: 0,
            watchers: Vec::new(),
        }
    }

    /// Has backlogs released in windows, which means nothing where there is a limit.
    pub(crate) fn pace(&mut self, window: NonZeroUsize) {
        self.window = Some(window.get());
    }

    pub(crate) fn waiting(&self) -> usize {
        self.line.waiting()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn has_places(&self) -> bool {
        self.places.any()
    }

    /// Has `waker` woken at the next change of the line.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        if !self.watchers.iter().any(|known| known.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
    }

    /// A waiting request gives up. Its waker goes to `old`, to be dropped outside the lock.
    pub(crate) fn leave(&mut self, node: u32, old: &mut Option<Waker>, wakes: &mut Wakes) {
        match self.line.leave(node, old) {
            Some(ticket) => self.release(ticket, wakes),
            None => self.notice(wakes),
        }
    }

    /// A request is done; its slot goes straight to the first in the line.
    pub(crate) fn release(&mut self, ticket: Ticket, wakes: &mut Wakes) {
        self.in_flight -= 1;
        self.places.give_back(ticket);
        self.let_in(wakes);
    }

    fn wait(&mut self, arrival: u64, waker: &Waker, wakes: &mut Wakes) -> u32 {
        let node = self.line.join(arrival, waker.clone());
        self.notice(wakes);
        node
    }

    /// Takes back the slots at places that no longer take anything, from those who have not
    /// fetched them yet.
    fn recall(&mut self, wakes: &mut Wakes) {
        let recalled = self.line.recall(|ticket| self.places.take_back(ticket));
        self.in_flight -= recalled;
        if recalled > 0 {
            self.notice(wakes);
        }
    }

    /// Gives what is free to those who wait, in order. Called after every change, it is why
    /// nobody ever waits beside a free slot.
    fn let_in(&mut self, wakes: &mut Wakes) {
        let before = self.line.waiting();
        while self.line.waiting() > 0
            && let Some(ticket) = self.places.take()
        {
            self.in_flight += 1;
            wakes.add(self.line.grant_first(ticket));
        }
        if self.line.waiting() != before {
            self.notice(wakes);
        }
    }

    /// One more may be inside the place of `ticket`.
    pub(crate) fn widen(&mut self, ticket: Ticket, wakes: &mut Wakes) {
        self.places.widen(ticket);
        self.let_in(wakes);
    }

    /// Twice as many may be inside each place that has a window; whether any has one after that.
    pub(crate) fn double(&mut self, wakes: &mut Wakes) -> bool {
        self.places.double();
        self.let_in(wakes);
        self.places.is_paced()
    }

    pub(crate) fn is_paced(&self) -> bool {
        self.places.is_paced()
    }

    /// The length of the line has changed.
    fn notice(&mut self, wakes: &mut Wakes) {
        if self.line.waiting() == 0 && self.places.is_paced() {
            self.places.end_pace();
        }
        for watcher in self.watchers.drain(..) {
            wakes.add(Some(watcher));
        }
    }
}

impl<P: Clone + PartialEq> State<P> {
    pub(crate) fn places(&self) -> Vec<(P, usize)> {
        self.places.list()
    }

    /// Goes inside if there is room and nobody waits.
    pub(crate) fn enter(&mut self) -> Option<Granted<P>> {
        let granted = self.go_inside(self.arrivals)?;
        self.arrivals += 1;
        Some(granted)
    }

    /// Goes inside, or into the line if fewer than `limit` wait there.
    pub(crate) fn receive(
        &mut self,
        limit: usize,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Result<Received<P>, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if let Some(granted) = self.enter() {
            return Ok(Received::Admitted(granted));
        }
        if self.line.waiting() >= limit {
            return Err(Refused::Full);
        }
        let arrival = self.arrivals;
        self.arrivals += 1;
        Ok(Received::Waits(self.wait(arrival, waker, wakes)))
    }

    /// Goes inside, or into the line where its `arrival` had put it before. It was accepted
    /// then, so no limit is asked.
    pub(crate) fn receive_again(
        &mut self,
        arrival: u64,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Result<Received<P>, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        Ok(match self.go_inside(arrival) {
            Some(granted) => Received::Admitted(granted),
            None => Received::Waits(self.wait(arrival, waker, wakes)),
        })
    }

    /// What has become of a waiting request. While it waits its waker is kept, and the one that
    /// this replaces goes to `old`.
    pub(crate) fn fetch(
        &mut self,
        node: u32,
        waker: &Waker,
        old: &mut Option<Waker>,
    ) -> Fetched<Granted<P>> {
        let arrival = self.line.arrival(node);
        match self.line.fetch(node) {
            Fetched::Granted(ticket) => Fetched::Granted(self.granted(arrival, ticket)),
            Fetched::Refused => Fetched::Refused,
            Fetched::Waits => {
                self.line.keep_waker(node, waker, old);
                Fetched::Waits
            }
        }
    }

    /// Takes all places away, and lets everybody in the line go.
    pub(crate) fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        self.places.set(&[], None);
        self.recall(wakes);
        if self.line.waiting() > 0 {
            self.line.refuse_all(|waker| wakes.add(Some(waker)));
            self.notice(wakes);
        }
    }

    pub(crate) fn set_places(&mut self, places: &[P], slots: Option<Slots>, wakes: &mut Wakes) {
        if self.closed {
            return;
        }
        if let Some(slots) = slots {
            self.places.set_slots(slots);
        }
        let paced = self.line.waiting() > 0 && !self.places.have_limit();
        self.places.set(places, self.window.filter(|_| paced));
        self.recall(wakes);
        self.let_in(wakes);
    }

    pub(crate) fn set_aside(&mut self, place: &P, wakes: &mut Wakes) {
        self.places.set_aside(place, true);
        self.recall(wakes);
        self.let_in(wakes);
    }

    pub(crate) fn bring_back(&mut self, place: &P, wakes: &mut Wakes) {
        self.places.set_aside(place, false);
        self.let_in(wakes);
    }

    pub(crate) fn is_aside(&self, place: &P) -> bool {
        self.places.is_aside(place)
    }

    pub(crate) fn has_another(&self, place: &P) -> bool {
        self.places.has_another(place)
    }

    fn go_inside(&mut self, arrival: u64) -> Option<Granted<P>> {
        // Who waits comes first. With room left nobody does, see `let_in`.
        if self.line.waiting() > 0 {
            return None;
        }
        let ticket = self.places.take()?;
        self.in_flight += 1;
        Some(self.granted(arrival, ticket))
    }

    fn granted(&self, arrival: u64, ticket: Ticket) -> Granted<P> {
        Granted {
            arrival,
            ticket,
            place: self.places.place(ticket),
            paced: self.places.has_window(ticket),
        }
    }
}

/// Wakers collected under the lock. One costs no allocation.
#[derive(Default)]
pub(crate) struct Wakes {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakes {
    fn add(&mut self, waker: Option<Waker>) {
        if self.first.is_none() {
            self.first = waker;
        } else {
            self.more.extend(waker);
        }
    }

    pub(crate) fn wake(self) {
        for waker in self.first.into_iter().chain(self.more) {
            waker.wake();
        }
    }
}
