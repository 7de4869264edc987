//! ConfigMaps as live values.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::picture::Tasks;
use crate::reflect::{Change, Complaints, Reach, Reflector, Rhythm, Selection, shape};

/// What one ConfigMap says: key to value.
pub type Values = Arc<BTreeMap<String, String>>;

#[derive(Clone, Debug, Deserialize)]
struct ConfigMap {
    metadata: ObjectMeta,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

shape!(ConfigMap: "ConfigMap", "configmaps", "", "v1");

/// One ConfigMap, as it is now and later. `None` until it was looked for; then, while there is none
/// of that name, without any values.
#[derive(Debug)]
pub struct ConfigMaps {
    reach: watch::Receiver<Reach>,
    _tasks: Tasks,
}

impl ConfigMaps {
    /// Follows the ConfigMaps `names` of one namespace, each by a watch of its own: so a role that
    /// names them is enough. The values come in the order of the names.
    pub fn follow<const N: usize>(
        client: &Client,
        rhythm: Rhythm,
        namespace: &str,
        names: [&str; N],
    ) -> (Self, [watch::Receiver<Option<Values>>; N]) {
        let complaints = Complaints::new();
        let reach = complaints.reach();
        let reflector = Reflector::new(client.clone(), rhythm, complaints);
        let tasks = Tasks::default();
        let values = names.map(|name| {
            let (sender, values) = watch::channel(None);
            tasks.spawn(follow(
                reflector.clone(),
                namespace.into(),
                name.into(),
                sender,
            ));
            values
        });
        let this = Self {
            reach,
            _tasks: tasks,
        };
        (this, values)
    }

    /// Whether they can be seen.
    pub fn reach(&self) -> watch::Receiver<Reach> {
        self.reach.clone()
    }
}

async fn follow(
    reflector: Reflector,
    namespace: String,
    name: String,
    values: watch::Sender<Option<Values>>,
) {
    let selection = Selection {
        namespace: Some(namespace),
        fields: Some(format!("metadata.name={name}")),
        ..Selection::default()
    };
    let (sender, mut changes) = mpsc::channel(1);
    let watching = reflector.follow(&selection, |map: ConfigMap| Some(map.data), &sender, |c| c);
    let taking = async {
        while let Some(change) = changes.recv().await {
            let new = match change {
                Change::Is(data) => Arc::new(data),
                Change::Gone(_) => Values::default(),
                Change::Complete => values.borrow().clone().unwrap_or_default(),
            };
            values.send_if_modified(|old| {
                let changed = old.as_ref() != Some(&new);
                *old = Some(new);
                changed
            });
        }
    };
    tokio::join!(watching, taking);
}
