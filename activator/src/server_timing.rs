//! Where the time of a request went that had to wait, for the one who waited.
//!
//! `Server-Timing: demand;dur=1.2, start;dur=3.4, ready;dur=80.1, line;dur=0.3, forward;dur=2.0`, in
//! milliseconds: until a pod was asked for, until its container started, until it was ready,
//! until the request had its slot, until the answer began. The first three only if the pod came
//! up meanwhile.
//!
//! Source: issue "The activator", point 8; W3C Server Timing.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use http::HeaderValue;

/// The marks of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) arrived: Instant,
    /// When its pod was asked for, started and ready, if it came up meanwhile.
    pub(crate) pod: Option<[Instant; 3]>,
    pub(crate) sent: Instant,
    pub(crate) first_byte: Instant,
}

impl Marks {
    /// The value of the header. A stage that was over before the request came took no time.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut text = String::new();
        let mut last = self.arrived;
        let mut stage = |name: &str, end: Instant| {
            let took = end.saturating_duration_since(last);
            last = last.max(end);
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{separator}{name};dur={:.1}", millis(took));
        };
        if let Some([asked, started, ready]) = self.pod {
            stage("demand", asked);
            stage("start", started);
            stage("ready", ready);
        }
        stage("line", self.sent);
        stage("forward", self.first_byte);
        HeaderValue::try_from(text).ok()
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_each_other_and_what_was_before_took_no_time() {
        let t0 = Instant::now();
        let at = |millis| t0 + Duration::from_millis(millis);
        let marks = Marks {
            arrived: at(10),
            pod: Some([at(5), at(12), at(30)]),
            sent: at(31),
            first_byte: at(36),
        };
        assert_eq!(
            marks.header().unwrap(),
            "demand;dur=0.0, start;dur=2.0, ready;dur=18.0, line;dur=1.0, forward;dur=5.0"
        );
        let warm = Marks { pod: None, ..marks };
        assert_eq!(warm.header().unwrap(), "line;dur=21.0, forward;dur=5.0");
    }
}
