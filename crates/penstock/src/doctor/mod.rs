//! `penstock doctor`: what is wrong with an installation, or with the workloads of a namespace, and
//! what to do about it.
//!
//! ```text
//!  API server ── fetch (reads only) ──► Facts ── install, workloads (no I/O) ──► Findings ── text, JSON
//! ```
//!
//! A fact that could not be had is a finding as well: nothing is called healthy that was not seen.

mod fetch;
mod finding;
mod install;
mod workloads;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use penstock_cluster_kube::Access;

use finding::Finding;

/// Flags of `penstock doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Looks at the workloads of this namespace only [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Where activator and autoscaler are [default: knative-serving where Knative Serving is
    /// installed, else penstock-system]
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) system: Option<String>,
    /// How the cluster is reached [default: $KUBECONFIG, ~/.kube/config, or as the pod that this
    /// runs in]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Shape of the result
    #[arg(short, long, value_enum, value_name = "SHAPE", default_value = "text")]
    pub(crate) output: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// For a person
    Text,
    /// One array of findings
    Json,
}

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No way to the API server is described, or wrongly.
    #[error("the cluster cannot be reached: {0}")]
    Access(String),
    /// It does not answer, or not us.
    #[error("the API server does not answer: {0}")]
    Unreachable(String),
}

/// Looks, and tells what was found, worst first.
///
/// # Errors
///
/// [`Error`], if there was nothing to look at.
pub(crate) async fn look(args: &DoctorArgs, access: &Access) -> Result<Vec<Finding>, Error> {
    let facts = fetch::facts(args, access).await?;
    let mut findings = facts.unread.clone();
    findings.extend(install::check(&facts));
    findings.extend(workloads::check(&facts));
    findings.sort_by(|a, b| (b.severity, &a.object).cmp(&(a.severity, &b.object)));
    Ok(findings)
}

/// The findings in the shape that was asked for.
pub(crate) fn told(findings: &[Finding], shape: Shape) -> String {
    match shape {
        Shape::Json => {
            let mut text = serde_json::to_string_pretty(findings).unwrap_or_default();
            text.push('\n');
            text
        }
        Shape::Text if findings.is_empty() => "nothing wrong was found\n".to_owned(),
        Shape::Text => findings.iter().map(ToString::to_string).collect(),
    }
}
