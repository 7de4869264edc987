//! The largest number of the last minutes: what a scale-down delay holds on to.
//!
//! Source: spec/autoscaler.md §5, "Delay window".

use std::collections::VecDeque;
use std::time::Duration;

/// Numbers recorded within one step of time count as one: the largest.
pub const STEP: Duration = Duration::from_secs(2);

/// The largest of the recently recorded numbers. Numbers expire when a later one is recorded.
#[derive(Clone, Debug)]
pub struct Maximum {
    step: Duration,
    /// Steps that are remembered.
    steps: u64,
    /// Those that may yet be the largest: steps rise, numbers fall.
    candidates: VecDeque<(u64, u32)>,
}

impl Maximum {
    /// Remembers the last `length`, in whole steps of the length `step`, which is above zero.
    pub fn new(length: Duration, step: Duration) -> Self {
        Self {
            step,
            steps: length.as_nanos().div_ceil(step.as_nanos()) as u64,
            candidates: VecDeque::new(),
        }
    }

    /// Records a number at `now`, and returns the largest that is remembered.
    pub fn record(&mut self, now: Duration, value: u32) -> u32 {
        let step = (now.as_nanos() / self.step.as_nanos()) as u64;
        // A clock that was set back is taken to stand still.
        let step = self.candidates.back().map_or(step, |last| step.max(last.0));
        while self
            .candidates
            .front()
            .is_some_and(|&(oldest, _)| oldest + self.steps <= step)
        {
            self.candidates.pop_front();
        }
        while self
            .candidates
            .back()
            .is_some_and(|&(_, smaller)| smaller <= value)
        {
            self.candidates.pop_back();
        }
        match self.candidates.back() {
            Some(&(same, _)) if same == step => {}
            _ => self.candidates.push_back((step, value)),
        }
        self.current()
    }

    /// The largest that is remembered; 0 before anything was recorded.
    pub fn current(&self) -> u32 {
        self.candidates.front().map_or(0, |&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_maximum_slides() {
        let mut window = Maximum::new(SECOND * 5, SECOND);
        let recorded = [5, 8, 5, 7, 5, 5, 1, 4, 4, 4, 4];
        let want = [5, 8, 8, 8, 8, 8, 7, 7, 5, 5, 4];
        for (second, (value, want)) in recorded.into_iter().zip(want).enumerate() {
            let now = SECOND * 1000 + SECOND * second as u32;
            assert_eq!(window.record(now, value), want, "second {second}");
        }
    }

    #[test]
    fn within_one_step_the_larger_stays() {
        let mut window = Maximum::new(SECOND * 5, SECOND);
        for (value, want) in [(4, 4), (6, 6), (5, 6)] {
            assert_eq!(window.record(SECOND, value), want);
        }
        assert_eq!(
            window.record(SECOND * 6, 1),
            1,
            "5 had not been kept beside 6"
        );
    }

    #[test]
    fn a_number_expires_after_the_length() {
        let mut window = Maximum::new(SECOND * 5, STEP);
        assert_eq!(window.current(), 0);
        assert_eq!(window.record(SECOND * 100, 5), 5);
        assert_eq!(window.current(), 5);
        assert_eq!(window.record(SECOND * 106, 4), 4);
    }

    #[test]
    fn a_clock_set_back_neither_panics_nor_forgets() {
        let mut window = Maximum::new(SECOND * 5, SECOND);
        for second in (0..100).rev() {
            assert_eq!(window.record(SECOND * second, second), 99);
        }
        assert_eq!(window.record(SECOND * 104, 3), 3);
    }
}
