//! The policy `knative`: pods for the stable average, and more at once in a panic.
//!
//! The stable average sizes the revision. When the short average asks for a multiple of the
//! pods that are ready, there is panic: the larger of both counts, and the number of pods
//! never falls until the demand has been within capacity for a whole stable window.
//!
//! Bounds (fewest, most, first pods) are not applied here but in [`bounds`](crate::bounds).
//!
//! Source: spec/autoscaler.md §5 and §6.

use std::fmt;
use std::time::Duration;

use crate::config::BurstCapacity;
use crate::load::Averages;
use crate::maximum::{Maximum, STEP};
use crate::spec::{Metric, Spec};

/// Time between two decisions of one revision.
pub const TICK: Duration = Duration::from_secs(2);

/// Decides for one revision, again and again.
#[derive(Clone, Debug)]
pub struct Decider {
    spec: Spec,
    /// When demand was last beyond the threshold, while there is panic.
    panic_since: Option<Duration>,
    /// Most pods that this panic asked for.
    peak: u32,
    /// What was decided lately, if going down is delayed.
    delay: Option<Maximum>,
}

impl Decider {
    /// Begins at `now` with `ready` pods (0 if that is not known).
    ///
    /// Several pods are a sign of load that this decider has not seen: it begins in panic, so
    /// that a restart of the autoscaler takes no pod away. Whether going down is delayed is
    /// settled here; to change it takes a new decider.
    pub fn new(spec: Spec, ready: u32, now: Duration) -> Self {
        let delay = spec.scale_down_delay;
        Self {
            panic_since: (ready > 1).then_some(now),
            peak: ready,
            delay: (!delay.is_zero()).then(|| Maximum::new(delay, STEP)),
            spec,
        }
    }

    /// Changes the parameters from the next decision on; what was seen is kept.
    pub fn update(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// The parameters.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Whether there is panic.
    pub fn is_panicking(&self) -> bool {
        self.panic_since.is_some()
    }

    /// Most pods that this panic asked for. It outlives the decision that asked.
    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// Pods wanted at `now` under `load`, with `ready` pods (0 if the revision has none yet).
    ///
    /// Where the load or the number of pods is not known, there is nothing to decide: do not
    /// call it then, and everything stays as it is.
    pub fn decide(&mut self, load: Averages, ready: u32, now: Duration) -> Decision {
        let range = Range::around(ready, &self.spec);
        let by_panic = (load.panic / self.spec.target).ceil();
        let stable = range.clip((load.stable / self.spec.target).ceil(), &self.spec);
        let panic = range.clip(by_panic, &self.spec);
        self.watch_panic(by_panic / range.ready >= self.spec.panic_threshold, now);

        let (mode, (mut desired, mut held)) = match self.panic_since {
            None => (Mode::Stable, stable),
            Some(_) => {
                let larger = if panic.0 > stable.0 { panic } else { stable };
                let asked = if larger.0 >= self.peak {
                    larger
                } else {
                    (self.peak, Some(Held::Peak))
                };
                self.peak = asked.0;
                (Mode::Panic, asked)
            }
        };
        if self.spec.is_reachable()
            && let Some(delay) = &mut self.delay
        {
            let delayed = delay.record(now, desired);
            if delayed != desired {
                (desired, held) = (delayed, Some(Held::Delay));
            }
        }
        Decision {
            desired,
            excess_burst_capacity: excess_burst_capacity(&self.spec, ready, load.panic),
            mode,
            held,
            load,
            target: self.spec.target,
            metric: self.spec.metric,
            ready,
        }
    }

    /// Enters, prolongs or leaves the panic.
    fn watch_panic(&mut self, overloaded: bool, now: Duration) {
        if overloaded {
            self.panic_since = Some(now);
        } else if let Some(since) = self.panic_since
            && since + self.spec.stable_window < now
        {
            self.panic_since = None;
            self.peak = 0;
        }
    }
}

/// What one decision may reach from so many pods.
struct Range {
    /// Ready pods, at least one: what a rate is a multiple of.
    ready: f64,
    down: f64,
    up: f64,
}

impl Range {
    fn around(ready: u32, spec: &Spec) -> Self {
        let ready = f64::from(ready.max(1));
        Self {
            ready,
            down: if spec.is_reachable() {
                (ready / spec.max_scale_down_rate).floor()
            } else {
                0.0
            },
            up: (spec.max_scale_up_rate * ready).ceil(),
        }
    }

    /// Brings `wanted` into the range, and up to the activation scale, which may lie beyond it.
    fn clip(&self, wanted: f64, spec: &Spec) -> (u32, Option<Held>) {
        let within = wanted.max(self.down).min(self.up);
        let held = if within < wanted {
            Some(Held::UpRate)
        } else if within > wanted {
            // A negative load is no load.
            (within > 0.0).then_some(Held::DownRate)
        } else {
            None
        };
        let pods = within as u32;
        match spec.activation_scale {
            Some(least) if wanted > 0.0 && pods < least => (least, Some(Held::Activation)),
            _ => (pods, held),
        }
    }
}

/// Load that could still come before the pods are full, less what has to stay free. While it
/// is below zero, the activator stays in the path.
fn excess_burst_capacity(spec: &Spec, ready: u32, load: f64) -> i32 {
    match spec.burst_capacity {
        BurstCapacity::Unlimited => -1,
        BurstCapacity::Of(0.0) => 0,
        BurstCapacity::Of(room) => (f64::from(ready) * spec.total - room - load).floor() as i32,
    }
}

/// Which of the two averages decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The stable one.
    Stable,
    /// The larger one.
    Panic,
}

/// What kept a decision from being load over target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// No more pods at once: `max-scale-up-rate`.
    UpRate,
    /// No fewer pods at once: `max-scale-down-rate`.
    DownRate,
    /// The first pods come together: `activation-scale`.
    Activation,
    /// No fewer pods than this panic asked for before.
    Peak,
    /// More pods were wanted within the `scale-down-delay`.
    Delay,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UpRate => "held down by max-scale-up-rate",
            Self::DownRate => "held up by max-scale-down-rate",
            Self::Activation => "raised to activation-scale",
            Self::Peak => "held at the peak of this panic",
            Self::Delay => "held up by scale-down-delay",
        })
    }
}

/// One decision, and why. Its `Display` says why, in a phrase for the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Pods wanted, before the bounds.
    pub desired: u32,
    /// Load that could still come before the activator has to help; see the spec, step 8.
    pub excess_burst_capacity: i32,
    /// Which average decided.
    pub mode: Mode,
    /// What changed the result, last.
    pub held: Option<Held>,
    /// The averages.
    pub load: Averages,
    /// Load aimed at per pod.
    pub target: f64,
    /// What the load is counted in.
    pub metric: Metric,
    /// Pods that were ready.
    pub ready: u32,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Averages { stable, panic } = self.load;
        let unit = match self.metric {
            Metric::Concurrency => "in flight",
            Metric::Rps => "per second",
        };
        let target = self.target;
        match self.mode {
            Mode::Stable => write!(f, "stable: {stable:.2} {unit}, target {target:.2} per pod")?,
            Mode::Panic => write!(
                f,
                "panic: {panic:.2} (stable {stable:.2}) {unit}, target {target:.2} per pod"
            )?,
        }
        match self.held {
            Some(held) => write!(f, ", {held}"),
            None => Ok(()),
        }
    }
}

/// The last decision, as those who act on it see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Pods wanted; `None` before the first decision.
    pub desired: Option<u32>,
    /// As in [`Decision`].
    pub excess_burst_capacity: i32,
}

impl Status {
    /// Before the first decision: as if the initial pods were there, without load.
    pub fn initial(spec: &Spec) -> Self {
        Self {
            desired: None,
            excess_burst_capacity: match spec.burst_capacity {
                BurstCapacity::Unlimited => -1,
                BurstCapacity::Of(0.0) => 0,
                BurstCapacity::Of(room) => {
                    (f64::from(spec.initial_scale) * spec.total - room) as i32
                }
            },
        }
    }

    /// Takes over a decision. Returns whether there is something to act on: another number of
    /// pods, or an activator that has to enter or to leave the path.
    pub fn update(&mut self, decision: &Decision) -> bool {
        let old = *self;
        self.desired = Some(decision.desired);
        self.excess_burst_capacity = decision.excess_burst_capacity;
        old.desired != self.desired
            || (old.excess_burst_capacity < 0) != (self.excess_burst_capacity < 0)
    }

    /// Whether a report of so much concurrency has to be decided on at once: the first sign of
    /// load after the decision that no pod is needed.
    pub fn is_woken_by(&self, concurrency: f64) -> bool {
        self.desired == Some(0) && concurrency != 0.0
    }
}

#[cfg(test)]
mod tests;
