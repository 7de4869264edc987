//! The command.
//!
//! Here, and only here, the environment and the arguments are read; everything else gets values.

#![forbid(unsafe_code)]

mod cli;
#[cfg(feature = "kube")]
mod doctor;
mod explain;
mod inject;
mod sample;
mod simulate;
mod up;

use std::fmt::Display;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use penstock_cluster_local::reaper;
use penstock_runtime::limits;
use penstock_runtime::log;

use cli::{Cli, Command, ExplainArgs, SampleArgs, UpArgs};
use simulate::SimulateArgs;

/// Status of a command that was asked for something it cannot take; nothing was started then.
const WRONG_INPUT: u8 = 2;

/// What a pod's program gets of this process's environment, below the runtime contract's
/// variables and its own. A container would have as little.
const PASSED_ON: [&str; 13] = [
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "SHELL",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
];

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Up(args) => up(*args),
        Command::Simulate(args) => run_simulate(&args),
        Command::Explain(args) => run_explain(&args),
        Command::Inject(args) => rewritten(inject::inject(&args)),
        Command::Uninject(args) => rewritten(inject::uninject(&args)),
        #[cfg(feature = "kube")]
        Command::Doctor(args) => run_doctor(&args),
        #[cfg(not(feature = "kube"))]
        Command::Doctor { .. } => wrong([
            "doctor needs a build that can speak to a cluster: cargo build --release -p penstock --features kube",
        ]),
        Command::Sample(args) => run_sample(&args),
        Command::Reaper => run_reaper(),
    }
}

fn up(args: UpArgs) -> ExitCode {
    if log::init(args.log.into(), args.log_level.clone(), log::Stream::Stderr).is_err() {
        return wrong(["the log was set up already"]);
    }
    limits::raise_descriptors();
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return wrong([format!("cannot find the path of this program: {error}")]),
    };
    let workers = args
        .workers
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let base_env = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), variable(name)?)))
        .collect();
    let surroundings = up::Surroundings {
        program,
        base_env,
        workers,
    };
    match up::run(args, surroundings) {
        Ok(code) => code,
        Err(up::Error::Input(sentences)) => wrong(sentences),
        Err(up::Error::System(sentence)) => {
            say(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn run_sample(args: &SampleArgs) -> ExitCode {
    let text = variable("PORT").unwrap_or_else(|| "8080".to_owned());
    let Ok(port) = text.parse() else {
        return wrong([format!("PORT={text:?} is not a port from 0 to 65535")]);
    };
    let name = args.name.as_str();
    let Some(kind) = sample::Kind::new(name, variable("TARGET")) else {
        return wrong([format!("there is no sample {name:?}")]);
    };
    match sample::run(kind, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!(
                "the sample {name} cannot serve on port {port}: {error}"
            ));
            ExitCode::FAILURE
        }
    }
}

fn run_simulate(args: &SimulateArgs) -> ExitCode {
    match simulate::run(args, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(simulate::Error::Input(sentences)) => wrong(sentences),
        Err(simulate::Error::Output(sentence)) => {
            say(&sentence);
            ExitCode::FAILURE
        }
    }
}

/// What is wrong goes to standard output, why nothing could be looked at to standard error.
#[cfg(feature = "kube")]
fn run_doctor(args: &doctor::DoctorArgs) -> ExitCode {
    use penstock_cluster_kube::Access;
    use std::path::PathBuf;

    let at_home = || {
        let file = PathBuf::from(variable("HOME")?).join(".kube/config");
        file.is_file().then_some(file)
    };
    let named = || {
        variable("KUBECONFIG")
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    let file = args.kubeconfig.clone().or_else(named).or_else(at_home);
    let access = file.map_or(Access::InCluster, Access::File);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let looked = match runtime {
        Ok(runtime) => runtime.block_on(doctor::look(args, &access)),
        Err(error) => return wrong([format!("no threads to look with: {error}")]),
    };
    match looked {
        Ok(findings) => {
            let text = doctor::told(&findings, args.output);
            match io::stdout().write_all(text.as_bytes()) {
                Ok(()) if findings.is_empty() => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => wrong([error]),
    }
}

/// Manifests to standard output, what a person should know to standard error.
fn rewritten(output: Result<inject::Output, Vec<inject::Mistake>>) -> ExitCode {
    match output {
        Ok(output) => {
            for note in &output.notes {
                say(note);
            }
            match io::stdout().write_all(output.yaml.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
        Err(mistakes) => wrong(mistakes),
    }
}

fn run_explain(args: &ExplainArgs) -> ExitCode {
    match explain::ask(args.admin, &args.name) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(explain::Error::Unknown(sentence)) => wrong([sentence]),
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

fn run_reaper() -> ExitCode {
    match reaper::run(io::stdin().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn wrong(sentences: impl IntoIterator<Item = impl Display>) -> ExitCode {
    for sentence in sentences {
        say(&sentence);
    }
    ExitCode::from(WRONG_INPUT)
}

/// One line on standard error; if nobody can read it, nothing is lost but the line.
fn say(sentence: &impl Display) {
    let _ = writeln!(io::stderr(), "penstock: {sentence}");
}

/// A variable of the environment; one that is not UTF-8 can be no setting of ours.
#[expect(clippy::disallowed_methods, reason = "this is the place to read it")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
