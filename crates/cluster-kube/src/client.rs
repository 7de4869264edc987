//! The way to the API server: one client for a process.
//!
//! It is put together here, not by [`Client::try_from`]: requests are not delayed by Nagle's
//! algorithm, a peer that has gone without a word is noticed by keep-alive, nothing is retried
//! behind the caller's back, and the number of requests is not throttled. A cold start waits for
//! one PATCH; who has to be slowed down is told so by the server (429).

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
pub use kube::Client;
use kube::Config;
use kube::client::ConfigExt;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use penstock_types::KubernetesVersion;
use tokio::time::{Instant, sleep, timeout};
use tower::{BoxError, ServiceBuilder};

use crate::reflect::chain;

/// Time in which a connection to the API server has to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence after which it is asked whether the peer is still there, and between such questions.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Questions without an answer after which the connection is given up.
const UNANSWERED: u32 = 3;
/// Time that an API server which is being started has to say its version, and between questions.
const STARTING: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(1);

/// Where the API server is, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// As the service account of the pod that this process runs in.
    InCluster,
    /// As a file says, such as the one named by `KUBECONFIG`; in its current context.
    File(PathBuf),
    /// At a URL, without a name.
    Url(http::Uri),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not in a pod, or in one without a service account.
    #[error("this process has no access to the cluster that it runs in")]
    InCluster(#[source] InClusterError),
    /// The file cannot be used.
    #[error("{} is not a usable kubeconfig", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: KubeconfigError,
    },
    /// What is written there cannot be put to use, a certificate for example.
    #[error("the access to the API server cannot be used")]
    Config(#[source] Box<kube::Error>),
    /// The component's name cannot be in a header.
    #[error("{0:?} is not a name for a component: it has letters, digits and dashes only")]
    Component(String),
}

/// Makes the client of `component`, such as `activator`, which the API server's log shows as
/// `penstock-activator`. Nothing is sent yet.
///
/// # Errors
///
/// If the access is not described, or wrongly.
pub async fn connect(component: &str, access: &Access) -> Result<Client, ConnectError> {
    let mut config = match access {
        Access::InCluster => Config::incluster().map_err(ConnectError::InCluster)?,
        Access::File(path) => from_file(path).await.map_err(|source| ConnectError::File {
            path: path.clone(),
            source,
        })?,
        Access::Url(url) => Config::new(url.clone()),
    };
    let agent = format!("penstock-{component}/{}", env!("CARGO_PKG_VERSION"));
    let agent =
        HeaderValue::try_from(agent).map_err(|_| ConnectError::Component(component.to_owned()))?;
    config.headers.push((USER_AGENT, agent));
    client(&config).map_err(|error| ConnectError::Config(Box::new(error)))
}

/// The API server gives no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(String);

/// Whether the API server serves `group`, such as `serving.knative.dev`.
///
/// # Errors
///
/// If it does not say.
pub async fn serves(client: &Client, group: &str) -> Result<bool, Unanswered> {
    let groups = client.list_api_groups();
    let groups = match timeout(CONNECT * 2, groups).await {
        Ok(Ok(groups)) => groups,
        Ok(Err(error)) => return Err(Unanswered(chain(&error))),
        Err(late) => return Err(Unanswered(late.to_string())),
    };
    Ok(groups.groups.iter().any(|it| it.name == group))
}

/// Why an API server will not do.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It is older than it may be.
    #[error(
        "the API server has the version {found}, which is too old: {wanted} is needed, unless \
         KUBERNETES_MIN_VERSION says otherwise"
    )]
    Old {
        /// What it says.
        found: String,
        /// The oldest that will do.
        wanted: KubernetesVersion,
    },
    /// It does not say its version.
    #[error("the API server does not say its version: {0}")]
    Unanswered(#[from] Unanswered),
}

/// Whether the API server is as new as `wanted`, or newer. One that does not answer is asked again
/// for a minute: a component may be started before it (spec/activator.md §1.1).
///
/// # Errors
///
/// [`Unfit`], by the last answer.
pub async fn at_least(client: &Client, wanted: KubernetesVersion) -> Result<(), Unfit> {
    let end = Instant::now() + STARTING;
    let found = loop {
        let asked = timeout(CONNECT * 2, client.apiserver_version()).await;
        let why = match asked {
            Ok(Ok(info)) => break info.git_version,
            Ok(Err(error)) => chain(&error),
            Err(late) => late.to_string(),
        };
        if Instant::now() > end {
            return Err(Unanswered(why).into());
        }
        sleep(AGAIN).await;
    };
    match KubernetesVersion::read(&found) {
        Some(version) if version >= wanted => Ok(()),
        _ => Err(Unfit::Old { found, wanted }),
    }
}

async fn from_file(path: &PathBuf) -> Result<Config, KubeconfigError> {
    let file = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await
}

fn client(config: &Config) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(KEEP_ALIVE));
    tcp.set_keepalive_retries(Some(UNANSWERED));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http = legacy::Client::builder(TokioExecutor::new()).build(tls);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}
