//! Waiting times: counted in buckets, so that a month of requests takes no more room than one.

use std::time::Duration;

use crate::simulate::traffic::Micros;

/// Bits that a value keeps: a bucket is at most 1/128 of its values wide.
const BITS: u32 = 7;
/// Buckets for all of 64 bits.
const BUCKETS: usize = 64 << BITS;

/// How long requests waited.
#[derive(Debug)]
pub(crate) struct Waits {
    buckets: Vec<u64>,
    count: u64,
    max: Micros,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            max: 0,
        }
    }
}

impl Waits {
    pub(crate) fn add(&mut self, wait: Micros) {
        self.buckets[bucket(wait)] += 1;
        self.count += 1;
        self.max = self.max.max(wait);
    }

    /// Counts those of `other` as well.
    #[cfg(test)]
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// Requests that were counted.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The time within which `part` of all requests (at most 1) had their turn, up to 1% too
    /// long; `None` if there was none.
    pub(crate) fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_micros(highest(found).min(self.max)))
    }

    /// The longest; `None` if there was none.
    pub(crate) fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_micros(self.max))
    }
}

/// Small values have buckets of their own; of larger ones, all that agree in their first
/// [`BITS`] + 1 bits share one.
fn bucket(value: Micros) -> usize {
    let extra = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    ((extra as usize) << BITS) + (value >> extra) as usize
}

/// The highest value of a bucket.
fn highest(bucket: usize) -> Micros {
    let extra = (bucket >> BITS).saturating_sub(1);
    let first = (bucket - (extra << BITS)) as u64;
    ((first + 1) << extra) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_bucket_is_at_most_one_percent_wide(value in 0..u64::MAX / 2) {
            let highest = highest(bucket(value));
            proptest::prop_assert!(highest >= value);
            proptest::prop_assert!((highest - value) as f64 <= value as f64 / 100.0);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut waits = Waits::default();
        assert_eq!((waits.quantile(0.5), waits.max()), (None, None));
        for wait in (1..=100).rev() {
            waits.add(wait);
        }
        let at = |part| waits.quantile(part).unwrap().as_micros();
        assert_eq!((at(0.0), at(0.5), at(0.99), at(1.0)), (1, 50, 99, 100));
        waits.add(1_000_003);
        assert_eq!(waits.quantile(1.0), Some(Duration::from_micros(1_000_003)));
    }
}
