//! Reports of demand to the autoscaler.
//!
//! Once a second the whole table: for each revision with requests, the averages of that second
//! and the true numbers of now (spec/activator.md §5). And at once, when the first request of a
//! revision comes, or one that finds no pod: a report that waits for nothing but the rest of the
//! burst it belongs to, so that the first decision counts all of it. "The rest of the burst" is
//! what the kernel has already taken in: the reporting task lets the worker's loop turn until
//! nothing has arrived for a number of turns and for [`SETTLE`]. It goes by turns as well as by
//! time, because a worker that got no processor for a while has taken in nothing meanwhile. A
//! table that is due in between leaves the revision out: half a burst would be decided on.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use penstock_types::demand::Demand;
use penstock_types::request_stats::RequestStats;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::idle::{Stream, Streams};
use crate::revision::Entry;
use crate::table::Table;

/// Time between two reports of the whole table (spec/activator.md §5.2).
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// A burst is over when nothing has arrived for so long, and for so many turns of the loop.
const SETTLE: Duration = Duration::from_micros(400);
/// Turns that a connection takes at most from the listener to its first request, when a hundred
/// others come with it.
const SETTLE_TURNS: u32 = 16;
/// The longest that the first report of a burst is held back, unless the loop has turned less
/// than [`MOST_TURNS`] times by then.
const SETTLE_MOST: Duration = Duration::from_millis(10);
const MOST_TURNS: u32 = 64;
/// Time between two reports out of turn of one revision.
const AGAIN: Duration = Duration::from_millis(100);

/// Counts the requests of one revision.
#[derive(Debug)]
pub(crate) struct Tracker {
    origin: Instant,
    account: Mutex<Account>,
    arrivals: AtomicU64,
    /// A report out of turn is on its way, or was just sent.
    urging: AtomicBool,
    /// Reports out of turn that wait for the rest of their burst.
    settling: AtomicU32,
    /// Answers that have begun, where those that stand still do not count.
    pub(crate) streams: Streams,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            account: Mutex::default(),
            arrivals: AtomicU64::new(0),
            urging: AtomicBool::new(false),
            settling: AtomicU32::new(0),
            streams: Streams::default(),
        }
    }
}

impl Tracker {
    /// Counts a request in; it is counted out when the answer is dropped. Says whether it is the
    /// first of a revision that had none.
    pub(crate) fn enter(entry: &Arc<Entry>) -> (Open, bool) {
        let tracker = &entry.demand;
        let first = tracker.lock().enter(tracker.origin.elapsed());
        tracker.arrivals.fetch_add(1, Ordering::Relaxed);
        let open = Open {
            entry: Arc::clone(entry),
            stream: None,
        };
        (open, first)
    }

    /// Whether a report out of turn may be sent now, being the only one; it is over when
    /// [`Reporter::urge`] says so.
    pub(crate) fn begin_urging(&self) -> bool {
        // Read first: at a closed gate every request asks.
        !self.urging.load(Ordering::Relaxed) && !self.urging.swap(true, Ordering::AcqRel)
    }

    /// Does not count those any more that have stood still for `limit`.
    fn rest(&self, limit: Duration) {
        let now = self.origin.elapsed();
        let mut account = self.lock();
        for _ in 0..self.streams.rest(limit, now) {
            account.leave(now);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is counted.
#[derive(Debug)]
pub(crate) struct Open {
    entry: Arc<Entry>,
    /// Where it does not count while nothing passes.
    stream: Option<Arc<Stream>>,
}

impl Open {
    /// Whose it is.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Its answer has begun: from here on it may stand still, and not count meanwhile, if its
    /// revision wants that.
    pub(crate) fn may_idle(&mut self) {
        if self.entry.choices.idle_streams.is_some() {
            let now = self.entry.demand.origin.elapsed();
            self.stream = Some(self.entry.demand.streams.begin(now));
        }
    }

    /// Something has passed.
    pub(crate) fn goes_on(&self) {
        if let Some(stream) = &self.stream {
            let tracker = &self.entry.demand;
            let now = tracker.origin.elapsed();
            if stream.goes_on(now) {
                let mut account = tracker.lock();
                if tracker.streams.wakes(stream) {
                    account.enter(now);
                }
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let tracker = &self.entry.demand;
        let mut account = tracker.lock();
        let idles = self.stream.as_ref();
        if !idles.is_some_and(|stream| tracker.streams.wakes(stream)) {
            account.leave(tracker.origin.elapsed());
        }
    }
}

/// A burst that is still coming in, until dropped.
#[derive(Debug)]
struct Settling(Arc<Entry>);

impl Settling {
    fn begin(entry: Arc<Entry>) -> Self {
        entry.demand.settling.fetch_add(1, Ordering::AcqRel);
        Self(entry)
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.demand.settling.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The accumulator of spec/activator.md §5.1, and the rules about its first and last report.
#[derive(Debug, Default)]
struct Account {
    tracked: Option<Tracked>,
}

#[derive(Debug)]
struct Tracked {
    stats: RequestStats,
    /// 1 until the first report, which the poke has told a part of already.
    told: f64,
}

impl Account {
    /// Counts in; true if nothing was tracked, and somebody has to poke.
    fn enter(&mut self, now: Duration) -> bool {
        let first = self.tracked.is_none();
        let tracked = self.tracked.get_or_insert_with(|| Tracked {
            stats: RequestStats::new(now),
            told: 1.0,
        });
        tracked.stats.enter(now, false);
        first
    }

    fn leave(&mut self, now: Duration) {
        if let Some(tracked) = &mut self.tracked {
            tracked.stats.leave(now, false);
        }
    }

    /// Average and count of the time since the last report. A revision without requests is
    /// reported once more, with zeros, and then no longer tracked.
    fn report(&mut self, now: Duration) -> Option<(f64, f64)> {
        let tracked = self.tracked.as_mut()?;
        let report = tracked.stats.report(now);
        let told = std::mem::take(&mut tracked.told);
        if report.average_concurrency == 0.0 && tracked.stats.concurrency() == 0.0 {
            self.tracked = None;
        }
        let average = (report.average_concurrency - told).max(0.0);
        Some((average, report.request_count - told))
    }
}

/// Sends reports.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    to: mpsc::Sender<Vec<Demand>>,
}

impl Reporter {
    pub(crate) fn new(to: mpsc::Sender<Vec<Demand>>) -> Self {
        Self { to }
    }

    /// Reports out of turn, from a task of the worker that the request came to; `own` by
    /// [`Tracker::begin_urging`]. Nothing is said if nobody waits or runs by the time the burst
    /// has settled, except the first word. The burst begins with this call, before the future
    /// is first polled.
    pub(crate) fn urge(
        self,
        entry: Arc<Entry>,
        first: bool,
        own: bool,
    ) -> impl Future<Output = ()> {
        let settling = Settling::begin(Arc::clone(&entry));
        self.urge_settled(entry, settling, first, own)
    }

    async fn urge_settled(self, entry: Arc<Entry>, settling: Settling, first: bool, own: bool) {
        let tracker = &entry.demand;
        settle(&tracker.arrivals).await;
        drop(settling);
        // Only the very first request is told before its time; the next report discounts it.
        let told = if first { 1.0 } else { 0.0 };
        let report = now_of(&entry, told, told, true);
        let waiting = report.waiting;
        if first || waiting + report.in_flight > 0 {
            self.send_out_of_turn(report).await;
        }
        if own {
            sleep(AGAIN).await;
            tracker.urging.store(false, Ordering::Release);
            // Who came in the meantime found a report on its way, and may have come too late
            // for it; the first pods may be full of the others by now.
            let now = now_of(&entry, 0.0, 0.0, true);
            if now.waiting > waiting || now.waiting > 0 && entry.gate.has_places() {
                self.send_out_of_turn(now).await;
            }
        }
    }

    /// Reports the whole table each second, also when it is empty: whoever reads it then knows
    /// that there is nothing.
    pub(crate) async fn run(self, table: &Table) {
        let mut ticks = interval(PERIOD);
        // Late ones are left out, so that a second of the clock gets one report, not two.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let known = table.known();
            let entries = known.entries();
            for (entry, limit) in entries
                .clone()
                .filter_map(|it| Some((it, it.choices.idle_streams?)))
            {
                entry.demand.rest(limit);
            }
            self.send(entries.filter_map(|entry| in_table(entry)).collect());
            table.forget_left(Instant::now());
        }
    }

    /// Waits for room: no request waits for it, and a first word is not repeated.
    async fn send_out_of_turn(&self, report: Demand) {
        if self.to.send(vec![report]).await.is_err() {
            tracing::debug!("nobody takes demand reports any more");
        }
    }

    /// Never waits: a slow autoscaler loses a report, and the next one is on time.
    fn send(&self, reports: Vec<Demand>) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.to.try_send(reports) {
            tracing::warn!("the autoscaler does not keep up: a demand report was dropped");
        }
    }
}

/// What the table says of a revision: nothing without requests, nor in the middle of a burst, of
/// which its own report tells at once. The next table then covers both seconds.
fn in_table(entry: &Entry) -> Option<Demand> {
    let tracker = &entry.demand;
    if tracker.settling.load(Ordering::Acquire) > 0 {
        return None;
    }
    let (average, count) = tracker.lock().report(tracker.origin.elapsed())?;
    entry.gauges.concurrency.set(average);
    Some(now_of(entry, average, count, false))
}

/// The numbers of now, with these figures.
pub(crate) fn now_of(entry: &Entry, average: f64, count: f64, first: bool) -> Demand {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Demand {
        revision: entry.id.clone(),
        average_concurrency: average,
        average_proxied_concurrency: 0.0,
        request_count: count,
        proxied_request_count: 0.0,
        waiting: number(entry.gate.waiting()),
        in_flight: number(entry.in_flight()),
        first,
    }
}

/// Lets the worker take in what has already reached it.
async fn settle(arrivals: &AtomicU64) {
    let start = Instant::now();
    let mut seen = arrivals.load(Ordering::Relaxed);
    let (mut since, mut quiet) = (start, 0);
    for turns in 1_u32.. {
        // Runs again after everything that is ready now, and after the loop has asked the kernel
        // for more.
        yield_now().await;
        let (now, count) = (Instant::now(), arrivals.load(Ordering::Relaxed));
        quiet += 1;
        if count != seen {
            (seen, since, quiet) = (count, now, 0);
        }
        let settled = quiet >= SETTLE_TURNS && now - since >= SETTLE;
        if settled || turns >= MOST_TURNS && now - start >= SETTLE_MOST {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
