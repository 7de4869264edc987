//! The program in front of revisions.
//!
//! Here, and only here, the environment and the arguments are read and a cluster is chosen;
//! everything else gets values.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use penstock_activator::config::ConfigMaps;
use penstock_activator::env::{self, Flags, Settings, Surroundings};
use penstock_activator::program::{Ended, Program, World};
use penstock_runtime::drain::Drained;
use penstock_runtime::log::{self, LiveFilter, Outputs, Record};
use penstock_runtime::signal::Stops;
use penstock_runtime::{cgroup, limits};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--help" | "-help" | "-h") => print(&help()),
        Some("--version" | "-V") => print(&format!("activator {}\n", env!("CARGO_PKG_VERSION"))),
        _ => run(),
    }
}

fn run() -> ExitCode {
    let resolv_conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let around = Surroundings {
        resolv_conf: &resolv_conf,
        workers: workers(),
        memory: cgroup::memory(),
    };
    let flags = Flags::read(std::env::args().skip(1));
    let none = Flags::default();
    let settings = Settings::read(variable, flags.as_ref().unwrap_or(&none), around);
    let settings = match (flags, settings) {
        (Ok(_), Ok(settings)) => settings,
        (flags, settings) => {
            let flags = flags.err().map(|bad| bad.to_string());
            let settings = settings.err().map(|bad| bad.to_string());
            let all: Vec<String> = flags.into_iter().chain(settings).collect();
            say(&all.join("\n"));
            return ExitCode::FAILURE;
        }
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(settings)),
        Err(error) => {
            say(&format!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> ExitCode {
    let stops = match Stops::install() {
        Ok(stops) => stops,
        Err(error) => {
            say(&format!("cannot handle signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut level = None;
    let configured = |maps: &ConfigMaps| level = log_to(maps, &settings.identity.pod);
    let world = match cluster(&settings, configured).await {
        Ok(world) => world,
        Err(why) => {
            say(&why);
            return ExitCode::FAILURE;
        }
    };
    limits::raise_descriptors();
    let program = match Program::start(settings, world, level) {
        Ok(program) => program,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match program.run(stops).await {
        Ended::Drained(Drained::Clean | Drained::Cut { .. }) => ExitCode::SUCCESS,
        // Whatever the threads are at, they are not waited for.
        Ended::AtOnce => std::process::exit(1),
        Ended::Drained(Drained::Died) | Ended::Died => {
            tracing::error!("a listener died");
            ExitCode::FAILURE
        }
    }
}

/// What this program lives in. `configured` is called as soon as there is something to log by.
///
/// # Errors
///
/// Why it cannot be reached, in a sentence.
#[cfg(feature = "kube")]
async fn cluster(
    settings: &Settings,
    configured: impl FnOnce(&ConfigMaps),
) -> Result<World, String> {
    let world = penstock_activator::kube::reach(settings, configured).await;
    world.map_err(|error| error.to_string())
}

/// The same in a build that reaches no cluster.
#[cfg(not(feature = "kube"))]
#[expect(clippy::unused_async, reason = "to reach a cluster takes time")]
async fn cluster(
    settings: &Settings,
    _configured: impl FnOnce(&ConfigMaps),
) -> Result<World, String> {
    Err(format!(
        "no cluster to serve as {} in {}: this build reaches none; penstock up serves programs on \
         this machine",
        settings.identity.pod, settings.identity.namespace
    ))
}

/// As many as the process may use processors, so that none is made to wait while it holds requests.
fn workers() -> NonZeroUsize {
    let processors = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates, and there are not as many processors"
    )]
    let limit = cgroup::cpus().map(|limit| limit.ceil() as usize);
    limit.and_then(NonZeroUsize::new).unwrap_or(processors)
}

fn log_to(maps: &ConfigMaps, pod: &str) -> Option<LiveFilter> {
    let logging = maps.logging();
    let commit = option_env!("PENSTOCK_COMMIT").map(|commit| ("commit", commit.to_owned()));
    let constant = commit
        .into_iter()
        .chain([("knative.dev/pod", pod.to_owned())]);
    let record = Record {
        constant: constant
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..logging.record
    };
    let (outputs, bad) = Outputs::open(&logging.outputs);
    let filter = logging.level.parse().unwrap_or_default();
    let level = log::init_live_records(record, filter, move || outputs.clone());
    for (path, error) in bad {
        tracing::warn!(%error, "{} cannot be logged to", path.display());
    }
    level.ok()
}

fn help() -> String {
    let mut text = "The activator of Penstock: holds requests for revisions without pods.\n\nIts \
                    environment and flags are those of Knative's, and these variables:\n\n"
        .to_owned();
    for (name, default, meaning) in env::OWN {
        let default = if default.is_empty() { "empty" } else { default };
        text.push_str(&format!(
            "  {name}\n      {meaning}\n      default: {default}\n"
        ));
    }
    text
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line, or several, on standard error; if nobody can read them, nothing is lost but they.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A variable of the environment. One that is not UTF-8 is rejected by whatever reads it, and does
/// not count as unset.
#[expect(clippy::disallowed_methods, reason = "this is the place to read it")]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
