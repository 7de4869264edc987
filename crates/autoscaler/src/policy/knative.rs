//! Policy `knative`: windows, the decider, the bounds and the way to zero, put together for a
//! place where the activator is always in the path and no pod is scraped.

use std::fmt;
use std::time::Duration;

use penstock_scaling::bounds::{Bounded, bound};
use penstock_scaling::knative::{Decider, Decision, Mode, Status};
use penstock_scaling::load::Load;
use penstock_scaling::spec::Spec;
use penstock_types::demand::Demand;
use penstock_types::request_stats::Report;

use super::{Figures, Verdict};

/// Time a revision is given beyond its progress deadline (spec/autoscaler.md §8).
const DEADLINE_SLACK: Duration = Duration::from_secs(30);

/// One revision under Knative's rules.
#[derive(Debug)]
pub(crate) struct Knative {
    decider: Decider,
    load: Load,
    status: Status,
    active: Active,
    /// Whether the initial scale was once reached.
    initialized: bool,
    last: Option<Decision>,
    wanted: u32,
}

/// Condition `Active`, and since when (spec/autoscaler.md §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Active {
    Activating(Duration),
    Yes(Duration),
    No(Duration),
}

/// A decision after the bounds and the way to zero.
#[derive(Debug)]
pub(crate) struct Why {
    decision: Decision,
    bounded: Bounded,
    /// Why the last pod stays or goes.
    zero: Option<&'static str>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.decision)?;
        if let Some(by) = self.bounded.by {
            write!(f, ", {by}")?;
        }
        match self.zero {
            Some(zero) => write!(f, ", {zero}"),
            None => Ok(()),
        }
    }
}

impl Knative {
    pub(crate) fn new(spec: Spec, wanted: u32, ready: u32, now: Duration) -> Self {
        Self {
            load: Load::new(&spec),
            status: Status::initial(&spec),
            active: if ready > 0 {
                Active::Yes(now)
            } else {
                Active::Activating(now)
            },
            initialized: wanted > 0,
            last: None,
            // A revision that nobody ever asked pods for begins with its initial scale.
            wanted: if wanted > 0 {
                wanted
            } else {
                spec.initial_scale
            },
            decider: Decider::new(spec, ready, now),
        }
    }

    pub(crate) fn spec(&self) -> &Spec {
        self.decider.spec()
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
        self.load.record(now, &report);
        self.status.is_woken_by(report.average_concurrency)
    }

    pub(crate) fn decide(&mut self, ready: u32, now: Duration) -> Verdict {
        let load = self
            .load
            .averages(self.spec().metric, false, now)
            .unwrap_or_default();
        let decision = self.decider.decide(load, ready, now);
        self.status.update(&decision);
        self.initialized |= ready >= self.spec().min_scale.max(self.spec().initial_scale);
        let bounded = bound(self.spec(), self.initialized, Some(decision.desired));
        let (pods, zero) = self.toward_zero(bounded.pods, now);
        self.watch_active(pods, ready, now);
        self.wanted = pods;
        let verdict = Verdict {
            pods,
            mode: match decision.mode {
                Mode::Stable => "stable",
                Mode::Panic => "panic",
            },
            figure: match decision.mode {
                Mode::Stable => load.stable,
                Mode::Panic => load.panic,
            },
            target: decision.target,
            why: super::Why::Knative(Why {
                decision: decision.clone(),
                bounded,
                zero,
            }),
        };
        self.last = Some(decision);
        verdict
    }

    /// Whether the last pod may go (spec/autoscaler.md §8, with the activator in the path).
    fn toward_zero(&mut self, pods: u32, now: Duration) -> (u32, Option<&'static str>) {
        if pods > 0 {
            return (pods, None);
        }
        let spec = self.decider.spec();
        if !spec.scale_to_zero {
            return (1, Some("enable-scale-to-zero is off"));
        }
        let last = self.wanted.min(1);
        match self.active {
            Active::Activating(since)
                if now.saturating_sub(since) > spec.progress_deadline + DEADLINE_SLACK =>
            {
                (0, Some("no pod became ready within progress-deadline"))
            }
            Active::Activating(_) => (self.wanted, Some("its pods are still starting")),
            Active::Yes(since) if now.saturating_sub(since) < spec.stable_window => (
                1,
                Some("it has been active for less than the stable window"),
            ),
            Active::Yes(_) if spec.retention.is_zero() => {
                (0, Some("no demand for the stable window"))
            }
            Active::Yes(_) => {
                self.active = Active::No(now);
                (last, Some("kept for the retention period"))
            }
            Active::No(since) if now.saturating_sub(since) < spec.retention => {
                (last, Some("kept for the retention period"))
            }
            Active::No(_) => (0, Some("the retention period is over")),
        }
    }

    fn watch_active(&mut self, pods: u32, ready: u32, now: Duration) {
        let demanded = self.status.desired.is_some_and(|desired| desired > 0);
        self.active = match self.active {
            Active::Activating(_) | Active::No(_) if ready > 0 && demanded => Active::Yes(now),
            Active::Activating(_) if ready > 0 && pods > 0 => Active::Yes(now),
            Active::No(_) if demanded => Active::Activating(now),
            Active::Yes(_) | Active::Activating(_) if pods == 0 => Active::No(now),
            Active::Yes(_) if ready == 0 => Active::Activating(now),
            same => same,
        };
    }

    pub(crate) fn figures(&self) -> Figures {
        let load = self.last.as_ref().map(|last| last.load).unwrap_or_default();
        Figures {
            stable: load.stable,
            panic: load.panic,
            target: self.spec().target,
            desired: f64::from(self.status.desired.unwrap_or(0)),
            excess: f64::from(self.status.excess_burst_capacity),
            panicking: self.decider.is_panicking(),
        }
    }
}
