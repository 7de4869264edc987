//! Policy `demand`: as many pods as what waits and what runs now asks for.
//!
//! A decision is due whenever a report arrives and on a tick. Between decisions the policy
//! remembers: the pods it wants, the newest report, the load of each second of the stable
//! window, and the highest need of the last [`HOLD`].
//!
//! **Need**, in pods (a fraction), of the newest report:
//!
//! ```text
//! need = max( (waiting + in flight) / full,   if anything waits
//!             steady / target )
//! ```
//!
//! `target` is the load aimed at per pod (total × utilisation). `full` is what a pod really
//! holds: its total where a hard limit enforces it (`containerConcurrency`), else again the
//! target. The room that the utilisation leaves free is there for requests yet to come; those
//! that wait have come, so each gets a slot: 200 waiting at 10 slots are 20 pods, not 29.
//! `steady` is the mean load of the last second. Under a hard limit it is at most [`BELIEVED`]
//! times what the pods held in both seconds before: a burst that was given its slots does not
//! ask for room beside them as well unless it stays, while a step of up to x2 counts in full
//! after its first full second.
//!
//! **Up**, at once: to the need, if something waits and the need is above the pods wanted, or
//! if it is [`BAND`] above them. For [`COMPLETE`] after such a raise the band is only [`DRIFT`]: the
//! second that showed a step was not all after it. A line that goes on growing within
//! [`TOGETHER`] of a raise has to be worth [`WORTH_A_CALL`] times the pods for another one: a line in
//! front of pods that are still starting grows with every request. A load that stays inside the
//! band is followed once per stable window, from the mean of that window, if it is [`DRIFT`] above
//! the pods.
//!
//! **Down**: to the highest of the need and the load now, the needs of the last [`HOLD`] (a quarter
//! of the stable window if that is shorter, the scale-down delay if that is longer) and the mean of
//! the stable window. A step takes away at most what `max-scale-down-rate` allows, and steps are a
//! [`PACE`]th of the window apart: a peak decays instead of being held for a whole window.
//! **Zero**: only when no demand was seen for a whole stable window, and the retention after it.
//!
//! **Silence** is not zero. A report of nothing is, and it lasts: its source speaks again as soon as
//! there is something. So is a source that speaks and does not mention the revision
//! ([`Decider::absent`]). Silence after a report of load leaves the pods as they are. A
//! restart begins with the pods that are wanted already, as if they had just been scaled up.
//!
//! **Path**: the activator enters it when the excess burst capacity falls below zero, and leaves it
//! after a [`HOLD`] in which a [`BAND`] of the pods' capacity was free besides: at the boundary it
//! stays where it is ([`Decider::excess_burst_capacity`]).
//!
//! **What prevents flapping** at a steady load L with noise: up needs more than [`BAND`] above the
//! pods; a step down of less than [`BAND`] needs a whole stable window, and [`SMALL_CHANGE`],
//! without any change, and a larger one needs a [`HOLD`] in which *no second* needed the pods. Noise
//! below [`BAND`] moves nothing in between, so there is at most one change per stable window.
//!
//! | Constant | Value | Why |
//! |---|---|---|
//! | [`BAND`] | 10% | above the ±3% of a measured steady load; a step of x1.3 is well outside |
//! | [`DRIFT`] | 2% | the mean of a window of 60 noisy seconds is good to about 1% |
//! | [`COMPLETE`] | 3 s | the first second after a step is a mixed one; two more may come late |
//! | [`TOGETHER`] | 1 s | by then the next report is there, and tells of all that came meanwhile |
//! | [`WORTH_A_CALL`] | x1.5 | a line of any length is followed in few calls, and no request waits much longer for it |
//! | [`BELIEVED`] | x2 | the largest step that has to be followed from one full second |
//! | [`HOLD`] | 15 s | longer than a pod takes to start, and than the gaps of a load that would pay for new starts after each |
//! | [`SMALL_CHANGE`] | 60 s | what it saves is less than a tenth; a short window is no wish to flap |
//! | [`PACE`] | 1/10 | 6 s of 60: a peak halves (rate 2) in each, and is gone long before a whole window is over |
//! | [`SILENCE`] | 3 s | reports come each second: two may be lost |
//!
//! Bounds, activation scale, rates, initial scale, delay and retention mean what they mean in
//! spec/autoscaler.md §3, §5, §7 and §8. The grace period is not waited for: the activator is in
//! the path whenever this policy decides on the last pod.

mod history;
mod path;
mod why;

use std::time::Duration;

use penstock_types::Slots;

use crate::spec::{Metric, Spec};
use history::{Peak, Seconds};
use path::Path;

pub use why::{Clip, Decision, Mode};

/// Part of the wanted pods by which the need may be off before it is followed at once.
pub const BAND: f64 = 0.1;
/// Part of the wanted pods by which the mean of a whole stable window may be above them.
pub const DRIFT: f64 = 0.02;
/// Time after a raise in which the rest of the same rise is followed.
pub const COMPLETE: Duration = Duration::from_secs(3);
/// Time after a raise in which more of the same line has to be worth another one.
pub const TOGETHER: Duration = Duration::from_secs(1);
/// Growth of the need that is worth another raise at once.
pub const WORTH_A_CALL: f64 = 1.5;
/// Growth from one second to the next that is believed to stay.
pub const BELIEVED: f64 = 2.0;
/// Time for which a need keeps its pods, if a quarter of the stable window is not shorter.
pub const HOLD: Duration = Duration::from_secs(15);
/// Time without any change before pods go of which there are less than [`BAND`] too many.
pub const SMALL_CHANGE: Duration = Duration::from_secs(60);
/// Divisor of the stable window: time between two steps down.
pub const PACE: u32 = 10;
/// Time without a word after which the newest report is no longer taken for the present.
pub const SILENCE: Duration = Duration::from_secs(3);

/// Shortest time between two steps down: the tick of the contract, whose rates are per tick.
const TICK: Duration = Duration::from_secs(2);
/// Time a revision is given beyond its progress deadline (spec/autoscaler.md §8).
const DEADLINE_SLACK: Duration = Duration::from_secs(30);
/// Time from which a report is about another second: they come each second, give or take.
const ANOTHER: Duration = Duration::from_millis(500);
/// What a sum of doubles may be too much.
const ROUNDING: f64 = 1e-9;

/// One report, summed over its sources.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Mean over the last second, in units of the revision's metric: requests in flight (waiting
    /// ones included) or requests per second. `None` in the first word of a revision, which has
    /// no second behind it.
    pub average: Option<f64>,
    /// Requests that wait for a slot now.
    pub waiting: u32,
    /// Requests inside pods now.
    pub in_flight: u32,
}

impl Load {
    fn is_nothing(self) -> bool {
        self.waiting == 0 && self.in_flight == 0 && self.average.unwrap_or(0.0) == 0.0
    }
}

/// What is remembered of one revision.
#[derive(Clone, Debug)]
pub struct Decider {
    spec: Spec,
    slots: Slots,
    /// Pods wanted, as last decided.
    pods: u32,
    /// Whether the initial scale was reached, or given up.
    initialized: bool,
    born: Duration,
    changed: Duration,
    raised: Duration,
    /// The newest word, and when it was heard.
    load: Load,
    heard: Option<Duration>,
    /// Load that pods held in the last second and in the one before.
    held: [f64; 2],
    /// When the first of them was first reported.
    held_since: Duration,
    /// Load of the last second, as far as it is believed to stay.
    steady: f64,
    /// Since when the newest word is "nothing".
    idle: Option<Duration>,
    seconds: Seconds,
    peak: Peak,
    path: Path,
}

impl Decider {
    /// Begins at `now` with the `wanted` pods that the cluster was last asked for.
    ///
    /// A revision with none is new: it begins with its initial scale.
    pub fn new(spec: Spec, slots: Slots, wanted: u32, now: Duration) -> Self {
        Self {
            initialized: wanted > 0,
            pods: wanted,
            born: now,
            changed: now,
            raised: now,
            load: Load::default(),
            heard: None,
            held: [0.0; 2],
            held_since: Duration::ZERO,
            steady: 0.0,
            idle: None,
            seconds: Seconds::default(),
            peak: Peak::default(),
            path: Path::new(&spec),
            spec,
            slots,
        }
    }

    /// Goes on where another decider ended: `initialized` says whether the revision has had its
    /// initial scale, `out` whether the activator had left the path.
    #[must_use]
    pub fn resume(mut self, initialized: bool, out: bool) -> Self {
        self.initialized |= initialized;
        self.path.resume(out);
        self
    }

    /// Replaces the parameters; what was seen stays.
    pub fn set_spec(&mut self, spec: Spec, slots: Slots) {
        self.spec = spec;
        self.slots = slots;
    }

    /// The parameters.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Pods wanted, as last decided.
    pub fn pods(&self) -> u32 {
        self.pods
    }

    /// Takes a report that was made at `now`, while `ready` pods took requests.
    ///
    /// An average that is no number is missing, and a report that has nothing else is no report.
    /// One below zero is zero: the contract's counts correct themselves in the next report.
    pub fn observe(&mut self, mut load: Load, ready: u32, now: Duration) {
        let finite = load.average.filter(|average| average.is_finite());
        let missing = finite.is_none() && load.average.is_some();
        load.average = finite.map(|average| average.max(0.0));
        if missing && load.is_nothing() {
            return;
        }
        if let Some(average) = load.average {
            self.steady = match (self.slots, self.spec.metric) {
                (Slots::Limited(_), _) => average.min(BELIEVED * self.held[0].min(self.held[1])),
                // Without a pod all of it waits, and is counted there.
                (Slots::Unlimited, Metric::Concurrency) if ready == 0 => 0.0,
                (Slots::Unlimited, _) => average,
            };
            let held = match self.spec.metric {
                Metric::Concurrency => average.min(self.spec.total * f64::from(ready)),
                Metric::Rps => average,
            };
            // Several sources may speak in one second; only a second makes the last one the one
            // before.
            let before = if now.saturating_sub(self.held_since) >= ANOTHER {
                self.held_since = now;
                self.held[0]
            } else {
                self.held[1]
            };
            self.held = [held, before];
            self.seconds.record(now, average, self.spec.stable_window);
        }
        self.load = load;
        self.heard = Some(now);
        self.idle = match (load.is_nothing(), load.average) {
            (false, _) => None,
            // A first word stands for a request, also for one that is over already.
            (true, None) => Some(now),
            (true, Some(_)) => Some(self.idle.unwrap_or(now)),
        };
        self.peak.record(now, self.need());
    }

    /// The source speaks but does not mention the revision: nothing is there.
    pub fn absent(&mut self, now: Duration) {
        self.load = Load::default();
        self.held = [0.0; 2];
        self.steady = 0.0;
        self.heard = Some(now);
        self.idle = Some(self.idle.unwrap_or(now));
    }

    /// When a word about the revision was last heard.
    pub fn heard(&self) -> Option<Duration> {
        self.heard
    }

    /// Mean load over the known part of the stable window, in units of the metric.
    pub fn stable(&self, now: Duration) -> f64 {
        let silence = self
            .idle
            .map_or(Duration::ZERO, |idle| now.saturating_sub(idle));
        self.seconds.mean(now, self.spec.stable_window, silence)
    }

    /// Load of the newest report, in units of the metric; its requests now, where no second is
    /// behind it.
    pub fn newest(&self) -> f64 {
        let now = f64::from(self.load.waiting) + f64::from(self.load.in_flight);
        self.load.average.unwrap_or(now)
    }

    /// Excess burst capacity as of the last decision, in units of the metric. While it is below zero
    /// the activator is in the path; it does not cross zero to and fro.
    pub fn excess_burst_capacity(&self) -> i32 {
        self.path.excess()
    }

    /// Load that a waiting request is measured against, per pod.
    fn full(&self) -> f64 {
        match (self.slots, self.spec.metric) {
            (Slots::Limited(_), Metric::Concurrency) => self.spec.total,
            (Slots::Limited(slots), Metric::Rps) => f64::from(slots.get()),
            (Slots::Unlimited, _) => self.spec.target,
        }
    }

    /// Pods that the newest report asks for, as a fraction.
    pub fn need(&self) -> f64 {
        self.need_of_requests().max(self.steady / self.spec.target)
    }

    /// Pods that the requests of now fill, if any of them waits.
    fn need_of_requests(&self) -> f64 {
        // A rate says nothing of the slots that are taken: without them they would be given up.
        let slots_count = matches!(
            (self.slots, self.spec.metric),
            (Slots::Limited(_), Metric::Rps)
        );
        if self.load.waiting > 0 || slots_count {
            (f64::from(self.load.waiting) + f64::from(self.load.in_flight)) / self.full()
        } else {
            0.0
        }
    }

    /// Pods wanted at `now`, while `ready` pods take requests.
    pub fn decide(&mut self, ready: u32, now: Duration) -> Decision {
        let decision = self.consider(ready, now);
        self.carry_out(decision.pods, now);
        decision
    }

    /// What [`Decider::decide`] says, without relying on it: whoever has more to say about the last
    /// pod then tells by [`Decider::carry_out`] what came of it.
    pub fn consider(&mut self, ready: u32, now: Duration) -> Decision {
        let reachable = self.spec.is_reachable();
        self.forget(now);
        self.path.watch(&self.spec, self.newest(), ready, now);
        self.initialized |= ready >= self.spec.initial_scale.max(self.spec.min_scale)
            || now.saturating_sub(self.born) > self.spec.progress_deadline + DEADLINE_SLACK;

        let mut decision = self.choose(now);
        if let Some(scale) = self.spec.activation_scale
            && decision.pods > 0
            && decision.pods < scale
            && self.need().max(self.stable(now)) > 0.0
        {
            decision.clip(scale, Clip::ActivationScale);
        }
        let ready_or_one = f64::from(ready.max(1));
        let most = whole((self.spec.max_scale_up_rate * ready_or_one).ceil()).max(self.pods);
        if decision.pods > most {
            decision.clip(most, Clip::UpRate);
        }
        if decision.pods < self.pods && reachable {
            let least = whole((f64::from(self.pods) / self.spec.max_scale_down_rate).floor());
            if decision.pods < least {
                decision.clip(least, Clip::DownRate);
            }
        }
        self.bound(&mut decision);
        decision
    }

    /// The cluster is asked for so many pods from `now` on.
    pub fn carry_out(&mut self, pods: u32, now: Duration) {
        if pods != self.pods {
            self.changed = now;
            if pods > self.pods {
                self.raised = now;
            }
            self.pods = pods;
        }
    }

    /// The rule, before rates and bounds.
    fn choose(&self, now: Duration) -> Decision {
        let Spec {
            target,
            stable_window: window,
            ..
        } = self.spec;
        let stay = |mode, figure| Decision::new(self.pods, mode, figure, target);
        let Some(heard) = self.heard else {
            return stay(Mode::Silent, 0.0);
        };
        if self.idle.is_none() && now.saturating_sub(heard) >= SILENCE {
            return stay(Mode::Silent, self.newest());
        }

        let pods = f64::from(self.pods);
        // A line that grows before the first pod is there would bring one call after another.
        let hurried = self.raised > self.born && now.saturating_sub(self.raised) < TOGETHER;
        let need = if hurried && self.need_of_requests() < pods * WORTH_A_CALL {
            self.steady / target
        } else {
            self.need()
        };
        let stable = self.stable(now);
        let unchanged = now.saturating_sub(self.changed);
        // Without a pod only a waiting request asks for one: a line that emptied does not.
        let followed = self.pods > 0
            && unchanged >= window
            && now.saturating_sub(self.born) >= window
            && stable / target > pods * (1.0 + DRIFT);
        if followed && stable / target > need {
            return Decision::new(up(stable / target), Mode::Stable, stable, target);
        }
        let (waiting, in_flight) = (self.load.waiting, self.load.in_flight);
        let lacks_slots = waiting > 0 && need > pods + ROUNDING;
        if lacks_slots && need <= self.need_of_requests() {
            let figure = f64::from(waiting) + f64::from(in_flight);
            return Decision::new(up(need), Mode::Burst, figure, self.full())
                .with_requests(waiting, in_flight);
        }
        let rising = self.raised > self.born && now.saturating_sub(self.raised) <= COMPLETE;
        let band = if rising { DRIFT } else { BAND };
        if lacks_slots || followed || self.pods > 0 && need > pods * (1.0 + band) {
            return Decision::new(up(need), Mode::Rise, self.steady, target);
        }

        let peak = self.peak.highest();
        // Also what is not believed to stay is there now.
        let last = self.load.average.unwrap_or(0.0);
        let low = up(need.max(peak).max(stable.max(last) / target));
        let over = self
            .idle
            .is_some_and(|idle| now.saturating_sub(idle) >= window + self.spec.retention);
        let low = if over { low } else { low.max(1) };
        let settled = unchanged >= (window / PACE).max(TICK)
            && (f64::from(low) <= pods * (1.0 - BAND)
                && now.saturating_sub(self.raised) >= HOLD.min(window / 4)
                || unchanged >= window.max(SMALL_CHANGE));
        if low >= self.pods || !settled {
            return stay(Mode::Stable, stable);
        }
        if low == 0 {
            let idle = self.idle.map_or(Duration::ZERO, |i| now.saturating_sub(i));
            return Decision::new(0, Mode::Idle, 0.0, target).after(idle);
        }
        if peak > stable / target {
            Decision::new(low, Mode::Fall, peak * target, target).after(self.hold())
        } else {
            Decision::new(low, Mode::Stable, stable, target).after(window)
        }
    }

    /// Puts the decision within the bounds (spec/autoscaler.md §7, `Scale`): the lower one wins.
    fn bound(&self, decision: &mut Decision) {
        if let Some(max) = self.spec.max_scale
            && decision.pods > max
        {
            decision.clip(max, Clip::MaxScale);
        }
        if decision.pods == 0 && !self.spec.scale_to_zero {
            decision.clip(1, Clip::NoScaleToZero);
        }
        if decision.pods < self.spec.min_scale {
            decision.clip(self.spec.min_scale, Clip::MinScale);
        }
        if !self.initialized && self.spec.is_reachable() && decision.pods < self.spec.initial_scale
        {
            decision.clip(self.spec.initial_scale, Clip::InitialScale);
        }
    }

    /// Time for which a need keeps its pods.
    fn hold(&self) -> Duration {
        let hold = HOLD.min(self.spec.stable_window / 4);
        if self.spec.is_reachable() {
            hold.max(self.spec.scale_down_delay)
        } else {
            hold
        }
    }

    fn forget(&mut self, now: Duration) {
        self.seconds.forget(now, self.spec.stable_window);
        self.peak.forget(now, self.hold());
    }
}

/// So many pods that the need fits.
fn up(need: f64) -> u32 {
    whole((need - ROUNDING).ceil())
}

/// A double as a count; it saturates at both ends.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests;
