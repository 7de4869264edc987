//! When to read the files again: when one of them changes, and at SIGHUP.
//!
//! The folders are watched, not the files: most editors put a new file in the place of the old.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use penstock_runtime::signal;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Time without a further change after which a file counts as written.
const QUIET: Duration = Duration::from_millis(50);
/// Longest that changes that do not end are waited for.
const LONGEST: Duration = Duration::from_secs(1);

/// Changes of which there may be more.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// When it counts as over, if nothing more comes.
    quiet: Instant,
    /// When it counts as over in any case.
    last: Instant,
}

/// Says when to read again.
#[derive(Debug)]
pub(crate) struct Reloads {
    signal: signal::Reloads,
    changed: Arc<Notify>,
    burst: Option<Burst>,
    /// Watches as long as it is held.
    _watcher: Option<RecommendedWatcher>,
}

impl Reloads {
    /// Watches `files`. If the system has no watch left, SIGHUP still works, and that is said.
    ///
    /// # Errors
    ///
    /// The system does not let this process handle SIGHUP.
    pub(crate) fn watch(files: &[PathBuf]) -> io::Result<Self> {
        let signal = signal::Reloads::install()?;
        let changed = Arc::new(Notify::new());
        let watcher = if files.is_empty() {
            None
        } else {
            watcher(files, Arc::clone(&changed))
                .inspect_err(|error| {
                    tracing::warn!(
                        %error,
                        "the files cannot be watched: send SIGHUP after a change"
                    );
                })
                .ok()
        };
        Ok(Self {
            signal,
            changed,
            burst: None,
            _watcher: watcher,
        })
    }

    /// Completes when there may be something new. Losing the future loses no change: the next
    /// one waits on for the end of the burst.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = self.signal.next() => {}
            () = settled(&self.changed, &mut self.burst) => {}
        }
    }
}

/// The end of a burst of changes.
async fn settled(changed: &Notify, burst: &mut Option<Burst>) {
    let Burst { quiet, last } = match *burst {
        Some(burst) => burst,
        None => {
            changed.notified().await;
            let now = Instant::now();
            *burst.insert(Burst {
                quiet: now + QUIET,
                last: now + LONGEST,
            })
        }
    };
    let mut quiet = quiet;
    while Instant::now() < last && timeout_at(quiet, changed.notified()).await.is_ok() {
        quiet = last.min(Instant::now() + QUIET);
        *burst = Some(Burst { quiet, last });
    }
    *burst = None;
}

fn watcher(files: &[PathBuf], changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let files: HashSet<PathBuf> = files.iter().flat_map(|file| places(file)).collect();
    let folders: HashSet<PathBuf> = files
        .iter()
        .filter_map(|file| file.parent().map(Path::to_owned))
        .collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // An error is a lost event: it may have been ours.
        let ours = event.map_or(true, |event| {
            is_change(event.kind) && event.paths.iter().any(|path| files.contains(path))
        });
        if ours {
            changed.notify_one();
        }
    })?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Where a change of `file` shows: at its own name, and at that of the file that a link leads to.
fn places(file: &Path) -> Vec<PathBuf> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let own = folder.canonicalize().ok();
    let own = own
        .zip(file.file_name())
        .map(|(folder, name)| folder.join(name));
    own.into_iter().chain(file.canonicalize().ok()).collect()
}

/// Whether the content may be another. Reading a file is an event, too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests;
