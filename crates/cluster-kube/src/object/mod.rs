//! What is read of the objects of Kubernetes: small structs, made from what is on the wire.
//!
//! Lists may be `null` there (Go's empty slices), so each is an `Option`.

mod endpoints;
mod pod;
mod revision;
mod scaler;
mod service;
mod subsets;
mod workload;

use std::time::{Duration, SystemTime};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

pub(crate) use endpoints::{EndpointSlice, SERVICE_NAME, SliceObject};
pub(crate) use pod::{DELETION_COST, PodObject, SeenPod, State};
pub(crate) use revision::{RevisionObject, SeenRevision};
pub(crate) use scaler::ScalerObject;
pub(crate) use service::ServiceObject;
pub(crate) use subsets::{EndpointsObject, Subset};
pub(crate) use workload::{Container, DeploymentObject, Kind, Probed, StatefulSetObject, Workload};

/// A version of an object, comparable to others of the same kind of object.
///
/// Only in theory may it be anything but a number (API conventions, "Resource Versions": comparable
/// since Kubernetes 1.35, and a number of etcd before); then each one counts as new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Option<u64>);

impl Version {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self::read(meta.resource_version.as_deref().unwrap_or_default())
    }

    pub(crate) fn read(text: &str) -> Self {
        Self(text.parse().ok())
    }

    /// Whether this one was made before `other`.
    pub(crate) fn is_before(self, other: Self) -> bool {
        matches!((self.0, other.0), (Some(this), Some(other)) if this < other)
    }
}

/// When that was, on the clock that runs here. Times of Kubernetes have whole seconds, and other
/// clocks.
pub(crate) fn instant(time: &Time) -> Option<Instant> {
    let then = system_time(time.0)?;
    let ago = SystemTime::now()
        .duration_since(then)
        .unwrap_or(Duration::ZERO);
    Instant::now().checked_sub(ago)
}

/// The same moment as the standard library has it; `None` before 1970.
pub(crate) fn system_time(time: Timestamp) -> Option<SystemTime> {
    let since = time.duration_since(Timestamp::UNIX_EPOCH);
    let since = Duration::try_from(since).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// The same moment as Kubernetes writes it, to the millisecond.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

/// A text from the cluster, cut to what fits into a line.
pub(crate) fn cut(text: &str) -> &str {
    const MOST: usize = 300;
    let end = text
        .char_indices()
        .nth(MOST)
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}
