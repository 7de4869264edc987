//! What runs, as the caller describes it: data only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::Routes;
use penstock_types::annotation::Annotations;
use penstock_types::probe::Probe;
use penstock_types::{Protocol, Reachability, RevisionId, Slots, Timeouts};

/// Everything that should be there, in place of what was.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// One for each revision; none has pods until it is scaled.
    pub workloads: Vec<Workload>,
    /// Handed on in the snapshot as it is.
    pub routes: Arc<Routes>,
}

/// One revision: the program that its pods run, and the rules around it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its key.
    pub revision: RevisionId,
    /// Service it belongs to (`K_SERVICE`); empty if none.
    pub service: Arc<str>,
    /// Configuration it was made from (`K_CONFIGURATION`); empty if none.
    pub configuration: Arc<str>,
    /// Its annotations, handed on in the snapshot.
    pub annotations: Arc<Annotations>,
    /// Program and first arguments; `$(VAR)` is expanded. A program without a slash is
    /// looked up in the pod's `PATH`, one with a slash is relative to `working_dir`.
    pub command: Vec<String>,
    /// Further arguments; `$(VAR)` is expanded.
    pub args: Vec<String>,
    /// The manifest's variables in their order; `$(VAR)` is expanded.
    pub env: Vec<(String, String)>,
    /// Where the program starts; `None` is where this process is.
    pub working_dir: Option<PathBuf>,
    /// When a pod takes requests; `None` is a TCP connect.
    pub readiness: Option<Probe>,
    /// Holds back the other two until it has passed once.
    pub startup: Option<Probe>,
    /// Restarts the program when it fails.
    pub liveness: Option<Probe>,
    /// Concurrency limit of each pod.
    pub slots: Slots,
    /// Time limits of each request.
    pub timeouts: Timeouts,
    /// What the program speaks on its port.
    pub protocol: Protocol,
    /// Whether any route leads here.
    pub reachability: Reachability,
    /// From the wish to stop a pod to SIGKILL (`terminationGracePeriodSeconds`).
    pub grace: Duration,
}
