//! The API server is away, or says nothing.

use std::time::Duration;

use penstock_testkit::kube::Call;
use tokio::time::Instant;

use super::install::{Install, QUICK, Standing};
use super::objects::Revision;
use crate::harness::{Gateway, tests};
use crate::kube::service;

tests! {
    while_the_api_server_is_away_requests_go_on_nothing_is_scaled_and_then_a_cold_start_resumes;
}

async fn while_the_api_server_is_away_requests_go_on_nothing_is_scaled_and_then_a_cold_start_resumes()
 {
    let mut settings = QUICK.to_vec();
    settings.push(("allow-zero-initial-scale", "true"));
    let install = Install::new(&settings).await;
    let _autoscaler = install.autoscaler().await;
    let activator = install.activator().await;
    // One in the path of the activator, one past it, and one that is at zero.
    let calm = Revision::new("calm-00001").with("target-burst-capacity", "-1");
    let past = Revision::new("past-00001").with("target-burst-capacity", "0");
    let cold = Revision::new("cold-00001").with("initial-scale", "0");
    for revision in [&calm, &past, &cold] {
        install.deploy(revision);
    }
    install.until_idle(&cold).await;
    install
        .until_leads_to(&past, "its pod", |all| {
            all.iter().all(|it| it.ip() != activator.ip)
        })
        .await;
    let gateway = Gateway((activator.ip, 8012).into());
    for revision in [&calm, &past] {
        assert_eq!(install.get(revision).await.status, 200);
    }
    install.server.forget_calls();
    install.server.stop_listening().await;
    let host = cold.host();
    let waiting = tokio::spawn(async move { service::get(gateway, &host).await });
    // Longer than window and grace: whatever would be taken for silence is, by then.
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        for revision in [&calm, &past] {
            assert_eq!(install.get(revision).await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!waiting.is_finished(), "who waits goes on waiting");
    install.server.listen_again().await;
    while !waiting.is_finished() {
        for revision in [&calm, &past] {
            assert_eq!(install.get(revision).await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    for revision in [&calm, &past] {
        assert_eq!(install.get(revision).await.status, 200);
    }
    let down =
        |it: &Call| it.resource_path() == "deployments/scale" && !it.name.starts_with(cold.name);
    assert_eq!(
        install.server.count_calls(down),
        0,
        "nobody else was scaled"
    );
    install
        .until_stands(&cold, &Standing::new("True", ["True"; 3], (1, 1)))
        .await;
    install.expect_allowed();
}
