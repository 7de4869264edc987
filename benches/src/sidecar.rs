//! The queue-proxy by itself beside its peers: one hop against one hop.
//!
//! - `rates.rs`: processor time and throughput of small and large requests, closed loop and steady
//! - `calls.rs`: system calls for each request
//! - `memory.rs`: at rest, after load, for each open connection
//! - `start.rs`: from exec to the first answer, and the size of the program
//! - `limit.rs`: how a limit is enforced when many more want in
//! - `stop.rs`: told to stop under load
//!
//! and the single steps of `micro.rs` at the end.

mod calls;
mod limit;
mod memory;
mod rates;
mod start;
mod stop;

use std::fs;
use std::path::PathBuf;

use crate::micro;
use crate::peers::Peer;
use crate::process::{Outcome, median};

/// Prints one table after the other; `rounds` samples of each peer in each.
pub(crate) fn run(rounds: u32, workers: usize) -> Outcome {
    let folder = Folder::new()?;
    let peers = Peer::present()?;
    rates::run(&peers, &folder.0, rounds, workers)?;
    calls::run(&peers, &folder.0, rounds, workers)?;
    memory::run(&peers, &folder.0, workers)?;
    start::run(&peers, &folder.0, rounds, workers)?;
    limit::run(&peers, &folder.0, workers)?;
    stop::run(&peers, &folder.0, workers)?;
    micro::run()
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let folder = std::env::temp_dir().join(format!("penstock-sidecar-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Takes `rounds` samples of each of `peers` in turns, forwards and backwards. A list for each.
fn in_turns<S>(
    peers: &[Peer],
    rounds: u32,
    mut sample: impl FnMut(Peer) -> Outcome<S>,
) -> Outcome<Vec<Vec<S>>> {
    let mut all: Vec<Vec<S>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let index = if round % 2 == 0 {
                turn
            } else {
                peers.len() - 1 - turn
            };
            all[index].push(sample(peers[index])?);
        }
    }
    Ok(all)
}

/// The median of `own` to `other`, round by round, and its range.
fn ratio<S>(own: &[S], other: &[S], figure: impl Fn(&S) -> f64) -> String {
    let pairs = own.iter().zip(other);
    let ratios: Vec<f64> = pairs
        .map(|(own, other)| figure(own) / figure(other))
        .collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2}–{most:.2})", median(ratios))
}

/// The median of `figure`.
fn middle<S>(samples: &[S], figure: impl Fn(&S) -> f64) -> f64 {
    median(samples.iter().map(figure).collect())
}
