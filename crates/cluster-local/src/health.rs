//! The kubelet's side of a running program: is it up, is it ready, is it alive?
//!
//! The sidecar asks for readiness, as the queue-proxy does in a pod; a readiness command is run here
//! beside it. Startup and liveness go to the program directly (spec/queue-proxy.md §0).
//!
//! What is quicker than a kubelet: a program that is not ready yet is asked early and often.
//! Such early attempts can only pass: failures count once per period, as the manifest says.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use penstock_relay::probe::attempt;
use penstock_types::probe::{Check, Probe};
use tokio::time::{Instant, sleep};

use crate::Reaper;
use crate::container;
use crate::launch::Launch;
use crate::sidecar::RunningSidecar;
use crate::workload::Workload;

/// The period of a probe that has none, as the kubelet fills it in.
const PERIOD: Duration = Duration::from_secs(10);
/// Between early attempts; doubled each time, up to the period.
const EARLY: Duration = Duration::from_millis(10);
/// The same for commands, each of which is a process.
const EARLY_COMMAND: Duration = Duration::from_millis(100);

/// Where workloads listen.
pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is known of a pod's health, and to whom it is told.
pub(crate) trait Report: Sync {
    /// The pod takes requests from now on, or no longer.
    fn ready(&self, ready: bool);
    /// The pod does not come up, because.
    fn trouble(&self, why: String);
}

/// Watches one run of a program.
pub(crate) struct Health<'a, R> {
    pub(crate) workload: &'a Workload,
    pub(crate) launch: &'a Launch,
    pub(crate) port: u16,
    pub(crate) sidecar: &'a dyn RunningSidecar,
    pub(crate) reaper: Option<&'a Arc<Reaper>>,
    pub(crate) report: &'a R,
}

impl<R: Report> Health<'_, R> {
    /// Watches until the program has to be restarted; returns why.
    pub(crate) async fn until_unwell(&self) -> String {
        let started = Instant::now();
        if let Some(probe) = &self.workload.startup
            && let Err(why) = self.start_up(probe, started).await
        {
            return format!("the startup probe failed: {why}");
        }
        tokio::select! {
            never = self.readiness(started) => match never {},
            why = self.liveness(started) => why,
        }
    }

    /// Returns once the startup probe has passed.
    async fn start_up(&self, probe: &Probe, started: Instant) -> Result<(), String> {
        let first = started + probe.initial_delay;
        let last = first + period(probe) * probe.failure_threshold.max(1);
        tokio::time::sleep_until(first).await;
        let mut pause = early(probe);
        let mut passed = 0;
        loop {
            match self.ask(probe).await {
                Ok(()) => passed += 1,
                Err(why) if Instant::now() >= last => return Err(why),
                Err(_) => passed = 0,
            }
            if passed >= probe.success_threshold.max(1) {
                return Ok(());
            }
            sleep(pause).await;
            pause = (pause * 2).min(period(probe));
        }
    }

    /// Says when the program becomes ready, and when it is so no longer, and so on.
    async fn readiness(&self, started: Instant) -> Infallible {
        loop {
            self.until_ready(started).await;
            self.report.ready(true);
            self.until_not_ready().await;
            self.report.ready(false);
        }
    }

    async fn until_ready(&self, started: Instant) {
        let mut pause = EARLY;
        while let Err(error) = self.sidecar.until_ready().await {
            self.report.trouble(error.to_string());
            sleep(pause).await;
            pause = (pause * 2).min(PERIOD);
        }
        let Some(probe) = self.readiness_command() else {
            return;
        };
        tokio::time::sleep_until(started + probe.initial_delay).await;
        let mut pause = early(probe);
        let mut passed = 0;
        let mut failed = 0;
        loop {
            match self.ask(probe).await {
                Ok(()) => passed += 1,
                Err(why) => {
                    passed = 0;
                    failed += 1;
                    if failed == probe.failure_threshold {
                        self.report.trouble(format!("not ready: {why}"));
                    }
                }
            }
            if passed >= probe.success_threshold.max(1) {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(period(probe));
        }
    }

    /// Returns after `failure_threshold` misses in a row; never if the probe has no period.
    async fn until_not_ready(&self) {
        let probe = self.workload.readiness.as_ref();
        let Some((probe, every)) = probe.and_then(|probe| Some((probe, probe.period?))) else {
            return std::future::pending().await;
        };
        let mut failed = 0;
        while failed < probe.failure_threshold.max(1) {
            sleep(every).await;
            let command = match self.readiness_command() {
                Some(probe) => self.ask(probe).await.is_ok(),
                None => true,
            };
            if command && self.sidecar_passes(probe).await {
                failed = 0;
            } else {
                failed += 1;
            }
        }
    }

    async fn sidecar_passes(&self, probe: &Probe) -> bool {
        let asked = self.sidecar.probe();
        if probe.timeout.is_zero() {
            return asked.await;
        }
        tokio::time::timeout(probe.timeout, asked)
            .await
            .unwrap_or(false)
    }

    /// Returns once the liveness probe has failed as often as it may.
    async fn liveness(&self, started: Instant) -> String {
        let Some(probe) = &self.workload.liveness else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(started + probe.initial_delay).await;
        let mut failed = 0;
        loop {
            match self.ask(probe).await {
                Ok(()) => failed = 0,
                Err(why) => {
                    failed += 1;
                    if failed >= probe.failure_threshold {
                        return format!("the liveness probe failed: {why}");
                    }
                }
            }
            sleep(period(probe)).await;
        }
    }

    fn readiness_command(&self) -> Option<&Probe> {
        let probe = self.workload.readiness.as_ref()?;
        matches!(probe.check, Check::Exec { .. }).then_some(probe)
    }

    /// One attempt, whatever its kind.
    async fn ask(&self, probe: &Probe) -> Result<(), String> {
        if let Check::Exec { command } = &probe.check {
            let launch = self.launch.with_words(command);
            return container::run(&launch, probe.timeout, self.reaper.cloned()).await;
        }
        attempt(&probe.check, LOCALHOST, self.port, probe.timeout)
            .await
            .map_err(|failure| failure.to_string())
    }
}

fn period(probe: &Probe) -> Duration {
    probe.period.unwrap_or(PERIOD)
}

fn early(probe: &Probe) -> Duration {
    let first = match probe.check {
        Check::Exec { .. } => EARLY_COMMAND,
        _ => EARLY,
    };
    first.min(period(probe))
}
