//! The queue-proxy in front of each pod: the very one that runs in a pod of Kubernetes, here as
//! part of this process.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_cluster::BoxFuture;
use penstock_cluster_local::{NotReady, PodSpec, RunningSidecar, Sidecar};
use penstock_queue_proxy::{Config, Metrics, QueueProxy, Running};
use penstock_relay::probe::attempt;
use penstock_relay::workers::Workers;
use penstock_runtime::metrics::{Attached, Gather};
use penstock_types::RevisionId;
use prometheus::Registry;
use tokio::time::timeout;

/// Where queue-proxies listen: the gateway is the only one who calls.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Time without a request after which a pod that is leaving takes nothing new. The gateway knows
/// at once that it leaves; this is for what was on its way.
const QUIET: Duration = Duration::from_millis(100);

/// After so long without success a pod's probe is worth a word, and goes on.
const WORTH_A_WORD: Duration = Duration::from_secs(5);

/// Starts queue-proxies.
#[derive(Debug)]
pub(crate) struct Sidecars {
    workers: Workers,
    gather: Gather,
    /// One set of series for all pods of a revision, while that is there.
    series: Mutex<HashMap<RevisionId, (Metrics, Attached)>>,
}

impl Sidecars {
    /// They serve on `workers`, and are scraped with `gather`.
    pub(crate) fn new(workers: Workers, gather: Gather) -> Self {
        Self {
            workers,
            gather,
            series: Mutex::default(),
        }
    }

    /// Drops the series of revisions that are no more.
    pub(crate) fn keep(&self, is_there: impl Fn(&RevisionId) -> bool) {
        self.series().retain(|revision, _| is_there(revision));
    }

    fn metrics(&self, pod: &PodSpec) -> prometheus::Result<Metrics> {
        let mut series = self.series();
        if let Some((metrics, _)) = series.get(&pod.revision) {
            return Ok(metrics.clone());
        }
        let registry = Registry::new();
        let labels = [
            ("k8s_namespace_name", pod.revision.namespace()),
            ("kn_service_name", &*pod.service),
            ("kn_configuration_name", &*pod.configuration),
            ("kn_revision_name", pod.revision.name()),
        ];
        let metrics = Metrics::register(&registry, &labels)?;
        let attached = self
            .gather
            .attach(registry, &[("component", "queue-proxy")]);
        series.insert(pod.revision.clone(), (metrics.clone(), attached));
        Ok(metrics)
    }

    fn start_now(&self, pod: PodSpec) -> io::Result<Box<dyn RunningSidecar>> {
        let metrics = self.metrics(&pod).map_err(io::Error::other)?;
        let config = Config {
            user_addr: pod.user_addr,
            slots: pod.slots,
            timeouts: pod.timeouts,
            readiness: pod.readiness.clone().into(),
        };
        let proxy = QueueProxy::bind(ANY_PORT, config).map_err(io::Error::other)?;
        let running = proxy.start(&self.workers, metrics)?;
        Ok(Box::new(Before { running, pod }))
    }

    /// The map is whole at every step, so a panic elsewhere does not spoil it.
    fn series(&self) -> MutexGuard<'_, HashMap<RevisionId, (Metrics, Attached)>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sidecar for Sidecars {
    fn start(&self, pod: PodSpec) -> BoxFuture<'_, io::Result<Box<dyn RunningSidecar>>> {
        Box::pin(async move { self.start_now(pod) })
    }
}

/// The queue-proxy before one pod.
struct Before {
    running: Running,
    pod: PodSpec,
}

impl RunningSidecar for Before {
    fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    fn probe(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.running.probe().await.is_ok() })
    }

    fn until_ready(&self) -> BoxFuture<'_, Result<(), NotReady>> {
        Box::pin(async {
            let ready = timeout(WORTH_A_WORD, self.running.until_ready());
            if ready.await.is_ok() {
                return Ok(());
            }
            // One more attempt, to see what it is that fails.
            let (probe, addr) = (&self.pod.readiness, self.pod.user_addr);
            let attempt = attempt(&probe.check, addr.ip(), addr.port(), probe.timeout);
            match attempt.await {
                // It counts its successes itself, and is asked again.
                Ok(()) => Err(NotReady("too few successes in a row".to_owned())),
                Err(failure) => Err(NotReady(failure.to_string())),
            }
        })
    }

    fn drain(&self, grace: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Requests that the grace had to cut were told so by the queue-proxy.
            let _ = self.running.drain(QUIET, grace).await;
        })
    }
}
