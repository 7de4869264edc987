//! What a cluster gives an activator beside revisions and pods.

use std::fmt;
use std::sync::Arc;

use penstock_cluster::Cluster;
use penstock_relay::tls::{Client, ClientAuth, Held, Server};
use tokio::sync::watch;

use super::StartError;
use crate::config::ConfigMaps;
use crate::env::{ClusterKind, Settings};

/// What an activator lives in. Values that change are followed for as long as it runs.
pub struct World {
    /// Revisions and pods.
    pub cluster: Arc<dyn Cluster>,
    /// Whose they are.
    pub kind: ClusterKind,
    /// The ConfigMaps.
    pub config: watch::Receiver<Arc<ConfigMaps>>,
    /// Certificates; `None` where there are none to be had.
    pub material: Option<watch::Receiver<Arc<Material>>>,
}

/// Certificates and keys, in PEM, as they are in the cluster (spec/activator.md §7).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Material {
    /// `tls.crt` of the secret `routing-serving-certs`: what is shown to callers.
    pub certificate: Vec<u8>,
    /// `tls.key` of the same.
    pub key: Vec<u8>,
    /// `ca.crt` of the same: who vouches for pods.
    pub ca: Vec<u8>,
    /// All values of the ConfigMaps that are trust bundles, each with its name: others who do.
    pub bundles: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Material {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

/// TLS with callers and with pods, as the cluster's certificates are at the time.
#[derive(Clone, Debug)]
pub struct Secured {
    /// That of the listener.
    pub(super) server: Server,
    held: Arc<Held>,
    /// That with pods.
    pub(super) client: Arc<Client>,
}

impl Secured {
    pub(super) fn start(
        settings: &Settings,
        material: Option<&watch::Receiver<Arc<Material>>>,
    ) -> Result<Self, StartError> {
        let material = material.ok_or(StartError::NoSecret)?;
        let material = Arc::clone(&material.borrow());
        if material.certificate.is_empty() {
            return Err(StartError::NoSecret);
        }
        let held = Held::new(&material.certificate, &material.key)?;
        let choices = &settings.tls;
        for name in choices.left_out() {
            tracing::warn!("TLS goes without {name}, which is not known here");
        }
        let protocols = ["h2", "http/1.1"];
        let server = Server::new(held.clone(), choices, &ClientAuth::None, &protocols)?;
        let client = Client::trusting(trusted(&material))?;
        Ok(Self {
            server,
            held,
            client,
        })
    }

    /// Takes what is new; what is bad of it is told, and the old stays.
    pub(super) fn replace(&self, material: &Material) {
        if let Err(error) = self.held.replace(&material.certificate, &material.key) {
            tracing::error!(%error, "the certificate was not replaced; the old one stays");
        }
        if let Err(error) = self.client.replace(trusted(material)) {
            tracing::error!(%error, "the same authorities vouch for pods as before");
        }
    }
}

/// Who vouches for pods: all that are good of the secret's and the bundles'.
fn trusted(material: &Material) -> impl Iterator<Item = (&str, &[u8])> {
    let Material { ca, bundles, .. } = material;
    let own = (!ca.is_empty()).then_some(("ca.crt of routing-serving-certs", &ca[..]));
    let bundles = bundles.iter().map(|(name, text)| (&**name, &text[..]));
    own.into_iter().chain(bundles)
}
