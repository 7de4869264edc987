//! The Service of a bucket, which leads to the autoscaler that holds it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::Candidate;

/// Time between two attempts.
const AGAIN: Duration = Duration::from_millis(100);
/// Time after which nobody tries any more: others reach the holder by its address.
const LIMIT: Duration = Duration::from_secs(3);
/// Under this name the server notes who wrote it.
const MANAGER: &str = "penstock";

/// Makes the Service of bucket `ordinal`, and the address behind it this process's.
pub(super) async fn publish(client: Client, candidate: Arc<Candidate>, ordinal: usize) {
    let Some(bucket) = candidate.buckets.get(ordinal) else {
        return;
    };
    let attempts = async {
        loop {
            match attempt(&client, &candidate, bucket).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(bucket, %error, "its Service is not there yet");
                    sleep(AGAIN).await;
                }
            }
        }
    };
    if timeout(LIMIT, attempts).await.is_err() {
        tracing::warn!(bucket, "its Service does not lead here; its address does");
    }
}

async fn attempt(client: &Client, candidate: &Candidate, bucket: &str) -> kube::Result<()> {
    let Candidate {
        namespace,
        ip,
        port,
        ..
    } = candidate;
    let ours = PatchParams::apply(MANAGER).force();
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": bucket, "namespace": namespace },
        "spec": { "ports": [{ "name": "http", "port": port, "targetPort": port, "protocol": "TCP" }] },
    });
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    services
        .patch(bucket, &ours, &Patch::Apply(service))
        .await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": bucket,
            "namespace": namespace,
            "labels": { "kubernetes.io/service-name": bucket },
        },
        "addressType": if ip.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{ "addresses": [ip.to_string()] }],
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    match slices.patch(bucket, &ours, &Patch::Apply(slice)).await {
        // Its family of addresses cannot be changed, so it has to be made anew.
        Err(kube::Error::Api(status)) if status.code == 422 => {
            slices.delete(bucket, &DeleteParams::default()).await?;
            Err(kube::Error::Api(status))
        }
        made => made.map(drop),
    }
}
