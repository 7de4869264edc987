//! The pauses between attempts.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// What the next pause is of the one before.
const GROWTH: f64 = 1.3;
/// What may be added to a pause at random, of itself.
const JITTER: f64 = 0.5;
/// Pauses after which it begins again with the first.
const STEPS: u32 = 20;

/// Pauses that grow.
#[derive(Debug)]
pub(super) struct Backoff {
    step: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            step: 0,
            // Small seeds would begin alike; and the generator stays at zero for ever.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// The next pause.
    pub(super) fn next_wait(&mut self) -> Duration {
        let exponent = i32::try_from(self.step).unwrap_or(i32::MAX);
        self.step = (self.step + 1) % STEPS;
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        FIRST.mul_f64(GROWTH.powi(exponent) * (1.0 + JITTER * part))
    }

    /// It worked: the next pause is the first again.
    pub(super) fn reset(&mut self) {
        self.step = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_a_third_with_some_chance_and_begin_again_after_twenty() {
        let mut backoff = Backoff::new(7);
        for round in 0..3 {
            let mut sum = Duration::ZERO;
            for step in 0..20 {
                let pause = backoff.next_wait();
                let least = FIRST.mul_f64(1.3_f64.powi(step));
                assert!(
                    pause >= least && pause <= least.mul_f64(1.5),
                    "{round}/{step}"
                );
                sum += pause;
            }
            // Twenty attempts take about a minute.
            assert!((48..=95).contains(&sum.as_secs()), "{sum:?}");
        }
        backoff.next_wait();
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST.mul_f64(1.5));
    }

    #[test]
    fn two_activators_do_not_keep_step() {
        let (mut one, mut two) = (Backoff::new(2), Backoff::new(4));
        assert_ne!(one.next_wait(), two.next_wait());
    }
}
