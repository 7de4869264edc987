//! From exec to the first answer that comes through, asked for again and again.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::{in_turns, middle, ratio};
use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, get, pause_micros};

const GIVE_UP_SECONDS: u64 = 10;

pub(super) fn run(peers: &[Peer], folder: &Path, rounds: u32, workers: usize) -> Outcome {
    let samples = in_turns(peers, 2 * rounds, |peer| {
        let (behind, _backend) = backend(false)?;
        let setup = Setup {
            folder,
            behind,
            limit: 0,
            h2: false,
            workers,
            lame_duck: 0,
        };
        let start = Instant::now();
        let (port, _proxy) = setup.exec(peer)?;
        while !get(port, "bench", "/").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if start.elapsed().as_secs() > GIVE_UP_SECONDS {
                return Err(format!("{} did not start", peer.name()));
            }
            pause_micros(200);
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })?;
    println!("\n### Start: exec to first answer, {} times\n", 2 * rounds);
    println!("| | ms | vs nginx | program MiB |");
    println!("|---|---|---|---|");
    for (peer, own) in peers.iter().zip(&samples) {
        let size = fs::metadata(peer.program()?).map_or_else(
            |_| "–".to_owned(),
            |file| format!("{:.1}", file.len() as f64 / f64::from(1 << 20)),
        );
        println!(
            "| {} | {:.1} | {} | {size} |",
            peer.name(),
            middle(own, |ms| *ms),
            ratio(own, &samples[0], |ms| *ms)
        );
    }
    Ok(())
}
