//! Who of several autoscalers holds which bucket: one Lease for each, in the namespace of the system.
//!
//! ```text
//! watch of all leases ─► what is seen of each bucket ─► campaign: wait, take, renew, release
//!                                     │                      │
//!                                     └── At(peer) ──────────┴── Here ──► Leases, bucket's Service
//! ```
//!
//! A lease is free if nobody holds it, or if its holder has not renewed it for as long as it asked
//! for, by the clock that runs here: the times written in it are other clocks'. A lease that is
//! given back is taken at once, because it is watched. Who cannot renew for the renew deadline stops
//! to count as the holder before anybody else may take over.
//!
//! Source: spec/autoscaler.md §4.5.

mod campaign;
mod service;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube::{Client, ResourceExt};
use penstock_cluster::{Holder, Leases};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::picture::Tasks;
use crate::reflect::{Change, Complaints, Reach, Reflector, Rhythm, Selection};
use campaign::{Campaign, Seen};

/// How long leases last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Time without renewal after which somebody else may take a lease.
    pub lease: Duration,
    /// Time without a successful renewal after which the holder gives up.
    pub renew: Duration,
    /// Time between two renewals.
    pub retry: Duration,
}

impl Default for Terms {
    /// 60 s, 40 s and 10 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            renew: Duration::from_secs(40),
            retry: Duration::from_secs(10),
        }
    }
}

/// Who takes part in the elections, and in which.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where the leases are.
    pub namespace: String,
    /// The buckets by ordinal; leases and Services have the same names.
    pub buckets: Vec<String>,
    /// Who this is in a lease: `POD_IP`, as every other candidate writes itself.
    pub identity: String,
    /// Address of this process, for the Services of its buckets.
    pub ip: IpAddr,
    /// Port where each candidate takes statistics.
    pub port: u16,
    /// How long leases last.
    pub terms: Terms,
}

/// The elections that this process takes part in.
#[derive(Debug)]
pub struct Elections {
    leases: watch::Receiver<Arc<Leases>>,
    reach: watch::Receiver<Reach>,
    stop: CancellationToken,
    campaigns: TaskTracker,
    _tasks: Tasks,
}

impl Elections {
    /// Begins. The tasks run on the runtime that this is called in, until [`Elections::release`]
    /// or until this is dropped.
    pub fn start(client: &Client, rhythm: Rhythm, candidate: Candidate) -> Self {
        let complaints = Complaints::new();
        let reach = complaints.reach();
        let nobody = vec![Holder::Nobody; candidate.buckets.len()];
        let (holders, leases) = watch::channel(Arc::new(Leases::elected(nobody)));
        let tasks = Tasks::default();
        let stop = CancellationToken::new();
        let campaigns = TaskTracker::new();
        let candidate = Arc::new(candidate);
        let (to, changes) = mpsc::channel(crate::picture::BACKLOG);
        let mut seen = Vec::new();
        for ordinal in 0..candidate.buckets.len() {
            let (sender, receiver) = watch::channel(None);
            seen.push(sender);
            let campaign = Campaign {
                client: client.clone(),
                api: Api::namespaced(client.clone(), &candidate.namespace),
                ordinal,
                candidate: Arc::clone(&candidate),
                seen: receiver,
                holders: holders.clone(),
                stop: stop.clone(),
            };
            let running = campaigns.track_future(campaign.run());
            tasks.spawn(running);
        }
        campaigns.close();
        let reflector = Reflector::new(client.clone(), rhythm, complaints);
        let selection = Selection {
            namespace: Some(candidate.namespace.clone()),
            ..Selection::default()
        };
        tasks.spawn(async move {
            let buckets = candidate.buckets.clone();
            let trim = move |lease: Lease| {
                let name = lease.name_any();
                let ordinal = buckets.iter().position(|bucket| *bucket == name)?;
                Some((ordinal, lease))
            };
            let watching = reflector.follow(&selection, trim, &to, |change| change);
            tokio::join!(watching, dispatch(changes, &candidate, &seen));
        });
        Self {
            leases,
            reach,
            stop,
            campaigns,
            _tasks: tasks,
        }
    }

    /// Who holds which bucket, now and later.
    pub fn leases(&self) -> watch::Receiver<Arc<Leases>> {
        self.leases.clone()
    }

    /// Whether the leases can be seen.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }

    /// Gives back what is held, so that somebody else takes it at once. One request for each bucket,
    /// with a limit of a few seconds.
    pub async fn release(&self) {
        self.stop.cancel();
        self.campaigns.wait().await;
    }
}

/// Hands what is seen to the campaign it is about.
async fn dispatch(
    mut changes: mpsc::Receiver<Change<(usize, Lease)>>,
    candidate: &Candidate,
    seen: &[watch::Sender<Option<Seen>>],
) {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Is((ordinal, lease)) => {
                if let Some(seen) = seen.get(ordinal) {
                    seen.send_replace(Some(Seen::of(lease)));
                }
            }
            Change::Gone(key) => {
                let mut buckets = candidate.buckets.iter();
                let ordinal = buckets.position(|bucket| **bucket == *key.name);
                if let Some(seen) = ordinal.and_then(|ordinal| seen.get(ordinal)) {
                    seen.send_replace(None);
                }
            }
            Change::Complete => {}
        }
    }
}

/// Where the holder of a lease takes statistics: the address behind the first `_` of its identity.
/// `None` for one that is none of ours.
fn address(identity: &str, port: u16) -> Option<SocketAddr> {
    let (pod, ip) = identity.split_once('_')?;
    let ip: IpAddr = ip.parse().ok()?;
    (!pod.is_empty()).then_some((ip, port).into())
}

#[cfg(test)]
mod tests;
