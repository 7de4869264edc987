//! The world of an activator on Kubernetes: its cluster, ConfigMaps and certificates.
//!
//! Everything is only read. Source: spec/activator.md §1.3, §1.4, §7 (TLS).

use std::path::PathBuf;
use std::sync::Arc;

use penstock_cluster::Cluster;
use penstock_cluster_kube::client::{self, ConnectError, Unanswered, Unfit};
use penstock_cluster_kube::config_map::{self, Values};
use penstock_cluster_kube::deployments::{self, Deployments, Role};
use penstock_cluster_kube::knative::{self, Knative, Trust, Trusted};
use penstock_cluster_kube::{Access, Rhythm};
use penstock_types::KubernetesVersion;
use tokio::sync::watch;

use crate::config::ConfigMaps;
use crate::env::{Api, ClusterKind, Settings};
use crate::program::{Material, World};

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
    /// Flags that do not go together.
    #[error("{0}")]
    Flags(&'static str),
}

/// Reaches the cluster, and waits until everything that is watched has been seen once. `configured`
/// is called with the ConfigMaps before that: whatever stands in the way has to be logged.
///
/// # Errors
///
/// [`Unreached`], with nothing started.
pub async fn reach(
    settings: &Settings,
    configured: impl FnOnce(&ConfigMaps),
) -> Result<World, Unreached> {
    let client = client::connect("activator", &access(&settings.api)?).await?;
    let kind = match settings.api.kind {
        Some(kind) => kind,
        None if client::serves(&client, "serving.knative.dev").await? => ClusterKind::Knative,
        None => ClusterKind::Deployments,
    };
    let knative = (kind == ClusterKind::Knative).then_some(KubernetesVersion::OF_KNATIVE);
    if let Some(wanted) = settings.api.min_version.or(knative) {
        client::at_least(&client, wanted).await?;
    }
    let rhythm = Rhythm::default();
    let own = settings.identity.ip.parse().ok();
    let domain = settings.options.cluster_domain.clone();
    let system = &settings.identity.namespace;
    let config = config_maps(&client, rhythm, settings).await;
    configured(&config.borrow());
    let (cluster, material): (Arc<dyn Cluster>, _) = match kind {
        ClusterKind::Knative => {
            let options = knative::Options {
                namespace: None,
                domain,
                rhythm,
            };
            let cluster = Knative::start(client.clone(), &options, own);
            cluster.complete().await;
            let trust = Trust::follow(&client, rhythm, system);
            (cluster, Some(material(trust).await))
        }
        ClusterKind::Deployments => {
            let options = deployments::Options {
                namespace: None,
                domain,
                rhythm,
                // What the autoscaler cannot use is the autoscaler's to say.
                check: Arc::new(|_| Vec::new()),
            };
            let cluster = Deployments::start(client.clone(), options, Role::Activator { own });
            cluster.complete().await;
            (cluster, None)
        }
    };
    Ok(World {
        cluster,
        kind,
        config,
        material,
    })
}

fn access(api: &Api) -> Result<Access, Unreached> {
    match (&api.kubeconfig, &api.server, &api.cluster) {
        (None, None, None) => Ok(Access::InCluster),
        (Some(path), None, None) => Ok(Access::File(PathBuf::from(path))),
        (None, Some(server), None) => match server.parse() {
            Ok(url) => Ok(Access::Url(url)),
            Err(_) => Err(Unreached::Flags("-server is not a URL")),
        },
        _ => Err(Unreached::Flags(
            "-server and -cluster cannot be given beside a kubeconfig: say it in the file",
        )),
    }
}

/// The three ConfigMaps, once all of them were looked for. One that is not there has no values.
async fn config_maps(
    client: &client::Client,
    rhythm: Rhythm,
    settings: &Settings,
) -> watch::Receiver<Arc<ConfigMaps>> {
    let names = [
        "config-network",
        &settings.maps.logging,
        &settings.maps.observability,
    ];
    let namespace = &settings.identity.namespace;
    let (source, [mut network, mut logging, mut observability]) =
        config_map::ConfigMaps::follow(client, rhythm, namespace, names);
    for map in [&mut network, &mut logging, &mut observability] {
        // The source is here.
        let _ = map.wait_for(Option::is_some).await;
    }
    let now = move |maps: &[watch::Receiver<Option<Values>>; 3]| {
        let [network, logging, observability] = maps.each_ref().map(|map| {
            let values = map.borrow().clone().unwrap_or_default();
            values.as_ref().clone()
        });
        Arc::new(ConfigMaps {
            network,
            logging,
            observability,
        })
    };
    let mut maps = [network, logging, observability];
    let (to, config) = watch::channel(now(&maps));
    tokio::spawn(async move {
        // Followed as long as this task is.
        let _source = source;
        loop {
            let [network, logging, observability] = &mut maps;
            let changed = tokio::select! {
                changed = network.changed() => changed,
                changed = logging.changed() => changed,
                changed = observability.changed() => changed,
                () = to.closed() => return,
            };
            if changed.is_err() {
                return;
            }
            to.send_replace(now(&maps));
        }
    });
    config
}

/// Certificates of the install, once they were looked for.
async fn material(trust: Trust) -> watch::Receiver<Arc<Material>> {
    let mut values = trust.values();
    // The source is here.
    let _ = values.wait_for(Option::is_some).await;
    let (to, material) = watch::channel(read(&values));
    tokio::spawn(async move {
        // Followed as long as this task is.
        let _trust = trust;
        loop {
            let changed = tokio::select! {
                changed = values.changed() => changed,
                () = to.closed() => return,
            };
            if changed.is_err() {
                return;
            }
            to.send_replace(read(&values));
        }
    });
    material
}

fn read(values: &watch::Receiver<Option<Arc<Trusted>>>) -> Arc<Material> {
    let trusted = values.borrow().clone().unwrap_or_default();
    let bytes = |pem: &Option<Arc<[u8]>>| pem.as_deref().unwrap_or_default().to_vec();
    let bundles = trusted.bundles.iter();
    Arc::new(Material {
        certificate: bytes(&trusted.certificate),
        key: bytes(&trusted.key),
        ca: bytes(&trusted.authority),
        bundles: bundles
            .map(|(place, text)| (place.clone(), text.as_bytes().to_vec()))
            .collect(),
    })
}
