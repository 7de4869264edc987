//! Chance: one stream of numbers per purpose, all from one seed, and times that are drawn from it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use penstock_runtime::vars::go::duration;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// Where the 99th part of a hundred of the normal distribution ends, in standard deviations.
const P99: f64 = 2.326_347_874;

/// What may be written for a time.
pub(crate) const TIME_FORM: &str = "a time: 200ms, uniform:100ms,300ms, exp:200ms (the mean) or \
                                    lognormal:200ms,900ms (median and 99th percentile)";

/// Longest that one drawn time may be: a tail has to end somewhere.
const LONGEST: Duration = Duration::from_secs(3600);

/// A stream of numbers; the same seed and purpose give the same stream on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of `purpose`. Streams of different purposes have nothing in common, so that
    /// one policy's pods do not change another one's requests.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mixed = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Pcg64Mcg::seed_from_u64(mixed))
    }

    /// Between 0 and 1, neither of them included.
    pub(crate) fn part(&mut self) -> f64 {
        // 53 bits are what a double holds.
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Exponential with a mean of 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.part().ln()
    }

    /// Normal with a mean of 0 and a standard deviation of 1.
    fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.part()).cos()
    }
}

/// A time that is drawn anew each time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Time {
    /// Always the same.
    Fixed(Duration),
    /// Every value between two is as likely.
    Uniform(Duration, Duration),
    /// Exponential, of this mean.
    Exponential(Duration),
    /// Log-normal, of this median and this 99th percentile.
    LogNormal(Duration, Duration),
}

impl Time {
    /// One value.
    pub(crate) fn draw(self, chance: &mut Chance) -> Duration {
        let drawn = match self {
            Self::Fixed(time) => return time,
            Self::Uniform(least, most) => least + (most - least).mul_f64(chance.part()),
            Self::Exponential(mean) => mean.mul_f64(chance.exponential()),
            Self::LogNormal(median, p99) => {
                let factor = (spread(median, p99) * chance.normal()).exp();
                Duration::try_from_secs_f64(median.as_secs_f64() * factor).unwrap_or(LONGEST)
            }
        };
        drawn.min(LONGEST)
    }

    /// Its mean, in seconds.
    pub(crate) fn mean(self) -> f64 {
        match self {
            Self::Fixed(time) | Self::Exponential(time) => time.as_secs_f64(),
            Self::Uniform(least, most) => (least + most).as_secs_f64() / 2.0,
            Self::LogNormal(median, p99) => {
                let spread = spread(median, p99);
                median.as_secs_f64() * (spread * spread / 2.0).exp()
            }
        }
    }
}

/// Standard deviation of the logarithm.
fn spread(median: Duration, p99: Duration) -> f64 {
    (p99.as_secs_f64() / median.as_secs_f64()).ln() / P99
}

impl FromStr for Time {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let one = |text: &str| duration(text).filter(|time| *time <= LONGEST).ok_or(());
        let two = |text: &str| {
            let (low, high) = text.split_once(',').ok_or(())?;
            let (low, high) = (one(low)?, one(high)?);
            if low <= high {
                Ok((low, high))
            } else {
                Err(())
            }
        };
        match text.split_once(':') {
            None => one(text).map(Self::Fixed),
            Some(("uniform", rest)) => two(rest).map(|(least, most)| Self::Uniform(least, most)),
            Some(("exp", rest)) => one(rest).map(Self::Exponential),
            Some(("lognormal", rest)) => match two(rest)? {
                (median, _) if median.is_zero() => Err(()),
                (median, p99) => Ok(Self::LogNormal(median, p99)),
            },
            Some(_) => Err(()),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write!(f, "{time:?}"),
            Self::Uniform(least, most) => write!(f, "{least:?} to {most:?}"),
            Self::Exponential(mean) => write!(f, "{mean:?} (mean, exponential)"),
            Self::LogNormal(median, p99) => write!(f, "{median:?} (median; p99 {p99:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(time: Time) -> f64 {
        let mut chance = Chance::new(7, 1);
        let sum: f64 = (0..100_000)
            .map(|_| time.draw(&mut chance).as_secs_f64())
            .sum();
        sum / 100_000.0
    }

    #[test]
    fn what_is_drawn_has_the_mean_that_is_stated() {
        for text in [
            "200ms",
            "uniform:100ms,300ms",
            "exp:200ms",
            "lognormal:200ms,900ms",
        ] {
            let time: Time = text.parse().unwrap();
            let (drawn, stated) = (mean_of(time), time.mean());
            assert!(
                (drawn / stated - 1.0).abs() < 0.02,
                "{text}: {drawn} {stated}"
            );
        }
    }

    #[test]
    fn a_hundredth_of_a_log_normal_time_is_above_its_99th_percentile() {
        let time: Time = "lognormal:200ms,900ms".parse().unwrap();
        let mut chance = Chance::new(7, 1);
        let above = (0..100_000)
            .filter(|_| time.draw(&mut chance) > Duration::from_millis(900))
            .count();
        assert!((800..1200).contains(&above), "{above}");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "200",
            "-1s",
            "2h",
            "exp",
            "exp:",
            "normal:1s",
            "uniform:1s",
            "uniform:2s,1s",
            "lognormal:0s,1s",
            "exp:1s,2s",
            "NaNs",
        ] {
            assert_eq!(text.parse::<Time>(), Err(()), "{text}");
        }
    }

    #[test]
    fn streams_are_repeatable_and_differ_by_seed_and_purpose() {
        let first = |seed, purpose| Chance::new(seed, purpose).part();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(2, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_eq!(first(1, 1).to_bits(), first(1, 1).to_bits());
    }
}
