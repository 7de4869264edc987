//! What every cluster has to keep.

use std::sync::Arc;

use penstock_cluster::Cluster;
use penstock_testkit::cluster::{Subject, contract};
use penstock_testkit::kube::ApiServer;

use crate::world::{World, id, workload};

async fn keeps_the_contract(kind: &str) {
    let world = World::autoscaler(Arc::new(ApiServer::start_as_asked().await)).await;
    let mut made = 0;
    contract(async || {
        made += 1;
        let name = format!("hello-{made}");
        world.server.put(workload(kind, &name));
        let cluster: Arc<dyn Cluster> = Arc::clone(&world.cluster) as _;
        world.until(&id(&name), |_| true).await;
        Subject {
            cluster,
            revision: id(&name),
        }
    })
    .await;
}

#[tokio::test]
async fn deployments_keep_the_contract() {
    keeps_the_contract("Deployment").await;
}

#[tokio::test]
async fn stateful_sets_keep_the_contract() {
    keeps_the_contract("StatefulSet").await;
}
