//! A local cluster whose sidecars follow a script and whose programs are small shell scripts.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "tests only"
)]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use penstock_cluster::{BoxFuture, Cluster, Revision, Snapshot};
use penstock_cluster_local::{
    Desired, LocalCluster, NotReady, Options, PodSpec, Reaper, RunningSidecar, Sidecar, Workload,
};
use penstock_types::probe::{Check, Probe};
use penstock_types::{Protocol, Reachability, RevisionId, Slots, Timeouts};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Longer than anything takes on any machine; it only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the sidecars do.
pub struct Script {
    /// Whether programs pass their readiness probe.
    pub ready: watch::Sender<bool>,
    /// While true, drains do not end.
    pub busy: watch::Sender<bool>,
    /// While true, no sidecar can be started.
    pub refuse: watch::Sender<bool>,
    pub specs: Mutex<Vec<PodSpec>>,
    drained: mpsc::UnboundedSender<Arc<str>>,
}

impl Sidecar for Script {
    fn start(&self, pod: PodSpec) -> BoxFuture<'_, io::Result<Box<dyn RunningSidecar>>> {
        self.specs.lock().unwrap().push(pod.clone());
        let (ready, busy) = (self.ready.subscribe(), self.busy.subscribe());
        let drained = self.drained.clone();
        let refuse = *self.refuse.borrow();
        Box::pin(async move {
            if refuse {
                return Err(io::Error::other("no more sockets"));
            }
            let running = Scripted {
                listener: TcpListener::bind("127.0.0.1:0")?,
                pod: pod.name,
                ready,
                busy,
                drained,
            };
            Ok(Box::new(running) as Box<dyn RunningSidecar>)
        })
    }
}

struct Scripted {
    listener: TcpListener,
    pod: Arc<str>,
    ready: watch::Receiver<bool>,
    busy: watch::Receiver<bool>,
    drained: mpsc::UnboundedSender<Arc<str>>,
}

impl RunningSidecar for Scripted {
    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn probe(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { *self.ready.borrow() })
    }

    fn until_ready(&self) -> BoxFuture<'_, Result<(), NotReady>> {
        let mut ready = self.ready.clone();
        Box::pin(async move {
            let lost = |_| NotReady("the script is over".to_owned());
            ready.wait_for(|ready| *ready).await.map_err(lost)?;
            Ok(())
        })
    }

    fn drain(&self, grace: Duration) -> BoxFuture<'_, ()> {
        let _ = self.drained.send(Arc::clone(&self.pod));
        let mut busy = self.busy.clone();
        Box::pin(async move {
            let _ = timeout(grace, busy.wait_for(|busy| !busy)).await;
        })
    }
}

pub struct Harness {
    pub cluster: LocalCluster,
    pub script: Arc<Script>,
    pub drained: mpsc::UnboundedReceiver<Arc<str>>,
    lines: mpsc::UnboundedReceiver<String>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
}

/// A cluster whose programs are ready at once.
pub fn harness(reaper: Option<Arc<Reaper>>) -> Harness {
    let (drained_in, drained) = mpsc::unbounded_channel();
    let (lines_in, lines) = mpsc::unbounded_channel();
    let script = Arc::new(Script {
        ready: watch::Sender::new(true),
        busy: watch::Sender::new(false),
        refuse: watch::Sender::new(false),
        specs: Mutex::default(),
        drained: drained_in,
    });
    let options = Options {
        base_env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        output: Arc::new(move |_, line| {
            let _ = lines_in.send(line.to_owned());
        }),
        reaper,
        longest_grace: PATIENCE,
    };
    let cluster = LocalCluster::new(Arc::clone(&script) as Arc<dyn Sidecar>, options);
    Harness {
        snapshot: cluster.snapshot(),
        cluster,
        script,
        drained,
        lines,
    }
}

impl Harness {
    pub fn apply(&self, workloads: impl IntoIterator<Item = Workload>) {
        self.cluster.apply(Desired {
            workloads: workloads.into_iter().collect(),
            ..Desired::default()
        });
    }

    pub async fn scale(&self, pods: u32) {
        self.cluster.scale(&id(), pods).await.unwrap();
    }

    /// Waits for a picture of the one revision.
    pub async fn until(&self, what: &str, seen: impl Fn(&Revision) -> bool) -> Arc<Revision> {
        let of = |snapshot: &Arc<Snapshot>| snapshot.revisions.get(&id()).cloned();
        let mut snapshot = self.snapshot.clone();
        let found =
            snapshot.wait_for(|snapshot| of(snapshot).is_some_and(|revision| seen(&revision)));
        match timeout(PATIENCE, found).await {
            Ok(snapshot) => of(&snapshot.unwrap()).unwrap(),
            Err(_) => panic!("not seen: {what}; there is {:?}", self.now()),
        }
    }

    pub fn now(&self) -> Option<Arc<Revision>> {
        let snapshot = Arc::clone(&self.cluster.snapshot().borrow());
        snapshot.revisions.get(&id()).cloned()
    }

    pub async fn until_ready(&self, pods: usize) -> Arc<Revision> {
        self.until("ready pods", |revision| revision.ready().count() == pods)
            .await
    }

    /// The next line that any pod prints.
    pub async fn line(&mut self) -> String {
        timeout(PATIENCE, self.lines.recv()).await.unwrap().unwrap()
    }

    /// The process id that the next line consists of.
    pub async fn pid(&mut self) -> Pid {
        pid(&self.line().await)
    }
}

pub fn id() -> RevisionId {
    RevisionId::new("default", "hello-00001")
}

/// A revision that runs `script` in a shell, whose `$$` is written `$$$$` as in a manifest.
pub fn shell(script: &str) -> Workload {
    Workload {
        revision: id(),
        service: "hello".into(),
        configuration: "hello".into(),
        annotations: Arc::new(BTreeMap::new()),
        command: vec!["sh".to_owned(), "-c".to_owned()],
        args: vec![script.to_owned()],
        env: Vec::new(),
        working_dir: None,
        readiness: None,
        startup: None,
        liveness: None,
        slots: Slots::Unlimited,
        timeouts: Timeouts::default(),
        protocol: Protocol::Http1,
        reachability: Reachability::Reachable,
        grace: PATIENCE,
    }
}

/// A probe that runs `script` in a shell, every few milliseconds.
pub fn command(script: &str) -> Probe {
    Probe {
        check: Check::Exec {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        },
        period: Some(Duration::from_millis(5)),
        timeout: PATIENCE,
        ..Probe::tcp_default()
    }
}

pub fn pid(text: &str) -> Pid {
    let number = text.trim().parse();
    Pid::from_raw(number.unwrap_or_else(|_| panic!("no process id: {text:?}"))).unwrap()
}

/// Waits for the end of a process, whoever's child it is.
pub async fn until_dead(process: Pid) {
    let Ok(held) = pidfd_open(process, PidfdFlags::empty()) else {
        return;
    };
    let wait = move || {
        let patience = PATIENCE.try_into().unwrap();
        poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&patience)).unwrap()
    };
    let ended = tokio::task::spawn_blocking(wait).await.unwrap();
    assert_eq!(ended, 1, "{process:?} still lives");
}

/// A path that nothing is at yet, in a folder of its own.
pub fn fresh_path(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("penstock-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("file")
}
