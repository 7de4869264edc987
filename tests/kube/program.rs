//! The programs of a cluster as processes, each at an address of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use penstock_testkit::kube::{address_in_a_real_cluster, on_a_real_cluster};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::harness::{Output, PATIENCE, program};

/// One that runs. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Program {
    name: &'static str,
    child: Child,
    output: Output,
}

impl Program {
    /// Starts `name` with these variables and no others.
    pub(super) fn start(name: &'static str, variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(program(name));
        command
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Self {
            name,
            child,
            output,
        }
    }

    /// Waits until it takes connections at all of these.
    pub(super) async fn until_open(&mut self, addrs: &[SocketAddr]) {
        let name = self.name;
        let opening = async {
            for addr in addrs {
                while TcpStream::connect(addr).await.is_err() {
                    let ended = self.child.try_wait().unwrap();
                    assert!(ended.is_none(), "{name} ended: {ended:?}");
                    sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let open = timeout(PATIENCE, opening).await;
        assert!(open.is_ok(), "{name} does not listen at {addrs:?}");
    }

    /// The first line with this text that it prints, as soon as it is there.
    pub(super) async fn until_line(&self, text: &str) -> String {
        self.output.until_line(text).await
    }

    /// All lines so far with this text.
    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        self.output.lines_with(text)
    }

    /// Asks it to end; whether it did so well is for [`Program::ended`] to say.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.child.id() {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
        }
    }

    /// Waits until it has ended, which has to be well.
    pub(super) async fn ended(mut self) {
        let status = timeout(PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends").unwrap();
        assert!(status.success(), "{}: {status}", self.name);
    }

    /// Has it end, and waits for that.
    pub(super) async fn stop(self) {
        self.terminate();
        self.ended().await;
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.output.all());
        }
    }
}

/// An address of the loopback that nobody else has: none of a pod, and none of another test that
/// runs at the same time.
pub(super) fn address() -> IpAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    if on_a_real_cluster() {
        return address_in_a_real_cluster(GIVEN.fetch_add(1, Ordering::Relaxed)).into();
    }
    // A hundred for each process, within 127.0.0.0/16.
    let place = (std::process::id() % 620) * 100 + GIVEN.fetch_add(1, Ordering::Relaxed);
    let octet = |value: u32| u8::try_from(value).unwrap();
    Ipv4Addr::new(127, 0, octet(1 + place / 250 % 250), octet(1 + place % 250)).into()
}
