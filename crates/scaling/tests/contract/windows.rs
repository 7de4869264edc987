//! §4.8, and the delay window of §5.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::maximum::Maximum;
use penstock_scaling::spec::Aggregation;
use penstock_scaling::window::Window;
use proptest::prelude::*;

use crate::near;

/// A window as §4.8 tells it: sums by bucket, the first and the last one. Times are whole
/// milliseconds; lengths are, too.
struct Model {
    weighted: bool,
    window: i64,
    g: i64,
    sums: BTreeMap<i64, f64>,
    first: Option<i64>,
    last: Option<i64>,
    /// Whether a resize forgets how much there really was.
    compatible: bool,
}

impl Model {
    fn new(weighted: bool, compatible: bool, window: i64, g: i64) -> Self {
        let (first, last) = (None, None);
        Self {
            weighted,
            window,
            g,
            sums: BTreeMap::new(),
            first,
            last,
            compatible,
        }
    }

    fn n(&self) -> i64 {
        (self.window + self.g - 1) / self.g
    }

    fn bucket(&self, t: i64) -> i64 {
        // Whole seconds first, then buckets of whole seconds.
        (t / 1000) / (self.g / 1000)
    }

    fn record(&mut self, t: i64, v: f64) {
        let b = self.bucket(t);
        match self.last {
            None => {
                (self.first, self.last) = (Some(b), Some(b));
                self.sums.clear();
            }
            Some(last) if b == last => {}
            Some(last) => {
                if b * self.g + self.window <= last * self.g {
                    return;
                }
                if self.first.is_none_or(|first| b < first) {
                    self.first = Some(b);
                }
                if b > last {
                    if (b - last) * self.g >= self.window {
                        self.sums.clear();
                        self.first = Some(b);
                    }
                    self.last = Some(b);
                }
            }
        }
        *self.sums.entry(b).or_default() += v;
    }

    fn sum(&self, from: i64, to: i64) -> f64 {
        (from..=to).filter_map(|b| self.sums.get(&b)).sum()
    }

    fn average(&self, t: i64) -> f64 {
        let (c, n) = (self.bucket(t), self.n());
        let Some(last) = self.last else { return 0.0 };
        if self.weighted {
            if self.is_empty(t) {
                return 0.0;
            }
            let k = (1.0 - 0.0001_f64.powf(1.0 / n as f64)).max(0.2);
            let z = (c - last).max(0);
            let value = |i: i64| self.sums.get(&(last - i)).copied().unwrap_or(0.0);
            return (0..n - z)
                .map(|i| value(i) * k * (1.0 - k).powf((z + i) as f64))
                .sum();
        }
        let d = (c - last) * self.g;
        let span = self.first.map_or(i64::MAX, |first| last - first + 1);
        let (sum, m) = if d <= 0 {
            (self.sum(last - n + 1, last), span.min(n))
        } else if d < self.window {
            (self.sum(c - n + 1, last), span.min(n - (c - last)))
        } else {
            return 0.0;
        };
        (sum / m as f64 * 1e6).round() / 1e6
    }

    fn is_empty(&self, t: i64) -> bool {
        self.last
            .is_none_or(|last| (self.bucket(t) - last) * self.g > self.window)
    }

    fn resize(&mut self, window: i64, now: i64) {
        if window == self.window {
            return;
        }
        let old = self.n();
        let Some(last) = self.last else {
            self.window = window;
            return;
        };
        let kept = (self.bucket(now) - last) * self.g <= self.window;
        self.window = window;
        if kept {
            let oldest = last - old.min(self.n()) + 1;
            self.sums.retain(|b, _| *b >= oldest);
            self.first = match self.first {
                _ if self.compatible => Some(last - (old - 1)),
                first => first.max(Some(oldest)),
            };
        } else {
            self.sums.clear();
            self.first = None;
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Record(i64, f64),
    Query(i64),
    Resize(i64, i64),
}

/// Steps of time: mostly forward, sometimes far, sometimes back, often to the very border.
fn step(window: i64) -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..2_500_i64,
        2 => -3_000..0_i64,
        1 => Just(window),
        1 => (-2_000..2_000_i64).prop_map(move |by| window + by),
        1 => (-2_000..2_000_i64).prop_map(move |by| by - window),
        1 => Just(3_600_000),
    ]
}

fn ops(window: i64) -> impl Strategy<Value = Vec<Op>> {
    let value = prop_oneof![Just(0.0), -50.0..500.0_f64, (0..20_i32).prop_map(f64::from)];
    let what = prop_oneof![
        5 => value.prop_map(Some).prop_map(|value| (value, None)),
        4 => Just((None, None)),
        1 => (1..120_i64).prop_map(|seconds| (None, Some(seconds * 1000))),
    ];
    prop::collection::vec((step(window), what), 1..120).prop_map(|steps| {
        let mut t = 946_684_800_000_i64 + 7_300_000;
        let begin = t;
        steps
            .into_iter()
            .map(|(by, what)| {
                // Never before the beginning of the epoch's second day.
                t = (t + by).max(begin - 7_000_000);
                match what {
                    (Some(value), _) => Op::Record(t, value),
                    (None, Some(window)) => Op::Resize(t, window),
                    (None, None) => Op::Query(t),
                }
            })
            .collect()
    })
}

fn at(t: i64) -> Duration {
    Duration::from_millis(t.unsigned_abs())
}

prop_compose! {
    fn lengths()(
        g in prop_oneof![4 => Just(1_000_i64), 1 => (2..9_i64).prop_map(|g| g * 1000)],
        window in prop_oneof![3 => 6..120_i64, 1 => Just(3600), 1 => Just(1), 1 => 1..6_i64],
    ) -> (i64, i64) {
        (window * 1000, g)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn windows_are_those_of_the_contract(
        ((window, g), ops) in lengths().prop_flat_map(|(window, g)| (Just((window, g)), ops(window))),
        (weighted, compatible) in any::<(bool, bool)>(),
    ) {
        let aggregation = if weighted { Aggregation::Weighted } else { Aggregation::Linear };
        let mut model = Model::new(weighted, compatible, window, g);
        let mut real = Window::new(aggregation, at(window), at(g)).compatible(compatible);
        for op in ops {
            match op {
                Op::Record(t, v) => {
                    model.record(t, v);
                    real.record(at(t), v);
                }
                Op::Resize(t, window) => {
                    model.resize(window, t);
                    real.resize(at(window), at(t));
                }
                Op::Query(t) => {
                    let (got, want) = (real.average(at(t)), model.average(t));
                    prop_assert!(near(got, want), "{got}, not {want}, at {t}");
                    prop_assert_eq!(real.is_empty(at(t)), model.is_empty(t), "at {}", t);
                }
            }
        }
    }

    #[test]
    fn the_delay_window_is_that_of_the_contract(
        delay in 1..400_u64,
        g in prop_oneof![Just(2_u64), Just(1), Just(5)],
        steps in prop::collection::vec((0..9_000_u64, 0..9_u32), 1..200),
    ) {
        let mut real = Maximum::new(Duration::from_secs(delay), Duration::from_secs(g));
        let mut all: Vec<(u64, u32)> = Vec::new();
        let mut t = 946_684_800_000;
        for (by, value) in steps {
            t += by;
            let newest = t / 1000 / g;
            all.push((newest, value));
            let n = delay.div_ceil(g);
            let remembered = all.iter().filter(|(index, _)| index + n > newest);
            let want = remembered.map(|(_, value)| *value).max().unwrap_or(0);
            prop_assert_eq!(real.record(Duration::from_millis(t), value), want);
            prop_assert_eq!(real.current(), want);
        }
    }
}
