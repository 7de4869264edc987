//! What the tests stand on.
//!
//! - `register`: how a test gets its name and says what it needs
//! - `up`: `penstock up` as a process
//! - `output`: its lines, as events
//! - `state`: what `GET /state` says
//! - `programs`: the programs, built before the first test
//! - `process`: other processes: who is left, signals
//! - `folder`: a folder for one test
//! - `manifest`: manifests, written short
//! - `ask`: requests to a gateway

mod ask;
mod folder;
mod manifest;
mod output;
mod process;
mod programs;
mod register;
mod state;
mod up;

pub(crate) use ask::{Gateway, Load};
pub(crate) use folder::{Folder, program_file};
pub(crate) use manifest::Service;
pub(crate) use output::{Output, Stream};
pub(crate) use programs::program;
pub(crate) use register::{plain_tests, run, tests, trial, trial_apart};
use state::State;
pub(crate) use up::{Options, Up, refused};

use std::time::Duration;

/// Longest that anything is waited for: a limit for what hangs, not for what is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what nobody tells of.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until `look` finds something.
///
/// # Panics
///
/// After [`PATIENCE`], with what was waited for.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}
