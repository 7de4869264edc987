//! Pods that get nothing for a while: they refused a request, or cut one off.
//!
//! A pod that ends closes its connections before the cluster knows of it. So the first answer
//! that is cut off sets its pod aside before the slot of that request is free again: nobody who
//! waits is sent into a dying process. The pod is probed from then on, and used again once it
//! answers, once the cluster says that it is ready anew, or after [`LONGEST`]: the next request
//! is then the probe. A pod that is merely wrong about one request is back within milliseconds,
//! and for [`CLEARED`] after that the same fault only has it probed: else a caller who knows
//! which request is cut off could keep everybody else from being served.
//!
//! Source: design.md, decision 3; spec/activator.md §4.2 for the probe.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_gate::Gate;
use tokio::time::{Instant, sleep};

use crate::discovery::Scout;
use crate::request::Shared;
use crate::revision::Place;

/// From the fault to the first probe: a process that ends closes everything within that.
const FIRST: Duration = Duration::from_millis(5);
/// The longest pause between two probes; each is twice the one before.
const MOST: Duration = Duration::from_millis(250);
/// A pod whose probes fail for so long, and which the cluster still holds for ready, gets a
/// request again.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a pod that has passed its probe is not set aside for an answer that is cut off.
const CLEARED: Duration = Duration::from_secs(1);

/// What a pod did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It took nothing of the request.
    Refused,
    /// It took the request and ended the connection instead of answering, or within the answer.
    CutOff,
}

/// What is held against a pod.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// Somebody probes it.
    watched: AtomicBool,
    /// Times that it was set aside since it has last served a request.
    strikes: AtomicU32,
    /// When it has last passed a probe.
    cleared: Mutex<Option<Instant>>,
}

impl Doubt {
    /// It has served a request.
    pub(crate) fn is_over(&self) {
        // Read first: nearly all requests find nothing to change.
        if self.strikes.load(Ordering::Relaxed) != 0 {
            self.strikes.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the caller is the one to probe it from now on, until [`Doubt::end_watch`].
    fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::AcqRel)
    }

    fn end_watch(&self) {
        self.watched.store(false, Ordering::Release);
    }

    /// The pause before the first probe: longer each time if it passes probes and serves nobody.
    fn strike(&self) -> Duration {
        let strikes = self.strikes.fetch_add(1, Ordering::Relaxed);
        FIRST.saturating_mul(1 << strikes.min(16)).min(MOST)
    }

    fn is_cleared(&self) -> bool {
        let cleared = *self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        cleared.is_some_and(|since| since.elapsed() < CLEARED)
    }

    fn clear(&self) {
        *self.cleared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Holds `fault` against `place`. Called while the request still has its slot there.
pub(crate) fn hold_against(
    shared: &Arc<Shared>,
    gate: &Arc<Gate<Place>>,
    place: &Place,
    fault: Fault,
) {
    let doubt = place.doubt();
    let spared = fault == Fault::CutOff && doubt.is_cleared();
    if !spared {
        gate.set_aside(place);
    }
    if doubt.begin_watch() {
        let (gate, place) = (Arc::clone(gate), place.clone());
        let scout = shared.scout.clone();
        shared.beside(async move { watch(&scout, &gate, &place).await });
    }
}

/// Probes a pod that is doubted, and brings it back. Of all requests that it has failed one does.
async fn watch(scout: &Scout, gate: &Gate<Place>, place: &Place) {
    let doubt = place.doubt();
    if !gate.is_aside(place) {
        if scout.answers(place.addr(), place.host()).await {
            doubt.end_watch();
            return;
        }
        gate.set_aside(place);
    }
    until_well(scout, gate, place).await;
    // In this order: whoever sets it aside from now on finds nobody who watches it.
    doubt.end_watch();
    gate.bring_back(place);
}

/// Returns once the pod answers a probe, is not aside any more, or has been so for too long.
async fn until_well(scout: &Scout, gate: &Gate<Place>, place: &Place) {
    let doubt = place.doubt();
    let mut pause = doubt.strike();
    let last = Instant::now() + LONGEST;
    while gate.is_aside(place) && Instant::now() < last {
        sleep(pause).await;
        if scout.answers(place.addr(), place.host()).await {
            doubt.clear();
            return;
        }
        pause = (pause * 2).min(MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_request_is_served_and_a_cleared_pod_stays_so_for_a_second() {
        let doubt = Doubt::default();
        let pauses: Vec<_> = (0..8).map(|_| doubt.strike().as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 250, 250]);
        doubt.is_over();
        assert_eq!(doubt.strike(), FIRST);

        assert!(!doubt.is_cleared());
        doubt.clear();
        sleep(CLEARED - Duration::from_millis(1)).await;
        assert!(doubt.is_cleared());
        sleep(Duration::from_millis(1)).await;
        assert!(!doubt.is_cleared());
    }

    #[test]
    fn only_one_watches() {
        let doubt = Doubt::default();
        assert_eq!([doubt.begin_watch(), doubt.begin_watch()], [true, false]);
        doubt.end_watch();
        assert!(doubt.begin_watch());
    }
}
