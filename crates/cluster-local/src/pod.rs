//! LIFE OF A POD: started, asked, restarted, and stopped as a kubelet would.
//!
//! One task per pod, and none for a revision without pods. The sidecar lives as long as the
//! pod; the program may be started many times behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::Phase;
use penstock_types::probe::{Check, Probe};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::{Backoff, HEALTHY};
use crate::container::Container;
use crate::health::{Health, LOCALHOST, Report};
use crate::launch::Launch;
use crate::port::Port;
use crate::sidecar::{PodSpec, RunningSidecar};
use crate::state::{Member, Shared};
use crate::workload::Workload;

/// Between the end of the drain and SIGKILL there is at least this, however long the drain
/// took: a kubelet's rule.
const SHORTEST_GRACE: Duration = Duration::from_secs(2);

/// One pod.
pub(crate) struct Pod {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workload: Arc<Workload>,
    /// Tells it from a later pod; never used twice.
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) stop: CancellationToken,
}

/// A port, and the first run of the program on it.
pub(crate) struct Start {
    port: Port,
    launch: Launch,
    container: Result<Container, String>,
}

/// How a run of the program came to its end.
enum End {
    /// By itself.
    Ended(std::io::Result<std::process::ExitStatus>),
    /// A probe says that it has to be restarted.
    Unwell(String),
    /// The pod is not wanted any more.
    Unwanted,
}

impl Pod {
    /// Starts the program right here, in the caller's path: every hop would be a delay.
    ///
    /// # Errors
    ///
    /// When there is no port, in a phrase for a person.
    pub(crate) fn start(&self) -> Result<Start, String> {
        let port = self.shared.ports.lease();
        let port = port.map_err(|error| format!("no free port: {error}"))?;
        let options = &self.shared.options;
        let up_id = options.reaper.as_ref().map(|reaper| reaper.up_id());
        let launch = Launch::new(&self.workload, &options.base_env, up_id, port.number());
        Ok(Start {
            container: self.container(&launch),
            port,
            launch,
        })
    }

    /// Lives until it is stopped; then it is not in the snapshot any more.
    pub(crate) async fn live(self, mut first: Option<Result<Start, String>>) {
        let mut backoff = Backoff::default();
        loop {
            let start = first.take().unwrap_or_else(|| self.start());
            let why = match start {
                Ok(start) => match self.sidecar(&start.port).await {
                    Ok(sidecar) => {
                        self.run(start, sidecar.as_ref(), &mut backoff).await;
                        break;
                    }
                    Err(error) => format!("the queue-proxy cannot start: {error}"),
                },
                Err(why) => why,
            };
            self.failed(why, Duration::ZERO);
            let wait = backoff.next(Duration::ZERO, Duration::ZERO);
            if !self.wait(wait).await {
                break;
            }
        }
        self.shared.remove(&self.workload.revision, self.id);
    }

    /// Runs the program again and again, until the pod is not wanted any more.
    async fn run(&self, start: Start, sidecar: &dyn RunningSidecar, backoff: &mut Backoff) {
        let Start {
            port,
            launch,
            container,
        } = start;
        self.update(|pod| pod.addr = Some(sidecar.addr()));
        let mut first = Some(container);
        loop {
            let container = first.take().unwrap_or_else(|| self.container(&launch));
            let (why, ran, healthy) = match container {
                Ok(mut container) => {
                    let started = container.started;
                    self.update(|pod| pod.started = Some(started));
                    let end = self.once(&mut container, sidecar, &launch, &port).await;
                    let healthy = self.not_ready();
                    let ran = started.elapsed();
                    let why = match end {
                        End::Ended(end) => container.last_words(end).await,
                        End::Unwell(why) => {
                            container.stop(self.grace()).await;
                            why
                        }
                        End::Unwanted => return self.end(Some(container), sidecar).await,
                    };
                    (why, ran, healthy)
                }
                Err(why) => (why, Duration::ZERO, Duration::ZERO),
            };
            self.failed(why, healthy);
            if !self.wait(backoff.next(ran, healthy)).await {
                return self.end(None, sidecar).await;
            }
        }
    }

    /// One run, until something ends it.
    async fn once(
        &self,
        container: &mut Container,
        sidecar: &dyn RunningSidecar,
        launch: &Launch,
        port: &Port,
    ) -> End {
        let health = Health {
            workload: &self.workload,
            launch,
            port: port.number(),
            sidecar,
            reaper: self.shared.options.reaper.as_ref(),
            report: self,
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => End::Unwanted,
            end = container.ended() => End::Ended(end),
            why = health.until_unwell() => End::Unwell(why),
        }
    }

    /// Drain, SIGTERM, grace, SIGKILL. The snapshot has it as draining already.
    async fn end(&self, container: Option<Container>, sidecar: &dyn RunningSidecar) {
        let last = Instant::now() + self.grace();
        sidecar.drain(self.grace()).await;
        if let Some(container) = container {
            let left = last.saturating_duration_since(Instant::now());
            let least = SHORTEST_GRACE.min(self.grace());
            container.stop(left.max(least)).await;
        }
    }

    fn container(&self, launch: &Launch) -> Result<Container, String> {
        Container::start(launch, &self.name, &self.shared.options, &self.shared.tasks)
    }

    async fn sidecar(&self, port: &Port) -> std::io::Result<Box<dyn RunningSidecar>> {
        let workload = &self.workload;
        let spec = PodSpec {
            name: Arc::clone(&self.name),
            revision: workload.revision.clone(),
            service: Arc::clone(&workload.service),
            configuration: Arc::clone(&workload.configuration),
            user_addr: SocketAddr::new(LOCALHOST, port.number()),
            readiness: over_network(workload.readiness.as_ref()),
            slots: workload.slots,
            timeouts: workload.timeouts,
            protocol: workload.protocol,
        };
        self.shared.sidecars.start(spec).await
    }

    fn grace(&self) -> Duration {
        self.workload.grace.min(self.shared.options.longest_grace)
    }

    /// Waits before the next try; false when there shall be none.
    async fn wait(&self, time: Duration) -> bool {
        self.stop.run_until_cancelled(sleep(time)).await.is_some()
    }

    /// Takes no requests from now on; returns for how long it had been ready.
    fn not_ready(&self) -> Duration {
        let healthy = self.update(|pod| {
            let ready = pod.ready.filter(|_| pod.phase == Phase::Ready);
            if pod.phase == Phase::Ready {
                pod.phase = Phase::Starting;
            }
            ready.map_or(Duration::ZERO, |since| since.elapsed())
        });
        healthy.unwrap_or_default()
    }

    /// Keeps the reason, and says it unless it was said before.
    fn failed(&self, why: String, healthy: Duration) {
        let why: Arc<str> = why.into();
        self.update(|pod| pod.trouble = Some(Arc::clone(&why)));
        let news = self.shared.is_news(&self.workload.revision, &why);
        if news || healthy >= HEALTHY {
            tracing::warn!(
                revision = %self.workload.revision,
                pod = &*self.name,
                "pod failed: {why}"
            );
        }
    }

    fn update<T>(&self, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.shared.update(&self.workload.revision, self.id, change)
    }
}

impl Report for Pod {
    fn ready(&self, ready: bool) {
        if !ready {
            self.not_ready();
            return;
        }
        self.update(|pod| {
            if pod.phase == Phase::Starting {
                pod.phase = Phase::Ready;
                pod.ready = Some(Instant::now());
                pod.trouble = None;
            }
        });
    }

    fn trouble(&self, why: String) {
        self.failed(why, Duration::ZERO);
    }
}

/// The readiness probe as the sidecar gets it: a command becomes a TCP connect, none is one.
fn over_network(readiness: Option<&Probe>) -> Probe {
    let Some(probe) = readiness else {
        return Probe::tcp_default();
    };
    let mut probe = probe.clone();
    if matches!(probe.check, Check::Exec { .. }) {
        probe.check = Check::OWN_PORT;
    }
    probe
}
