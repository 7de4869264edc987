//! End-to-end benchmarks: Penstock and its peers in one run, as ratios. See README.md here.
//!
//! - `cold.rs`: what Penstock adds to a cold start
//! - `warm.rs`: throughput and processor time of the warm path, against nginx
//! - `step.rs`: how fast each policy follows a load step
//! - `idle.rs`: what a hundred services at zero cost
//! - `sidecar.rs`: the queue-proxy by itself, in every respect; `micro.rs`: single steps
//! - `autoscaler.rs`: ten thousand revisions reported each second, and the way to a first scale call
//! - `activator.rs`: what waits in it, what passes it, and what it does when there is too much
//! - `kube.rs`: cold starts and memory on Kubernetes
//! - `soak.rs`: minutes of mixed load with faults, and what is left of it
//! - `backend.rs`: the workload of all of them
//! - `peers.rs`, `load.rs`: what they are compared with, and who asks
//! - `process.rs`: child processes and what /proc says of them

#![expect(
    clippy::print_stdout,
    reason = "a report for a person is what this prints"
)]

mod activator;
mod autoscaler;
mod backend;
mod cold;
mod idle;
mod kube;
mod load;
mod micro;
mod peers;
mod process;
mod sidecar;
mod soak;
mod step;
mod warm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use process::processors;

/// Measures Penstock end to end, beside its peers.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Cold, warm and idle, one after the other
    All,
    /// What Penstock adds to a cold start: 50 of them
    Cold,
    /// Throughput and processor time of the warm path, beside nginx (needs nginx and wrk)
    Warm {
        /// Rounds; in each, every peer gets one sample
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Worker threads of each peer [default: one for each processor]
        #[arg(long)]
        workers: Option<usize>,
    },
    /// The queue-proxy beside nginx, HAProxy and what KNATIVE_QUEUE_BIN names, in every respect
    /// (needs nginx, wrk and h2load; about five minutes)
    Sidecar {
        /// Rounds; in each, every peer gets one sample
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Worker threads of each peer
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
    /// Seconds that each policy takes to follow a load step of x1.5 (about five minutes)
    Step,
    /// Memory and processor time of 100 services at zero
    Idle,
    /// Nanoseconds of single steps: the gate, a head, the statistics, the series, a decision
    Micro,
    /// The autoscaler as a process: load, memory and lateness at 10,000 revisions (about a minute)
    Autoscaler {
        /// Seconds of reports that are measured
        #[arg(long, default_value_t = 20)]
        seconds: u32,
    },
    /// The activator as a process: processor time beside nginx, memory of those who wait, overload,
    /// release, fairness, demand (about five minutes; needs nginx and wrk)
    Activator {
        /// Only these parts [default: all]
        #[arg(value_enum)]
        parts: Vec<activator::Part>,
        /// Rounds of those that are measured in turns
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Seconds of overload
        #[arg(long, default_value_t = 60)]
        overload_seconds: u32,
        /// Seconds of each turn of the fairness part
        #[arg(long, default_value_t = 10)]
        fairness_seconds: u32,
    },
    /// The queue-proxy under mixed load with faults on both sides: memory, failed, leaked
    Soak {
        /// Minutes
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// Worker threads of the queue-proxy
        #[arg(long, default_value_t = 1)]
        workers: usize,
    },
    /// Cold starts, memory and a restart with 5,000 revisions on Kubernetes (about two minutes)
    Kube,
    /// An autoscaler over a cluster that stays as it is, by variables
    #[command(hide = true)]
    AutoscalerStage,
    /// An activator over a cluster that is told its pods, by variables
    #[command(hide = true)]
    ActivatorStage,
    /// The workload: answers every GET with 13 bytes on $PORT
    #[command(hide = true)]
    Backend,
}

fn main() -> ExitCode {
    let result = match Args::parse().what {
        What::All => cold::run()
            .and_then(|()| warm::run(5, processors()))
            .and_then(|()| idle::run()),
        What::Cold => cold::run(),
        What::Warm { rounds, workers } => warm::run(rounds, workers.unwrap_or_else(processors)),
        What::Step => step::run(),
        What::Idle => idle::run(),
        What::Soak { minutes, workers } => soak::run(minutes, workers),
        What::Kube => kube::run(),
        What::Micro => micro::run(),
        What::Autoscaler { seconds } => autoscaler::run(seconds),
        What::Activator {
            parts,
            rounds,
            overload_seconds,
            fairness_seconds,
        } => activator::run(&parts, rounds, overload_seconds, fairness_seconds),
        What::ActivatorStage => activator::stage::run(),
        What::AutoscalerStage => autoscaler::stage::run(),
        What::Backend => backend::run(),
        What::Sidecar { rounds, workers } => sidecar::run(rounds, workers),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}
