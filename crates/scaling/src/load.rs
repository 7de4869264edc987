//! The load of one revision, as the reports of its activators and pods tell it.
//!
//! Source: spec/autoscaler.md §4.7.

use std::time::Duration;

use penstock_types::request_stats::Report;

use crate::spec::{Metric, Spec};
use crate::window::{BUCKET, Window};

/// Averages of a load at one moment, over all pods of the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
    pub panic: f64,
}

/// The windows of one revision: both metrics, whichever it is scaled by.
#[derive(Clone, Debug)]
pub struct Load {
    concurrency: Windows,
    rps: Windows,
}

impl Load {
    /// No load yet. How it is averaged is settled here, once.
    pub fn new(spec: &Spec) -> Self {
        Self {
            concurrency: Windows::new(spec),
            rps: Windows::new(spec),
        }
    }

    /// Records a report made at `at`; its request counts are per second.
    ///
    /// What came by an activator is left out: the activator has reported it already.
    pub fn record(&mut self, at: Duration, report: &Report) {
        let concurrency = report.average_concurrency - report.average_proxied_concurrency;
        self.concurrency.record(at, concurrency);
        let requests = report.request_count - report.proxied_request_count;
        self.rps.record(at, requests);
    }

    /// Changes the windows to the lengths that `spec` asks for.
    pub fn resize(&mut self, spec: &Spec, now: Duration) {
        self.concurrency.resize(spec, now);
        self.rps.resize(spec, now);
    }

    /// The averages at `now`. `None` if there is nothing to average although the pods are
    /// `scraped`: then something is wrong with the scraping, and nobody should conclude that
    /// there is no load.
    pub fn averages(&self, metric: Metric, scraped: bool, now: Duration) -> Option<Averages> {
        let windows = match metric {
            Metric::Concurrency => &self.concurrency,
            Metric::Rps => &self.rps,
        };
        if scraped && windows.stable.is_empty(now) {
            return None;
        }
        Some(Averages {
            stable: windows.stable.average(now),
            panic: windows.panic.average(now),
        })
    }
}

/// The two windows of one metric.
#[derive(Clone, Debug)]
struct Windows {
    stable: Window,
    panic: Window,
}

impl Windows {
    fn new(spec: &Spec) -> Self {
        Self {
            stable: window(spec, spec.stable_window),
            panic: window(spec, spec.panic_window),
        }
    }

    fn record(&mut self, at: Duration, value: f64) {
        self.stable.record(at, value);
        self.panic.record(at, value);
    }

    fn resize(&mut self, spec: &Spec, now: Duration) {
        self.stable.resize(spec.stable_window, now);
        self.panic.resize(spec.panic_window, now);
    }
}

fn window(spec: &Spec, length: Duration) -> Window {
    Window::new(spec.aggregation, length, BUCKET).compatible(spec.compatible)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use penstock_types::{Reachability, Slots};

    use super::*;
    use crate::config::Config;

    const SECOND: Duration = Duration::from_secs(1);
    const NOW: Duration = Duration::from_secs(1_000_000);

    fn load() -> Load {
        Load::new(&Spec::derive(
            &Config::default(),
            &BTreeMap::new(),
            Slots::Unlimited,
            Reachability::Reachable,
        ))
    }

    fn concurrency(average: f64, proxied: f64) -> Report {
        Report {
            average_concurrency: average,
            average_proxied_concurrency: proxied,
            ..Report::default()
        }
    }

    #[test]
    fn reports_of_one_second_add_up_and_seconds_are_averaged() {
        let mut load = load();
        for (second, reports) in [(0, 3), (1, 4)] {
            for _ in 0..reports {
                load.record(NOW + SECOND * second, &concurrency(10.0, 0.0));
            }
        }
        let averages = load.averages(Metric::Concurrency, true, NOW + SECOND);
        let want = Averages {
            stable: 35.0,
            panic: 35.0,
        };
        assert_eq!(averages, Some(want));
    }

    #[test]
    fn what_came_by_an_activator_is_counted_once() {
        let mut load = load();
        load.record(NOW, &concurrency(20.0, 10.0));
        let averages = load.averages(Metric::Concurrency, true, NOW).unwrap();
        assert_eq!(averages.stable, 10.0);
    }

    #[test]
    fn only_the_fresh_report_counts() {
        let mut load = load();
        load.record(NOW - SECOND * 70, &concurrency(50.0, 0.0));
        load.record(NOW, &concurrency(20.0, 0.0));
        let averages = load.averages(Metric::Concurrency, true, NOW).unwrap();
        assert_eq!(averages.stable, 20.0);
    }

    #[test]
    fn no_data_is_no_load_only_where_nothing_is_scraped() {
        let load = load();
        assert_eq!(load.averages(Metric::Rps, true, NOW), None);
        let unscraped = load.averages(Metric::Rps, false, NOW);
        assert_eq!(unscraped, Some(Averages::default()));
    }
}
