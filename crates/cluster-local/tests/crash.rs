//! Programs that end, or never come up.

#![allow(clippy::unwrap_used, reason = "tests only")]

mod support;

use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use penstock_cluster::Phase;
use penstock_types::probe::Probe;
use tracing_subscriber::fmt::MakeWriter;

use support::{command, fresh_path, harness, shell, until_dead};

/// Gives every thread somebody who listens, before its first event. Where an event comes for the
/// first time while nobody does, it may be taken for one that nobody ever wants, and then a test
/// on another thread that does listen misses it.
fn keep_events_on() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let anyone = tracing_subscriber::registry();
        tracing::subscriber::set_global_default(anyone).unwrap();
    });
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        keep_events_on();
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, text: &str) -> usize {
        let log = self.0.lock().unwrap();
        String::from_utf8_lossy(&log).matches(text).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_program_that_crashes_is_restarted_and_the_reason_is_said_once() {
    let (log, _guard) = Log::listen();
    let mut harness = harness(None);
    harness.script.ready.send_replace(false);
    harness.apply([shell("echo run; echo 'no database' >&2; exit 3")]);
    harness.scale(1).await;
    let revision = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    assert_eq!(
        revision.trouble.as_deref(),
        Some("the program ended (exit status: 3): no database")
    );
    let mut runs = 0;
    while runs < 3 {
        runs += usize::from(harness.line().await == "run");
    }
    harness.cluster.shutdown().await;
    assert_eq!(log.count("no database"), 1);
}

#[tokio::test]
async fn a_pod_whose_program_ends_takes_no_requests_and_is_well_again_after_its_restart() {
    let mut harness = harness(None);
    harness.apply([shell("sleep 1000 & echo $!; echo $$$$; wait")]);
    harness.scale(1).await;
    let first = harness.until_ready(1).await;
    let (child, leader) = (harness.pid().await, harness.pid().await);
    rustix::process::kill_process(leader, rustix::process::Signal::KILL).unwrap();
    let hurt = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    assert_eq!(hurt.pods[0].phase, Phase::Starting);
    assert!(hurt.trouble.as_deref().unwrap().contains("SIGKILL"));
    until_dead(child).await;
    let well = harness.until_ready(1).await;
    assert_eq!(well.trouble, None);
    assert_eq!(
        well.pods[0].addr, first.pods[0].addr,
        "behind the same sidecar"
    );
    assert_ne!(well.pods[0].started, first.pods[0].started);
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named_with_the_path_that_was_searched() {
    let (log, _guard) = Log::listen();
    let harness = harness(None);
    let table = [
        (
            "no-such-program",
            "\"no-such-program\" is not found in PATH (/usr/bin:/bin)",
        ),
        (
            "/no/such/program",
            "cannot start \"/no/such/program\": No such file",
        ),
        (
            "/etc/passwd",
            "cannot start \"/etc/passwd\": Permission denied",
        ),
    ];
    for (program, want) in table {
        let mut workload = shell("");
        workload.command = vec![program.to_owned()];
        harness.apply([workload]);
        harness.scale(1).await;
        let told = |trouble: &str| trouble.starts_with(want);
        harness
            .until(want, |revision| {
                revision.trouble.as_deref().is_some_and(told)
            })
            .await;
        harness.scale(0).await;
        harness
            .until("no pods", |revision| revision.pods.is_empty())
            .await;
        assert_eq!(log.count(want), 1);
        harness.apply([]);
    }
    let mut workload = shell("exit");
    workload.working_dir = Some("/no/such/folder".into());
    harness.apply([workload]);
    harness.scale(1).await;
    let revision = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    assert_eq!(
        revision.trouble.as_deref(),
        Some("the working directory /no/such/folder is not there")
    );
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_program_that_fails_its_liveness_probe_is_restarted() {
    let mut harness = harness(None);
    let sick = fresh_path("liveness");
    let mut workload = shell("rm -f $SICK; echo $$$$; exec sleep 1000");
    workload.env = vec![("SICK".to_owned(), sick.display().to_string())];
    workload.liveness = Some(command("test ! -e $(SICK)"));
    harness.apply([workload]);
    harness.scale(1).await;
    harness.until_ready(1).await;
    let first = harness.pid().await;
    std::fs::write(&sick, "").unwrap();
    let revision = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    let why = revision.trouble.clone().unwrap();
    assert!(
        why.starts_with("the liveness probe failed: the command ended with"),
        "{why}"
    );
    assert_ne!(harness.pid().await, first);
    until_dead(first).await;
    harness.until_ready(1).await;
    harness.cluster.shutdown().await;
    std::fs::remove_dir_all(sick.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_program_that_never_passes_its_startup_probe_is_restarted() {
    let mut harness = harness(None);
    let mut workload = shell("echo up; exec sleep 1000");
    workload.startup = Some(Probe {
        period: Some(Duration::from_millis(5)),
        ..Probe::tcp_default()
    });
    harness.apply([workload]);
    harness.scale(1).await;
    let revision = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    let why = revision.trouble.clone().unwrap();
    assert!(
        why.starts_with("the startup probe failed: cannot connect to 127.0.0.1:"),
        "{why}"
    );
    assert_eq!(harness.line().await, "up");
    assert_eq!(harness.line().await, "up");
    assert_eq!(harness.now().unwrap().ready().count(), 0);
    harness.cluster.shutdown().await;
}

#[tokio::test]
async fn a_probe_command_that_hangs_is_killed_with_its_children() {
    let mut harness = harness(None);
    let mut workload = shell("mkfifo $(FIFO); read line < $(FIFO); echo $line; exec sleep 1000");
    let fifo = fresh_path("hang");
    workload.env = vec![("FIFO".to_owned(), fifo.display().to_string())];
    let mut probe = command("sleep 1000 & test -p $(FIFO) && echo $! > $(FIFO); wait");
    probe.timeout = Duration::from_secs(1);
    workload.readiness = Some(probe);
    harness.apply([workload]);
    harness.scale(1).await;
    let child = harness.pid().await;
    until_dead(child).await;
    assert_eq!(harness.now().unwrap().ready().count(), 0);
    harness.cluster.shutdown().await;
    std::fs::remove_dir_all(fifo.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_pod_that_waits_for_its_restart_can_be_stopped() {
    let harness = harness(None);
    harness.apply([shell("exit 1")]);
    harness.scale(1).await;
    harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    harness.scale(0).await;
    let revision = harness
        .until("no pods", |revision| revision.pods.is_empty())
        .await;
    assert_eq!(revision.trouble, None);
}

#[tokio::test]
async fn a_sidecar_that_cannot_start_is_told_and_tried_again() {
    let harness = harness(None);
    harness.script.refuse.send_replace(true);
    harness.apply([shell("exec sleep 1000")]);
    harness.scale(1).await;
    let revision = harness
        .until("trouble", |revision| revision.trouble.is_some())
        .await;
    let why = "the queue-proxy cannot start: no more sockets";
    assert_eq!(revision.trouble.as_deref(), Some(why));
    assert!(revision.pods.is_empty(), "nobody could reach it");
    harness.script.refuse.send_replace(false);
    harness.until_ready(1).await;
    harness.cluster.shutdown().await;
}
