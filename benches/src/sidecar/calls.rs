//! System calls for each request, as `perf` counts them; without it, or without the right to, none.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::middle;
use crate::load::wrk;
use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, Running, pause};

const SECONDS: u32 = 2;

pub(super) fn run(peers: &[Peer], folder: &Path, rounds: u32, workers: usize) -> Outcome {
    let each = super::in_turns(peers, rounds, |peer| calls(peer, folder, workers))?;
    println!("\n### System calls, 13-byte GET, 64 connections; {workers} worker(s) each\n");
    println!("| | for each request |\n|---|---|");
    for (peer, counts) in peers.iter().zip(&each) {
        println!(
            "| {} | {:.2} |",
            peer.name(),
            middle(counts, |count| *count)
        );
    }
    Ok(())
}

/// NaN if nobody counts them.
fn calls(peer: Peer, folder: &Path, workers: usize) -> Outcome<f64> {
    let (behind, _backend) = backend(false)?;
    let setup = Setup {
        folder,
        behind,
        limit: 100,
        h2: false,
        workers,
        lame_duck: 0,
    };
    let proxy = setup.start(peer)?;
    let url = format!("http://127.0.0.1:{}/", proxy.port);
    wrk(&url, "bench", 64, 1, None)?;
    let Ok(counting) = count(&proxy.process) else {
        return Ok(f64::NAN);
    };
    // It looks at all threads before it counts any.
    pause(300);
    let load = wrk(&url, "bench", 64, SECONDS, None)?;
    Ok(counted(counting).unwrap_or(f64::NAN) / load.requests)
}

fn count(process: &Running) -> std::io::Result<Child> {
    let all: Vec<String> = process.family().iter().map(u32::to_string).collect();
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p"]);
    perf.arg(all.join(","));
    perf.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// What it has counted until now: the first field of its only line.
fn counted(perf: Child) -> Option<f64> {
    let pid = perf.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().ok()?;
    let told = perf.wait_with_output().ok()?;
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    told.lines()
        .find_map(|line| line.split(',').next()?.parse().ok())
}
