//! Traffic: how many requests come when, and how long each of them takes.
//!
//! A trace ([`rates`], [`minutes`]) or a shape ([`shape`]) becomes a list of [`Stretch`]es;
//! [`Arrivals`] makes single requests of them, one after the other and never all at once.

mod columns;
pub(crate) mod minutes;
pub(crate) mod rates;
pub(crate) mod shape;

use std::collections::VecDeque;
use std::time::Duration;

use super::chance::{Chance, Time};

/// Longest traffic, in seconds: a month.
pub(crate) const MOST_SECONDS: u64 = 31 * 86_400;
/// Most requests per second.
pub(crate) const MOST_RPS: f64 = 1e6;

/// Microseconds since the beginning of the traffic: the simulation's clock.
pub(crate) type Micros = u64;

/// Microseconds of a second.
pub(crate) const SECOND: Micros = 1_000_000;

/// A duration on the simulation's clock.
pub(crate) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// A part of the traffic in which nothing changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    /// Its end; it begins where the one before it ends.
    pub(crate) until: Micros,
    pub(crate) volume: Volume,
    /// How long each of its requests takes.
    pub(crate) work: Time,
}

/// How many requests a stretch has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Volume {
    /// So many per second, on average.
    Rate(f64),
    /// Exactly so many.
    Count(u32),
}

/// How requests lie within a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spacing {
    /// As far from one another as can be.
    Even,
    /// By chance, each independent of all others.
    Random,
}

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traffic {
    /// In words, for the head of the table.
    pub(crate) name: String,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) spacing: Spacing,
}

impl Traffic {
    /// Its end.
    pub(crate) fn end(&self) -> Micros {
        self.stretches.last().map_or(0, |stretch| stretch.until)
    }

    /// Cuts it off after `length`.
    pub(crate) fn cut(&mut self, length: Micros) {
        let mut from = 0;
        self.stretches.retain_mut(|stretch| {
            let begin = std::mem::replace(&mut from, stretch.until);
            if stretch.until > length && begin < length {
                if let Volume::Count(count) = &mut stretch.volume {
                    let part = (length - begin) as f64 / (stretch.until - begin) as f64;
                    *count = (f64::from(*count) * part).round() as u32;
                }
                stretch.until = length;
            }
            begin < length
        });
    }

    /// The beginning of each stretch, and the stretch.
    pub(crate) fn with_beginnings(&self) -> impl Iterator<Item = (Micros, &Stretch)> {
        let beginnings = std::iter::once(0).chain(self.stretches.iter().map(|s| s.until));
        beginnings.zip(&self.stretches)
    }
}

impl Stretch {
    /// Requests per second, if it lasts for `length`.
    pub(crate) fn rps(&self, length: Micros) -> f64 {
        match self.volume {
            Volume::Rate(rps) => rps,
            Volume::Count(count) => f64::from(count) * SECOND as f64 / length.max(1) as f64,
        }
    }
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) arrives: Micros,
    /// How long a pod works on it.
    pub(crate) work: Micros,
}

/// The requests of a traffic, in the order in which they arrive.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    spacing: Spacing,
    stretches: std::slice::Iter<'a, Stretch>,
    now: Option<(Micros, &'a Stretch)>,
    /// Where in the current stretch, as a fraction of a microsecond may matter.
    at: f64,
    /// Requests that the rate still has to add up to before the next one comes.
    owed: f64,
    /// Times of the current stretch, if it has a count.
    counted: VecDeque<Micros>,
    chance: Chance,
}

impl<'a> Arrivals<'a> {
    pub(crate) fn new(traffic: &'a Traffic, chance: Chance) -> Self {
        let mut this = Self {
            spacing: traffic.spacing,
            stretches: traffic.stretches.iter(),
            now: None,
            at: 0.0,
            owed: 0.0,
            counted: VecDeque::new(),
            chance,
        };
        this.owed = match this.spacing {
            // The first of an even row stands in the middle of its place.
            Spacing::Even => 0.5,
            Spacing::Random => this.chance.exponential(),
        };
        this.turn(0);
        this
    }

    /// Goes on to the next stretch, which begins at `from`.
    fn turn(&mut self, from: Micros) {
        self.now = self.stretches.next().map(|stretch| (from, stretch));
        self.at = from as f64;
        self.counted.clear();
        if let Some((from, stretch)) = self.now
            && let Volume::Count(count) = stretch.volume
        {
            let length = (stretch.until - from) as f64;
            let part = |index: u32, chance: &mut Chance| match self.spacing {
                Spacing::Even => (f64::from(index) + 0.5) / f64::from(count),
                Spacing::Random => chance.part(),
            };
            let mut times: Vec<Micros> = (0..count)
                .map(|index| from + (length * part(index, &mut self.chance)) as Micros)
                .collect();
            times.sort_unstable();
            self.counted = times.into();
        }
    }

    /// When the next request of the current stretch comes.
    fn arrival(&mut self, stretch: &Stretch) -> Option<Micros> {
        let Volume::Rate(rps) = stretch.volume else {
            return self.counted.pop_front();
        };
        let left = (stretch.until as f64 - self.at) / SECOND as f64 * rps;
        if left <= self.owed {
            self.owed -= left;
            return None;
        }
        self.at += self.owed / rps * SECOND as f64;
        self.owed = match self.spacing {
            Spacing::Even => 1.0,
            Spacing::Random => self.chance.exponential(),
        };
        Some(self.at as Micros)
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        loop {
            let (_, stretch) = self.now?;
            if let Some(arrives) = self.arrival(stretch) {
                let work = micros(stretch.work.draw(&mut self.chance));
                return Some(Request { arrives, work });
            }
            self.turn(stretch.until);
        }
    }
}

#[cfg(test)]
mod tests;
