//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use http::HeaderName;
use penstock_activator::{Overflow, quantity, waiting_page};
use penstock_autoscaler::PolicyKind;
use penstock_runtime::log;

#[cfg(feature = "kube")]
use crate::doctor::DoctorArgs;
use crate::inject::{InjectArgs, UninjectArgs};
use crate::simulate::SimulateArgs;
use crate::up::Rule;

/// Holds requests for workloads that are not running, starts them, and scales them to what waits
/// and what runs.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs Knative manifests on this machine: each pod is a child process, and nothing runs
    /// before somebody asks for it
    Up(Box<UpArgs>),
    /// Replays traffic against a service, in virtual time, with the autoscaler's own decisions:
    /// who waits how long, and what it costs
    Simulate(Box<SimulateArgs>),
    /// Asks a running `penstock up` why a service has so many pods, and what would change it
    Explain(ExplainArgs),
    /// Puts a queue-proxy beside the container that serves, in Deployments and StatefulSets labelled
    /// penstock.dev/scale: "true", and writes the manifests to standard output: pipe them to
    /// kubectl apply -f -
    Inject(InjectArgs),
    /// Takes out what inject put in
    Uninject(UninjectArgs),
    /// Looks for what is wrong with Penstock in a Kubernetes cluster, and says what to do about it.
    /// Exits with 0 if nothing is, 1 if something is, 2 if it could not look
    #[cfg(feature = "kube")]
    Doctor(DoctorArgs),
    /// Looks for what is wrong with Penstock in a Kubernetes cluster; this build cannot speak to
    /// one, `cargo build --release -p penstock --features kube` makes one that can
    #[cfg(not(feature = "kube"))]
    #[command(disable_help_flag = true)]
    Doctor {
        /// Whatever the other build takes
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        _flags: Vec<std::ffi::OsString>,
    },
    /// Serves one of the built-in samples on $PORT
    Sample(SampleArgs),
    /// Ends what a killed `penstock up` left behind
    #[command(hide = true)]
    Reaper,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Manifests: Services, Configurations and Routes of serving.knative.dev; - reads standard
    /// input. A file that changes is read again, all of them at SIGHUP
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Address of the gateway, where requests come in
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = addr)]
    pub(crate) listen: SocketAddr,
    /// Address of /metrics, /healthz, /readyz, /state and /explain
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = addr)]
    pub(crate) admin: SocketAddr,
    /// Domain of the hosts: NAME.NAMESPACE.DOMAIN
    #[arg(long, value_name = "DOMAIN", default_value = "example.com", value_parser = domain)]
    pub(crate) domain: String,
    /// Settings of the autoscaler: a ConfigMap like Knative's config-autoscaler, or the bare
    /// mapping. Unlike there, initial-scale is 0 if it is not set
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// What to run for an image. NAME is matched with or without registry, tag and digest;
    /// COMMAND is split as a shell would, and $PORT in it is the pod's port. Repeatable
    #[arg(long = "image", value_name = "NAME=COMMAND")]
    pub(crate) images: Vec<Rule>,
    /// How to scale: by what waits and runs now, or as Knative does, by averages over windows
    #[arg(long, value_enum, value_name = "POLICY", default_value = "demand")]
    pub(crate) policy: Policy,
    /// Requests that may wait for one revision
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) waiting: usize,
    /// Memory that all waiting requests may hold, in bytes or with Ki, Mi, Gi
    #[arg(long, value_name = "BYTES", default_value = "256Mi", value_parser = bytes)]
    pub(crate) waiting_memory: u64,
    /// The status where there is no room to wait
    #[arg(long, value_enum, value_name = "STATUS", default_value = "503")]
    pub(crate) overflow: OverflowStatus,
    /// How many of a backlog go into a revision without a limit at first; 0 is all of them
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) first_window: usize,
    /// A request header in which callers may limit their request, in milliseconds
    #[arg(long, value_name = "NAME")]
    pub(crate) limit_header: Option<HeaderName>,
    /// Tells who had to wait what for (Server-Timing)
    #[arg(long)]
    pub(crate) server_timing: bool,
    /// Shows browsers a page that reloads itself, once they have waited so long; services may say
    /// otherwise by the annotation penstock.dev/waiting-page
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "1s",
        value_parser = page
    )]
    pub(crate) waiting_page: Option<Duration>,
    /// Threads that carry requests [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Shape of the log on standard error
    #[arg(long, value_enum, value_name = "SHAPE", default_value = "text")]
    pub(crate) log: LogShape,
    /// What is logged: off, error, warn, info or debug, also by module, as in
    /// info,penstock_activator=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: log::Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// What waits and what runs now
    Demand,
    /// Averages over windows, decided on a tick
    Knative,
}

impl From<Policy> for PolicyKind {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Demand => Self::Demand,
            Policy::Knative => Self::Knative,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverflowStatus {
    /// Service Unavailable
    #[value(name = "503")]
    Unavailable,
    /// Too Many Requests
    #[value(name = "429")]
    TooMany,
}

impl From<OverflowStatus> for Overflow {
    fn from(status: OverflowStatus) -> Self {
        match status {
            OverflowStatus::Unavailable => Self::Unavailable,
            OverflowStatus::TooMany => Self::TooMany,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogShape {
    /// For a person
    Text,
    /// One object per line
    Json,
}

impl From<LogShape> for log::Format {
    fn from(shape: LogShape) -> Self {
        match shape {
            LogShape::Text => Self::Text,
            LogShape::Json => Self::Json,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A service or a revision: NAME, or NAMESPACE/NAME
    #[arg(value_name = "NAME", value_parser = explained)]
    pub(crate) name: String,
    /// Address of /metrics, /healthz, /readyz, /state and /explain of the `penstock up` to ask
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = addr)]
    pub(crate) admin: SocketAddr,
}

#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// Which one
    #[arg(value_parser = ["hello", "autoscale"])]
    pub(crate) name: String,
    /// Arguments that the image would ignore as well
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _ignored: Vec<String>,
}

/// `127.0.0.1:8080`, `[::1]:8080`, or `localhost:8080`.
fn addr(text: &str) -> Result<SocketAddr, String> {
    let local = text.strip_prefix("localhost:").and_then(|port| {
        let port = port.parse().ok()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    });
    local
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "it must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
}

/// `NAME` in the namespace `default`, or `NAMESPACE/NAME`.
fn explained(text: &str) -> Result<String, String> {
    let name = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        !part.is_empty() && part.bytes().all(plain)
    };
    match text.split_once('/') {
        None if name(text) => Ok(format!("default/{text}")),
        Some((namespace, rest)) if name(namespace) && name(rest) => Ok(text.to_owned()),
        _ => Err("it must be NAME or NAMESPACE/NAME".to_owned()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let wanted = || "it must be a count of bytes, such as 268435456 or 256Mi".to_owned();
    quantity(text).ok_or_else(wanted)
}

fn page(text: &str) -> Result<Duration, String> {
    let wanted = || "it must be a duration, such as 1s or 500ms".to_owned();
    waiting_page(text).flatten().ok_or_else(wanted)
}

/// A DNS name, made lower case.
fn domain(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(plain)
    };
    if text.len() <= 120 && text.split('.').all(label) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("it must be a DNS name, such as example.com or localhost".to_owned())
    }
}

#[cfg(test)]
mod tests;
