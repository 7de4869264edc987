//! The two policies behind one face: a report goes in, a number of pods and a reason come out.

mod demand;
mod knative;
mod stand;

use std::time::Duration;

use penstock_cluster::Standing;
use penstock_scaling::spec::Spec;
use penstock_types::Slots;
use penstock_types::demand::Demand as Report;

use demand::Demand;
use knative::Knative;
use stand::Stand;

pub(crate) use stand::Stood;

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
    Demand(Box<Demand>),
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
    Demand(demand::Why),
}

impl Verdict {
    /// Which figure against which target, and what bounded it.
    pub fn words(&self) -> String {
        match &self.why {
            Why::Knative(why) => why.to_string(),
            Why::Demand(why) => why.to_string(),
        }
    }

    /// What held the number up or down, last.
    pub(crate) fn held_by(&self) -> Option<String> {
        match &self.why {
            Why::Knative(why) => why.held_by(),
            Why::Demand(why) => match why.decision.clipped {
                Some((_, by)) => Some(by.as_str().to_owned()),
                None => why.reason.map(|reason| reason.to_string()),
            },
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
    /// Begins at `now` with the pods that are `wanted` and `ready` already, and with what the
    /// cluster remembers.
    pub(crate) fn new(
        kind: PolicyKind,
        spec: Spec,
        slots: Slots,
        wanted: u32,
        ready: u32,
        standing: Option<&Standing>,
        now: Duration,
    ) -> Self {
        match kind {
            PolicyKind::Knative => {
                Self::Knative(Box::new(Knative::new(spec, wanted, ready, standing, now)))
            }
            PolicyKind::Demand => {
                Self::Demand(Box::new(Demand::new(spec, slots, wanted, standing, now)))
            }
        }
    }

    /// How the revision stands, where more than one thing can be said of that.
    fn stand(&mut self) -> Option<&mut Stand> {
        match self {
            Self::Knative(knative) => Some(knative.stand()),
            Self::Demand(demand) => demand.stand(),
        }
    }

    /// How the revision stands after the last decision, where the cluster remembers that.
    pub(crate) fn stood(&self) -> Option<&Stood> {
        match self {
            Self::Knative(knative) => knative.stood(),
            Self::Demand(demand) => demand.stood(),
        }
    }

    /// The cluster has arranged the way anew.
    pub(crate) fn see(&mut self, standing: &Standing) {
        if let Some(stand) = self.stand() {
            stand.see(standing);
        }
    }

    /// The activator said at `now` that it has the path.
    pub(crate) fn confirm(&mut self, now: Duration) {
        if let Some(stand) = self.stand() {
            stand.confirm(now);
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
            Self::Demand(demand) => demand.decider().spec(),
        }
    }

    /// Replaces the parameters; what was seen stays.
    pub(crate) fn set_spec(&mut self, spec: Spec, slots: Slots, now: Duration) {
        match self {
            Self::Knative(knative) => knative.set_spec(spec, now),
            Self::Demand(demand) => demand.set_spec(spec, slots),
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
    pub(crate) fn observe(&mut self, report: &Report, ready: u32, now: Duration) -> bool {
        match self {
            Self::Knative(knative) => knative.observe(report, now),
            Self::Demand(demand) => demand.observe(report, ready, now),
        }
    }

    /// The source speaks but has nothing to say about the revision.
    pub(crate) fn absent(&mut self, now: Duration) {
        match self {
            // An empty window is no load already.
            Self::Knative(_) => {}
            Self::Demand(demand) => demand.absent(now),
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
            Self::Demand(demand) => demand.decide(ready, now),
        }
    }

    /// As [`Policy::decide`] of the policy `knative`, as if its windows had come to `status`.
    #[cfg(test)]
    pub(crate) fn decide_as(
        &mut self,
        status: penstock_scaling::knative::Status,
        ready: u32,
        now: Duration,
    ) -> Verdict {
        match self {
            Self::Knative(knative) => knative.decide_as(status, ready, now),
            Self::Demand(_) => panic!("another policy"),
        }
    }

    /// The figures of `now`.
    pub(crate) fn figures(&self, now: Duration) -> Figures {
        match self {
            Self::Knative(knative) => knative.figures(),
            Self::Demand(demand) => demand.figures(now),
        }
    }
}
