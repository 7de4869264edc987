//! What is remembered of the past: the load of each second, and the highest need.

use std::collections::VecDeque;
use std::time::Duration;

/// Load of each second that was reported. A second without a report is missing, not zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Seconds {
    /// Second of the clock and its load, oldest first. At most one entry per second.
    loads: VecDeque<(u64, f64)>,
}

impl Seconds {
    /// Notes the load of the second before `now`; a second that was reported twice keeps the
    /// newer word, and so does the newest second if time stepped back.
    pub(super) fn record(&mut self, now: Duration, load: f64, window: Duration) {
        let second = now.as_secs();
        match self.loads.back_mut() {
            Some(newest) if newest.0 >= second => newest.1 = load,
            _ => self.loads.push_back((second, load)),
        }
        self.forget(now, window);
    }

    /// Forgets what is a window ago.
    pub(super) fn forget(&mut self, now: Duration, window: Duration) {
        let now = now.as_secs();
        while let Some(&(second, _)) = self.loads.front()
            && now.saturating_sub(second) >= window.as_secs()
        {
            self.loads.pop_front();
        }
    }

    /// Mean over the known seconds of the window up to `now`, of which the last `nothing` were
    /// known to be without load though nobody reported them. 0 if none is known.
    pub(super) fn mean(&self, now: Duration, window: Duration, nothing: Duration) -> f64 {
        let now = now.as_secs();
        let (mut sum, mut known) = (0.0, 0_u64);
        for &(second, load) in &self.loads {
            if now.saturating_sub(second) < window.as_secs() {
                sum += load;
                known += 1;
            }
        }
        let newest = self.loads.back().map_or(0, |&(second, _)| second);
        let unreported = nothing.as_secs().min(now.saturating_sub(newest));
        let seconds = (known + unreported).min(window.as_secs().max(1));
        if seconds == 0 {
            0.0
        } else {
            sum / seconds as f64
        }
    }
}

/// Highest need of the last while.
#[derive(Clone, Debug, Default)]
pub(super) struct Peak {
    /// When, and how many pods; each lower than the one before it.
    needs: VecDeque<(Duration, f64)>,
}

impl Peak {
    /// Notes a need. What is not above it can never be the highest again.
    pub(super) fn record(&mut self, now: Duration, need: f64) {
        while self.needs.back().is_some_and(|&(_, last)| last <= need) {
            self.needs.pop_back();
        }
        // One entry per second is enough, and keeps a flood of reports from growing the line.
        match self.needs.back() {
            Some(&(at, _)) if at.as_secs() >= now.as_secs() => {}
            _ => self.needs.push_back((now, need)),
        }
    }

    /// Forgets what is longer ago than `hold`.
    pub(super) fn forget(&mut self, now: Duration, hold: Duration) {
        while self
            .needs
            .front()
            .is_some_and(|&(at, _)| now.saturating_sub(at) >= hold)
        {
            self.needs.pop_front();
        }
    }

    /// The highest need that is remembered.
    pub(super) fn highest(&self) -> f64 {
        self.needs.front().map_or(0.0, |&(_, need)| need)
    }
}
