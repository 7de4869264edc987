//! What the activator tells of a revision: the first word, reports out of turn, its table.

use std::time::Duration;

use penstock_types::RevisionId;
use penstock_types::demand::Demand;
use penstock_types::request_stats::RequestStats;

use crate::simulate::traffic::Micros;

/// The activator's account of the revision.
#[derive(Debug)]
pub(super) struct Activator {
    id: RevisionId,
    tracked: Option<Tracked>,
    /// A report out of turn is on its way, or was just sent.
    urging: bool,
    /// A burst is still coming in: the table leaves the revision out.
    settling: bool,
    /// Requests that waited when the last report out of turn was made.
    told_waiting: u32,
}

#[derive(Debug)]
struct Tracked {
    stats: RequestStats,
    /// 1 until the first report, which the first word has told a part of already.
    told: f64,
}

impl Default for Activator {
    fn default() -> Self {
        Self {
            id: RevisionId::new("default", "simulated"),
            tracked: None,
            urging: false,
            settling: false,
            told_waiting: 0,
        }
    }
}

impl Activator {
    /// Whether no request is anywhere.
    pub(super) fn is_empty(&self) -> bool {
        let tracked = self.tracked.as_ref();
        tracked.is_none_or(|tracked| tracked.stats.concurrency() == 0.0)
    }

    /// Counts a request in; true if the revision was not tracked.
    pub(super) fn enter(&mut self, now: Micros) -> bool {
        let now = Duration::from_micros(now);
        let first = self.tracked.is_none();
        let tracked = self.tracked.get_or_insert_with(|| Tracked {
            stats: RequestStats::new(now),
            told: 1.0,
        });
        tracked.stats.enter(now, false);
        first
    }

    /// Counts a request out, whatever became of it.
    pub(super) fn leave(&mut self, now: Micros) {
        if let Some(tracked) = &mut self.tracked {
            tracked.stats.leave(Duration::from_micros(now), false);
        }
    }

    /// Whether a report out of turn may be sent, being the only one.
    pub(super) fn begin_urging(&mut self) -> bool {
        let may = !self.urging;
        self.urging = true;
        self.settling |= may;
        may
    }

    /// The report out of turn, once its burst has settled.
    pub(super) fn urge(&mut self, waiting: u32, in_flight: u32, first: bool) -> Option<Demand> {
        self.settling = false;
        self.told_waiting = waiting;
        let told = if first { 1.0 } else { 0.0 };
        (first || waiting + in_flight > 0).then(|| self.word(told, told, waiting, in_flight, true))
    }

    /// A while after it: those who came meanwhile may have come too late for it.
    pub(super) fn urge_again(
        &mut self,
        waiting: u32,
        in_flight: u32,
        places: bool,
    ) -> Option<Demand> {
        self.urging = false;
        (waiting > self.told_waiting || waiting > 0 && places)
            .then(|| self.word(0.0, 0.0, waiting, in_flight, true))
    }

    /// What the table of now says of the revision. Without requests it is told once more, with
    /// zeros, and then no longer.
    pub(super) fn table(&mut self, now: Micros, waiting: u32, in_flight: u32) -> Option<Demand> {
        if self.settling {
            return None;
        }
        let tracked = self.tracked.as_mut()?;
        let report = tracked.stats.report(Duration::from_micros(now));
        let told = std::mem::take(&mut tracked.told);
        if report.average_concurrency == 0.0 && tracked.stats.concurrency() == 0.0 {
            self.tracked = None;
        }
        let average = (report.average_concurrency - told).max(0.0);
        let count = report.request_count - told;
        Some(self.word(average, count, waiting, in_flight, false))
    }

    fn word(&self, average: f64, count: f64, waiting: u32, in_flight: u32, first: bool) -> Demand {
        Demand {
            revision: self.id.clone(),
            average_concurrency: average,
            average_proxied_concurrency: 0.0,
            request_count: count,
            proxied_request_count: 0.0,
            waiting,
            in_flight,
            first,
        }
    }
}
