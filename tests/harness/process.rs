//! Other processes, as /proc shows them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use super::until;

/// A process that belongs to a test.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// For whoever reads of one that was left.
    #[expect(dead_code, reason = "read by `Debug`")]
    pub(crate) pid: i32,
    /// Its words, with a blank after each.
    pub(crate) command: String,
}

/// Processes whose environment has `variable`, written NAME=VALUE. A zombie has none.
pub(super) fn with_variable(variable: &str) -> Vec<Seen> {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environ.split(|byte| *byte == 0);
        variables.any(|it| it == variable.as_bytes()).then(|| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&words).replace('\0', " ");
            Seen { pid, command }
        })
    })
    .collect()
}

/// Stops a process where it is, and waits until it stands.
pub(super) async fn freeze(pid: i32) {
    signal(pid, Signal::STOP);
    until("SIGSTOP", async || {
        // Each thread stops on its own.
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut states = tasks.filter_map(|task| state(&task.ok()?.path()));
        states.all(|state| state == 'T').then_some(())
    })
    .await;
}

pub(super) fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, signal).unwrap();
}

/// One letter, of a process or of one of its threads.
fn state(process: &Path) -> Option<char> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name before may contain anything, so it is the last bracket that counts.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.chars().next()
}
