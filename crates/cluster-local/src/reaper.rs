//! Leaves no process behind, however this one ends, SIGKILL included.
//!
//! A small process, started once, sits in a group of its own, where neither Ctrl-C nor the
//! end of a terminal reaches it, and reads from a pipe that only this process writes to. Each
//! line is a process group that was started (`+ID`) or is over (`-ID`). The kernel closes the
//! pipe whenever and however the writer ends. Then the reaper
//!
//! 1. sends SIGTERM to each group that is left, and to each process whose environment carries
//!    [`MARKER`] with this run's id: those that were started an instant before they were
//!    announced, and those that left their group;
//! 2. after a second, or as soon as all are gone, sends SIGKILL to the same.
//!
//! What it cannot cover: a process that left its group *and* cleared its environment, or runs
//! as another user; a machine without `/proc` (only groups are covered there); and the death
//! of the reaper itself, which nobody but the user or the kernel's out-of-memory killer
//! causes. Between the last look and the signal a process id could be given to another
//! process; on Linux a process that is found by its environment is held by a pidfd against that.

mod run;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::Pid;
use tokio::process::{Child, Command};

pub use run::{Reaped, run};

/// Variable by which a process of this run is known; its value is the run's id.
pub const MARKER: &str = "PENSTOCK_UP_ID";

/// This end of the pipe to a reaper.
#[derive(Debug)]
pub struct Reaper {
    up_id: String,
    pipe: Mutex<Option<io::PipeWriter>>,
    child: Mutex<Option<Child>>,
    lost: AtomicBool,
}

impl Reaper {
    /// Starts `program` with `args`, which has to call [`run`] on its standard input.
    ///
    /// `up_id` has to be unique on this machine, and is one word. Must be called inside the
    /// runtime.
    ///
    /// # Errors
    ///
    /// When the program cannot be started.
    pub fn start(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        up_id: &str,
    ) -> io::Result<Self> {
        let (reader, mut writer) = io::pipe()?;
        let child = Command::new(program)
            .args(args)
            .env_remove(MARKER)
            .process_group(0)
            .stdin(reader)
            .stdout(Stdio::null())
            .spawn()?;
        writeln!(writer, "{up_id}")?;
        // A reaper that hangs must not hang its client.
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Self {
            up_id: up_id.to_owned(),
            pipe: Mutex::new(Some(writer)),
            child: Mutex::new(Some(child)),
            lost: AtomicBool::new(false),
        })
    }

    /// The id of this run, for the environment of its processes.
    pub fn up_id(&self) -> &str {
        &self.up_id
    }

    /// Ends the reaper by closing the pipe, and waits until it has cleared up.
    ///
    /// # Errors
    ///
    /// When it was lost.
    pub async fn finish(&self) -> io::Result<ExitStatus> {
        drop(lock(&self.pipe).take());
        let child = lock(&self.child).take();
        match child {
            Some(mut child) => child.wait().await,
            None => Err(io::Error::other("the reaper is already finished")),
        }
    }

    /// A group was started.
    pub(crate) fn watch(&self, group: Pid) {
        self.tell('+', group);
    }

    /// A group is over.
    pub(crate) fn forget(&self, group: Pid) {
        self.tell('-', group);
    }

    /// A line is far shorter than what a pipe takes in one piece or not at all.
    fn tell(&self, sign: char, group: Pid) {
        let line = format!("{sign}{}\n", group.as_raw_nonzero());
        let told = match lock(&self.pipe).as_mut() {
            Some(pipe) => pipe.write_all(line.as_bytes()),
            None => return,
        };
        if let Err(error) = told
            && !self.lost.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %error,
                "the reaper does not listen: if this process is killed, its workloads stay"
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
