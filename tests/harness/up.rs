//! `penstock up` as a process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use penstock_testkit::client::{Answer, Client};
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::process::{self, Seen};
use super::programs::program;
use super::{Folder, Gateway, Output, PATIENCE, Service, State, until};

/// How it is started, besides its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Flags behind those that every test needs.
    pub(crate) flags: Vec<String>,
    /// What it reads from standard input.
    pub(crate) stdin: String,
}

impl Options {
    pub(crate) fn flags(flags: &[&str]) -> Self {
        Self {
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// A running `penstock up`. Dropped, it is killed, and what it printed is shown if the test failed.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    pid: i32,
    pub(crate) output: Output,
    pub(crate) gateway: Gateway,
    pub(crate) admin: SocketAddr,
    folder: Folder,
}

impl Up {
    /// Starts with one manifest of these services, `services.yaml` in its folder.
    pub(crate) async fn with(services: &[Service]) -> Self {
        Self::start(services, Options::default()).await
    }

    /// The same with flags.
    pub(crate) async fn start(services: &[Service], options: Options) -> Self {
        let folder = Folder::new();
        let file = folder.write("services.yaml", &documents(services));
        Self::of_files(folder, &[&file], options).await
    }

    /// Starts with files, and returns once it serves.
    pub(crate) async fn of_files(folder: Folder, files: &[&Path], options: Options) -> Self {
        let (child, output) = spawn(&folder, files, &options).await;
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        // What is printed last when it starts says where; until then this is nowhere.
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut up = Self {
            child,
            pid,
            output,
            gateway: Gateway(nowhere),
            admin: nowhere,
            folder,
        };
        let metrics = up.output.until_line("metrics  http://").await;
        let (_, url) = metrics.split_once("http://").unwrap();
        up.admin = url.trim_end_matches("/metrics").parse().unwrap();
        if let Some(line) = up.output.lines_with("curl -H ").first() {
            let (_, gateway) = line.rsplit_once("http://").unwrap();
            up.gateway = Gateway(gateway.parse().unwrap());
        }
        up
    }

    /// Changes the manifest that it was started with: writes it anew, as an editor does.
    pub(crate) fn save(&self, services: &[Service]) {
        self.folder.write("services.yaml", &documents(services));
    }

    /// A page of the admin listener.
    pub(crate) async fn page(&self, path: &str) -> Answer {
        let mut client = Client::http1(self.admin).await;
        client.get("admin.test", path).await.unwrap()
    }

    /// What it says of itself now.
    pub(crate) async fn state(&self) -> State {
        let page = self.page("/state").await;
        let state: Value = serde_json::from_slice(&page.body).unwrap();
        State(state)
    }

    /// The first state in which `holds`.
    pub(crate) async fn until_state(
        &self,
        what: &str,
        mut holds: impl FnMut(&State) -> bool,
    ) -> State {
        let mut last = None;
        let found = until(what, async || {
            let state = self.state().await;
            let found = holds(&state);
            last = Some(state);
            found.then(|| last.clone().unwrap())
        });
        found.await
    }

    /// Sends a signal to it alone, not to its pods.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid, signal);
    }

    /// Stops all its threads where they are: whatever is sent to it from now on waits in the
    /// kernel until [`Up::thaw`].
    pub(crate) async fn freeze(&self) {
        process::freeze(self.pid).await;
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Processes that run because of it, itself among them: all have the test's folder as theirs
    /// for temporary files.
    pub(crate) fn processes(&self) -> Vec<Seen> {
        process::with_variable(&format!("TMPDIR={}", self.folder.path().display()))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it does not end").unwrap()
    }

    /// SIGTERM; then it has to end well, and leave nobody behind.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::TERM);
        self.ended_well().await;
    }

    /// Waits for its end, which has to be a good one that leaves nobody behind.
    pub(crate) async fn ended_well(&mut self) {
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{status}");
        let left = self.processes();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("penstock up said:\n{}", self.output.all());
        }
        // Its reaper ends the pods; a thread that is frozen dies as well.
        let _ = self.child.start_kill();
    }
}

/// Runs `penstock up` to its end, which comes before it serves: exit status and standard error.
pub(crate) async fn refused(
    folder: &Folder,
    files: &[&Path],
    flags: &[&str],
) -> (i32, Vec<String>) {
    let (mut child, output) = spawn(folder, files, &Options::flags(flags)).await;
    let ended = timeout(PATIENCE, child.wait()).await;
    let status = ended.expect("it was to refuse that").unwrap();
    output.until_end().await;
    assert_eq!(
        output.of(super::Stream::Stdout),
        [""; 0],
        "nothing is greeted"
    );
    let left = process::with_variable(&format!("TMPDIR={}", folder.path().display()));
    assert!(left.is_empty(), "started: {left:?}");
    (status.code().unwrap(), output.of(super::Stream::Stderr))
}

async fn spawn(folder: &Folder, files: &[&Path], options: &Options) -> (Child, Output) {
    let mut command = Command::new(program("penstock"));
    command.arg("up").args(files);
    for (flag, value) in [("--listen", "127.0.0.1:0"), ("--admin", "127.0.0.1:0")] {
        if !options.flags.iter().any(|given| given == flag) {
            command.args([flag, value]);
        }
    }
    command
        .args(&options.flags)
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut stdin = child.stdin.take().unwrap();
    // Whoever refuses its arguments does not read.
    let _ = stdin.write_all(options.stdin.as_bytes()).await;
    drop(stdin);
    (child, output)
}

fn documents(services: &[Service]) -> String {
    let documents: Vec<String> = services.iter().map(Service::yaml).collect();
    documents.join("---\n")
}
