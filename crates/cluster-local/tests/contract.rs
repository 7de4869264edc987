//! The local cluster keeps the contract of every cluster.

mod support;

use std::sync::Arc;

use penstock_testkit::cluster::{Subject, contract};

use support::{harness, id, shell};

#[tokio::test]
async fn child_processes_keep_the_contract() {
    contract(async || {
        let harness = harness(None);
        harness.apply([shell("exec sleep 1000")]);
        Subject {
            cluster: Arc::new(harness.cluster),
            revision: id(),
        }
    })
    .await;
}
