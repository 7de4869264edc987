//! The two policies behind one face: a report goes in, a number of pods and a reason come out.

mod knative;

use std::time::Duration;

use penstock_scaling::demand;
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::Slots;
use penstock_types::demand::Demand;

use knative::Knative;

/// Which policy decides. Both obey the same annotations and bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// Knative's: averages over windows, decided on a tick.
    Knative,
    /// What waits and what runs now, decided when a report arrives.
    #[default]
    Demand,
}

impl PolicyKind {
    /// Its name, as the command line takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Knative => "knative",
            Self::Demand => "demand",
        }
    }
}

/// The policy of one revision, with all it remembers.
#[derive(Debug)]
pub(crate) enum Policy {
    Knative(Box<Knative>),
    Demand(Box<demand::Decider>),
}

/// A number of pods, and why. The words are put together only when somebody reads them.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Pods wanted, within all bounds.
    pub pods: u32,
    pub(crate) mode: &'static str,
    pub(crate) figure: f64,
    pub(crate) target: f64,
    pub(crate) why: Why,
}

/// What the words are made from.
#[derive(Clone, Debug)]
pub(crate) enum Why {
    Knative(knative::Why),
    Demand(demand::Decision),
}

impl Verdict {
    /// Which figure against which target, and what bounded it.
    pub fn words(&self) -> String {
        match &self.why {
            Why::Knative(why) => why.to_string(),
            Why::Demand(decision) => decision.to_string(),
        }
    }

    /// What held the number up or down, last.
    pub(crate) fn held_by(&self) -> Option<String> {
        match &self.why {
            Why::Knative(why) => why.held_by(),
            Why::Demand(decision) => decision.clipped.map(|(_, by)| by.as_str().to_owned()),
        }
    }
}

/// The figures that are shown besides the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Mean of the stable window.
    pub(crate) stable: f64,
    /// Mean of the panic window, or load of the last second.
    pub(crate) panic: f64,
    /// Load aimed at per pod.
    pub(crate) target: f64,
    /// Pods that the load asks for, before the bounds.
    pub(crate) desired: f64,
    /// Load that still fits beside the target burst capacity.
    pub(crate) excess: f64,
    /// Whether there is panic.
    pub(crate) panicking: bool,
}

impl Policy {
    /// Begins at `now` with the pods that are `wanted` and `ready` already.
    pub(crate) fn new(
        kind: PolicyKind,
        spec: Spec,
        slots: Slots,
        wanted: u32,
        ready: u32,
        now: Duration,
    ) -> Self {
        match kind {
            PolicyKind::Knative => Self::Knative(Box::new(Knative::new(spec, wanted, ready, now))),
            PolicyKind::Demand => {
                Self::Demand(Box::new(demand::Decider::new(spec, slots, wanted, now)))
            }
        }
    }

    pub(crate) fn kind(&self) -> PolicyKind {
        match self {
            Self::Knative(_) => PolicyKind::Knative,
            Self::Demand(_) => PolicyKind::Demand,
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        match self {
            Self::Knative(knative) => knative.spec(),
            Self::Demand(decider) => decider.spec(),
        }
    }

    /// Replaces the parameters; what was seen stays.
    pub(crate) fn set_spec(&mut self, spec: Spec, slots: Slots, now: Duration) {
        match self {
            Self::Knative(knative) => knative.set_spec(spec, now),
            Self::Demand(decider) => decider.set_spec(spec, slots),
        }
    }

    /// Whether pods are asked for their figures.
    pub(crate) fn set_scraped(&mut self, scraped: bool) {
        match self {
            Self::Knative(knative) => knative.set_scraped(scraped),
            // It tells missing words from zeros by itself.
            Self::Demand(_) => {}
        }
    }

    /// Takes a report. Returns whether it has to be decided on at once.
    pub(crate) fn observe(&mut self, report: &Demand, ready: u32, now: Duration) -> bool {
        match self {
            Self::Knative(knative) => knative.observe(report, now),
            Self::Demand(decider) => {
                let metric = decider.spec().metric;
                decider.observe(load(report, metric), ready, now);
                report.first || report.waiting > 0
            }
        }
    }

    /// The source speaks but has nothing to say about the revision.
    pub(crate) fn absent(&mut self, now: Duration) {
        match self {
            // An empty window is no load already.
            Self::Knative(_) => {}
            Self::Demand(decider) => decider.absent(now),
        }
    }

    /// Whether reports alone bring decisions; else only the tick does, and what
    /// [`Policy::observe`] calls urgent.
    pub(crate) fn is_event_driven(&self) -> bool {
        matches!(self, Self::Demand(_))
    }

    /// Pods wanted at `now`.
    pub(crate) fn decide(&mut self, ready: u32, now: Duration) -> Verdict {
        match self {
            Self::Knative(knative) => knative.decide(ready, now),
            Self::Demand(decider) => {
                let decision = decider.decide(ready, now);
                Verdict {
                    pods: decision.pods,
                    mode: decision.mode.as_str(),
                    figure: decision.figure,
                    target: decision.target,
                    why: Why::Demand(decision),
                }
            }
        }
    }

    /// The figures of `now`.
    pub(crate) fn figures(&self, now: Duration) -> Figures {
        match self {
            Self::Knative(knative) => knative.figures(),
            Self::Demand(decider) => {
                let spec = decider.spec();
                let newest = decider.newest();
                Figures {
                    stable: decider.stable(now),
                    panic: newest,
                    target: spec.target,
                    desired: decider.need().ceil(),
                    excess: f64::from(decider.excess_burst_capacity()),
                    panicking: false,
                }
            }
        }
    }
}

/// What `demand` looks at in a report.
fn load(report: &Demand, metric: Metric) -> demand::Load {
    let average = match metric {
        Metric::Concurrency => report.average_concurrency - report.average_proxied_concurrency,
        Metric::Rps => report.request_count - report.proxied_request_count,
    };
    demand::Load {
        // The first word stands for an arrival; no second is behind it.
        average: (!report.first).then_some(average),
        waiting: report.waiting,
        in_flight: report.in_flight,
    }
}
