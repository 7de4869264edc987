//! An autoscaler as it runs in a cluster, over one that stays as it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use penstock_autoscaler::env::Settings;
use penstock_autoscaler::program::Program;
use penstock_cluster::{
    BoxFuture, Cluster, Leases, Phase, Pod, Readiness, Revision, ScaleError, Snapshot,
};
use penstock_types::annotation::Annotations;
use penstock_types::{Protocol, Reachability, RevisionId, Slots, Timeouts};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::runtime;
use crate::process::{Outcome, number_from, text_from};

/// Serves until it is killed, as the variables say.
pub(crate) fn run() -> Outcome {
    let (stats, admin): (u16, u16) = (number_from("STAGE_STATS")?, number_from("STAGE_ADMIN")?);
    let revisions = number_from("STAGE_REVISIONS")?;
    let policy = text_from("STAGE_POLICY");
    let get = |name: &str| {
        let value = match name {
            "POD_NAME" => "autoscaler",
            "POD_IP" => "127.0.0.1",
            "SYSTEM_NAMESPACE" => "default",
            "PENSTOCK_POLICY" => &policy,
            _ => return None,
        };
        Some(value.to_owned())
    };
    let mut settings = Settings::read(get, "").map_err(|bad| bad.to_string())?;
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (settings.stats, settings.admin) = (at(stats), at(admin));
    runtime()?.block_on(async {
        let failed = |error: penstock_autoscaler::program::StartError| error.to_string();
        let program = Program::bind(settings).await.map_err(failed)?;
        let (still, _asked) = Still::new((0..revisions).map(|n| revision(&name(n), 1)));
        let (_keep, leases) = watch::channel(Arc::new(Leases::alone()));
        let cluster = Arc::new(still);
        let run = program.run(cluster, leases, None, CancellationToken::new());
        run.await.map_err(failed)
    })
}

/// Name of a revision.
pub(crate) fn name(n: u32) -> String {
    format!("service-{n:05}-00001")
}

/// One with ten slots a pod, and so many pods that are ready.
pub(crate) fn revision(name: &str, pods: u32) -> Revision {
    let service: Arc<str> = name.trim_end_matches("-00001").into();
    let now = Instant::now();
    let pods = (0..pods).map(|n| Pod {
        name: format!("{name}-deployment-{n}").into(),
        addr: (Ipv4Addr::LOCALHOST, 8012).into(),
        phase: Phase::Ready,
        asked: now,
        started: Some(now),
        ready: Some(now),
    });
    let pods: Arc<[Pod]> = pods.collect();
    Revision {
        id: RevisionId::new("default", name),
        configuration: Arc::clone(&service),
        service,
        annotations: Arc::new(Annotations::new()),
        slots: Slots::from_concurrency(10),
        timeouts: Timeouts::default(),
        protocol: Protocol::default(),
        reachability: Reachability::Reachable,
        wanted: u32::try_from(pods.len()).unwrap_or(u32::MAX),
        pods,
        unplaced: 0,
        position: None,
        readiness: Readiness::default(),
        queue_proxy: true,
        standing: None,
        trouble: None,
    }
}

/// A cluster that takes every wish, and does nothing.
pub(crate) struct Still {
    snapshot: watch::Sender<Arc<Snapshot>>,
    asked: mpsc::UnboundedSender<u32>,
}

impl Still {
    /// Each wish is told to the receiver.
    pub(crate) fn new(
        revisions: impl Iterator<Item = Revision>,
    ) -> (Self, mpsc::UnboundedReceiver<u32>) {
        let snapshot = Snapshot {
            revisions: revisions
                .map(|revision| (revision.id.clone(), Arc::new(revision)))
                .collect(),
            ..Snapshot::default()
        };
        let (asked, wishes) = mpsc::unbounded_channel();
        let still = Self {
            snapshot: watch::Sender::new(Arc::new(snapshot)),
            asked,
        };
        (still, wishes)
    }

    /// Gives a revision these pods.
    pub(crate) fn place(&self, id: &RevisionId, pods: Arc<[Pod]>) {
        self.snapshot.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            if let Some(known) = snapshot.revisions.get(id) {
                let revision = Revision {
                    pods,
                    ..Revision::clone(known)
                };
                snapshot.revisions.insert(id.clone(), Arc::new(revision));
            }
        });
    }
}

impl Cluster for Still {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    fn scale<'a>(&'a self, _: &'a RevisionId, pods: u32) -> BoxFuture<'a, Result<(), ScaleError>> {
        // Whoever does not listen does not want to know.
        let _ = self.asked.send(pods);
        Box::pin(std::future::ready(Ok(())))
    }
}
