//! How fast the line of a revision moves: what a refused caller is told to wait.
//!
//! Source: issue "The activator", point 4; RFC 9110 §10.2.3 for `Retry-After`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Over so long is the rate taken.
const WINDOW: Duration = Duration::from_secs(1);
/// Said when nothing is known: neither has anybody left the line yet, nor a pod ever started.
const UNKNOWN: Duration = Duration::from_secs(1);

/// How fast requests leave the line for a pod, and how long a pod takes to start.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// When the window began, and who has left since.
    window: Option<(Instant, u32)>,
    /// Requests per second in the window before.
    before: Option<f64>,
    /// From the wish for the last pod that has started to its being ready.
    start: Option<Duration>,
    /// When the first of the pods was asked for that are not ready yet.
    asked: Option<Instant>,
}

impl Pace {
    /// Somebody waits where nobody did: the time until now says nothing of the line.
    pub(crate) fn line_begins(&self, now: Instant) {
        let mut known = self.lock();
        known.window = Some((now, 0));
        known.before = None;
    }

    /// A request has left the line for a pod.
    pub(crate) fn left(&self, now: Instant) {
        let mut known = self.lock();
        let (since, count) = known.window.get_or_insert((now, 0));
        *count += 1;
        let over = now.saturating_duration_since(*since);
        if over >= WINDOW {
            known.before = Some(f64::from(*count) / over.as_secs_f64());
            known.window = Some((now, 0));
        }
    }

    /// Pods have changed: how long the latest took to be ready, and since when one is starting.
    pub(crate) fn pods(&self, start: Option<Duration>, asked: Option<Instant>) {
        let mut known = self.lock();
        known.start = start.or(known.start);
        known.asked = asked;
    }

    /// After how many whole seconds there will be room for one who comes behind `waiting`
    /// others; at most `longest`, after which all of them have been answered or have given up.
    pub(crate) fn retry_after(&self, waiting: usize, longest: Duration, now: Instant) -> u64 {
        let known = self.lock();
        let rate = known.window.and_then(|(since, count)| {
            let over = now.saturating_duration_since(since);
            match known.before {
                Some(before) if over < WINDOW => Some(before),
                _ if over >= WINDOW && count > 0 => Some(f64::from(count) / over.as_secs_f64()),
                // Nobody in all that time is at most one, unless it is for want of a pod.
                before if over >= WINDOW && (before.is_some() || known.asked.is_none()) => {
                    Some(1.0 / over.as_secs_f64())
                }
                _ => None,
            }
        });
        let wait = match rate {
            Some(rate) => waiting as f64 / rate,
            None => {
                let gone = known
                    .asked
                    .map(|asked| now.saturating_duration_since(asked));
                let start = known.start.unwrap_or(UNKNOWN);
                start.saturating_sub(gone.unwrap_or_default()).as_secs_f64()
            }
        };
        // As a float, too large a number becomes the largest whole one.
        (wait.ceil() as u64).clamp(1, longest.as_secs().max(1))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn a_line_that_moves_is_told_by_its_length_and_its_rate() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let at = |millis| t0 + Duration::from_millis(millis);
        pace.line_begins(t0);
        // Ten a second, for two seconds.
        for millis in (0..2050).step_by(100) {
            pace.left(at(millis));
        }
        let table = [
            ("a hundred at ten a second", 100, 2100, 10),
            ("one", 1, 2100, 1),
            ("nobody", 0, 2100, 1),
            ("more than can be served in time", 10_000, 2100, 300),
            (
                "it has stood still since: ten seconds each",
                10,
                12_000,
                100,
            ),
        ];
        for (case, waiting, millis, want) in table {
            let told = pace.retry_after(waiting, LONGEST, at(millis));
            assert!(told.abs_diff(want) <= want / 10, "{case}: {told}");
        }
    }

    #[test]
    fn a_line_that_has_not_moved_is_told_by_the_start_of_its_pod() {
        let (pace, t0) = (Pace::default(), Instant::now());
        let at = |seconds| t0 + Duration::from_secs(seconds);
        assert_eq!(pace.retry_after(50, LONGEST, t0), 1, "nothing is known");
        pace.pods(Some(Duration::from_secs(8)), None);
        assert_eq!(pace.retry_after(50, LONGEST, t0), 8, "not asked for yet");
        pace.pods(None, Some(t0));
        assert_eq!(pace.retry_after(50, LONGEST, at(3)), 5);
        assert_eq!(pace.retry_after(50, LONGEST, at(30)), 1, "any moment");
        assert_eq!(pace.retry_after(50, Duration::from_secs(2), t0), 2);
        pace.line_begins(at(3));
        assert_eq!(
            pace.retry_after(50, LONGEST, at(6)),
            2,
            "nobody has left yet"
        );
    }
}
