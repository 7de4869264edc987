//! The world of an autoscaler on Kubernetes: its client, ConfigMaps, cluster and elections.
//!
//! Source: spec/autoscaler.md §1, §4.5; which cluster is chosen is told in `env.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use penstock_cluster::{Cluster, Holder, Leases, Revision};
use penstock_cluster_kube::client::{self, ConnectError, Unanswered, Unfit};
use penstock_cluster_kube::config_map::{ConfigMaps, Values};
use penstock_cluster_kube::deployments::{self, Deployments, Role};
use penstock_cluster_kube::knative::{self, scaling::Scaling};
use penstock_cluster_kube::lease::{Candidate, Elections, Terms};
use penstock_cluster_kube::{Access, Rhythm};
use penstock_runtime::log::Logging;
use penstock_runtime::observability::Observability;
use penstock_runtime::vars::BadVars;
use penstock_scaling::annotation;
use penstock_scaling::bucket::Buckets;
use penstock_scaling::config::Config;
use penstock_types::{KubernetesVersion, RevisionId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::env::{ClusterKind, NoBucket, Settings};
use crate::maps::{self, BadMap, Election, Map};
use crate::program::{Program, StartError};
use crate::scrape::{Scraping, Targets};
use crate::server::Route;

/// Why the world cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    /// There is no way to the API server.
    #[error("no way to the API server: {0}")]
    Connect(#[from] ConnectError),
    /// It does not say what it serves.
    #[error("the API server does not say whether it serves Knative; PENSTOCK_CLUSTER can: {0}")]
    Discovery(#[from] Unanswered),
    /// It is too old.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// A ConfigMap is wrong.
    #[error("{0}")]
    Map(#[from] BadMap),
    /// There are fewer buckets than pods that hold one each.
    #[error("{0}")]
    Bucket(#[from] NoBucket),
    /// The process itself does not start.
    #[error("{0}")]
    Start(#[from] StartError),
}

impl From<BadVars> for Unreached {
    fn from(bad: BadVars) -> Self {
        Self::Map(bad.into())
    }
}

/// The ConfigMaps of the system's namespace, as they are now and later.
#[derive(Debug)]
struct Maps {
    autoscaler: watch::Receiver<Arc<Map>>,
    deployment: watch::Receiver<Arc<Map>>,
    logging: watch::Receiver<Arc<Map>>,
    observability: watch::Receiver<Arc<Map>>,
    network: Arc<Map>,
    election: Arc<Map>,
    /// Keeps them up to date.
    _source: ConfigMaps,
}

/// What the process lives in, before it takes part.
pub struct World {
    client: penstock_cluster_kube::client::Client,
    kind: ClusterKind,
    maps: Maps,
    config: watch::Sender<Arc<Config>>,
    observability: Observability,
}

/// What the process works on.
struct Work {
    /// Revisions and pods.
    cluster: Arc<dyn Cluster>,
    /// Who holds which bucket.
    leases: watch::Receiver<Arc<Leases>>,
    /// How pods are asked.
    scraping: Scraping,
    /// What is given back at the end, where buckets are held by election.
    elections: Option<Elections>,
}

/// Scales until `stop`. `begin` is called once the cluster can be reached, with the addresses of the
/// statistics and of the pages.
///
/// # Errors
///
/// [`Unreached`], with nothing started.
pub async fn run(
    settings: Settings,
    stop: CancellationToken,
    begin: impl FnOnce(&World, [SocketAddr; 2]),
) -> Result<(), Unreached> {
    let starting = async {
        let world = World::reach(&settings).await?;
        let program = Program::bind(settings.clone()).await?;
        let program = program
            .with_config(world.config())
            .telling(world.observability.clone());
        let addrs = program.addrs();
        begin(&world, addrs);
        world.tell_what_is_not_there();
        let work = world.work(&settings, addrs[0]).await?;
        Ok::<_, Unreached>((program, work))
    };
    let Some(started) = stop.run_until_cancelled(starting).await else {
        return Ok(());
    };
    let (program, work) = started?;
    let running = program.run(work.cluster, work.leases, Some(work.scraping), stop.clone());
    let (ended, ()) = tokio::join!(running, async {
        stop.cancelled().await;
        // Whoever waits for the buckets goes on at once.
        if let Some(elections) = work.elections {
            elections.release().await;
        }
    });
    Ok(ended?)
}

impl World {
    /// Reaches the API server and reads the ConfigMaps; waits as long as it does not answer.
    ///
    /// # Errors
    ///
    /// [`Unreached`], with nothing started.
    async fn reach(settings: &Settings) -> Result<Self, Unreached> {
        let access = match &settings.kubeconfig {
            Some(path) => Access::File(path.clone()),
            None => Access::InCluster,
        };
        let client = client::connect("autoscaler", &access).await?;
        let kind = match settings.cluster {
            Some(kind) => kind,
            None if client::serves(&client, "serving.knative.dev").await? => ClusterKind::Knative,
            None => ClusterKind::Deployments,
        };
        let knative = (kind == ClusterKind::Knative).then_some(KubernetesVersion::OF_KNATIVE);
        if let Some(wanted) = settings.min_version.or(knative) {
            client::at_least(&client, wanted).await?;
        }
        let maps = Maps::read(&client, settings).await;
        let config = maps::config(&maps.autoscaler.borrow(), &maps.deployment.borrow())?;
        let observability = Observability::read(&maps.observability.borrow(), &settings.otel)?;
        Ok(Self {
            client,
            kind,
            maps,
            config: watch::Sender::new(Arc::new(config)),
            observability,
        })
    }

    fn tell_what_is_not_there(&self) {
        let map = self.maps.observability.borrow();
        if let Some(sentence) = maps::not_there(&map, &self.observability) {
            tracing::warn!("{sentence}");
        }
    }

    /// How the process is to log.
    pub fn logging(&self) -> Logging {
        maps::logging(&self.maps.logging.borrow())
    }

    /// The map of that, as it is now and later.
    pub fn logging_map(&self) -> watch::Receiver<Arc<Map>> {
        self.maps.logging.clone()
    }

    /// The parameters of scaling, now and later.
    fn config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Waits for the first whole picture, then takes part in the elections: who is elected knows
    /// what there is to do. `stats` is where this process takes statistics.
    ///
    /// # Errors
    ///
    /// A ConfigMap is wrong, with nothing started.
    async fn work(self, settings: &Settings, stats: SocketAddr) -> Result<Work, Unreached> {
        let election = Election::read(&self.maps.election)?;
        let fixed = settings.fixed_leases(election.buckets)?;
        let (mesh, passthrough) = maps::mesh(&self.maps.network)?;
        let Self {
            client,
            kind,
            maps,
            config,
            observability,
        } = self;
        let owners = Owners::default();
        let cluster: Arc<dyn Cluster> = match kind {
            ClusterKind::Knative => {
                let scaling = Scaling::start(client.clone(), &options(settings));
                scaling.complete().await;
                scaling
            }
            ClusterKind::Deployments => {
                let cluster = deployments(&client, settings, &config, &owners);
                cluster.complete().await;
                tokio::spawn(look_again(Arc::clone(&cluster), owners.clone()));
                cluster
            }
        };
        let (leases, elections) = match fixed {
            Some(leases) => (watch::channel(Arc::new(leases)).1, None),
            None => {
                let candidate = candidate(settings, election, stats);
                let elections = Elections::start(&client, Rhythm::default(), candidate);
                (elections.leases(), Some(elections))
            }
        };
        owners.set(leases.clone());
        let observed = (settings.otel.clone(), observability);
        tokio::spawn(keep(maps, config, observed));
        Ok(Work {
            cluster,
            leases,
            scraping: Scraping {
                targets: Arc::new(Pods),
                mesh,
                passthrough,
                seed: seed(),
            },
            elections,
        })
    }
}

impl Maps {
    /// Waits until all of them were looked for. One that is not there has no values.
    async fn read(client: &client::Client, settings: &Settings) -> Self {
        let names = [
            "config-autoscaler",
            "config-deployment",
            &settings.config_logging,
            &settings.config_observability,
            "config-network",
            "config-leader-election",
        ];
        let namespace = &settings.system_namespace;
        let (source, all) = ConfigMaps::follow(client, Rhythm::default(), namespace, names);
        let [
            autoscaler,
            deployment,
            logging,
            observability,
            network,
            election,
        ] = all.map(known);
        let (network, election) = (network.await, election.await);
        let (network, election) = (network.borrow().clone(), election.borrow().clone());
        Self {
            autoscaler: autoscaler.await,
            deployment: deployment.await,
            logging: logging.await,
            observability: observability.await,
            network,
            election,
            _source: source,
        }
    }
}

/// The values from the moment on when they are known.
async fn known(mut values: watch::Receiver<Option<Values>>) -> watch::Receiver<Arc<Map>> {
    let first = match values.wait_for(Option::is_some).await {
        Ok(first) => first.clone().unwrap_or_default(),
        Err(_) => Arc::default(),
    };
    let (to, known) = watch::channel(first);
    tokio::spawn(async move {
        while values.changed().await.is_ok() {
            let now = values.borrow_and_update().clone().unwrap_or_default();
            if to.send(now).is_err() {
                return;
            }
        }
    });
    known
}

/// Keeps the parameters what the maps say, for as long as anybody reads them.
async fn keep(
    maps: Maps,
    config: watch::Sender<Arc<Config>>,
    (otel, observability): (BTreeMap<&'static str, String>, Observability),
) {
    let nobody = config.clone();
    let scaling = maps::follow(maps.autoscaler.clone(), maps.deployment.clone(), config);
    let telling = maps::follow_observability(maps.observability.clone(), otel, observability);
    tokio::select! {
        _ = async { tokio::join!(scaling, telling) } => {}
        () = async { nobody.closed().await } => {}
    }
}

fn options(settings: &Settings) -> knative::Options {
    knative::Options {
        namespace: None,
        domain: settings.cluster_domain.clone(),
        rhythm: Rhythm::default(),
    }
}

fn deployments(
    client: &client::Client,
    settings: &Settings,
    config: &watch::Sender<Arc<Config>>,
    owners: &Owners,
) -> Arc<Deployments> {
    let config = config.subscribe();
    let options = deployments::Options {
        namespace: None,
        domain: settings.cluster_domain.clone(),
        rhythm: Rhythm::default(),
        check: Arc::new(move |annotations| {
            annotation::validate_alone(annotations, &config.borrow())
        }),
    };
    let owners = owners.clone();
    let role = Role::Autoscaler {
        ours: Arc::new(move |revision| owners.is_ours(revision)),
        activators: (
            settings.system_namespace.clone(),
            settings.activators.clone(),
        ),
    };
    Deployments::start(client.clone(), options, role)
}

/// Has everything looked at again when other buckets are held here.
async fn look_again(cluster: Arc<Deployments>, owners: Owners) {
    let Some(mut leases) = owners.leases().await else {
        return;
    };
    while leases.changed().await.is_ok() {
        cluster.look_again();
    }
}

fn candidate(settings: &Settings, election: Election, stats: SocketAddr) -> Candidate {
    let Election {
        buckets,
        lease,
        renew,
        retry,
    } = election;
    Candidate {
        namespace: settings.system_namespace.clone(),
        buckets: Buckets::new(buckets).names().to_vec(),
        identity: settings.identity.to_string(),
        ip: settings.identity.ip,
        port: stats.port(),
        terms: Terms {
            lease,
            renew,
            retry,
        },
    }
}

/// Which revisions are this process's. Nothing is, until it takes part in the elections.
#[derive(Clone, Default)]
struct Owners(Arc<OwnersInner>);

#[derive(Default)]
struct OwnersInner {
    route: OnceLock<Mutex<Route>>,
    leases: watch::Sender<Option<watch::Receiver<Arc<Leases>>>>,
}

impl Owners {
    fn set(&self, leases: watch::Receiver<Arc<Leases>>) {
        self.0
            .route
            .get_or_init(|| Mutex::new(Route::new(leases.clone())));
        self.0.leases.send_replace(Some(leases));
    }

    /// Who holds which bucket, once that is known.
    async fn leases(&self) -> Option<watch::Receiver<Arc<Leases>>> {
        let mut leases = self.0.leases.subscribe();
        leases.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn is_ours(&self, revision: &RevisionId) -> bool {
        self.0.route.get().is_some_and(|route| {
            let mut route = route.lock().unwrap_or_else(PoisonError::into_inner);
            route.of(revision).1 == Holder::Here
        })
    }
}

/// Where queue-proxies tell their figures: each at its pod, all of them behind the private Service.
struct Pods;

impl Targets for Pods {
    fn service(&self, revision: &Revision) -> Option<String> {
        revision.standing.as_ref()?.way.as_ref()?;
        let (namespace, name) = (revision.id.namespace(), revision.id.name());
        Some(format!("{}.{namespace}:9090", knative::name::private(name)))
    }
}

/// Differs from process to process, which is all that is asked of it.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
