//! The program of the sidecar.
//!
//! Here, and only here, the environment and the arguments are read; everything else gets values.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use penstock_queue_proxy::env::{self, Identity, Setup};
use penstock_queue_proxy::program::{Ended, Program, StartError};
use penstock_queue_proxy::{PACKED, gateways, workers};
use penstock_relay::tls::Pair;
use penstock_relay::workers::Workers;
use penstock_runtime::drain::Drained;
use penstock_runtime::limits;
use penstock_runtime::log::{self, Logging, Outputs, Record};
use penstock_runtime::signal::Stops;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => run(),
        Some("--help" | "-h") => print(&help()),
        Some("--version" | "-V") => print(&format!("queue-proxy {}\n", env!("CARGO_PKG_VERSION"))),
        Some(other) => {
            say(&format!(
                "queue-proxy takes --help and --version, and not {other:?}; \
                 everything else is in its environment"
            ));
            ExitCode::FAILURE
        }
    }
}

fn run() -> ExitCode {
    let setup = match env::read(variable, is_there) {
        Ok(setup) => setup,
        Err(bad) => {
            say(&bad.to_string());
            return ExitCode::FAILURE;
        }
    };
    log_to(&setup.logging, &setup.identity);
    limits::raise_descriptors();
    let missing = setup.observability.missing();
    if !missing.is_empty() {
        tracing::warn!("asked for, and not there: {}", missing.join("; "));
    }
    match serve(setup) {
        Ok(Ended::Drained(Drained::Clean | Drained::Cut { .. })) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce) => {
            // Whatever the threads are at, they are not waited for.
            std::process::exit(1)
        }
        Ok(Ended::Drained(Drained::Died) | Ended::Died) => {
            tracing::error!("a listener died");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(setup: Setup) -> Result<Ended, StartError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stops = Stops::install()?;
        let count = setup.workers.unwrap_or_else(workers);
        let workers = Workers::start(count)?.packing(PACKED);
        let node = gateways(&file("/proc/net/route"), &file("/proc/net/ipv6_route"));
        let program = Program::start(setup, node, &workers)?;
        Ok(program.run(stops).await)
    })
}

/// Whether both files are there. What the system cannot tell shows when they are read.
fn is_there(pair: &Pair) -> bool {
    pair.is_present().unwrap_or(true)
}

/// All of a file, or nothing if it cannot be read.
fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn log_to(logging: &Logging, identity: &Identity) {
    let Identity {
        namespace,
        revision,
        pod,
        ..
    } = identity;
    let constant = [
        ("knative.dev/key", format!("{namespace}/{revision}")),
        ("knative.dev/pod", pod.clone()),
    ];
    let commit = option_env!("PENSTOCK_COMMIT").map(|commit| ("commit", commit.to_owned()));
    let constant = commit.into_iter().chain(constant);
    let record = Record {
        constant: constant
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        ..logging.record.clone()
    };
    let (outputs, bad) = Outputs::open(&logging.outputs);
    let filter = logging.level.parse().unwrap_or_default();
    if log::init_records(record, filter, move || outputs.clone()).is_err() {
        say("the log was set up already");
    }
    for (path, error) in bad {
        tracing::warn!(%error, "{} cannot be logged to", path.display());
    }
}

fn help() -> String {
    let mut text = "The queue-proxy of Penstock: the sidecar beside a container of a Knative \
                    revision.\n\nIt takes no arguments. Its environment is the one that Knative's \
                    controller writes, and these:\n\n"
        .to_owned();
    for (name, default, meaning) in env::OWN {
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

/// One line, or several, on standard error.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A variable of the environment. One that is not UTF-8 is rejected by whatever reads it, and does
/// not count as unset.
#[expect(clippy::disallowed_methods, reason = "this is the place to read it")]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
