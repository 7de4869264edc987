//! Writing what is wished: first the path, then what is collected, then the status that tells of it.
//!
//! Nothing is written that is there already. What this process wrote itself is known from the
//! answer: the watch may tell it later.
//!
//! Source: spec/autoscaler.md §7 and §9.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use penstock_cluster::{ScaleError, Wish};
use penstock_types::RevisionId;
use serde_json::{Value, json};

use super::objects::{
    AUTOSCALING, Metric, MetricSpec, NETWORKING, PodAutoscaler, PodAutoscalerStatus,
    ServerlessService, ServerlessServiceSpec, controls,
};
use super::refused;
use super::status::{NotOwned, PROXY, SERVE, seconds, status};
use super::store::Store;
use crate::Key;

/// Annotation that is not copied to an SKS: it is about scaling alone.
const METRIC: &str = "autoscaling.knative.dev/metric";
/// Attempts to write a status that somebody else writes as well.
const ATTEMPTS: u32 = 4;

/// Why something was not written.
enum Trouble {
    /// In the words of the server, or of the way to it.
    Failed(kube::Error),
    /// An object of this kind has the name, and is somebody else's.
    NotOwned(&'static str),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes the objects of `revision` what is wished.
pub(super) async fn settle(
    client: &Client,
    store: &Store,
    revision: &RevisionId,
    wish: &Wish,
) -> Result<(), ScaleError> {
    let key = Key::from(revision);
    let autoscaler = store
        .autoscaler(&key)
        .ok_or_else(|| ScaleError::UnknownRevision(revision.clone()))?;
    let desk = Desk {
        client,
        store,
        key: &key,
        autoscaler: &autoscaler,
        wish,
    };
    let failed = |error: kube::Error| refused(revision, &error);
    match desk.path_and_metric().await {
        Ok(path) => desk.status(Some(&path), None).await.map_err(failed),
        Err(Trouble::Failed(error)) => Err(failed(error)),
        Err(Trouble::NotOwned(kind)) => {
            let path = store.known(&key).and_then(|known| known.path);
            let name = revision.name();
            let not_owned = NotOwned { kind, name };
            desk.status(path.as_deref(), Some(not_owned))
                .await
                .map_err(failed)?;
            Err(ScaleError::Refused {
                revision: revision.clone(),
                reason: format!("there is a {kind} {revision} that belongs to somebody else"),
            })
        }
    }
}

/// One revision, what is wished for it, and where that is written.
struct Desk<'a> {
    client: &'a Client,
    store: &'a Store,
    key: &'a Key,
    autoscaler: &'a PodAutoscaler,
    wish: &'a Wish,
}

impl Desk<'_> {
    async fn path_and_metric(&self) -> Result<Arc<ServerlessService>, Trouble> {
        let path = self.path().await?;
        // Without a way to the pods there is nothing to collect from.
        if let Some(private) = path.status.private_service() {
            self.metric(private).await?;
        }
        Ok(path)
    }

    async fn path(&self) -> Result<Arc<ServerlessService>, Trouble> {
        let Self {
            autoscaler: pa,
            wish,
            ..
        } = self;
        let spec = ServerlessServiceSpec {
            mode: if wish.proxied { PROXY } else { SERVE }.to_owned(),
            object_ref: pa.spec.scale_target_ref.clone(),
            protocol_type: pa.spec.protocol_type.clone(),
            num_activators: i32::try_from(wish.activators).unwrap_or(i32::MAX),
        };
        let api: Api<ServerlessService> = self.api();
        let known = self.store.known(self.key).and_then(|known| known.path);
        let current = match known {
            Some(known) => Some(known),
            None => {
                let mut meta = self.metadata();
                if let Some(annotations) = &mut meta.annotations {
                    annotations.remove(METRIC);
                }
                let object = json!({
                    "apiVersion": format!("{NETWORKING}/v1alpha1"),
                    "kind": "ServerlessService",
                    "metadata": meta,
                    "spec": spec,
                });
                self.create("serverlessservices", NETWORKING, object)
                    .await?
                    .map(|made| self.store.wrote_path(self.key, made))
            }
        };
        let current = match current {
            Some(current) => current,
            // Made by somebody just before; the watch has not told of it yet.
            None => Arc::new(api.get(&self.key.name).await?),
        };
        if !controls(&pa.metadata, &current.metadata) {
            return Err(Trouble::NotOwned("SKS"));
        }
        if current.spec == spec {
            return Ok(current);
        }
        let patch = Patch::Merge(json!({ "spec": spec }));
        let written = api
            .patch(&self.key.name, &PatchParams::default(), &patch)
            .await?;
        Ok(self.store.wrote_path(self.key, written))
    }

    async fn metric(&self, private: &str) -> Result<(), Trouble> {
        let nanos =
            |window: std::time::Duration| i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
        let spec = MetricSpec {
            stable_window: nanos(self.wish.stable_window),
            panic_window: nanos(self.wish.panic_window),
            scrape_target: if self.wish.scraped { private } else { "" }.to_owned(),
        };
        let api: Api<Metric> = self.api();
        let known = self.store.known(self.key).and_then(|known| known.metric);
        let params = PatchParams::default();
        let mut wrote = false;
        let mut current = match known {
            Some(known) => known,
            None => {
                let object = json!({
                    "apiVersion": format!("{AUTOSCALING}/v1alpha1"),
                    "kind": "Metric",
                    "metadata": self.metadata(),
                    "spec": spec,
                });
                match self.create("metrics", AUTOSCALING, object).await? {
                    Some(made) => {
                        wrote = true;
                        Arc::new(made)
                    }
                    None => Arc::new(api.get(&self.key.name).await?),
                }
            }
        };
        if !controls(&self.autoscaler.metadata, &current.metadata) {
            return Err(Trouble::NotOwned("Metric"));
        }
        if current.spec != spec {
            let patch = Patch::Merge(json!({ "spec": spec }));
            current = Arc::new(api.patch(&self.key.name, &params, &patch).await?);
            wrote = true;
        }
        // What of the collection goes wrong is told by the metrics and the log.
        if current.status.observed_generation != current.metadata.generation {
            let now = Time(seconds(Timestamp::now()));
            let status = json!({
                "observedGeneration": current.metadata.generation,
                "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": now }],
            });
            let patch = Patch::Merge(json!({ "status": status }));
            current = Arc::new(api.patch_status(&self.key.name, &params, &patch).await?);
            wrote = true;
        }
        if wrote {
            self.store
                .wrote_metric(self.key, Arc::unwrap_or_clone(current));
        }
        Ok(())
    }

    /// Writes the status, if it is another one than before.
    async fn status(
        &self,
        path: Option<&ServerlessService>,
        not_owned: Option<NotOwned<'_>>,
    ) -> kube::Result<()> {
        let api: Api<PodAutoscaler> = self.api();
        let mut newest = self.store.autoscaler(self.key);
        for attempt in 1.. {
            let current: &PodAutoscaler = newest.as_deref().unwrap_or(self.autoscaler);
            if current.metadata.uid != self.autoscaler.metadata.uid {
                // Another one of the same name: what was decided is not about it.
                return Ok(());
            }
            let status = status(current, path, self.wish, not_owned, Timestamp::now());
            if status == current.status {
                return Ok(());
            }
            match self.write_status(&api, current, &status).await {
                Ok(written) => {
                    self.store.wrote_autoscaler(self.key, written);
                    return Ok(());
                }
                Err(kube::Error::Api(refusal)) if refusal.code == 409 && attempt < ATTEMPTS => {
                    newest = Some(Arc::new(api.get(&self.key.name).await?));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn write_status(
        &self,
        api: &Api<PodAutoscaler>,
        current: &PodAutoscaler,
        status: &PodAutoscalerStatus,
    ) -> kube::Result<PodAutoscaler> {
        let patch = Patch::Merge(json!({
            "metadata": { "resourceVersion": current.metadata.resource_version },
            "status": status,
        }));
        api.patch_status(&self.key.name, &PatchParams::default(), &patch)
            .await
    }

    /// Makes an object; `None` if there is one of that name already.
    async fn create<K: serde::de::DeserializeOwned>(
        &self,
        plural: &str,
        group: &str,
        object: Value,
    ) -> kube::Result<Option<K>> {
        let path = format!(
            "/apis/{group}/v1alpha1/namespaces/{}/{plural}",
            self.key.namespace
        );
        let request = kube::core::Request::new(path)
            .create(&PostParams::default(), object.to_string().into_bytes())
            .map_err(kube::Error::BuildRequest)?;
        match self.client.request(request).await {
            Ok(made) => Ok(Some(made)),
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of an object that is made for this revision.
    fn metadata(&self) -> ObjectMeta {
        let owner = &self.autoscaler.metadata;
        ObjectMeta {
            name: Some(self.key.name.to_string()),
            namespace: Some(self.key.namespace.to_string()),
            labels: owner.labels.clone(),
            annotations: owner.annotations.clone(),
            owner_references: Some(vec![OwnerReference {
                api_version: format!("{AUTOSCALING}/v1alpha1"),
                kind: "PodAutoscaler".to_owned(),
                name: self.key.name.to_string(),
                uid: owner.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }
}
