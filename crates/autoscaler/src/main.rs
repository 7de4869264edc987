//! The program of the autoscaler.
//!
//! Here, and only here, the environment is read and a cluster chosen; everything else gets values.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use penstock_autoscaler::env::Settings;

fn main() -> ExitCode {
    match Settings::read(variable) {
        Err(bad) => say(&bad.to_string()),
        // Kubernetes is the only cluster that is reached over a network, and is not behind the
        // port yet. Where pods are child processes, `penstock up` has this autoscaler inside.
        Ok(settings) => say(&format!(
            "no cluster to scale as {}: this build cannot reach Kubernetes; \
             penstock up scales programs on this machine",
            settings.identity
        )),
    }
    ExitCode::FAILURE
}

/// One line on standard error; if nobody can read it, nothing is lost but the line.
fn say(sentence: &str) {
    let _ = writeln!(io::stderr(), "autoscaler: {sentence}");
}

/// A variable; what is not UTF-8 is rejected as what it looks like, not taken for unset.
#[expect(clippy::disallowed_methods, reason = "this is the place to read it")]
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}
