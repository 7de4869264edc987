//! Certificates for the traffic inside of an install: whom to trust, and who we are.
//!
//! They are handed on as they are written; what is no certificate is for whoever reads them to say.
//!
//! Source: spec/activator.md §7, "TLS".

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::Key;
use crate::picture::Tasks;
use crate::reflect::{Change, Complaints, Reach, Reflector, Rhythm, Selection, shape};

/// Name of the secret with the certificate of activators and the authority behind it.
const SECRET: &str = "routing-serving-certs";
/// Label of ConfigMaps whose values are further authorities.
const BUNDLE: &str = "networking.knative.dev/trust-bundle";

/// PEM texts, as they are written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The secret's authority (`ca.crt`).
    pub authority: Option<Arc<[u8]>>,
    /// The secret's certificate (`tls.crt`).
    pub certificate: Option<Arc<[u8]>>,
    /// The key to it (`tls.key`).
    pub key: Option<Arc<[u8]>>,
    /// Further authorities, each with the place it is from: `config map/key`.
    pub bundles: BTreeMap<String, Arc<str>>,
}

/// Without the key.
impl std::fmt::Debug for Trusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trusted")
            .field("authority", &self.authority.is_some())
            .field("certificate", &self.certificate.is_some())
            .field("key", &self.key.is_some())
            .field("bundles", &self.bundles.keys())
            .finish()
    }
}

#[derive(Clone, Deserialize)]
struct Secret {
    metadata: ObjectMeta,
    #[serde(default)]
    data: BTreeMap<String, ByteString>,
}

shape!(Secret: "Secret", "secrets", "", "v1");

/// Without what is secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Bundle {
    metadata: ObjectMeta,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

shape!(Bundle: "ConfigMap", "configmaps", "", "v1");

/// Follows the secret and the bundles of one namespace.
#[derive(Debug)]
pub struct Trust {
    values: watch::Receiver<Option<Arc<Trusted>>>,
    reach: watch::Receiver<Reach>,
    _tasks: Tasks,
}

impl Trust {
    /// Begins to look in the namespace of the system.
    pub fn follow(client: &Client, rhythm: Rhythm, namespace: &str) -> Self {
        let complaints = Complaints::new();
        let reach = complaints.reach();
        let reflector = Reflector::new(client.clone(), rhythm, complaints);
        let (sender, values) = watch::channel(None);
        let tasks = Tasks::default();
        tasks.spawn(follow(reflector, namespace.to_owned(), sender));
        Self {
            values,
            reach,
            _tasks: tasks,
        }
    }

    /// What is trusted now and later; `None` until all of it was looked for.
    pub fn values(&self) -> watch::Receiver<Option<Arc<Trusted>>> {
        self.values.clone()
    }

    /// Whether it can be seen.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }
}

enum Seen {
    Secret(Change<BTreeMap<String, ByteString>>),
    Bundle(Change<(Key, BTreeMap<String, String>)>),
}

async fn follow(
    reflector: Reflector,
    namespace: String,
    values: watch::Sender<Option<Arc<Trusted>>>,
) {
    let (sender, mut changes) = mpsc::channel(16);
    let named = Selection {
        namespace: Some(namespace.clone()),
        labels: None,
        fields: Some(format!("metadata.name={SECRET}")),
    };
    let labelled = Selection {
        namespace: Some(namespace),
        labels: Some(BUNDLE.to_owned()),
        fields: None,
    };
    let data = |secret: Secret| Some(secret.data);
    let secret = reflector.follow(&named, data, &sender, Seen::Secret);
    let texts = |bundle: Bundle| Some((Key::of(&bundle.metadata), bundle.data));
    let bundles = reflector.follow(&labelled, texts, &sender, Seen::Bundle);
    let taking = async {
        let mut trusted = Trusted::default();
        let mut complete = (false, false);
        while let Some(change) = changes.recv().await {
            match change {
                Seen::Secret(Change::Is(data)) => trusted.take_secret(&data),
                Seen::Secret(Change::Gone(_)) => trusted.take_secret(&BTreeMap::new()),
                Seen::Secret(Change::Complete) => complete.0 = true,
                Seen::Bundle(Change::Is((key, data))) => {
                    trusted.forget_bundle(&key);
                    trusted.bundles.extend(
                        data.into_iter()
                            .map(|(entry, text)| (format!("{}/{entry}", key.name), text.into())),
                    );
                }
                Seen::Bundle(Change::Gone(key)) => trusted.forget_bundle(&key),
                Seen::Bundle(Change::Complete) => complete.1 = true,
            }
            if complete == (true, true) {
                values.send_if_modified(|known| {
                    let changed = known.as_deref() != Some(&trusted);
                    if changed {
                        *known = Some(Arc::new(trusted.clone()));
                    }
                    changed
                });
            }
        }
    };
    tokio::join!(secret, bundles, taking);
}

impl Trusted {
    fn take_secret(&mut self, data: &BTreeMap<String, ByteString>) {
        let value = |key: &str| data.get(key).map(|bytes| Arc::from(bytes.0.as_slice()));
        self.authority = value("ca.crt");
        self.certificate = value("tls.crt");
        self.key = value("tls.key");
    }

    fn forget_bundle(&mut self, key: &Key) {
        let prefix = format!("{}/", key.name);
        self.bundles.retain(|place, _| !place.starts_with(&prefix));
    }
}
