//! The whole process: statistics in, scale calls out, pages beside it.

use std::sync::Arc;

use penstock_cluster::{Cluster, Leases};
use penstock_relay::listen::ListenError;
use penstock_runtime::admin::{Admin, BindError, Page, Routes};
use penstock_runtime::metrics::Gather;
use penstock_runtime::observability::Observability;
#[cfg(feature = "otlp")]
use penstock_runtime::otlp;
use penstock_scaling::config::Config;
use penstock_types::RevisionId;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::env::Settings;
use crate::live::{BadConfig, Live};
use crate::scrape::{Scraper, Scraping};
use crate::server::{Peers, StatServer};
use crate::{Autoscaler, Handle, Probe};

/// Why the process does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ConfigMap is wrong.
    #[error("{0}")]
    Config(#[from] BadConfig),
    /// The address for statistics cannot be had.
    #[error("{0}")]
    Stats(#[from] ListenError),
    /// The address for metrics cannot be had.
    #[error("{0}")]
    Admin(#[from] BindError),
    /// Two parts export the same series.
    #[error("the metrics cannot be exported: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The process, with both addresses taken and its configuration read; nothing runs yet.
#[derive(Debug)]
pub struct Program {
    settings: Settings,
    stats: StatServer,
    admin: Admin,
    live: Option<Live>,
    config: watch::Receiver<Arc<Config>>,
    observability: Observability,
}

impl Program {
    /// Reads the configuration and listens.
    ///
    /// # Errors
    ///
    /// [`StartError`], with nothing started.
    pub async fn bind(settings: Settings) -> Result<Self, StartError> {
        let live = settings.config_dir.as_deref().map(Live::open).transpose()?;
        Ok(Self {
            stats: StatServer::bind(settings.stats)?,
            admin: Admin::bind(settings.admin).await?,
            live,
            config: watch::channel(Arc::new(Config::default())).1,
            observability: Observability::default(),
            settings,
        })
    }

    /// Obeys these parameters where there is no folder of ConfigMaps; their sender may go, and the
    /// last ones then stay.
    #[must_use]
    pub fn with_config(mut self, config: watch::Receiver<Arc<Config>>) -> Self {
        self.config = config;
        self
    }

    /// Pushes its metrics, if `observability` says where to.
    #[must_use]
    pub fn telling(mut self, observability: Observability) -> Self {
        self.observability = observability;
        self
    }

    /// Where statistics are taken, and where the pages are.
    pub fn addrs(&self) -> [std::net::SocketAddr; 2] {
        [self.stats.addr(), self.admin.addr()]
    }

    /// Runs until `stop`. Pods are asked as `scraping` says, if it does.
    ///
    /// # Errors
    ///
    /// The metrics of two parts collide, with nothing started.
    pub async fn run(
        self,
        cluster: Arc<dyn Cluster>,
        leases: watch::Receiver<Arc<Leases>>,
        scraping: Option<Scraping>,
        stop: CancellationToken,
    ) -> Result<(), StartError> {
        let Self {
            settings,
            stats,
            admin,
            live,
            config,
            observability,
        } = self;
        let (registry, gather) = (Registry::new(), Gather::default());
        let config = live.as_ref().map_or(config, Live::values);
        let snapshots = cluster.snapshot();
        let autoscaler = Autoscaler::for_many(
            cluster,
            config.clone(),
            settings.policy,
            (&registry, &gather),
            settings.names,
        )?
        .with_leases(leases.clone())
        .compatible(settings.compatible);
        let probe = Probe {
            proxy: settings.services,
        };
        let autoscaler = autoscaler.with_confirm(Arc::new(probe));
        let autoscaler = match scraping {
            Some(_) => autoscaler.with_scraping(),
            None => autoscaler,
        };
        let peers = Peers {
            service: Some(settings.bucket_service()),
        };
        let handle = autoscaler.handle();
        let (serving, to, batches) = stats.start(leases.clone(), peers, stop.clone());
        let scraper = scraping
            .map(|scraping| Scraper::new(scraping, config, leases, to, &registry, settings.names))
            .transpose()?;
        gather.add(registry);
        // The pages and the pushes outlive the rest, so that it can be watched while it ends.
        let last = CancellationToken::new();
        let pushed = push(observability, &gather, &settings, last.clone());
        let (ready, is_ready) = watch::channel(true);
        let routes = Routes::standard(gather, is_ready)
            .below("/explain/", move |rest| explain(&handle, rest));
        let scraped = async {
            if let Some(scraper) = scraper {
                scraper.run(snapshots, stop.clone()).await;
            }
        };
        let followed = async {
            match live {
                Some(live) => live.follow().await,
                None => std::future::pending().await,
            }
        };
        let decided = async {
            tokio::join!(autoscaler.run(batches, stop.clone()), scraped, async {
                stop.cancelled().await;
                ready.send_replace(false);
                serving.ended().await;
            });
            last.cancel();
        };
        tokio::join!(decided, admin.run(routes, last.clone()), pushed, async {
            last.run_until_cancelled(followed).await;
        });
        Ok(())
    }
}

/// Pushes what is in `gather` until `stop`, if that is asked for.
#[cfg(feature = "otlp")]
fn push(
    observability: Observability,
    gather: &Gather,
    settings: &Settings,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let service = settings.otel.get("OTEL_SERVICE_NAME");
    let resource = [
        ("k8s.namespace.name", settings.system_namespace.as_str()),
        ("k8s.pod.name", settings.identity.pod.as_str()),
        ("service.name", service.map_or("autoscaler", String::as_str)),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let push = observability.push.and_then(|(wanted, interval)| {
        otlp::Push::open(&wanted.collector, gather.clone(), interval, &resource)
            .inspect_err(|error| tracing::error!(%error, "metrics are not pushed"))
            .ok()
    });
    async move {
        if let Some(push) = push {
            push.run(stop).await;
        }
    }
}

/// Nothing is pushed by this build; who asks for it was told.
#[cfg(not(feature = "otlp"))]
fn push(
    _: Observability,
    _: &Gather,
    _: &Settings,
    _: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    std::future::ready(())
}

/// Why a revision has as many pods as it has.
fn explain(handle: &Handle, rest: &str) -> Page {
    use http::StatusCode;
    let state = rest
        .split_once('/')
        .and_then(|(namespace, name)| handle.revision(&RevisionId::new(namespace, name)));
    match state {
        Some(state) => Page::text(StatusCode::OK, state.explain()),
        None => Page::text(
            StatusCode::NOT_FOUND,
            format!("no revision {rest} is looked after here; ask for NAMESPACE/REVISION\n"),
        ),
    }
}
