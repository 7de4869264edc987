//! Admission: slots that grow and shrink, and a bounded first-in-first-out line before them.
//!
//! A [`Gate`] stands before the places of one revision (its pods; in a queue-proxy the one
//! container, `()`). A request waits at the gate, not at a place: it is bound to a place at the
//! moment that place has a slot for it. It is told so by a [`Slot`], which it holds until its
//! last byte is through.
//!
//! What always holds, after every call: no place that is still served has more inside than its
//! slots, unless those became fewer meanwhile; a slot that is free and a request that waits do not exist together; slots are given in
//! order of arrival; a newcomer does not overtake.
//!
//! Where things are: `line.rs` the line, `places.rs` the places and the choice among them,
//! `state.rs` both under one lock, `admit.rs` the future of one request and its slot.
//!
//! Cost: one short lock to enter, one to leave, no allocation unless a request has to wait. One
//! that waits takes 40 bytes in the line (64-bit) beside its own future, and leaves it in O(1).
//! Wakers are woken, and dropped, after the lock is released: either may run foreign code that
//! comes back to the gate.
//!
//! Choice of place (spec/activator.md §3.4): without a limit the less busy of two at random; up
//! to 3 slots the first with room (packs); from 4 on round robin.
//!
//! Release of a backlog to places without a limit: in windows that grow by one with each good
//! answer (so they double with each round of answers), and double from time to time whether there
//! are answers or not. As soon as nobody waits there is no window.
//!
//! Unlike the original (spec/activator.md §3.2, §3.6): the line is first in, first out; requests
//! that still run in a place which has left do not take room from the places that stay; and the
//! limit of the line counts those that wait, not the ones inside.

#![forbid(unsafe_code)]

mod admit;
mod line;
mod places;
mod state;
#[cfg(test)]
mod tests;

use std::future;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use penstock_types::Slots;

pub use Refused as Full;
pub use admit::{Admit, Slot};
use state::{State, Wakes};

/// How much a gate holds back at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait; one more is [`Refused::Full`].
    pub waiting: usize,
}

/// Why a gate lets nobody in and nobody wait. `Display` is the contract's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many requests wait as may.
    #[error("pending request queue full")]
    Full,
    /// The gate was closed for good.
    #[error("closed for good")]
    Closed,
}

/// Slots at a set of places, and the line of requests that wait for one.
pub struct Gate<P> {
    limits: Limits,
    state: Mutex<State<P>>,
}

impl<P: Clone + PartialEq + Send + 'static> Gate<P> {
    /// Makes a gate before places of `slots` each. There is none yet, so it is closed.
    ///
    /// `seed` starts the choice among places without a limit; the same seed chooses the same.
    pub fn new(slots: Slots, limits: Limits, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::new(State::new(slots, seed)),
        })
    }

    /// From now on a new place without a limit gets at most `window` of those who have waited for
    /// it to come, then more: see [`Slot::answers_well`] and [`Gate::double`]. Without this, all
    /// at once.
    pub fn pace(&self, window: NonZeroUsize) {
        self.lock().pace(window);
    }

    /// Replaces the places by `places`, each named once, in the order of preference.
    ///
    /// A place that stays keeps what is inside it. A new one starts empty, and so does one that
    /// comes back. One that has left gets nothing more: what runs in it finishes untouched, and
    /// who was given a slot there but has not taken it yet waits again, where it stood.
    pub fn set_places(&self, places: &[P]) {
        self.change(|state, wakes| state.set_places(places, None, wakes));
    }

    /// The same, and from now on each place has `slots`: in one step, so that nobody is let in by
    /// the old number at new places, or the other way round. What is inside already stays.
    pub fn set_places_of(&self, slots: Slots, places: &[P]) {
        self.change(|state, wakes| state.set_places(places, Some(slots), wakes));
    }

    /// Lets nobody in any more, and all who wait go at once: [`Refused::Closed`]. What runs inside
    /// finishes untouched.
    pub fn close(&self) {
        self.change(State::close);
    }

    /// Takes a slot if there is one at once and nobody waits for it.
    pub fn try_admit(self: &Arc<Self>) -> Option<Slot<P>> {
        let granted = self.lock().enter()?;
        Some(Slot::new(Arc::clone(self), granted))
    }

    /// Waits for a slot. The line is joined at the first poll and left by dropping.
    pub fn admit(self: &Arc<Self>) -> Admit<P> {
        Admit::new(Arc::clone(self), None)
    }

    /// Gives `place` nothing more until it is brought back, because it refused. Who was given a
    /// slot there but has not taken it yet waits again, where it stood.
    pub fn set_aside(&self, place: &P) {
        self.change(|state, wakes| state.set_aside(place, wakes));
    }

    /// Ends [`Gate::set_aside`].
    pub fn bring_back(&self, place: &P) {
        self.change(|state, wakes| state.bring_back(place, wakes));
    }

    /// Whether `place` is there and set aside.
    pub fn is_aside(&self, place: &P) -> bool {
        self.lock().is_aside(place)
    }

    /// Whether another place than `place` is there and not set aside, with room or without.
    pub fn has_another(&self, place: &P) -> bool {
        self.lock().has_another(place)
    }

    /// Whether a backlog is being released in windows ([`Gate::pace`]).
    pub fn is_paced(&self) -> bool {
        self.lock().is_paced()
    }

    /// Lets twice as many into each place that has a window: for answers that take their time.
    /// Says whether there is any window left: they end with the line.
    pub fn double(&self) -> bool {
        self.change(State::double)
    }

    /// Requests in the line.
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Requests inside, also in places that have left since. One that was given a slot counts,
    /// even if it has not been polled since.
    pub fn in_flight(&self) -> usize {
        self.lock().in_flight()
    }

    /// The places, in order, with the number of requests inside each.
    pub fn places(&self) -> Vec<(P, usize)> {
        self.lock().places()
    }

    /// Whether there is any place, with room or without.
    pub fn has_places(&self) -> bool {
        self.lock().has_places()
    }

    /// Waits until the number of waiting requests is not `seen`, and says what it is.
    ///
    /// For demand reports: the first to wait is noticed at once, and nothing has to be polled.
    /// Changes that follow each other before the watcher runs are seen as one.
    pub async fn waiting_other_than(&self, seen: usize) -> usize {
        future::poll_fn(|cx| {
            let mut state = self.lock();
            let waiting = state.waiting();
            if waiting == seen {
                state.watch(cx.waker());
                Poll::Pending
            } else {
                Poll::Ready(waiting)
            }
        })
        .await
    }
}

impl<P> Gate<P> {
    /// Changes the state; whoever that wakes is woken once the lock is released.
    fn change<R>(&self, change: impl FnOnce(&mut State<P>, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = change(&mut self.lock(), &mut wakes);
        wakes.wake();
        result
    }

    /// Goes on after a panic under the lock. Only foreign code could cause one (comparing or
    /// cloning a place, cloning a waker), and a gate that refused everyone from then on would be
    /// worse than a slot that is counted wrongly.
    fn lock(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> std::fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (waiting, in_flight) = {
            let state = self.lock();
            (state.waiting(), state.in_flight())
        };
        f.debug_struct("Gate")
            .field("waiting", &waiting)
            .field("in_flight", &in_flight)
            .finish_non_exhaustive()
    }
}
