//! The programs of this workspace, built once, before the first test: no test's time goes into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Packages whose programs are run.
const PACKAGES: [&str; 4] = [
    "penstock",
    "penstock-activator",
    "penstock-autoscaler",
    "penstock-queue-proxy",
];

/// Where a program is. The first call builds them all, with the profile of the tests.
///
/// # Panics
///
/// If they do not build, or there is none of that name.
pub(crate) fn program(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    &BUILT.get_or_init(build)[name]
}

fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--bins"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    cargo.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What cargo told this process of the package of the tests is not for those that it builds now:
    // a build script that looks at it would be run again, and all that stands on its crate be built.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["CARGO_MANIFEST_", "CARGO_PKG_"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            cargo.env_remove(&*name);
        }
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the programs were not built");
    let messages = String::from_utf8(output.stdout).unwrap();
    let built = messages.lines().filter_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = PathBuf::from(message["executable"].as_str()?);
        Some((message["target"]["name"].as_str()?.to_owned(), path))
    });
    built.collect()
}
