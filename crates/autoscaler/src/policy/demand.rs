//! Policy `demand`: its decider, and the way to zero where the cluster arranges the path.

use std::time::Duration;

use penstock_cluster::Standing;
use penstock_scaling::demand::{Decider, Decision, Load};
use penstock_scaling::knative::Status;
use penstock_scaling::reconcile::Reason;
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::Slots;
use penstock_types::demand::Demand as Report;

use super::stand::{Stand, Stood};
use super::{Figures, Verdict};

/// One revision under the rule of demand.
#[derive(Debug)]
pub(crate) struct Demand {
    decider: Decider,
    /// Where the cluster arranges the path, and the parameters that the way to zero obeys.
    stand: Option<(Stand, Spec)>,
}

/// A decision, and what became of it on its way to the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    pub(super) decision: Decision,
    pub(super) reason: Option<Reason>,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{}, {reason}", self.decision),
            None => self.decision.fmt(f),
        }
    }
}

impl Demand {
    /// Begins at `now` with the pods that are `wanted` already.
    pub(super) fn new(
        spec: Spec,
        slots: Slots,
        wanted: u32,
        standing: Option<&Standing>,
        now: Duration,
    ) -> Self {
        let stand = standing.map(|standing| (Stand::remembered(standing), way_to_zero(&spec)));
        let decider = Decider::new(spec, slots, wanted, now);
        let decider = match standing {
            Some(standing) => {
                let out = standing.way.as_ref().is_some_and(|way| !way.proxied);
                decider.resume(standing.initialized, out)
            }
            None => decider,
        };
        Self { decider, stand }
    }

    pub(super) fn decider(&self) -> &Decider {
        &self.decider
    }

    pub(super) fn stood(&self) -> Option<&Stood> {
        let (stand, _) = self.stand.as_ref()?;
        stand.stood()
    }

    pub(super) fn stand(&mut self) -> Option<&mut Stand> {
        self.stand.as_mut().map(|(stand, _)| stand)
    }

    pub(super) fn set_spec(&mut self, spec: Spec, slots: Slots) {
        if let Some((_, way)) = &mut self.stand {
            *way = way_to_zero(&spec);
        }
        self.decider.set_spec(spec, slots);
    }

    /// Takes a report. Returns whether it has to be decided on at once.
    pub(super) fn observe(&mut self, report: &Report, ready: u32, now: Duration) -> bool {
        let metric = self.decider.spec().metric;
        self.decider.observe(load(report, metric), ready, now);
        report.first || report.waiting > 0
    }

    pub(super) fn absent(&mut self, now: Duration) {
        self.decider.absent(now);
    }

    pub(super) fn decide(&mut self, ready: u32, now: Duration) -> Verdict {
        let decision = self.decider.consider(ready, now);
        let before = self.decider.pods();
        let step = self.stand.as_mut().map(|(stand, spec)| {
            let decided = Status {
                desired: Some(decision.pods),
                excess_burst_capacity: self.decider.excess_burst_capacity(),
            };
            stand.step(spec, decided, before, ready, now)
        });
        let pods = step.map_or(decision.pods, |step| step.ask.unwrap_or(before));
        self.decider.carry_out(pods, now);
        Verdict {
            pods,
            mode: decision.mode.as_str(),
            figure: decision.figure,
            target: decision.target,
            why: super::Why::Demand(Why {
                decision,
                reason: step.and_then(|step| step.why),
            }),
        }
    }

    pub(super) fn figures(&self, now: Duration) -> Figures {
        let decider = &self.decider;
        Figures {
            stable: decider.stable(now),
            panic: decider.newest(),
            target: decider.spec().target,
            desired: decider.need().ceil(),
            excess: f64::from(decider.excess_burst_capacity()),
            panicking: false,
        }
    }
}

/// The decider has waited for the retention already when it says that no pod is needed.
fn way_to_zero(spec: &Spec) -> Spec {
    Spec {
        retention: Duration::ZERO,
        ..spec.clone()
    }
}

/// What `demand` looks at in a report.
fn load(report: &Report, metric: Metric) -> Load {
    let average = match metric {
        Metric::Concurrency => report.average_concurrency - report.average_proxied_concurrency,
        Metric::Rps => report.request_count - report.proxied_request_count,
    };
    Load {
        // The first word stands for an arrival; no second is behind it.
        average: (!report.first).then_some(average),
        waiting: report.waiting,
        in_flight: report.in_flight,
    }
}
