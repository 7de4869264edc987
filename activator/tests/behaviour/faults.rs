//! The world around fails: the autoscaler does not take reports, a pod says nothing, the picture of
//! the cluster changes without pause.

use std::time::Duration;

use penstock_activator::Position;
use penstock_testkit::client::{Client, body};
use penstock_testkit::cluster::{pod, revision, starting_pod};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};
use penstock_types::Timeouts;

use crate::stage::{HOST, Stage, hello, hello_id, post, until, within};

#[tokio::test]
async fn while_nobody_takes_reports_requests_are_served_and_those_that_wait_are_once_pods_come() {
    let warm = Workload::start().await;
    let cold = revision("cold-00001").concurrency(1).build();
    let id = cold.id.clone();
    let stage = Stage::new([hello().pod(warm.addr()).build(), cold]);
    let cold_host = "cold-00001.default.svc.cluster.local";
    let addr = stage.addr;
    let waiting = tokio::spawn(async move {
        let mut client = Client::http1(addr).await;
        client.get(cold_host, "/").await.unwrap().status
    });
    let mut names = Vec::new();
    // More first requests of idle revisions than there is room for reports.
    for round in 0..1_100 {
        let name = format!("other-{round:05}");
        stage.cluster.put(revision(&name).pod(warm.addr()).build());
        names.push(format!("{name}.default.svc.cluster.local"));
    }
    until(|| stage.running.handle().revisions().len() == names.len() + 2).await;
    let mut client = stage.client().await;
    for host in names {
        let answer = within(client.get(&host, "/status/200")).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    for _ in 0..100 {
        assert_eq!(client.get(HOST, "/status/200").await.unwrap().status, 200);
    }
    // It is back, and starts a pod.
    stage.batch().await;
    stage.cluster.set_pods(&id, [pod(warm.addr())]);
    assert_eq!(within(waiting).await.unwrap(), 200);
    stage.end().await;
}

#[tokio::test]
async fn a_pod_that_never_answers_costs_its_own_requests_only() {
    let (silent, well) = (
        RawWorkload::start([Turn::Hang]).await,
        Workload::start().await,
    );
    let limits = Timeouts {
        whole: Duration::from_secs(2),
        response_start: None,
        idle: None,
    };
    let revision = hello().concurrency(1).timeouts(limits);
    let stage = Stage::new([revision.pod(silent.addr()).build()]);
    let lost = stage.getting("/");
    within(silent.next_request()).await;
    let waiting = stage.getting("/");
    stage.until_load(1, 1).await;
    stage.cluster.start_pod(&hello_id(), well.addr());
    assert_eq!(within(waiting).await.unwrap().status, 200);
    let lost = within(lost).await.unwrap();
    assert_eq!(lost.brief(), (504, "activator request timeout".to_owned()));
    // Its slot is free, and the line is not held up by whoever gets it.
    let both = [stage.getting("/"), stage.getting("/")];
    let mut statuses = Vec::new();
    for answer in both {
        statuses.push(within(answer).await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 504]);
    stage.until_idle().await;
    stage.end().await;
}

#[tokio::test]
async fn case_120_a_picture_that_changes_without_pause_loses_no_request() {
    const CALLERS: usize = 6;
    const REQUESTS: usize = 200;
    let mut pods = Vec::new();
    for _ in 0..4 {
        pods.push(Workload::start().await);
    }
    let addrs: Vec<_> = pods.iter().map(Workload::addr).collect();
    let stage = Stage::new([hello().concurrency(2).pod(addrs[0]).build()]);
    let addr = stage.addr;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(async move {
            let mut client = match caller % 2 {
                0 => Client::http1(addr).await,
                _ => Client::h2c(addr).await,
            };
            for _ in 0..REQUESTS {
                let answer = client.ask(post("/echo", body("ping"))).await.unwrap();
                let told = &answer.headers;
                assert_eq!(answer.brief(), (200, "ping".to_owned()), "{told:?}");
            }
        });
    }
    let changing = async {
        let handle = stage.running.handle();
        for round in 0.. {
            // At least one stays ready, another comes, goes, or is called unready.
            let (one, other) = (addrs[round % 4], addrs[(round / 2 + 1) % 4]);
            let mut now = vec![pod(one)];
            if other != one {
                let is_ready = round % 3 == 0;
                now.push(if is_ready {
                    pod(other)
                } else {
                    starting_pod(other)
                });
            }
            stage.cluster.set_pods(&hello_id(), now);
            stage
                .cluster
                .put(revision(&format!("other-{:05}", round % 50)).build());
            let position = Position {
                index: round % 2,
                activators: 2,
            };
            handle.stand_at(&hello_id(), (round % 5 == 0).then_some(position));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let served = async {
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
    };
    tokio::select! {
        () = changing => unreachable!("it never ends"),
        () = within(served) => {}
    }
    let total: usize = pods.iter().map(Workload::total).sum();
    assert_eq!(total, CALLERS * REQUESTS);
    assert!(pods.iter().all(|pod| pod.most_inside() <= 4));
    stage.until_idle().await;
    stage.end().await;
}
