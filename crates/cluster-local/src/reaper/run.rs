//! The reaper's own side: a plain blocking program.

use std::collections::HashSet;
use std::io::{self, BufRead};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::MARKER;

/// From SIGTERM to SIGKILL, as so many looks in such a distance.
const GRACE_LOOKS: u32 = 50;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What was left, and is no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Groups that had to be signalled.
    pub groups: usize,
    /// Processes outside of those groups that carried the run's id.
    pub strays: usize,
}

/// Reads from `input` until it ends, then ends everything that was left.
///
/// # Errors
///
/// When `input` cannot be read; what was known by then is ended all the same.
pub fn run(input: impl BufRead) -> io::Result<Reaped> {
    let mut up_id = None;
    let mut groups = HashSet::new();
    let mut failed = Ok(());
    for line in input.lines() {
        match line {
            Ok(line) if up_id.is_none() => up_id = Some(line),
            Ok(line) => note(&mut groups, &line),
            Err(error) => {
                failed = Err(error);
                break;
            }
        }
    }
    let marker = up_id
        .filter(|id| !id.is_empty())
        .map(|id| format!("{MARKER}={id}"));
    let reaped = reap(groups, marker.as_deref());
    failed.map(|()| reaped)
}

/// A line that is neither is not ours: it is passed over.
fn note(groups: &mut HashSet<Pid>, line: &str) {
    let group = |id: &str| {
        let id: i32 = id.parse().ok().filter(|id| *id > 1)?;
        Pid::from_raw(id)
    };
    if let Some(id) = line.strip_prefix('+').and_then(group) {
        groups.insert(id);
    } else if let Some(id) = line.strip_prefix('-').and_then(group) {
        groups.remove(&id);
    }
}

fn reap(mut groups: HashSet<Pid>, marker: Option<&str>) -> Reaped {
    groups.retain(|group| test_kill_process_group(*group).is_ok());
    let mut reaped = Reaped {
        groups: groups.len(),
        strays: 0,
    };
    signal_groups(&groups, Signal::TERM);
    reaped.strays = strays::signal(marker, &groups, Signal::TERM);
    for _ in 0..GRACE_LOOKS {
        groups.retain(|group| test_kill_process_group(*group).is_ok());
        if groups.is_empty() && strays::count(marker) == 0 {
            return reaped;
        }
        pause();
    }
    // Once more and again: who is about to be killed may just have started another.
    for _ in 0..GRACE_LOOKS {
        signal_groups(&groups, Signal::KILL);
        strays::signal(marker, &HashSet::new(), Signal::KILL);
        groups.retain(|group| test_kill_process_group(*group).is_ok());
        if groups.is_empty() && strays::count(marker) == 0 {
            break;
        }
        pause();
    }
    reaped
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program with one thread and nothing else to do; nobody tells it of a stranger's end"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

fn signal_groups(groups: &HashSet<Pid>, signal: Signal) {
    for group in groups {
        // Gone since the last look, at worst.
        let _ = kill_process_group(*group, signal);
    }
}

/// Processes known by their environment.
#[cfg(target_os = "linux")]
mod strays {
    use std::collections::HashSet;
    use std::fs;

    use rustix::process::{
        Pid, PidfdFlags, Signal, getpgid, getpid, pidfd_open, pidfd_send_signal,
    };

    /// Signals every marked process outside of `groups`; says how many.
    pub(super) fn signal(marker: Option<&str>, groups: &HashSet<Pid>, signal: Signal) -> usize {
        let outside = |pid: &Pid| !getpgid(Some(*pid)).is_ok_and(|group| groups.contains(&group));
        let send = |pid: Pid| {
            // The descriptor first, then another look: it is the same process for sure.
            let held = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            is_marked(pid, marker?)
                .then(|| pidfd_send_signal(&held, signal).ok())
                .flatten()
        };
        marked(marker).filter(outside).filter_map(send).count()
    }

    /// How many marked processes there are.
    pub(super) fn count(marker: Option<&str>) -> usize {
        marked(marker).count()
    }

    fn marked(marker: Option<&str>) -> impl Iterator<Item = Pid> {
        let own = getpid();
        let entries = marker.and_then(|_| fs::read_dir("/proc").ok());
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Pid::from_raw)
            .filter(move |pid| *pid != own)
            .filter(move |pid| marker.is_some_and(|marker| is_marked(*pid, marker)))
    }

    /// Somebody else's process cannot be read, and a dead one has no environment.
    fn is_marked(pid: Pid, marker: &str) -> bool {
        fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok_and(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|var| var == marker.as_bytes())
        })
    }
}

/// Without `/proc` nobody can be known by the environment.
#[cfg(not(target_os = "linux"))]
mod strays {
    use std::collections::HashSet;

    use rustix::process::{Pid, Signal};

    pub(super) fn signal(_: Option<&str>, _: &HashSet<Pid>, _: Signal) -> usize {
        0
    }

    pub(super) fn count(_: Option<&str>) -> usize {
        0
    }
}
