//! Asking the pods what the activator does not see: each revision's queue-proxies, once a second.
//!
//! One task for each revision. Whom it asks and what the answers say is decided in
//! [`penstock_scaling::scrape`]; here are the sockets. A slow scrape leaves out the seconds that it
//! takes. What cannot be had is missing, not zero: the loop keeps what it knew.
//!
//! Source: spec/autoscaler.md §4.6 and §4.7.

mod http1;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use penstock_cluster::{Holder, Leases, Pod, Revision, Snapshot};
use penstock_scaling::config::Config;
use penstock_scaling::scrape::{Answer, Failed, Mesh, Pods, Reach, Service, Way, Worker};
use penstock_types::RevisionId;
use penstock_types::request_stats::Report;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::heard::{Batch, Heard};
use crate::metrics::{Names, ScrapeMetrics};
use crate::server::Route;
use crate::watched::spec;
use http1::{Asked, Links};

pub(crate) use http1::report_of;

/// Time between two scrapes of a revision.
const PERIOD: Duration = Duration::from_secs(1);

/// Where figures are asked for.
pub trait Targets: Send + Sync + 'static {
    /// Where a pod's queue-proxy tells its figures.
    fn pod(&self, pod: &Pod) -> SocketAddr {
        (pod.addr.ip(), 9090).into()
    }

    /// Host and port of the Service in front of a revision's pods; `None` where there is none.
    fn service(&self, revision: &Revision) -> Option<String>;
}

/// How pods are asked.
#[derive(Clone)]
pub struct Scraping {
    /// Where.
    pub targets: Arc<dyn Targets>,
    /// Whether a service mesh is in the way.
    pub mesh: Mesh,
    /// Whether it passes requests for single pods through.
    pub passthrough: bool,
    /// Starts the choice among pods.
    pub seed: u64,
}

impl fmt::Debug for Scraping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraping")
            .field("mesh", &self.mesh)
            .field("passthrough", &self.passthrough)
            .finish_non_exhaustive()
    }
}

/// Asks the pods of all revisions.
#[derive(Debug)]
pub struct Scraper {
    scraping: Scraping,
    config: watch::Receiver<Arc<Config>>,
    leases: watch::Receiver<Arc<Leases>>,
    to: mpsc::Sender<Batch>,
    metrics: ScrapeMetrics,
}

impl Scraper {
    /// Tells the loop behind `to` what the pods say, of revisions whose buckets `leases` has here.
    ///
    /// # Errors
    ///
    /// If `registry` has the series of a scraper already.
    pub fn new(
        scraping: Scraping,
        config: watch::Receiver<Arc<Config>>,
        leases: watch::Receiver<Arc<Leases>>,
        to: mpsc::Sender<Batch>,
        registry: &Registry,
        names: Names,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            scraping,
            config,
            leases,
            to,
            metrics: ScrapeMetrics::register(registry, names)?,
        })
    }

    /// Follows `snapshots` until `stop`, or until the cluster is gone.
    pub async fn run(self, mut snapshots: watch::Receiver<Arc<Snapshot>>, stop: CancellationToken) {
        let mut leases = self.leases.clone();
        let mut route = Route::new(leases.clone());
        let mut asking: HashMap<RevisionId, AbortHandle> = HashMap::new();
        let mut tasks = JoinSet::new();
        loop {
            let snapshot = Arc::clone(&snapshots.borrow_and_update());
            let mut is_ours = |id: &RevisionId| route.of(id).1 == Holder::Here;
            asking.retain(|id, task| {
                let stays = snapshot.revisions.contains_key(id) && is_ours(id);
                if !stays {
                    task.abort();
                }
                stays
            });
            for id in snapshot.revisions.keys() {
                if !asking.contains_key(id) && is_ours(id) {
                    let task = One::new(&self, id.clone(), snapshots.clone());
                    asking.insert(id.clone(), tasks.spawn(task.run()));
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => if changed.is_err() {
                    return;
                },
                Ok(()) = leases.changed() => {}
                // One that ends early has lost its revision, which the next picture shows.
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

/// The scrapes of one revision.
struct One {
    id: RevisionId,
    scraping: Scraping,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    config: watch::Receiver<Arc<Config>>,
    to: mpsc::Sender<Batch>,
    metrics: ScrapeMetrics,
    reach: Reach,
    links: Links,
    random: u64,
    failing: bool,
}

impl One {
    fn new(scraper: &Scraper, id: RevisionId, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        let scraping = scraper.scraping.clone();
        // Each revision begins elsewhere, so that a thousand of them are not asked at once.
        let mix = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let random = id.to_string().bytes().fold(scraping.seed, mix) | 1;
        Self {
            id,
            snapshots,
            config: scraper.config.clone(),
            to: scraper.to.clone(),
            metrics: scraper.metrics.clone(),
            reach: Reach::new(scraping.mesh, scraping.passthrough),
            links: Links::default(),
            scraping,
            random,
            failing: false,
        }
    }

    async fn run(mut self) {
        let phase = PERIOD.mul_f64((self.random >> 40) as f64 / (1_u64 << 24) as f64);
        let mut ticks = interval_at(tokio::time::Instant::now() + phase, PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let revision = self.snapshots.borrow().revisions.get(&self.id).cloned();
            let Some(revision) = revision else { return };
            let config = Arc::clone(&self.config.borrow());
            let spec = spec(&config, &revision);
            if !spec.is_scraped() {
                continue;
            }
            let Some(scraped) = self.scrape(&revision, spec.stable_window).await else {
                continue;
            };
            if self.to.send(Batch::new(scraped)).await.is_err() {
                return;
            }
        }
    }

    /// One scrape; `None` if it failed.
    async fn scrape(&mut self, revision: &Revision, window: Duration) -> Option<Heard> {
        let pods: Vec<(SocketAddr, Duration)> = revision
            .ready()
            .map(|pod| {
                let age = pod.started.map_or(Duration::ZERO, |at| at.elapsed());
                (self.scraping.targets.pod(pod), age)
            })
            .collect();
        self.links
            .retain(|addr| pods.iter().any(|pod| pod.0 == addr));
        if pods.is_empty() {
            return Some(Heard::Scraped(self.id.clone(), None));
        }
        let start = Instant::now();
        let result = self.ask(revision, &pods, window).await;
        self.metrics.observe(revision, start.elapsed());
        let id = &self.id;
        match result {
            Ok(report) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(revision = %id, "the pods of {id} tell their load again");
                }
                Some(Heard::Scraped(id.clone(), Some(report)))
            }
            Err(failed) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(revision = %id, "the pods of {id} do not tell their load: {failed}");
                }
                None
            }
        }
    }

    async fn ask(
        &mut self,
        revision: &Revision,
        pods: &[(SocketAddr, Duration)],
        window: Duration,
    ) -> Result<Report, Failed> {
        let service = self.scraping.targets.service(revision);
        let first = self.reach.first();
        if first == Way::Pods {
            let result = self.ask_pods(pods, service.as_deref(), window).await;
            match result {
                Err(failed) if self.reach.falls_back(failed) => {}
                other => return other,
            }
        }
        let count = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        let report = ask_service(service.as_deref(), count, window).await?;
        if first == Way::Pods {
            self.reach.fell_back();
        }
        Ok(report)
    }

    async fn ask_pods(
        &mut self,
        pods: &[(SocketAddr, Duration)],
        service: Option<&str>,
        window: Duration,
    ) -> Result<Report, Failed> {
        let ages: Vec<Duration> = pods.iter().map(|(_, age)| *age).collect();
        let random = &mut self.random;
        let mut scrape = Pods::new(&ages, window, || {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            *random
        });
        // Through a mesh that lets single pods be reached the request is for the Service by name.
        let through = service.filter(|_| self.reach.passthrough);
        let links = &self.links;
        let ask = |pod: usize| links.ask(pods[pod].0, through);
        let mut open = FuturesUnordered::new();
        for _ in 0..scrape.at_once() {
            open.extend(scrape.next_pod().map(ask));
        }
        while let Some(answer) = open.next().await {
            match answer {
                Ok(stat) => scrape.answered(report_of(&stat)),
                Err(why) => {
                    scrape.refused(why);
                    open.extend(scrape.next_pod().map(ask));
                }
            }
        }
        scrape.end()
    }
}

/// Through the Service, each time over a new connection: it picks the pod.
async fn ask_service(host: Option<&str>, pods: u32, window: Duration) -> Result<Report, Failed> {
    let host = host.ok_or(Failed::Transport)?;
    let mut scrape = Service::new(pods, window);
    let ask = |worker: Worker| async move { (worker, http1::ask_once(host).await) };
    let mut open: FuturesUnordered<_> = (0..scrape.workers())
        .map(|_| ask(Worker::default()))
        .collect();
    while let Some((mut worker, asked)) = open.next().await {
        let answer = asked.as_ref().ok().map(|stat: &Asked| Answer {
            pod: &stat.pod_name,
            uptime: stat.process_uptime,
            report: report_of(stat),
        });
        if scrape.heard(&mut worker, answer) {
            open.push(ask(worker));
        }
    }
    scrape.end()
}

#[cfg(test)]
mod tests;
