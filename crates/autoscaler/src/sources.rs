//! The sources that speak about one revision, put together: each one's last word counts until its
//! next one, and all of them count together.
//!
//! A source that speaks without mentioning the revision has no requests for it; one that is silent
//! is not known to have none. Its last word is kept for [`LOST`], which is long enough to come back
//! over another connection, and the pods' own word as long as there are pods.

use std::sync::Arc;
use std::time::Duration;

use penstock_types::demand::Demand;

use crate::heard::{Connection, PODS, Word};

/// Time after which the last word of a silent source no longer counts.
pub(crate) const LOST: Duration = Duration::from_secs(15);
/// Time for which a revision has to be missing from the tables of a source that speaks, before
/// it counts as without load there: a table may have been made just before its first request.
const ABSENCE: Duration = Duration::from_secs(3);
/// Sources whose words are kept apart. There are at most a few dozen activators; whoever invents
/// names beyond that displaces the oldest.
const MOST: usize = 64;

/// Last words about one revision.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    connection: Connection,
    pod: Arc<str>,
    /// The connection has ended.
    orphaned: bool,
    at: Duration,
    figures: Figures,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    average: f64,
    proxied: f64,
    count: f64,
    proxied_count: f64,
    waiting: u32,
    in_flight: u32,
}

impl Sources {
    /// Takes a word, and makes it the word of all sources together.
    pub(crate) fn take(&mut self, connection: Connection, word: &Word, now: Duration) -> Demand {
        let demand = &word.demand;
        let figures = Figures::of(demand);
        let place = self
            .said
            .iter()
            .position(|said| said.connection == connection && said.pod == word.pod);
        let (mut average, mut at) = (figures, now);
        if demand.first {
            // A first word has no second behind it: what was known of the last one stays.
            if let Some(place) = place {
                let known = &self.said[place];
                average = Figures {
                    waiting: figures.waiting,
                    in_flight: figures.in_flight,
                    ..known.figures
                };
                at = now.max(known.at);
            } else {
                average = Figures {
                    average: 0.0,
                    count: 0.0,
                    ..figures
                };
            }
        }
        let said = Said {
            connection,
            pod: Arc::clone(&word.pod),
            orphaned: false,
            at,
            figures: average,
        };
        match place {
            Some(place) => self.said[place] = said,
            None => {
                // It speaks over a new connection: what it said over the old one is over.
                self.said
                    .retain(|old| !(old.orphaned && old.pod == word.pod));
                if self.said.len() >= MOST {
                    let oldest = (0..self.said.len()).min_by_key(|index| self.said[*index].at);
                    if let Some(oldest) = oldest {
                        self.said.swap_remove(oldest);
                    }
                }
                self.said.push(said);
            }
        }
        if self.said.len() == 1 {
            return demand.clone();
        }
        self.together(demand)
    }

    /// The pods are gone, or have nothing to say.
    pub(crate) fn forget_pods(&mut self) {
        self.said.retain(|said| said.connection != PODS);
    }

    /// The connection has ended; its words count until they are old, or said anew.
    pub(crate) fn orphan(&mut self, connection: Connection) {
        for said in &mut self.said {
            said.orphaned |= said.connection == connection;
        }
    }

    /// Forgets who has been silent for too long, and those whose tables, last heard at
    /// `table(connection)`, no longer mention the revision. Returns whether anybody is left.
    pub(crate) fn forget(
        &mut self,
        now: Duration,
        table: impl Fn(Connection) -> Option<Duration>,
    ) -> bool {
        self.said.retain(|said| {
            let absent = table(said.connection)
                .is_some_and(|table| table.saturating_sub(said.at) >= ABSENCE);
            let lost = said.connection != PODS && now.saturating_sub(said.at) >= LOST;
            !absent && !lost
        });
        !self.said.is_empty()
    }

    /// Whether the pods have said anything.
    pub(crate) fn hears_pods(&self) -> bool {
        self.said.iter().any(|said| said.connection == PODS)
    }

    fn together(&self, word: &Demand) -> Demand {
        let mut sum = Demand {
            average_concurrency: 0.0,
            average_proxied_concurrency: 0.0,
            request_count: 0.0,
            proxied_request_count: 0.0,
            waiting: 0,
            in_flight: 0,
            ..word.clone()
        };
        for Said { figures, .. } in &self.said {
            sum.average_concurrency += figures.average;
            sum.average_proxied_concurrency += figures.proxied;
            sum.request_count += figures.count;
            sum.proxied_request_count += figures.proxied_count;
            sum.waiting = sum.waiting.saturating_add(figures.waiting);
            sum.in_flight = sum.in_flight.saturating_add(figures.in_flight);
        }
        // Others have a second behind them, so the sum has one.
        sum.first = word.first && sum.average_concurrency == 0.0;
        sum
    }
}

impl Figures {
    fn of(demand: &Demand) -> Self {
        Self {
            average: sound(demand.average_concurrency),
            proxied: sound(demand.average_proxied_concurrency),
            count: sound(demand.request_count),
            proxied_count: sound(demand.proxied_request_count),
            waiting: demand.waiting,
            in_flight: demand.in_flight,
        }
    }
}

/// A figure that a sum can stand.
fn sound(figure: f64) -> f64 {
    if figure.is_finite() { figure } else { 0.0 }
}

#[cfg(test)]
mod tests;
