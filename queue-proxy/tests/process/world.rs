//! The program, started with an environment, and what can be seen of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use penstock_testkit::client::{Answer, Client, empty};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A time that passes soon, and within which a request gets through.
pub(crate) const QUIET: Duration = Duration::from_millis(600);

/// What a controller sets, and free ports in place of the contract's.
pub(crate) const CONTROLLER: [(&str, &str); 21] = [
    ("CONTAINER_CONCURRENCY", "0"),
    ("QUEUE_SERVING_PORT", "0"),
    ("QUEUE_SERVING_TLS_PORT", "0"),
    ("USER_PORT", "1"),
    ("REVISION_TIMEOUT_SECONDS", "300"),
    ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", "0"),
    ("REVISION_IDLE_TIMEOUT_SECONDS", "0"),
    ("SERVING_NAMESPACE", "ns"),
    ("SERVING_SERVICE", "svc"),
    ("SERVING_CONFIGURATION", "cfg"),
    ("SERVING_REVISION", "rev"),
    ("SERVING_POD", "pod-x"),
    ("SERVING_POD_IP", "127.0.0.1"),
    ("SERVING_LOGGING_CONFIG", ""),
    ("SERVING_LOGGING_LEVEL", "info"),
    ("SERVING_READINESS_PROBE", ""),
    ("ENABLE_HTTP_FULL_DUPLEX", "false"),
    ("HOST_IP", "127.0.0.1"),
    ("PENSTOCK_WORKERS", "1"),
    ("PENSTOCK_ADMIN_PORT", "0"),
    ("PENSTOCK_STATS_PORT", "0"),
];

/// The environment of a program.
#[derive(Clone)]
pub(crate) struct Make(BTreeMap<String, String>);

/// What a controller sets, for a container at `user_addr`.
pub(crate) fn before(user_addr: SocketAddr) -> Make {
    let set = CONTROLLER.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Make(set.into()).with("USER_PORT", &user_addr.port().to_string())
}

impl Make {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    pub(crate) fn quiet(self, quiet: Duration) -> Self {
        self.with("PENSTOCK_DRAIN_QUIET_MS", &quiet.as_millis().to_string())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_queue-proxy"));
        command.args(arguments).env_clear().envs(&self.0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end: exit status, standard output, standard error.
    pub(crate) async fn end_of(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    /// Starts it, and returns once it serves.
    pub(crate) async fn start(&self) -> Program {
        let mut child = self.command(&[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut before = Vec::new();
        let serving = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                panic!("it ended: {before:?}");
            };
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "serving" {
                break line;
            }
            before.push(line);
        };
        Program {
            child,
            lines,
            before,
            serving,
        }
    }
}

/// A program that serves.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    /// What it logged before it served.
    pub(crate) before: Vec<Value>,
    /// The line that says where it serves.
    pub(crate) serving: Value,
}

impl Program {
    /// Where it listens for `what`, on the loopback.
    pub(crate) fn at(&self, what: &str) -> SocketAddr {
        let told: SocketAddr = self.serving[what].as_str().unwrap().parse().unwrap();
        assert!(told.ip().is_unspecified(), "{told}");
        (Ipv4Addr::LOCALHOST, told.port()).into()
    }

    /// Its standard output, once.
    pub(crate) fn output(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Memory that belongs to nobody else, in bytes.
    pub(crate) fn private(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the line with that message.
    pub(crate) async fn until_logged(&mut self, message: &str) -> Value {
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Waits for its end: the exit status, and what it still logged.
    pub(crate) async fn ended(mut self) -> (i32, String) {
        let mut rest = String::new();
        self.lines
            .into_inner()
            .read_to_string(&mut rest)
            .await
            .unwrap();
        (self.child.wait().await.unwrap().code().unwrap(), rest)
    }
}

/// Asks on a connection of its own.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    ask(addr, "GET", path, &[]).await.brief()
}

pub(crate) async fn ask(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("host", "a").body(empty()).unwrap();
    Client::http1(addr).await.ask(request).await.unwrap()
}

/// Asks as the kubelet does.
pub(crate) async fn probe(program: &Program) -> u16 {
    let headers = [
        ("user-agent", "kube-probe/1.29"),
        ("k-network-probe", "queue"),
    ];
    let answer = ask(program.at("main"), "GET", "/", &headers).await;
    answer.status.as_u16()
}
