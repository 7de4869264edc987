//! The places, what is inside each, and the choice among them (spec/activator.md §3.4).

use std::cmp::Ordering;
use std::mem;

use penstock_types::Slots;

/// Up to this many slots the first place with room is taken, from there on they take turns.
const PACKED: u32 = 3;

/// The right to be inside one life of one place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    room: u32,
    life: u32,
}

pub(crate) struct Places<P> {
    slots: Slots,
    /// By [`Ticket::room`]; those that have left are reused.
    rooms: Vec<Room<P>>,
    vacant: Vec<u32>,
    /// The rooms in the order of preference.
    order: Vec<u32>,
    /// Positions in `order` that can take one more.
    open: Positions,
    /// Where the next turn starts.
    cursor: usize,
    chance: Chance,
    /// Whether any place may have a window.
    paced: bool,
}

struct Room<P> {
    /// Kept after it has left, until the room is reused.
    place: P,
    /// Changes when the place leaves, so that tickets of a former life count nothing down.
    life: u32,
    inside: usize,
    aside: bool,
    position: usize,
    /// The most that may be inside while a backlog is released without a limit of its own.
    window: Option<usize>,
}

impl<P> Places<P> {
    pub(crate) fn new(slots: Slots, seed: u64) -> Self {
        Self {
            slots,
            rooms: Vec::new(),
            vacant: Vec::new(),
            order: Vec::new(),
            open: Positions::default(),
            cursor: 0,
            chance: Chance::new(seed),
            paced: false,
        }
    }

    pub(crate) fn have_limit(&self) -> bool {
        self.slots != Slots::Unlimited
    }

    /// Takes effect with [`Places::set`].
    pub(crate) fn set_slots(&mut self, slots: Slots) {
        self.slots = slots;
    }

    fn has_room(&self, room: &Room<P>) -> bool {
        self.slots.has_room(room.inside) && room.window.is_none_or(|most| room.inside < most)
    }

    /// Whether a backlog is being released in windows.
    pub(crate) fn is_paced(&self) -> bool {
        self.paced
    }

    /// Whether the place of a ticket has a window.
    pub(crate) fn has_window(&self, ticket: Ticket) -> bool {
        self.rooms[ticket.room as usize].window.is_some()
    }

    /// One more may be inside the place of `ticket`, if it is still there.
    pub(crate) fn widen(&mut self, ticket: Ticket) {
        let room = &mut self.rooms[ticket.room as usize];
        if room.life == ticket.life
            && let Some(most) = &mut room.window
        {
            *most += 1;
            self.refresh(ticket.room);
        }
    }

    /// Twice as many may be inside every place that has a window.
    pub(crate) fn double(&mut self) {
        self.each_window(|most| Some(most.saturating_mul(2)));
    }

    /// No window any more.
    pub(crate) fn end_pace(&mut self) {
        self.each_window(|_| None);
        self.paced = false;
    }

    fn each_window(&mut self, change: impl Fn(usize) -> Option<usize>) {
        for position in 0..self.order.len() {
            let index = self.order[position];
            let room = &mut self.rooms[index as usize];
            if let Some(most) = room.window {
                room.window = change(most);
                self.refresh(index);
            }
        }
    }

    /// Has a place that is still there chosen if there is room in it, and else not.
    fn refresh(&mut self, index: u32) {
        let room = &self.rooms[index as usize];
        let (position, open) = (room.position, !room.aside && self.has_room(room));
        if open {
            self.open.insert(position);
        } else {
            self.open.remove(position);
        }
    }

    /// Takes an unused ticket back if its place has left or was set aside.
    pub(crate) fn take_back(&mut self, ticket: Ticket) -> bool {
        let room = &self.rooms[ticket.room as usize];
        let void = room.life != ticket.life || room.aside;
        if void {
            self.give_back(ticket);
        }
        void
    }

    /// Chooses a place with room, and goes inside. `None` if none has.
    pub(crate) fn take(&mut self) -> Option<Ticket> {
        let position = match self.slots {
            Slots::Unlimited => self.less_busy_of_two()?,
            Slots::Limited(limit) if limit.get() <= PACKED => self.open.next(0)?,
            Slots::Limited(_) => {
                let position = self.open.next(self.cursor)?;
                self.cursor = position + 1;
                position
            }
        };
        let index = self.order[position];
        let room = &mut self.rooms[index as usize];
        room.inside += 1;
        let life = room.life;
        if !self.has_room(&self.rooms[index as usize]) {
            self.open.remove(position);
        }
        Some(Ticket { room: index, life })
    }

    /// Leaves the place of `ticket`, if it is still there.
    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        let room = &mut self.rooms[ticket.room as usize];
        if room.life != ticket.life {
            return;
        }
        room.inside -= 1;
        self.refresh(ticket.room);
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        !self.order.is_empty()
    }

    fn at(&self, position: usize) -> &Room<P> {
        &self.rooms[self.order[position] as usize]
    }

    /// Two different open places at random, and of them the one with less inside.
    fn less_busy_of_two(&mut self) -> Option<usize> {
        let all = self.order.len();
        if all < 2 {
            return self.open.next(0);
        }
        let one = self.open.next(self.chance.below(all))?;
        // Any other one. If the draw falls on a place set aside, the next open one has it.
        let draw = (one + 1 + self.chance.below(all - 1)) % all;
        let other = self.open.next(draw).filter(|&other| other != one);
        let Some(other) = other.or_else(|| self.open.next(one + 1)) else {
            return Some(one);
        };
        Some(match self.at(one).inside.cmp(&self.at(other).inside) {
            Ordering::Less => one,
            Ordering::Greater => other,
            Ordering::Equal if self.chance.below(2) == 0 => one,
            Ordering::Equal => other,
        })
    }
}

impl<P: Clone + PartialEq> Places<P> {
    /// Replaces the places; those that stay keep their room. New ones get this window.
    pub(crate) fn set(&mut self, places: &[P], window: Option<usize>) {
        let stays = self.find_all(places);
        self.paced |= window.is_some();
        let mut leaves = vec![true; self.order.len()];
        for position in stays.iter().flatten() {
            leaves[*position] = false;
        }
        let old = mem::take(&mut self.order);
        for (&room, _) in old.iter().zip(leaves).filter(|(_, leaves)| *leaves) {
            let left = &mut self.rooms[room as usize];
            left.life = left.life.wrapping_add(1);
            self.vacant.push(room);
        }
        self.order = stays
            .into_iter()
            .zip(places)
            .map(|(stays, place)| match stays {
                Some(position) => old[position],
                None => self.new_room(place.clone(), window),
            })
            .collect();
        self.open = Positions::of(self.order.len());
        for (position, &room) in self.order.iter().enumerate() {
            self.rooms[room as usize].position = position;
        }
        for position in 0..self.order.len() {
            self.refresh(self.order[position]);
        }
    }

    /// Present position of each of `places`. Both lists have nearly the same order, so that each
    /// search starts where the last one ended, and finds its place at once.
    fn find_all(&self, places: &[P]) -> Vec<Option<usize>> {
        let mut taken = vec![false; self.order.len()];
        let mut next = 0;
        places
            .iter()
            .map(|place| {
                let found = (next..self.order.len())
                    .chain(0..next)
                    .find(|&at| !taken[at] && self.at(at).place == *place)?;
                taken[found] = true;
                next = found + 1;
                Some(found)
            })
            .collect()
    }

    fn new_room(&mut self, place: P, window: Option<usize>) -> u32 {
        let new = |life| Room {
            place,
            life,
            inside: 0,
            aside: false,
            position: 0,
            window,
        };
        match self.vacant.pop() {
            Some(room) => {
                let old = &mut self.rooms[room as usize];
                *old = new(old.life);
                room
            }
            None => {
                self.rooms.push(new(0));
                (self.rooms.len() - 1) as u32
            }
        }
    }

    /// Sets a place aside or brings it back.
    pub(crate) fn set_aside(&mut self, place: &P, aside: bool) {
        for position in 0..self.order.len() {
            let index = self.order[position];
            if self.at(position).place == *place {
                self.rooms[index as usize].aside = aside;
                self.refresh(index);
            }
        }
    }

    /// Whether a place is there and set aside.
    pub(crate) fn is_aside(&self, place: &P) -> bool {
        (0..self.order.len())
            .map(|position| self.at(position))
            .any(|room| room.place == *place && room.aside)
    }

    /// Whether a place that is not `place` can be chosen, now or once it has room.
    pub(crate) fn has_another(&self, place: &P) -> bool {
        (0..self.order.len())
            .map(|position| self.at(position))
            .any(|room| room.place != *place && !room.aside)
    }

    /// The place of a ticket that is not void: once it has left, its room may be another's.
    pub(crate) fn place(&self, ticket: Ticket) -> P {
        self.rooms[ticket.room as usize].place.clone()
    }

    /// The places with what is inside each.
    pub(crate) fn list(&self) -> Vec<(P, usize)> {
        (0..self.order.len())
            .map(|position| self.at(position))
            .map(|room| (room.place.clone(), room.inside))
            .collect()
    }
}

/// A set of positions, one bit each: finding the next one passes 64 full places at a time.
#[derive(Default)]
struct Positions {
    words: Vec<u64>,
}

impl Positions {
    /// None of `len`.
    fn of(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(64)],
        }
    }

    fn insert(&mut self, position: usize) {
        self.words[position / 64] |= 1 << (position % 64);
    }

    fn remove(&mut self, position: usize) {
        self.words[position / 64] &= !(1 << (position % 64));
    }

    /// The first one from `start` on, beginning again at 0 after the last.
    fn next(&self, start: usize) -> Option<usize> {
        self.from(start).or_else(|| self.from(0))
    }

    fn from(&self, start: usize) -> Option<usize> {
        let mut mask = u64::MAX << (start % 64);
        for (index, word) in self.words.iter().enumerate().skip(start / 64) {
            let word = word & mask;
            if word != 0 {
                return Some(index * 64 + word.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

/// Marsaglia's xorshift64: chance enough to spread load.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        // Seeds are often small and alike; 0 would stay 0.
        Self(
            seed.wrapping_add(1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .max(1),
        )
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The upper bits are the better ones.
        ((self.0 >> 32) as usize) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_position_is_found_across_words_and_around_the_end() {
        let mut positions = Positions::of(200);
        assert_eq!(positions.next(0), None);
        for position in [3, 63, 64, 190] {
            positions.insert(position);
        }
        let table = [
            (0, 3),
            (3, 3),
            (4, 63),
            (64, 64),
            (65, 190),
            (191, 3),
            (200, 3),
            (999, 3),
        ];
        for (start, want) in table {
            assert_eq!(positions.next(start), Some(want), "from {start}");
        }
        positions.remove(3);
        assert_eq!(positions.next(191), Some(63));
    }
}
