//! Behaviour of the whole gate.
//!
//! `cases.rs`: the numbered cases of the contract; `beyond.rs`: what we promise beyond them;
//! `model.rs`: random operations against a naive model; `paced.rs`: backlogs in windows; `stress.rs`: many threads.
//!
//! A case's name carries its number: `a` is spec/activator.md §11, `q` is spec/queue-proxy.md §11.
//! Cases without a test here:
//!
//! - a35, q1, q2, q3 (wrong constructor arguments are rejected): the types leave no wrong value;
//!   `Slots` is never negative, and there is no initial capacity.
//! - a40, q13 (a release without an acquire is a programming error): a `Slot` cannot be made or
//!   copied, and frees once, when dropped.
//! - q9 in part (a third request overflows while the capacity is 0): there the limit is for
//!   waiting and running together; here it is for waiting only, at any capacity.
//! - a42 in part (a cancelled request runs when the gate is open): cancelling is dropping.
//! - a49 to a57 and a60 (capacity split among activators): a gate has the places it is told.

mod beyond;
mod cases;
mod model;
mod paced;
mod stress;

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use penstock_types::Slots;

use crate::{Admit, Gate, Limits, Refused, Slot};

const ANY: Limits = Limits { waiting: 1000 };
const ONE: Limits = Limits { waiting: 1 };

fn limited(limit: u32) -> Slots {
    Slots::Limited(NonZeroU32::new(limit).unwrap())
}

fn gate<P: Clone + PartialEq + Send + 'static>(
    slots: Slots,
    limits: Limits,
    places: &[P],
) -> Arc<Gate<P>> {
    let gate = Gate::new(slots, limits, 7);
    gate.set_places(places);
    gate
}

/// A request, driven by hand.
struct Request<P> {
    admit: Pin<Box<Admit<P>>>,
    woken: Arc<Woken>,
}

/// Counts how often a request was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<P: Clone + PartialEq + Send + 'static> Request<P> {
    /// A request that has not been polled yet.
    fn new(gate: &Arc<Gate<P>>) -> Self {
        Self::from(gate.admit())
    }

    /// A request that was polled once and waits.
    fn waiting(gate: &Arc<Gate<P>>) -> Self {
        let mut request = Self::new(gate);
        assert!(request.poll().is_pending(), "there is room");
        request
    }

    fn from(admit: Admit<P>) -> Self {
        Self {
            admit: Box::pin(admit),
            woken: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<Result<Slot<P>, Refused>> {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.admit.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// The slot that it must have by now.
    fn slot(&mut self) -> Slot<P> {
        match self.poll() {
            Poll::Ready(Ok(slot)) => slot,
            other => panic!("no slot: {:?}", other.map(|answer| answer.map(|_| ()))),
        }
    }
}
