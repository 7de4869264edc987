//! The program of the autoscaler.
//!
//! Here, and only here, the environment is read and a cluster chosen; everything else gets values.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use penstock_autoscaler::env::Settings;

fn resolv_conf() -> String {
    fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("--version" | "-V") => {
            let _ = writeln!(io::stdout(), "autoscaler {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => match Settings::read(variable, &resolv_conf()) {
            Ok(settings) => run(settings),
            Err(bad) => fail(&bad.to_string()),
        },
    }
}

#[cfg(not(feature = "kube"))]
fn run(settings: Settings) -> ExitCode {
    // Where pods are child processes, `penstock up` has this autoscaler inside.
    fail(&format!(
        "no cluster to scale as {}: this build cannot reach Kubernetes; \
         penstock up scales programs on this machine",
        settings.identity
    ))
}

#[cfg(feature = "kube")]
fn run(settings: Settings) -> ExitCode {
    use tokio::runtime::Builder;
    // The loop is one task. The rest, scrapes above all, is spread over what processors there are.
    match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => match runtime.block_on(kubernetes::serve(settings)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => fail(&why),
        },
        Err(error) => fail(&format!("cannot start: {error}")),
    }
}

/// The program in a cluster.
#[cfg(feature = "kube")]
mod kubernetes {
    use penstock_autoscaler::env::Settings;
    use penstock_autoscaler::{kube, maps};
    use penstock_runtime::limits;
    use penstock_runtime::log::{self, LiveFilter, Logging, Outputs, Record};
    use penstock_runtime::signal::Stops;
    use tokio_util::sync::CancellationToken;

    /// Scales until it is asked to stop.
    ///
    /// # Errors
    ///
    /// Why it does not start, or how it ended, in a sentence.
    pub(super) async fn serve(settings: Settings) -> Result<(), String> {
        let stops = Stops::install().map_err(|error| format!("cannot handle signals: {error}"))?;
        let stop = CancellationToken::new();
        let watching = tokio::spawn(stops.watch(stop.clone()));
        let pod = settings.identity.pod.clone();
        let working = kube::run(settings, stop, |world, _| {
            let level = log_to(world.logging(), pod);
            if let Some(level) = level {
                tokio::spawn(maps::follow_level(world.logging_map(), level));
            }
            limits::raise_descriptors();
        });
        tokio::select! {
            // Whatever is under way is not waited for.
            Ok(_second) = watching => std::process::exit(1),
            ended = working => ended.map_err(|error| error.to_string()),
        }
    }

    fn log_to(logging: Logging, pod: String) -> Option<LiveFilter> {
        let commit = option_env!("PENSTOCK_COMMIT").map(|commit| ("commit", commit.to_owned()));
        let constant = commit.into_iter().chain([("knative.dev/pod", pod)]);
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
}

/// One line on standard error; if nobody can read it, nothing is lost but the line.
fn fail(sentence: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "autoscaler: {sentence}");
    ExitCode::FAILURE
}

/// A variable; what is not UTF-8 is rejected as what it looks like, not taken for unset.
#[expect(clippy::disallowed_methods, reason = "this is the place to read it")]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}
