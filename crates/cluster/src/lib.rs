//! The port to wherever pods run.
//!
//! The hot side reads an immutable [`Snapshot`] from a `watch` channel: no call per request.
//! The cold side asks for a number of pods. Who starts them (child processes, Kubernetes, a
//! script in a test) is behind [`Cluster`].

#![forbid(unsafe_code)]

mod lease;
mod private;
mod route;
mod snapshot;
mod standing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use penstock_types::RevisionId;
use tokio::sync::watch;

pub use lease::{Holder, Leases};
pub use penstock_types::Reachability;
pub use private::{private_host, private_service};
pub use route::{Route, Routes, Split, Target};
pub use snapshot::{Phase, Pod, Position, Readiness, Revision, Snapshot};
pub use standing::{Change, Standing, Way, Wish};

/// A boxed future, as a trait object has to return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where pods run.
pub trait Cluster: Send + Sync + 'static {
    /// The picture of now, and of every later now.
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>>;

    /// Asks for `pods` pods of `revision`. It returns once the wish is taken, not once the
    /// pods are there: those show up in the snapshot.
    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>>;

    /// Arranges everything but the number of pods: who is in the path, and what is remembered.
    /// Nothing to do where the cluster keeps no [`Standing`].
    fn settle<'a>(
        &'a self,
        _revision: &'a RevisionId,
        _wish: Wish,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Is told of a change of scale that was carried out. Returns at once.
    fn told(&self, _revision: &RevisionId, _change: Change<'_>) {}
}

/// Why a wish for pods was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// No such revision, or no longer.
    #[error("no revision {0}")]
    UnknownRevision(RevisionId),
    /// The cluster said no; try again later.
    #[error("the cluster refused to scale {revision}: {reason}")]
    Refused {
        /// For whom.
        revision: RevisionId,
        /// In the cluster's words.
        reason: String,
    },
}
