//! One request at the gate: its wait, and its slot.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::line::Fetched;
use crate::places::Ticket;
use crate::state::{Granted, Received};
use crate::{Gate, Refused};

/// The wait for a slot; see [`Gate::admit`].
///
/// Dropped, it leaves the line at once, in constant time; a slot that it was given and did not
/// fetch goes to the next. Polled after it was answered, it asks for one more slot.
#[must_use = "nobody waits before the first poll"]
pub struct Admit<P> {
    gate: Arc<Gate<P>>,
    /// Where it stands in the line.
    node: Option<u32>,
    /// When it came, if it was inside before.
    arrival: Option<u64>,
}

impl<P> Admit<P> {
    pub(crate) fn new(gate: Arc<Gate<P>>, arrival: Option<u64>) -> Self {
        Self {
            gate,
            node: None,
            arrival,
        }
    }
}

impl<P: Clone + PartialEq + Send + 'static> Future for Admit<P> {
    type Output = Result<Slot<P>, Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = cx.waker();
        let granted = if let Some(node) = this.node {
            let mut old = None;
            let fetched = this.gate.lock().fetch(node, waker, &mut old);
            // The lock is free again: dropping a waker may run foreign code.
            drop(old);
            match fetched {
                Fetched::Granted(granted) => Some(granted),
                Fetched::Waits => None,
                Fetched::Refused => {
                    this.node = None;
                    return Poll::Ready(Err(Refused::Closed));
                }
            }
        } else {
            let limit = this.gate.limits.waiting;
            let received = this.gate.change(|state, wakes| match this.arrival {
                Some(arrival) => state.receive_again(arrival, waker, wakes),
                None => state.receive(limit, waker, wakes),
            });
            match received {
                Err(refused) => return Poll::Ready(Err(refused)),
                Ok(Received::Admitted(granted)) => Some(granted),
                Ok(Received::Waits(node)) => {
                    this.node = Some(node);
                    None
                }
            }
        };
        match granted {
            None => Poll::Pending,
            Some(granted) => {
                this.node = None;
                this.arrival = None;
                Poll::Ready(Ok(Slot::new(Arc::clone(&this.gate), granted)))
            }
        }
    }
}

impl<P> Drop for Admit<P> {
    fn drop(&mut self) {
        if let Some(node) = self.node {
            let mut old = None;
            self.gate
                .change(|state, wakes| state.leave(node, &mut old, wakes));
        }
    }
}

impl<P> fmt::Debug for Admit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admit")
            .field("in_line", &self.node.is_some())
            .finish_non_exhaustive()
    }
}

/// The right to be inside one place. Dropped, it goes straight to the first in the line.
///
/// What was never taken cannot be released, and nothing twice (spec/activator.md §11, case 40):
///
/// ```compile_fail,E0382
/// fn twice(slot: penstock_gate::Slot<()>) {
///     drop(slot);
///     drop(slot);
/// }
/// ```
#[must_use = "the slot is free again once this is dropped"]
pub struct Slot<P> {
    gate: Arc<Gate<P>>,
    ticket: Ticket,
    arrival: u64,
    place: P,
    paced: bool,
}

impl<P> Slot<P> {
    pub(crate) fn new(gate: Arc<Gate<P>>, granted: Granted<P>) -> Self {
        let Granted {
            arrival,
            ticket,
            place,
            paced,
        } = granted;
        Self {
            gate,
            ticket,
            arrival,
            place,
            paced,
        }
    }

    /// Where it is.
    pub fn place(&self) -> &P {
        &self.place
    }

    /// The place has begun to answer, and well: while a backlog is released, one more may go in
    /// there. Costs nothing at other times.
    pub fn answers_well(&self) {
        if self.paced {
            let ticket = self.ticket;
            self.gate.change(|state, wakes| state.widen(ticket, wakes));
        }
    }

    /// Frees the slot and waits for another, ahead of everyone who came later than this request
    /// did: for a request that its place refused. Never [`Refused::Full`].
    ///
    /// [`Gate::set_aside`] comes first, or the same place may be given again.
    pub fn elsewhere(self) -> Admit<P> {
        Admit::new(Arc::clone(&self.gate), Some(self.arrival))
    }
}

impl<P> Drop for Slot<P> {
    fn drop(&mut self) {
        let ticket = self.ticket;
        self.gate
            .change(|state, wakes| state.release(ticket, wakes));
    }
}

impl<P: fmt::Debug> fmt::Debug for Slot<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
