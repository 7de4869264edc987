//! Time-weighted request statistics, kept alike by the queue-proxy and the activator.
//!
//! Source: spec/autoscaler.md §4.1. Time is handed in as a [`Duration`] since any fixed origin.

use std::time::Duration;

/// What one report says about the time since the report before it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Mean number of requests in flight.
    pub average_concurrency: f64,
    /// Mean number of those which an activator had forwarded.
    pub average_proxied_concurrency: f64,
    /// Requests that arrived.
    pub request_count: f64,
    /// Requests that arrived by an activator.
    pub proxied_request_count: f64,
}

/// Counts requests in and out, and integrates over time how many are inside.
#[derive(Clone, Debug)]
pub struct RequestStats {
    last: Duration,
    elapsed: f64,
    concurrency: f64,
    proxied: f64,
    area: f64,
    proxied_area: f64,
    count: f64,
    proxied_count: f64,
}

impl RequestStats {
    /// Starts counting at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            last: now,
            elapsed: 0.0,
            concurrency: 0.0,
            proxied: 0.0,
            area: 0.0,
            proxied_area: 0.0,
            count: 0.0,
            proxied_count: 0.0,
        }
    }

    /// A request came in; `proxied` if an activator forwarded it.
    pub fn enter(&mut self, now: Duration, proxied: bool) {
        self.advance(now);
        self.count += 1.0;
        self.concurrency += 1.0;
        if proxied {
            self.proxied_count += 1.0;
            self.proxied += 1.0;
        }
    }

    /// A request went out, whatever came of it.
    pub fn leave(&mut self, now: Duration, proxied: bool) {
        self.advance(now);
        self.concurrency -= 1.0;
        if proxied {
            self.proxied -= 1.0;
        }
    }

    /// Requests inside now.
    pub fn concurrency(&self) -> f64 {
        self.concurrency
    }

    /// Averages and counts since the last report; the requests inside stay counted.
    pub fn report(&mut self, now: Duration) -> Report {
        self.advance(now);
        let mean = |area: f64| {
            if self.elapsed > 0.0 {
                area / self.elapsed
            } else {
                0.0
            }
        };
        let report = Report {
            average_concurrency: mean(self.area),
            average_proxied_concurrency: mean(self.proxied_area),
            request_count: self.count,
            proxied_request_count: self.proxied_count,
        };
        self.elapsed = 0.0;
        self.area = 0.0;
        self.proxied_area = 0.0;
        self.count = 0.0;
        self.proxied_count = 0.0;
        report
    }

    /// A time before the last one changes nothing (spec/queue-proxy.md §6, case 44).
    fn advance(&mut self, now: Duration) {
        let Some(passed) = now.checked_sub(self.last) else {
            return;
        };
        let passed = passed.as_secs_f64();
        self.elapsed += passed;
        self.area += self.concurrency * passed;
        self.proxied_area += self.proxied * passed;
        self.last = now;
    }
}
