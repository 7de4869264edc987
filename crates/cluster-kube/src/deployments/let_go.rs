//! The end of management: the label is taken away, and the workload stays.
//!
//! Its Service is handed to Kubernetes, which from then on finds the pods by their labels. Our
//! slices are emptied only after its own lead to pods, and deleted a while later. If the workload
//! itself is deleted, all that is ours goes with it, as what it owns.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::arrange::{Arranger, unwritten};
use super::services::{MANAGED_BY, SeenService};
use super::slices::SLICE_MANAGED_BY;
use crate::Key;
use crate::event::{News, Subject, Tone};
use crate::object::{
    DeploymentObject, EndpointSlice, Kind, SERVICE_NAME, ServiceObject, SliceObject,
    StatefulSetObject, Workload,
};
use crate::write::Unwritten;

/// Time in which Kubernetes has to have made slices of its own.
const TAKEN_OVER: Duration = Duration::from_secs(15);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(250);
/// Time for which something that fails is tried again, and between two attempts.
const INSIST: Duration = Duration::from_secs(600);
const AGAIN: Duration = Duration::from_secs(1);
/// Time in which every node has heard that our slices lead to nobody. Activators serve a workload
/// that they know no more until the slices that led to them are gone.
const LAST: Duration = Duration::from_secs(5);

/// What has become of a workload that is not seen any more.
enum Left {
    /// It is gone, or going, and what is ours goes with it.
    Gone,
    /// It has its label again.
    Managed,
    /// It stays, without its label.
    Unmanaged(Box<Workload>),
}

impl Arranger {
    /// Lets go of the Services of a workload that is not managed any more.
    pub(super) async fn let_go(&self, owner: &Key) -> Result<(), String> {
        for service in self.desk.services_of(owner) {
            match self.workload(&service).await {
                Ok(Left::Unmanaged(workload)) => self.hand_over(&service, &workload).await?,
                Ok(Left::Gone) => self.desk.remove_service(&service.key),
                Ok(Left::Managed) => {}
                Err(error) => return Err(format!("{owner} could not be read: {error}")),
            }
        }
        Ok(())
    }

    /// What has become of the workload that a Service belongs to.
    async fn workload(&self, service: &SeenService) -> Result<Left, Unwritten> {
        let Key { namespace, name } = &service.owner;
        let read = match service.owner_kind {
            Kind::Deployment => {
                let object = self.writer.get::<DeploymentObject>(namespace, name).await;
                object.map(|object| (object.metadata.clone(), object.seen()))
            }
            Kind::StatefulSet => {
                let object = self.writer.get::<StatefulSetObject>(namespace, name).await;
                object.map(|object| (object.metadata.clone(), object.seen()))
            }
        };
        let (meta, workload) = match read {
            Ok(read) => read,
            Err(Unwritten::Absent) => return Ok(Left::Gone),
            Err(error) => return Err(error),
        };
        let labels = meta.labels.unwrap_or_default();
        let managed = labels.get(super::LABEL.0).map(String::as_str) == Some(super::LABEL.1);
        let same = meta.uid.as_deref() == Some(&service.owner_uid);
        Ok(
            match workload.filter(|_| same && meta.deletion_timestamp.is_none()) {
                Some(_) if managed => Left::Managed,
                Some(workload) => Left::Unmanaged(Box::new(workload)),
                None => Left::Gone,
            },
        )
    }

    async fn hand_over(&self, service: &SeenService, workload: &Workload) -> Result<(), String> {
        let Key { namespace, name } = &service.key;
        let selector = LabelSelector::from(workload.selector.clone());
        let Some(labels) = selector.match_labels.filter(|labels| !labels.is_empty()) else {
            // A Service can only ask for labels with values. Better it leads where it led.
            tracing::warn!(service = %service.key, "it cannot be handed over: its pods are not chosen by labels");
            self.desk.remove_service(&service.key);
            return Ok(());
        };
        let patch = selecting(service, workload, &labels);
        let patched = self.writer.patch::<ServiceObject>(namespace, name, &patch);
        match patched.await {
            Ok(_) => {}
            Err(Unwritten::Absent) => return Ok(()),
            Err(error) => return Err(unwritten("Service", &service.key, &error)),
        }
        let slices = self.desk.slices_of(&service.key);
        // It is not ours from here on, so nobody comes back to what is left undone.
        let limit = Instant::now() + INSIST;
        while let Err(why) = self.lead_away(service, workload, &slices).await {
            try_again(why, limit).await?;
        }
        self.events.tell(News {
            about: Subject {
                api_version: "apps/v1",
                kind: workload.kind.to_string(),
                key: workload.key.clone(),
                uid: workload.uid.clone(),
            },
            tone: Tone::Normal,
            reason: "LetGo",
            note: format!(
                "it is not scaled any more: the Service {name} leads to its pods, {} of them",
                workload.replicas
            ),
        });
        sleep(LAST).await;
        let limit = Instant::now() + INSIST;
        while let Err(why) = self.delete(&slices).await {
            try_again(why, limit).await?;
        }
        self.desk.remove_service(&service.key);
        Ok(())
    }

    /// Makes slices lead to nobody, once others lead to the pods.
    async fn lead_away(
        &self,
        service: &SeenService,
        workload: &Workload,
        slices: &[EndpointSlice],
    ) -> Result<(), String> {
        self.until_taken_over(service, workload).await?;
        let nobody = json!({ "endpoints": [] });
        for slice in slices {
            let Key { namespace, name } = &slice.key;
            let patched = self.writer.patch::<SliceObject>(namespace, name, &nobody);
            match patched.await {
                Ok(_) | Err(Unwritten::Absent) => {}
                Err(error) => return Err(unwritten("EndpointSlice", &slice.key, &error)),
            }
        }
        Ok(())
    }

    async fn delete(&self, slices: &[EndpointSlice]) -> Result<(), String> {
        for slice in slices {
            let Key { namespace, name } = &slice.key;
            let deleted = self.writer.delete::<SliceObject>(namespace, name).await;
            deleted.map_err(|error| unwritten("EndpointSlice", &slice.key, &error))?;
        }
        Ok(())
    }

    /// Waits until slices of somebody else lead to pods, if there are any.
    async fn until_taken_over(
        &self,
        service: &SeenService,
        workload: &Workload,
    ) -> Result<(), String> {
        let limit = Instant::now() + TAKEN_OVER;
        let Key { namespace, name } = &service.key;
        while workload.replicas > 0 && Instant::now() < limit {
            let labels = format!(
                "{SERVICE_NAME}={name},{}!={}",
                SLICE_MANAGED_BY.0, SLICE_MANAGED_BY.1
            );
            let slices = self.writer.list::<SliceObject>(namespace, &labels).await;
            let slices =
                slices.map_err(|error| unwritten("EndpointSlice", &service.key, &error))?;
            let mut endpoints = slices.into_iter().flat_map(|slice| slice.seen().endpoints);
            if endpoints.any(|endpoint| endpoint.ready) {
                return Ok(());
            }
            // Once in the life of a workload, and for a moment: not worth a watch.
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Waits until what failed may be tried again; the error is that it has failed for too long.
async fn try_again(why: String, limit: Instant) -> Result<(), String> {
    if Instant::now() > limit {
        return Err(why);
    }
    tracing::warn!("{why}; it is tried again");
    sleep(AGAIN).await;
    Ok(())
}

/// What makes a Service of ours one that chooses pods itself, and no longer ours.
fn selecting(
    service: &SeenService,
    workload: &Workload,
    labels: &BTreeMap<String, String>,
) -> Value {
    let (settings, _) = super::settings::read(workload);
    let notes = service.annotations.keys();
    let notes: BTreeMap<&String, Value> = notes.map(|key| (key, Value::Null)).collect();
    let mut patch = json!({
        "metadata": { "labels": { MANAGED_BY.0: null }, "annotations": notes },
        "spec": { "selector": labels },
    });
    if let (Some(port), [port_name]) = (settings.port, service.ports.as_slice()) {
        patch["spec"]["ports"] = json!([{
            "name": port_name,
            "port": 80,
            "targetPort": port,
            "protocol": "TCP",
        }]);
    }
    patch
}
