//! Policy `knative`: windows, the decider, the bounds and the way to zero, put together.

use std::fmt;
use std::time::Duration;

use penstock_cluster::Standing;
use penstock_scaling::knative::{Decider, Decision, Mode, Status};
use penstock_scaling::load::{Averages, Load};
use penstock_scaling::reconcile::Reason;
use penstock_scaling::spec::Spec;
use penstock_types::demand::Demand;
use penstock_types::request_stats::Report;

use super::stand::{Stand, Stood};
use super::{Figures, Verdict};

/// One revision under Knative's rules.
#[derive(Debug)]
pub(crate) struct Knative {
    decider: Decider,
    load: Load,
    averages: Averages,
    status: Status,
    stand: Stand,
    /// Pods asked for.
    wanted: u32,
    /// Whether pods are asked for their figures.
    scraped: bool,
}

/// A decision, and what became of it on its way to the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    /// `None` where there was nothing to decide on.
    decision: Option<Decision>,
    reason: Option<Reason>,
}

impl Why {
    pub(super) fn held_by(&self) -> Option<String> {
        let held = self.decision.as_ref().and_then(|decision| decision.held);
        match self.reason {
            Some(reason) => Some(reason.to_string()),
            None => held.map(|held| held.to_string()),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            Some(decision) => write!(f, "{decision}")?,
            None => f.write_str("the pods have not told their load")?,
        }
        match self.reason {
            Some(reason) => write!(f, ", {reason}"),
            None => Ok(()),
        }
    }
}

impl Knative {
    /// Begins at `now` with the pods that are `wanted` and `ready` already. A revision that has
    /// none, and of which nothing is remembered, is new: it begins with its initial scale.
    pub(crate) fn new(
        spec: Spec,
        wanted: u32,
        ready: u32,
        standing: Option<&Standing>,
        now: Duration,
    ) -> Self {
        Self {
            load: Load::new(&spec),
            averages: Averages::default(),
            status: Status::initial(&spec),
            stand: match standing {
                Some(standing) => Stand::remembered(standing),
                None => Stand::fixed(wanted > 0, now),
            },
            wanted: if wanted > 0 || standing.is_some() {
                wanted
            } else {
                spec.initial_scale
            },
            scraped: false,
            // Pods that are still starting were wanted for a reason, too.
            decider: Decider::new(spec, ready.max(wanted), now),
        }
    }

    pub(super) fn stood(&self) -> Option<&Stood> {
        self.stand.stood()
    }

    pub(super) fn stand(&mut self) -> &mut Stand {
        &mut self.stand
    }

    pub(crate) fn spec(&self) -> &Spec {
        self.decider.spec()
    }

    pub(crate) fn set_scraped(&mut self, scraped: bool) {
        self.scraped = scraped;
    }

    pub(crate) fn set_spec(&mut self, spec: Spec, now: Duration) {
        self.load.resize(&spec, now);
        self.decider.update(spec);
    }

    /// Records a report. Returns whether it is the first sign of load at zero.
    pub(crate) fn observe(&mut self, report: &Demand, now: Duration) -> bool {
        let report = Report {
            average_concurrency: report.average_concurrency,
            average_proxied_concurrency: report.average_proxied_concurrency,
            request_count: report.request_count,
            proxied_request_count: report.proxied_request_count,
        };
        let figures = [
            report.average_concurrency,
            report.average_proxied_concurrency,
            report.request_count,
            report.proxied_request_count,
        ];
        // One that is no number would spoil its window for good.
        if figures.iter().any(|figure| !figure.is_finite()) {
            return false;
        }
        self.load.record(now, &report);
        let woken = self.status.is_woken_by(report.average_concurrency);
        // After a restart nobody waits for the first tick.
        woken || self.wanted == 0 && self.status.desired.is_none()
    }

    pub(crate) fn decide(&mut self, ready: u32, now: Duration) -> Verdict {
        // Where nothing is scraped, an empty window is no load, not missing data.
        let spec = self.decider.spec();
        let scraped = self.scraped && spec.is_scraped();
        let averages = self.load.averages(spec.metric, scraped, now);
        let decision = averages.map(|averages| {
            self.averages = averages;
            let decision = self.decider.decide(averages, ready, now);
            self.status.update(&decision);
            decision
        });
        self.act(decision, ready, now)
    }

    /// Takes a step after a decision, or after none where there was nothing to decide on.
    fn act(&mut self, decision: Option<Decision>, ready: u32, now: Duration) -> Verdict {
        let spec = self.decider.spec();
        let step = self.stand.step(spec, self.status, self.wanted, ready, now);
        // What the pods have not told takes none of them away. Where none is ready, there is none
        // that could tell.
        let ask = step.ask.filter(|pods| {
            decision.is_some() || ready == 0 && self.stand.is_remembered() || *pods > self.wanted
        });
        self.wanted = ask.unwrap_or(self.wanted);
        let (mode, figure) = match decision.as_ref().map(|decision| decision.mode) {
            Some(Mode::Stable) => ("stable", self.averages.stable),
            Some(Mode::Panic) => ("panic", self.averages.panic),
            None => ("silent", 0.0),
        };
        Verdict {
            pods: self.wanted,
            mode,
            figure,
            target: self.spec().target,
            why: super::Why::Knative(Why {
                decision,
                reason: step.why,
            }),
        }
    }

    /// As [`Knative::decide`], as if the windows had come to `status`.
    #[cfg(test)]
    pub(crate) fn decide_as(&mut self, status: Status, ready: u32, now: Duration) -> Verdict {
        let decision = self.decider.decide(Averages::default(), ready, now);
        self.status = status;
        self.act(Some(decision), ready, now)
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            stable: self.averages.stable,
            panic: self.averages.panic,
            target: self.spec().target,
            desired: f64::from(self.status.desired.unwrap_or(0)),
            excess: f64::from(self.status.excess_burst_capacity),
            panicking: self.decider.is_panicking(),
        }
    }
}
