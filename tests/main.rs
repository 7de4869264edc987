//! Behaviour across crates: `penstock up` as a process, with real programs behind it, and the
//! workspace itself.
//!
//! - `architecture`: who may depend on whom, and what stays out of the sidecar
//! - `deploy`: the manifests and images for Kubernetes
//! - `hello`: from nothing to an answer and back; hosts; what is printed
//! - `input`: the forms of manifests, files and standard input
//! - `mistakes`: wrong input, sentence by sentence
//! - `change`: files saved while running: new revisions, canaries, rollback, reload
//! - `rolling`: changes under load lose nothing
//! - `scale`: bursts, limits, many services, scale to zero
//! - `trouble`: workloads that do not start, that crash, clients that leave
//! - `probes`: probes of all kinds but gRPC
//! - `protocols`: upgrades, events, trailers, 1xx, streams
//! - `stop`: SIGTERM, SIGKILL, and what is left then
//! - `kube`: Kubernetes, with the real programs
//! - `scaling_log`: what is said of each scaling event
//! - `prometheus`: a real Prometheus server scrapes it
//!
//! `harness` starts and watches all that. A test that needs a program says which; without it the
//! test is shown as ignored, or fails if `PENSTOCK_TEST_ALL=1`, as in `.ci/run`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests, also outside of their functions"
)]

mod harness;

mod architecture;
mod change;
mod deploy;
mod hello;
mod input;
mod kube;
mod mistakes;
mod probes;
mod prometheus;
mod protocols;
mod rolling;
mod scale;
mod scaling_log;
mod stop;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let tests = [
        architecture::tests(),
        change::tests(),
        deploy::tests(),
        hello::tests(),
        input::tests(),
        kube::tests(),
        mistakes::tests(),
        probes::tests(),
        prometheus::tests(),
        protocols::tests(),
        rolling::tests(),
        scale::tests(),
        scaling_log::tests(),
        stop::tests(),
        trouble::tests(),
    ];
    if !arguments.list {
        harness::program("penstock");
    }
    libtest_mimic::run(&arguments, tests.into_iter().flatten().collect()).exit_code()
}
