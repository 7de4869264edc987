//! The line: a doubly linked list in order of arrival, laid out in one vector.
//!
//! A node belongs to one waiting future, from its joining to its leaving; nobody else frees it,
//! so its index stays true. A node that was granted a slot is out of the list but still there
//! until its future is polled or dropped.

use std::mem;
use std::task::Waker;

use crate::places::Ticket;

/// No node.
const NONE: u32 = u32::MAX;

/// Room for this many nodes is kept when the line empties; more goes back to the allocator.
const KEPT: usize = 64;

pub(crate) struct Line {
    nodes: Vec<Node>,
    /// First vacant node; the others follow by `next`.
    vacant: u32,
    /// Nodes that are not vacant.
    occupied: usize,
    first: u32,
    last: u32,
    waiting: usize,
}

struct Node {
    arrival: u64,
    prev: u32,
    next: u32,
    standing: Standing,
}

enum Standing {
    /// In the list. Without a waker if it was woken and has not been polled since.
    Waiting(Option<Waker>),
    /// Out of the list, with a slot to fetch.
    Granted(Ticket),
    /// Out of the list, and will get no slot.
    Refused,
    Vacant,
}

/// What has become of a request in the line.
pub(crate) enum Fetched<T> {
    /// It was given a slot, and takes it.
    Granted(T),
    /// It gets none, ever.
    Refused,
    Waits,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            vacant: NONE,
            occupied: 0,
            first: NONE,
            last: NONE,
            waiting: 0,
        }
    }

    /// Requests in the list.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a place in the line by `arrival`: normally at its end.
    pub(crate) fn join(&mut self, arrival: u64, waker: Waker) -> u32 {
        let node = Node {
            arrival,
            prev: NONE,
            next: NONE,
            standing: Standing::Waiting(Some(waker)),
        };
        let index = if self.vacant == NONE {
            self.nodes.push(node);
            // 4 billion nodes do not fit into memory.
            (self.nodes.len() - 1) as u32
        } else {
            let index = self.vacant;
            self.vacant = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.occupied += 1;
        self.link(index);
        index
    }

    /// Keeps `waker` for the node; the one it replaces goes to `old`, to be dropped outside the
    /// lock.
    pub(crate) fn keep_waker(&mut self, index: u32, waker: &Waker, old: &mut Option<Waker>) {
        match &mut self.nodes[index as usize].standing {
            Standing::Waiting(Some(kept)) if kept.will_wake(waker) => {}
            Standing::Waiting(kept) => *old = kept.replace(waker.clone()),
            Standing::Granted(_) | Standing::Refused | Standing::Vacant => {}
        }
    }

    /// Takes the node's answer if there is one, and frees the node.
    pub(crate) fn fetch(&mut self, index: u32) -> Fetched<Ticket> {
        let fetched = match self.nodes[index as usize].standing {
            Standing::Granted(ticket) => Fetched::Granted(ticket),
            Standing::Refused => Fetched::Refused,
            Standing::Waiting(_) | Standing::Vacant => return Fetched::Waits,
        };
        self.free(index);
        fetched
    }

    /// Frees the node of a request that gives up. Its waker goes to `old`, to be dropped outside
    /// the lock; a slot that it was granted is returned, for the next.
    pub(crate) fn leave(&mut self, index: u32, old: &mut Option<Waker>) -> Option<Ticket> {
        match &mut self.nodes[index as usize].standing {
            Standing::Granted(ticket) => {
                let ticket = *ticket;
                self.free(index);
                Some(ticket)
            }
            Standing::Refused => {
                self.free(index);
                None
            }
            Standing::Waiting(waker) => {
                *old = waker.take();
                self.unlink(index);
                self.free(index);
                None
            }
            Standing::Vacant => None,
        }
    }

    /// Takes everybody out of the list who is in it; they find that they are refused.
    pub(crate) fn refuse_all(&mut self, mut wake: impl FnMut(Waker)) {
        while self.first != NONE {
            let index = self.first;
            self.unlink(index);
            let standing = &mut self.nodes[index as usize].standing;
            if let Standing::Waiting(Some(waker)) = mem::replace(standing, Standing::Refused) {
                wake(waker);
            }
        }
    }

    /// When the node's request arrived.
    pub(crate) fn arrival(&self, index: u32) -> u64 {
        self.nodes[index as usize].arrival
    }

    /// Gives `ticket` to the first in the line, and says how to wake it.
    pub(crate) fn grant_first(&mut self, ticket: Ticket) -> Option<Waker> {
        let index = self.first;
        self.unlink(index);
        let standing = &mut self.nodes[index as usize].standing;
        match mem::replace(standing, Standing::Granted(ticket)) {
            Standing::Waiting(waker) => waker,
            Standing::Granted(_) | Standing::Refused | Standing::Vacant => None,
        }
    }

    /// Puts those back into the list who were granted a slot that `is_void`, and returns how
    /// many they are. They were woken already and will be polled, so they need no waker.
    pub(crate) fn recall(&mut self, mut is_void: impl FnMut(Ticket) -> bool) -> usize {
        // Not further than to the last of them: the line behind may be long.
        let mut answered = self.occupied - self.waiting;
        let mut recalled = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if answered == 0 {
                break;
            }
            match node.standing {
                Standing::Granted(ticket) => {
                    answered -= 1;
                    if is_void(ticket) {
                        node.standing = Standing::Waiting(None);
                        recalled.push((node.arrival, index as u32));
                    }
                }
                Standing::Refused => answered -= 1,
                Standing::Waiting(_) | Standing::Vacant => {}
            }
        }
        // The latest first, so that each of them belongs at the very front.
        recalled.sort_unstable_by(|one, other| other.cmp(one));
        for &(_, index) in &recalled {
            self.link(index);
        }
        recalled.len()
    }

    /// Links the node in by its arrival.
    fn link(&mut self, index: u32) {
        let arrival = self.arrival(index);
        let before = if self.last == NONE || self.arrival(self.last) < arrival {
            NONE
        } else {
            // It was here before: whoever is ahead of it is at the front, too.
            let mut at = self.first;
            while self.arrival(at) < arrival {
                at = self.nodes[at as usize].next;
            }
            at
        };
        let after = if before == NONE {
            mem::replace(&mut self.last, index)
        } else {
            mem::replace(&mut self.nodes[before as usize].prev, index)
        };
        if after == NONE {
            self.first = index;
        } else {
            self.nodes[after as usize].next = index;
        }
        let node = &mut self.nodes[index as usize];
        node.prev = after;
        node.next = before;
        self.waiting += 1;
    }

    /// Makes the node vacant; it is out of the list already.
    fn free(&mut self, index: u32) {
        self.occupied -= 1;
        if self.occupied == 0 && self.nodes.len() > KEPT {
            *self = Self::new();
            return;
        }
        let node = &mut self.nodes[index as usize];
        node.standing = Standing::Vacant;
        node.next = self.vacant;
        self.vacant = index;
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, .. } = self.nodes[index as usize];
        if prev == NONE {
            self.first = next;
        } else {
            self.nodes[prev as usize].next = next;
        }
        if next == NONE {
            self.last = prev;
        } else {
            self.nodes[next as usize].prev = prev;
        }
        self.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_waiter_takes_the_bytes_that_the_header_of_the_crate_states() {
        assert_eq!(size_of::<Node>(), 40);
    }

    #[test]
    fn room_of_a_long_line_is_given_back_when_it_empties() {
        let mut line = Line::new();
        let waiters: Vec<u32> = (0..1000)
            .map(|arrival| line.join(arrival, Waker::noop().clone()))
            .collect();
        for index in waiters {
            assert!(line.leave(index, &mut None).is_none());
        }
        assert_eq!((line.nodes.capacity(), line.waiting()), (0, 0));
    }
}
