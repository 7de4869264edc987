//! What the autoscaler reads each second: how many requests were here on average, and how many came.
//!
//! Each worker counts for itself, so that no two threads write to the same place; averages over
//! time and counts are sums, and are added up for each report. A request that moves nothing but
//! its own worker's counts costs two locks that nobody else wants.
//!
//! Source: spec/queue-proxy.md §6; the arithmetic is `penstock_types::request_stats`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use penstock_types::request_stats::{Report, RequestStats};
use penstock_types::stat::Stat;
use prost::Message;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Time between two reports; the autoscaler reckons with it.
const PERIOD: Duration = Duration::from_secs(1);

/// The statistics of one container.
#[derive(Debug)]
pub(crate) struct Stats {
    origin: Instant,
    pod: String,
    cells: Mutex<Vec<Arc<Cell>>>,
    /// The last report, as it is sent.
    page: Mutex<Bytes>,
}

/// One worker's share. Aligned, so that no two of them are in one line of a processor's cache.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cell {
    origin: Instant,
    inside: Mutex<Inside>,
}

#[derive(Debug)]
struct Inside {
    stats: RequestStats,
    /// Requests that a drain waits for without limit, by the listener that they came through.
    awaited: [usize; 2],
}

/// Which listener a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// The one without TLS.
    Plain,
    /// The one with TLS.
    Tls,
}

impl Stats {
    /// Before the first report only `pod` is told.
    pub(crate) fn new(pod: String) -> Self {
        let stat = Stat {
            pod_name: pod.clone(),
            ..Stat::default()
        };
        Self {
            origin: Instant::now(),
            pod,
            cells: Mutex::default(),
            page: Mutex::new(stat.encode_to_vec().into()),
        }
    }

    /// A further worker's share.
    pub(crate) fn cell(&self) -> Arc<Cell> {
        let cell = Arc::new(Cell {
            origin: self.origin,
            inside: Mutex::new(Inside {
                stats: RequestStats::new(self.origin.elapsed()),
                awaited: [0; 2],
            }),
        });
        lock(&self.cells).push(Arc::clone(&cell));
        cell
    }

    /// The last report, as the autoscaler reads it. Reading changes nothing.
    pub(crate) fn page(&self) -> Bytes {
        lock(&self.page).clone()
    }

    /// Reports each second, for as long as it is polled.
    pub(crate) async fn report_each_second(&self) {
        let mut ticks = interval_at(Instant::now() + PERIOD, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.report();
        }
    }

    /// Makes the report on the time since the one before it.
    pub(crate) fn report(&self) {
        let now = self.origin.elapsed();
        let mut all = Report::default();
        for cell in lock(&self.cells).iter() {
            let one = lock(&cell.inside).stats.report(now);
            all.average_concurrency += one.average_concurrency;
            all.average_proxied_concurrency += one.average_proxied_concurrency;
            all.request_count += one.request_count;
            all.proxied_request_count += one.proxied_request_count;
        }
        let stat = Stat::of(&self.pod, all, PERIOD.as_secs_f64(), now.as_secs_f64());
        *lock(&self.page) = stat.encode_to_vec().into();
    }

    /// Requests inside that came through this listener and that a drain waits for without limit.
    pub(crate) fn awaited(&self, through: Through) -> usize {
        let cells = lock(&self.cells);
        let of = |cell: &Arc<Cell>| lock(&cell.inside).awaited[through as usize];
        cells.iter().map(of).sum()
    }
}

/// What is to be counted of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Whether the autoscaler hears of it; of a kubelet's probe it does not.
    pub(crate) told: bool,
    /// Whether an activator forwarded it, and has counted it, too.
    pub(crate) proxied: bool,
    /// The listener whose drain waits for it without limit, if one does: for HTTP/1, and for
    /// HTTP/2 over TLS (spec/queue-proxy.md §5).
    pub(crate) awaited: Option<Through>,
}

impl Cell {
    /// Counts a request that arrived at `now`, until the answer is dropped.
    pub(crate) fn enter(self: &Arc<Self>, kind: Kind, now: Instant) -> Counted {
        let mut inside = lock(&self.inside);
        if kind.told {
            let now = now.saturating_duration_since(self.origin);
            inside.stats.enter(now, kind.proxied);
        }
        if let Some(through) = kind.awaited {
            inside.awaited[through as usize] += 1;
        }
        drop(inside);
        Counted {
            cell: Arc::clone(self),
            kind,
        }
    }
}

/// One request that is counted as being here.
#[derive(Debug)]
#[must_use = "counted only while held"]
pub(crate) struct Counted {
    cell: Arc<Cell>,
    kind: Kind,
}

impl Counted {
    /// It has become a connection of its own, which ends when its two sides want.
    pub(crate) fn upgraded(&mut self) {
        if let Some(through) = self.kind.awaited.take() {
            lock(&self.cell.inside).awaited[through as usize] -= 1;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut inside = lock(&self.cell.inside);
        if self.kind.told {
            let now = self.cell.origin.elapsed();
            inside.stats.leave(now, self.kind.proxied);
        }
        if let Some(through) = self.kind.awaited {
            inside.awaited[through as usize] -= 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    const TOLD: Kind = Kind {
        told: true,
        proxied: false,
        awaited: Some(Through::Plain),
    };
    const PROXIED: Kind = Kind {
        proxied: true,
        ..TOLD
    };

    fn read(stats: &Stats) -> Stat {
        Stat::decode(stats.page()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn case_36_before_the_first_report_only_the_pod_is_told() {
        let stats = Stats::new("pod-x".to_owned());
        let _counted = stats.cell().enter(TOLD, Instant::now());
        assert_eq!(&stats.page()[..], b"\x0a\x05pod-x");
    }

    /// §6's example, with the two requests on different workers.
    #[tokio::test(start_paused = true)]
    async fn case_43_the_shares_of_two_workers_make_one_report() {
        let stats = Stats::new("pod-x".to_owned());
        let start = Instant::now();
        let (one, other) = (stats.cell(), stats.cell());
        let until = |millis| tokio::time::sleep_until(start + Duration::from_millis(millis));
        let report = async |millis| {
            until(millis).await;
            stats.report();
            read(&stats)
        };
        until(200).await;
        let a = one.enter(TOLD, Instant::now());
        until(500).await;
        let b = other.enter(PROXIED, Instant::now());
        until(700).await;
        drop(a);
        let first = report(1000).await;
        until(1400).await;
        drop(b);
        let reports = [first, report(2000).await, report(3000).await];
        let near = |got: f64, want: f64| (got - want).abs() < 1e-9;
        // average, proxied average, count, proxied count, uptime
        let want = [
            [1.0, 0.5, 2.0, 1.0, 1.0],
            [0.4, 0.4, 0.0, 0.0, 2.0],
            [0.0, 0.0, 0.0, 0.0, 3.0],
        ];
        for (got, want) in reports.iter().zip(want) {
            let fields = [
                got.average_concurrent_requests,
                got.average_proxied_concurrent_requests,
                got.request_count,
                got.proxied_request_count,
                got.process_uptime,
            ];
            let alike = fields
                .into_iter()
                .zip(want)
                .all(|(got, want)| near(got, want));
            assert!(alike, "{got:?} is not {want:?}");
            assert_eq!((&*got.pod_name, got.timestamp), ("pod-x", 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn case_40_the_uptime_counts_from_the_start() {
        let stats = Stats::new(String::new());
        sleep(Duration::from_secs(5)).await;
        stats.report();
        let uptime = read(&stats).process_uptime;
        assert!((5.0..6.0).contains(&uptime), "{uptime}");
    }

    #[tokio::test(start_paused = true)]
    async fn case_41_reports_come_each_second_and_reading_resets_nothing() {
        let stats = Stats::new("pod-x".to_owned());
        let cell = stats.cell();
        let watch = async {
            sleep(Duration::from_millis(500)).await;
            for count in [3, 0, 1] {
                for _ in 0..count {
                    drop(cell.enter(TOLD, Instant::now()));
                }
                sleep(PERIOD).await;
                for _ in 0..2 {
                    let read = read(&stats);
                    assert_eq!(&*read.pod_name, "pod-x");
                    assert_eq!(read.request_count, f64::from(count));
                }
            }
        };
        tokio::select! {
            () = stats.report_each_second() => {}
            () = watch => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_autoscaler_is_not_told_still_holds_the_end_up() {
        let stats = Stats::new(String::new());
        let cell = stats.cell();
        let quiet = Kind {
            told: false,
            ..TOLD
        };
        let stream = Kind {
            awaited: None,
            ..TOLD
        };
        let secured = Kind {
            awaited: Some(Through::Tls),
            ..TOLD
        };
        let awaited = || [Through::Plain, Through::Tls].map(|through| stats.awaited(through));
        let probe = cell.enter(quiet, Instant::now());
        let mut upgraded = cell.enter(TOLD, Instant::now());
        let stream = cell.enter(stream, Instant::now());
        let secured = cell.enter(secured, Instant::now());
        assert_eq!(awaited(), [2, 1]);
        upgraded.upgraded();
        assert_eq!(awaited(), [1, 1]);
        sleep(PERIOD).await;
        stats.report();
        assert_eq!(read(&stats).average_concurrent_requests, 3.0);
        drop((probe, upgraded, stream, secured));
        assert_eq!(awaited(), [0, 0]);
        sleep(PERIOD).await;
        stats.report();
        sleep(PERIOD).await;
        stats.report();
        assert_eq!(read(&stats).average_concurrent_requests, 0.0);
    }
}
