//! `reconcile.json`: one step of scaling each, of which two crates check what is theirs.

use std::collections::BTreeMap;

use penstock_types::{Activity, Inactive};
use serde::Deserialize;

/// One step.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// What is known before it.
    #[serde(rename = "in")]
    pub given: Given,
    /// What follows from that.
    pub out: Wanted,
}

/// What is known before a step.
#[derive(Debug, Deserialize)]
pub struct Given {
    /// `config-autoscaler`.
    pub configmap: BTreeMap<String, String>,
    /// The cluster's progress deadline.
    pub progress_deadline_ms: f64,
    /// Annotations of the revision.
    pub annotations: BTreeMap<String, String>,
    /// Reachability by its name.
    pub reachability: String,
    /// The condition `Active`.
    pub active: Condition,
    /// The condition `ScaleTargetInitialized`.
    pub scale_target_initialized: bool,
    /// `status.desiredScale`.
    pub status_desired_scale: Option<i32>,
    /// What the decider wants; -1 if it has not decided yet.
    pub decider_desired_scale: i32,
    /// The decider's excess burst capacity.
    pub decider_ebc: i32,
    /// The way of requests; `None` if there is none.
    pub sks: Option<Sks>,
    /// Pods that the Deployment asks for; `None` if it says nothing.
    pub replicas: Option<u32>,
    /// Pods that are ready.
    pub ready_pods: u32,
    /// How the activator answers: `ok`, `refused` or `error`.
    pub activator_probe: String,
}

/// A condition and its age.
#[derive(Debug, Deserialize)]
pub struct Condition {
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub for_ms: f64,
}

impl Condition {
    /// What the revision is doing.
    ///
    /// # Errors
    ///
    /// It says nothing that the contract has a name for.
    pub fn activity(&self) -> Result<Activity, String> {
        activity(&self.status, &self.reason)
    }
}

/// The way of requests.
#[derive(Debug, Deserialize)]
pub struct Sks {
    /// `Proxy` or `Serve`.
    pub mode: String,
    /// Whether there is a way to the pods.
    pub has_private_service: bool,
    /// Whether clients have an address.
    pub has_service_name: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// How long the activators have had the path.
    pub proxy_for_ms: Option<f64>,
}

/// What follows.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    /// Whether the step fails.
    pub error: bool,
    /// Pods that are asked for, if any are.
    pub patched_replicas: Option<u32>,
    /// When to take the next step.
    pub requeue_after_ms: Vec<f64>,
    /// Whether the activator was asked for its word,
    pub probed_activator: bool,
    /// and is to be asked again.
    pub started_async_probe: bool,
    /// Whether the way was made.
    pub sks_created: bool,
    /// `Proxy` or `Serve`.
    pub sks_mode: String,
    /// How many activators.
    pub sks_num_activators: u32,
    /// The condition `Active`,
    pub active_status: String,
    /// why,
    pub active_reason: String,
    /// and whether it begins anew.
    pub active_since_reset: bool,
    /// Whether the condition `ScaleTargetInitialized` is true.
    pub scale_target_initialized: bool,
    /// The condition `SKSReady`.
    pub sks_ready_status: String,
    /// The condition `Ready`.
    pub ready_status: String,
    /// `status.desiredScale`.
    pub status_desired_scale: Option<i32>,
    /// `status.actualScale`.
    pub status_actual_scale: Option<u32>,
    /// Where pods are asked for figures; empty if they are not, `None` if that stays open.
    pub metric_scrape_target: Option<String>,
}

impl Wanted {
    /// What the revision is doing then.
    ///
    /// # Errors
    ///
    /// It says nothing that the contract has a name for.
    pub fn activity(&self) -> Result<Activity, String> {
        activity(&self.active_status, &self.active_reason)
    }

    /// What `status.desiredScale` comes to: not knowing how many pods overwrites only not knowing how
    /// many.
    pub fn desired_scale(wanted: Option<u32>, before: Option<i32>) -> Option<i32> {
        match (wanted, before) {
            (Some(pods), _) => i32::try_from(pods).ok(),
            (None, Some(before)) if before >= 0 => Some(before),
            (None, _) => Some(-1),
        }
    }
}

fn activity(status: &str, reason: &str) -> Result<Activity, String> {
    match (status, reason) {
        ("Unknown", "") => Ok(Activity::New),
        ("Unknown", "Queued") => Ok(Activity::Activating),
        ("True", _) => Ok(Activity::Active),
        ("False", "NoTraffic") => Ok(Activity::Inactive(Inactive::NoTraffic)),
        ("False", "TimedOut") => Ok(Activity::Inactive(Inactive::TimedOut)),
        _ => Err(format!("no activity is called {status:?}, {reason:?}")),
    }
}
