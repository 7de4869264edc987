//! One run of a program: a child process that leads a group of its own.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::Options;
use crate::group::Group;
use crate::launch::Launch;
use crate::output::{LastLine, read_lines};
use crate::reaper::Reaper;

/// How long the last words of a program are waited for after its end. Somebody who left its
/// group may hold its pipes open for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A program that was started. Dropping it kills its whole group.
pub(crate) struct Container {
    child: Child,
    group: Group,
    readers: [JoinHandle<()>; 2],
    last_line: LastLine,
    pub(crate) started: Instant,
}

impl Container {
    /// Starts `launch` for `pod`. Must be called inside the runtime.
    ///
    /// # Errors
    ///
    /// Why it cannot be started, in a phrase for a person.
    pub(crate) fn start(
        launch: &Launch,
        pod: &Arc<str>,
        options: &Options,
        tasks: &TaskTracker,
    ) -> Result<Self, String> {
        let mut command = command(launch)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, group) = spawn(&mut command, options.reaper.clone())
            .map_err(|error| cannot_start(launch, &error))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(cannot_start(launch, &io::Error::other("it has no output")));
        };
        let last_line = LastLine::default();
        let lines = |last| (Arc::clone(pod), Arc::clone(&options.output), last);
        let (name, output, last) = lines(None);
        let out = tasks.spawn(read_lines(stdout, name, output, last));
        let (name, output, last) = lines(Some(last_line.clone()));
        let err = tasks.spawn(read_lines(stderr, name, output, last));
        Ok(Self {
            child,
            group,
            readers: [out, err],
            last_line,
            started: Instant::now(),
        })
    }

    /// Waits for the program's end. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// After [`ended`](Self::ended): kills what it left behind, and says how it ended with
    /// the last line of its standard error.
    pub(crate) async fn last_words(self, end: io::Result<ExitStatus>) -> String {
        drop(self.group);
        collect(self.readers).await;
        let end = match end {
            Ok(status) => format!("the program ended ({status})"),
            Err(error) => format!("the program was lost ({error})"),
        };
        match self.last_line.take() {
            line if line.is_empty() => end,
            line => format!("{end}: {}", line.trim()),
        }
    }

    /// Stops it as a kubelet would: SIGTERM to its group, `grace`, SIGKILL to its group.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.group.terminate();
        if timeout(grace, self.child.wait()).await.is_err() {
            self.group.kill();
            // Nothing survives that; its end only has to be collected.
            let _ = self.child.wait().await;
        }
        drop(self.group);
        collect(self.readers).await;
    }
}

/// Lets `readers` finish, but not for ever.
async fn collect(readers: [JoinHandle<()>; 2]) {
    let deadline = Instant::now() + LAST_WORDS;
    for mut reader in readers {
        if tokio::time::timeout_at(deadline, &mut reader)
            .await
            .is_err()
        {
            reader.abort();
        }
    }
}

/// Runs `launch` to its end, at most for `limit` (zero is none): a probe's command.
///
/// # Errors
///
/// Anything but exit status 0, in a phrase for a person. Nothing of it is left running.
pub(crate) async fn run(
    launch: &Launch,
    limit: Duration,
    reaper: Option<Arc<Reaper>>,
) -> Result<(), String> {
    let mut command = command(launch)?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (mut child, group) =
        spawn(&mut command, reaper).map_err(|error| cannot_start(launch, &error))?;
    let end = if limit.is_zero() {
        Ok(child.wait().await)
    } else {
        timeout(limit, child.wait()).await
    };
    match end {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("the command ended with {status}")),
        Ok(Err(error)) => Err(format!("the command was lost: {error}")),
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            Err(format!("the command did not end within {limit:?}"))
        }
    }
}

/// The command of `launch`, without its output. Nothing in it may keep the standard library
/// from `posix_spawn`: a path as program, no hooks before exec.
fn command(launch: &Launch) -> Result<Command, String> {
    let mut command = Command::new(launch.program()?);
    command
        .args(launch.words.get(1..).unwrap_or_default())
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .process_group(0)
        .stdin(Stdio::null());
    if let Some(dir) = &launch.dir {
        command.current_dir(dir);
    }
    Ok(command)
}

fn spawn(command: &mut Command, reaper: Option<Arc<Reaper>>) -> io::Result<(Child, Group)> {
    let child = command.spawn()?;
    let group = child.id().and_then(|leader| Group::new(leader, reaper));
    match group {
        Some(group) => Ok((child, group)),
        None => Err(io::Error::other("it has no process id")),
    }
}

fn cannot_start(launch: &Launch, error: &io::Error) -> String {
    let program = launch.words.first().map_or("", String::as_str);
    format!("cannot start {program:?}: {error}")
}
