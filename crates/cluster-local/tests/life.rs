//! Pods that are started, used and stopped.

mod support;

use std::time::Duration;

use penstock_cluster::{Cluster, Phase, ScaleError};
use penstock_types::RevisionId;
use penstock_types::probe::{Check, Probe};
use rustix::process::test_kill_process;
use tokio::time::timeout;

use support::{PATIENCE, fresh_path, harness, id, shell, until_dead};

#[tokio::test]
async fn a_program_is_started_with_the_contracts_variables_and_expanded_words() {
    let mut harness = harness(None);
    let mut workload = shell(
        "echo $PORT $K_SERVICE $K_CONFIGURATION $K_REVISION; echo $GREETING; \
         echo '$(WHO) $$(WHO) $(NOBODY)' $0; pwd; exec sleep 1000",
    );
    workload.args.push("$(K_REVISION)".to_owned());
    workload.env = [
        ("WHO", "you"),
        ("GREETING", "hi $(WHO) at $(PORT)"),
        ("K_SERVICE", "mine"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    workload.working_dir = Some("/usr".into());
    harness.apply([workload]);
    harness.scale(1).await;
    let pod = harness.until_ready(1).await.pods[0].clone();

    let spec = harness.script.specs.lock().unwrap()[0].clone();
    let port = spec.user_addr.port();
    assert_eq!(
        harness.line().await,
        format!("{port} hello hello hello-00001")
    );
    assert_eq!(harness.line().await, format!("hi you at {port}"));
    assert_eq!(harness.line().await, "you $(WHO) $(NOBODY) hello-00001");
    assert_eq!(harness.line().await, "/usr");
    assert_eq!(spec.readiness, Probe::tcp_default());
    assert_eq!(spec.name, pod.name);
    assert!(pod.name.starts_with("hello-00001-deployment-"));
    assert!(pod.asked <= pod.started.unwrap() && pod.started <= pod.ready);
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn living_pods_have_ports_and_names_of_their_own() {
    let harness = harness(None);
    harness.apply([shell("exec sleep 1000")]);
    harness.scale(20).await;
    let revision = harness.until_ready(20).await;
    assert!(revision.pods.is_sorted_by_key(|pod| pod.addr));
    let specs = harness.script.specs.lock().unwrap().clone();
    let mut ports: Vec<u16> = specs.iter().map(|spec| spec.user_addr.port()).collect();
    let mut names: Vec<&str> = specs.iter().map(|spec| &*spec.name).collect();
    ports.sort_unstable();
    ports.dedup();
    names.sort_unstable();
    names.dedup();
    assert_eq!((ports.len(), names.len()), (20, 20));
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_pod_that_is_not_wanted_drains_before_its_program_is_told() {
    let mut harness = harness(None);
    harness.apply([shell(
        "trap 'echo told; exit' TERM; echo up; while :; do sleep 1000 & wait; done",
    )]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    assert_eq!(harness.line().await, "up");

    harness.script.busy.send_replace(true);
    harness.scale(0).await;
    let revision = harness.now().unwrap();
    assert_eq!(revision.pods[0].phase, Phase::Draining, "at once");
    timeout(PATIENCE, harness.drained.recv()).await.unwrap();
    assert_eq!(
        harness.now().unwrap().pods.len(),
        1,
        "while something is inside"
    );
    harness.script.busy.send_replace(false);
    assert_eq!(harness.line().await, "told");
    harness
        .until("no pods", |revision| revision.pods.is_empty())
        .await;
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_its_grace_with_all_its_children() {
    let mut harness = harness(None);
    let mut workload =
        shell("trap '' TERM; sleep 1000 & echo $!; echo $$$$; while :; do sleep 1; done");
    workload.grace = Duration::from_millis(50);
    harness.apply([workload]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    let (child, leader) = (harness.pid().await, harness.pid().await);
    harness.scale(0).await;
    harness
        .until("no pods", |revision| revision.pods.is_empty())
        .await;
    assert!(test_kill_process(leader).is_err(), "it was waited for");
    until_dead(child).await;
}

#[tokio::test]
async fn pods_that_are_not_ready_go_first_then_the_youngest() {
    let harness = harness(None);
    harness.apply([shell("exec sleep 1000")]);
    harness.scale(1).await;
    let oldest = harness.until_ready(1).await.pods[0].name.clone();
    harness.scale(2).await;
    let two = harness.until_ready(2).await;
    let youngest = two
        .pods
        .iter()
        .find(|pod| pod.name != oldest)
        .unwrap()
        .name
        .clone();
    harness.script.ready.send_replace(false);
    harness.scale(3).await;
    let three = harness
        .until("three", |revision| revision.pods.len() == 3)
        .await;
    assert_eq!(three.wanted, 3);
    assert_eq!(three.ready().count(), 2);

    harness.script.busy.send_replace(true);
    harness.scale(2).await;
    let now = harness.now().unwrap();
    assert_eq!(now.ready().count(), 2, "the one that is not ready goes");
    harness.scale(1).await;
    let now = harness.now().unwrap();
    let stays: Vec<_> = now.ready().map(|pod| pod.name.clone()).collect();
    assert_eq!(stays, [oldest], "{youngest} goes");
    harness.script.busy.send_replace(false);
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_pod_that_leaves_does_not_count_towards_the_wanted_ones() {
    let harness = harness(None);
    harness.apply([shell("exec sleep 1000")]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    harness.script.busy.send_replace(true);
    harness.scale(0).await;
    harness.scale(1).await;
    let revision = harness.until_ready(1).await;
    assert_eq!(revision.pods.len(), 2);
    harness.script.busy.send_replace(false);
    harness
        .until("one pod", |revision| revision.pods.len() == 1)
        .await;
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_revision_that_is_removed_leaves_at_once_and_its_pods_drain() {
    let mut harness = harness(None);
    harness.apply([shell("echo $$$$; exec sleep 1000")]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    let program = harness.pid().await;
    harness.apply([]);
    assert!(harness.now().is_none());
    timeout(PATIENCE, harness.drained.recv()).await.unwrap();
    until_dead(program).await;
    let refused = harness.cluster.scale(&id(), 1).await;
    assert!(matches!(refused, Err(ScaleError::UnknownRevision(_))));
}

#[tokio::test]
async fn what_is_around_a_revision_changes_without_a_restart() {
    let harness = harness(None);
    harness.apply([shell("exec sleep 1000")]);
    harness.scale(1).await;
    let before = harness.until_ready(1).await;
    let mut workload = shell("exec sleep 1000");
    workload.reachability = penstock_types::Reachability::Unreachable;
    let mut other = shell("exit");
    other.revision = RevisionId::new("default", "hello-00002");
    harness.apply([workload, other]);
    let after = harness.now().unwrap();
    assert_eq!(
        after.reachability,
        penstock_types::Reachability::Unreachable
    );
    assert_eq!(after.pods, before.pods);
    assert_eq!(harness.cluster.snapshot().borrow().revisions.len(), 2);
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_left_and_nothing_is_taken() {
    let mut harness = harness(None);
    harness.apply([shell("sleep 1000 & echo $!; echo $$$$; wait")]);
    harness.scale(1).await;
    let (child, leader) = (harness.pid().await, harness.pid().await);
    harness.cluster.shutdown().await;
    assert!(test_kill_process(leader).is_err());
    until_dead(child).await;
    assert!(harness.now().unwrap().pods.is_empty());
    let refused = harness.cluster.scale(&id(), 1).await;
    assert!(matches!(refused, Err(ScaleError::Refused { .. })));
}

#[tokio::test]
async fn readiness_comes_and_goes_with_its_probe() {
    let harness = harness(None);
    let mut workload = shell("exec sleep 1000");
    workload.readiness = Some(Probe {
        period: Some(Duration::from_millis(5)),
        ..Probe::tcp_default()
    });
    harness.apply([workload]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    harness.script.ready.send_replace(false);
    harness
        .until("starting", |revision| {
            revision.pods[0].phase == Phase::Starting
        })
        .await;
    harness.script.ready.send_replace(true);
    harness.until_ready(1).await;
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_readiness_command_is_run_beside_the_sidecars_probe() {
    let mut harness = harness(None);
    let flag = fresh_path("readiness");
    let mut workload = shell("mkfifo $(FIFO); while read line < $(FIFO); do echo asked; done");
    let file = flag.display().to_string();
    workload.env = vec![
        ("FLAG".to_owned(), file.clone()),
        ("FIFO".to_owned(), format!("{file}.fifo")),
    ];
    workload.readiness = Some(support::command(
        "test -p $(FIFO) && echo x > $(FIFO) && test -e $FLAG",
    ));
    harness.apply([workload]);
    harness.scale(1).await;
    assert_eq!(harness.line().await, "asked");
    assert_eq!(harness.now().unwrap().ready().count(), 0);
    std::fs::write(&flag, "").unwrap();
    harness.until_ready(1).await;
    let sidecars = harness.script.specs.lock().unwrap()[0]
        .readiness
        .check
        .clone();
    assert_eq!(sidecars, Check::OWN_PORT);
    harness.cluster.shutdown().await;
    std::fs::remove_dir_all(flag.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_startup_probe_holds_readiness_back() {
    let mut harness = harness(None);
    let flag = fresh_path("startup");
    let mut workload = shell("mkfifo $(FIFO); while read line < $(FIFO); do echo asked; done");
    let file = flag.display().to_string();
    workload.env = vec![
        ("FLAG".to_owned(), file.clone()),
        ("FIFO".to_owned(), format!("{file}.fifo")),
    ];
    let mut probe = support::command("test -p $(FIFO) && echo x > $(FIFO) && test -e $FLAG");
    probe.failure_threshold = 1_000_000;
    workload.startup = Some(probe);
    harness.apply([workload]);
    harness.scale(1).await;
    assert_eq!(harness.line().await, "asked");
    assert_eq!(harness.now().unwrap().ready().count(), 0);
    std::fs::write(&flag, "").unwrap();
    harness.until_ready(1).await;
    harness.cluster.shutdown().await;
    std::fs::remove_dir_all(flag.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_program_that_listens_on_its_port_passes_a_tcp_probe() {
    let harness = harness(None);
    let mut workload = shell("");
    let server = std::env::current_exe().unwrap().display().to_string();
    let role = ["--ignored", "--exact", "role_of_a_server"].map(str::to_owned);
    workload.command = vec![server];
    workload.args = role.to_vec();
    workload.startup = Some(Probe {
        period: Some(Duration::from_millis(5)),
        failure_threshold: 1_000_000,
        ..Probe::tcp_default()
    });
    harness.apply([workload]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    harness.cluster.shutdown().await;
}

#[test]
#[ignore = "a role that another test gives to this binary"]
#[expect(clippy::disallowed_methods, reason = "how a program learns its port")]
fn role_of_a_server() {
    let Ok(port) = std::env::var("PORT") else {
        return;
    };
    let listener = std::net::TcpListener::bind(format!("0.0.0.0:{port}")).unwrap();
    for connection in listener.incoming() {
        drop(connection.unwrap());
    }
}

#[tokio::test]
async fn a_revision_that_is_named_twice_loses_no_pod_from_sight() {
    let mut harness = harness(None);
    let workload = shell("echo $$$$; exec sleep 1000");
    harness.apply([workload.clone()]);
    harness.scale(1).await;
    let program = harness.pid().await;
    harness.apply([workload.clone(), workload]);
    until_dead(program).await;
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_cluster_that_is_dropped_stops_its_programs() {
    let mut harness = harness(None);
    harness.apply([shell("echo $$$$; exec sleep 1000")]);
    harness.scale(1).await;
    let program = harness.pid().await;
    drop(harness);
    until_dead(program).await;
}
