//! What stands in front of each pod: the queue-proxy, seen from here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::BoxFuture;
use penstock_types::probe::Probe;
use penstock_types::{Protocol, RevisionId, Slots, Timeouts};

/// Starts a sidecar for each pod.
pub trait Sidecar: Send + Sync + 'static {
    /// Listens for `pod` on an address of the sidecar's choice.
    ///
    /// It is called while the workload itself starts, and stays over the workload's
    /// restarts. It has to be quick: the pod is in no snapshot before this returns.
    ///
    /// # Errors
    ///
    /// Whatever kept it from listening; it is tried again later.
    fn start(&self, pod: PodSpec) -> BoxFuture<'_, io::Result<Box<dyn RunningSidecar>>>;
}

/// The sidecar of one pod. Dropping it ends it, with everything that is inside.
pub trait RunningSidecar: Send + Sync {
    /// Where it takes requests for the pod.
    fn addr(&self) -> SocketAddr;

    /// One round of the readiness probe.
    fn probe(&self) -> BoxFuture<'_, bool>;

    /// Returns the moment the workload passes its readiness probe.
    ///
    /// # Errors
    ///
    /// [`NotReady`] when it gave up; it is called again.
    fn until_ready(&self) -> BoxFuture<'_, Result<(), NotReady>>;

    /// Takes nothing new, and returns once nothing is inside or `grace` is over.
    fn drain(&self, grace: Duration) -> BoxFuture<'_, ()>;
}

/// Why a workload is not ready: the last failure, in a phrase for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not ready: {0}")]
pub struct NotReady(pub String);

/// The pod that a sidecar stands before.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Its revision.
    pub revision: RevisionId,
    /// Service it belongs to; empty if none.
    pub service: Arc<str>,
    /// Configuration it was made from; empty if none.
    pub configuration: Arc<str>,
    /// Where the workload listens.
    pub user_addr: SocketAddr,
    /// How to tell that the workload is ready: never a command, which becomes a TCP connect
    /// here and is run beside it by the pod (spec/queue-proxy.md §4.2).
    pub readiness: Probe,
    /// Concurrency limit.
    pub slots: Slots,
    /// Time limits of each request.
    pub timeouts: Timeouts,
    /// What the workload speaks.
    pub protocol: Protocol,
}
