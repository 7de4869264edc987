//! What one histogram has seen, in plain numbers: no atomics, no labels, nothing on the heap.

use prometheus::proto::{Bucket, Histogram, Metric};

/// A histogram with `N` bounds, which are passed in each time: they are the same for many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally<const N: usize> {
    /// Observations by the first bound that they do not exceed; not cumulative.
    within: [u64; N],
    beyond: u64,
    sum: f64,
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Self {
            within: [0; N],
            beyond: 0,
            sum: 0.0,
        }
    }
}

impl<const N: usize> Tally<N> {
    /// Counts `value` under `bounds`, which are in ascending order.
    #[inline]
    pub fn observe(&mut self, bounds: &[f64; N], value: f64) {
        let place = bounds.iter().position(|&bound| value <= bound);
        match place.and_then(|place| self.within.get_mut(place)) {
            Some(count) => *count += 1,
            None => self.beyond += 1,
        }
        self.sum += value;
    }

    /// Adds what `other` has seen.
    pub fn add(&mut self, other: &Self) {
        for (mine, others) in self.within.iter_mut().zip(other.within) {
            *mine += others;
        }
        self.beyond += other.beyond;
        self.sum += other.sum;
    }

    /// How many observations it has seen.
    pub fn count(&self) -> u64 {
        self.within.iter().sum::<u64>() + self.beyond
    }

    /// As a metric without labels.
    pub(super) fn metric(&self, bounds: &[f64; N]) -> Metric {
        let mut so_far = 0;
        let buckets = bounds.iter().zip(self.within).map(|(&bound, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_sum(self.sum);
        histogram.set_sample_count(self.count());
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_the_first_bound_that_it_does_not_exceed() {
        let bounds = [0.0, 5.0, 10.0];
        let mut tally = Tally::default();
        for value in [0.0, 4.9, 5.0, 5.1, 11.0, 12.0] {
            tally.observe(&bounds, value);
        }
        let mut twice = tally;
        twice.add(&tally);
        let metric = twice.metric(&bounds);
        let histogram = metric.get_histogram();
        let shown: Vec<_> = histogram
            .get_bucket()
            .iter()
            .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
            .collect();
        assert_eq!(shown, [(0.0, 2), (5.0, 6), (10.0, 8)]);
        assert_eq!(histogram.get_sample_count(), 12);
        assert!((histogram.get_sample_sum() - 76.0).abs() < 1e-9);
    }
}
