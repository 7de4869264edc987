//! A sliding window of figures, and its average.
//!
//! Figures that fall into the same bucket (one second, as a rule) are added up; the average is
//! taken over buckets. The bucket that is just being filled counts as a full one, a gap between
//! figures counts as zeros, and silence since the last figure does not count at all.
//!
//! Source: spec/autoscaler.md §4.8.

use std::time::Duration;

use crate::spec::Aggregation;

/// Length of a bucket.
pub const BUCKET: Duration = Duration::from_secs(1);

/// Figures of the last seconds or minutes.
#[derive(Clone, Debug)]
pub struct Window {
    aggregation: Aggregation,
    length: Duration,
    bucket: Duration,
    /// Sums by bucket; the bucket with number `b` is at `b` modulo the length.
    sums: Vec<f64>,
    /// Number of the oldest bucket with a figure; `None` also if that is forgotten.
    first: Option<i64>,
    /// Number of the newest bucket with a figure.
    last: Option<i64>,
    /// Whether a resize takes the old window for a full one.
    compatible: bool,
}

impl Window {
    /// An empty window over the last `length`, cut into buckets of the length `bucket`. Both
    /// have to be above zero; a last bucket may stand over.
    pub fn new(aggregation: Aggregation, length: Duration, bucket: Duration) -> Self {
        Self {
            aggregation,
            length,
            bucket,
            sums: vec![0.0; buckets(length, bucket)],
            first: None,
            last: None,
            compatible: false,
        }
    }

    /// Resizes as the original does: what the window has not seen yet becomes seconds without any
    /// load. A load of three seconds counts a twentieth after a resize to one minute, and pods go.
    #[must_use]
    pub fn compatible(mut self, compatible: bool) -> Self {
        self.compatible = compatible;
        self
    }

    /// Adds a figure of the time `at`. One that is older than the window is dropped.
    pub fn record(&mut self, at: Duration, value: f64) {
        let bucket = self.bucket_of(at);
        let Some(last) = self.last else {
            self.first = Some(bucket);
            self.last = Some(bucket);
            *self.sum_mut(bucket) = value;
            return;
        };
        if bucket != last {
            if self.is_past(last - bucket) {
                return;
            }
            if self.first.is_none_or(|first| bucket < first) {
                self.first = Some(bucket);
            }
            if bucket > last {
                self.advance(last, bucket);
            }
        }
        *self.sum_mut(bucket) += value;
    }

    /// The average at `now`; 0 if there is nothing to average.
    ///
    /// The linear one is rounded to six decimals, so that sums in different orders agree. The
    /// weighted one is not scaled up while the window fills, so it begins low.
    pub fn average(&self, now: Duration) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let silent = (self.bucket_of(now) - last).max(0);
        match self.aggregation {
            Aggregation::Linear => self.linear(last, silent),
            Aggregation::Weighted => self.weighted(last, silent),
        }
    }

    /// Whether nothing was recorded for longer than the window. At exactly its length it is
    /// not empty, though the average is 0.
    pub fn is_empty(&self, now: Duration) -> bool {
        self.last
            .is_none_or(|last| self.age(self.bucket_of(now) - last) > self.length)
    }

    /// Changes the length and keeps the newest figures that fit. If the last one had left the
    /// old window by `now`, all are forgotten.
    pub fn resize(&mut self, length: Duration, now: Duration) {
        if length == self.length {
            return;
        }
        let resized = Self::new(self.aggregation, length, self.bucket);
        let mut resized = resized.compatible(self.compatible);
        resized.last = self.last;
        if let Some(last) = self.last
            && !self.is_empty(now)
        {
            let kept = self.count().min(resized.count());
            for bucket in last - kept + 1..=last {
                *resized.sum_mut(bucket) = self.sum(bucket);
            }
            resized.first = match self.first {
                // As if the old window had been full, whatever was in it.
                _ if self.compatible => Some(last - (self.count() - 1)),
                Some(first) => Some(first.max(last - (kept - 1))),
                None => Some(last - (kept - 1)),
            };
        }
        *self = resized;
    }

    fn linear(&self, last: i64, silent: i64) -> f64 {
        if self.is_past(silent) {
            return 0.0;
        }
        let in_view = self.count() - silent;
        let sum: f64 = self.newest(last, in_view).sum();
        let seen = match self.first {
            Some(first) => (last - first + 1).min(in_view),
            None => in_view,
        };
        (sum / seen as f64 * 1e6).round() / 1e6
    }

    fn weighted(&self, last: i64, silent: i64) -> f64 {
        if self.age(silent) > self.length {
            return 0.0;
        }
        let factor = smoothing(self.count());
        (0..self.count() - silent)
            .map(|back| {
                let weight = factor * (1.0 - factor).powi((silent + back) as i32);
                self.sum(last - back) * weight
            })
            .sum()
    }

    /// The sums of the `count` buckets up to `last`, oldest first. Where they lie is found once,
    /// not for each of them: a division costs as much as twenty additions.
    fn newest(&self, last: i64, count: i64) -> impl Iterator<Item = f64> {
        let (newer, older) = self.sums.split_at(self.index(last + 1));
        let skipped = self.sums.len() - count as usize;
        let all = older.iter().chain(newer);
        all.skip(skipped).copied()
    }

    /// Makes `bucket` the newest one, which `last` was.
    fn advance(&mut self, last: i64, bucket: i64) {
        if self.is_past(bucket - last) {
            self.sums.fill(0.0);
            self.first = Some(bucket);
        } else {
            for skipped in last + 1..=bucket {
                *self.sum_mut(skipped) = 0.0;
            }
        }
        self.last = Some(bucket);
    }

    /// Whether so many buckets are as long as the window, or longer.
    fn is_past(&self, buckets: i64) -> bool {
        self.age(buckets) >= self.length
    }

    /// Length of so many buckets; zero for a negative number.
    fn age(&self, buckets: i64) -> Duration {
        let buckets = u32::try_from(buckets.max(0)).unwrap_or(u32::MAX);
        self.bucket.saturating_mul(buckets)
    }

    fn count(&self) -> i64 {
        self.sums.len() as i64
    }

    fn bucket_of(&self, at: Duration) -> i64 {
        (at.as_nanos() / self.bucket.as_nanos()) as i64
    }

    fn index(&self, bucket: i64) -> usize {
        bucket.rem_euclid(self.count()) as usize
    }

    fn sum(&self, bucket: i64) -> f64 {
        self.sums[self.index(bucket)]
    }

    fn sum_mut(&mut self, bucket: i64) -> &mut f64 {
        let index = self.index(bucket);
        &mut self.sums[index]
    }
}

/// Buckets that cover a window.
fn buckets(length: Duration, bucket: Duration) -> usize {
    length.as_nanos().div_ceil(bucket.as_nanos()) as usize
}

/// Weight of the newest bucket among `count`: so much that all but a ten-thousandth of the
/// whole weight lies within the window, but never below 0.2.
fn smoothing(count: i64) -> f64 {
    (1.0 - 0.0001_f64.powf(1.0 / count as f64)).max(0.2)
}

#[cfg(test)]
mod tests;
