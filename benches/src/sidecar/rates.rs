//! Processor time for each request, and requests per second.

use std::fs;
use std::path::Path;

use super::{in_turns, middle, ratio};
use crate::load::{Load, h2load, steady, wrk};
use crate::peers::{Peer, Setup, Started, backend};
use crate::process::{Outcome, pause};

const SECONDS: u32 = 3;
const HOST: &str = "bench.default.example.com";
/// Of the steady run, which no proxy finds hard.
const STEADY: (u32, u32) = (2000, 16);

/// One kind of load.
struct Scenario {
    title: &'static str,
    path: &'static str,
    kind: Kind,
}

enum Kind {
    Get { connections: u32 },
    Post { connections: u32, bytes: usize },
    Steady,
    H2,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        title: "13-byte GET, 64 connections",
        path: "/",
        kind: Kind::Get { connections: 64 },
    },
    Scenario {
        title: "13-byte GET, 2000 requests/s over 16 connections",
        path: "/",
        kind: Kind::Steady,
    },
    Scenario {
        title: "64 KiB GET, 16 connections",
        path: "/bytes/65536",
        kind: Kind::Get { connections: 16 },
    },
    Scenario {
        title: "1 MiB GET, 8 connections",
        path: "/bytes/1048576",
        kind: Kind::Get { connections: 8 },
    },
    Scenario {
        title: "64 KiB POST echoed, 16 connections",
        path: "/echo",
        kind: Kind::Post {
            connections: 16,
            bytes: 65536,
        },
    },
    Scenario {
        title: "HTTP/2 without TLS, 13-byte GET, 8 connections with 10 streams",
        path: "/",
        kind: Kind::H2,
    },
];

struct Sample {
    rate: f64,
    cpu_micros: f64,
    /// Milliseconds that half and 99 % of the requests took; only of a steady run.
    times: Option<(f64, f64)>,
}

pub(super) fn run(peers: &[Peer], folder: &Path, rounds: u32, workers: usize) -> Outcome {
    for scenario in &SCENARIOS {
        let samples = in_turns(peers, rounds, |peer| scenario.sample(peer, folder, workers))?;
        println!(
            "\n### {}; {workers} worker(s) each, {rounds} rounds\n",
            scenario.title
        );
        print(peers, &samples);
    }
    Ok(())
}

fn print(peers: &[Peer], samples: &[Vec<Sample>]) {
    let timed = samples[0].iter().any(|sample| sample.times.is_some());
    let haproxy = peers.iter().position(|&peer| peer == Peer::Haproxy);
    print!("| | requests/s | CPU µs/request | CPU vs nginx | CPU vs haproxy |");
    println!("{}", if timed { " p50 µs | p99 µs |" } else { "" });
    println!(
        "|---|---|---|---|---|{}",
        if timed { "---|---|" } else { "" }
    );
    for (peer, own) in peers.iter().zip(samples) {
        let cpu = |sample: &Sample| sample.cpu_micros;
        let to_haproxy = haproxy.map_or_else(|| "–".to_owned(), |at| ratio(own, &samples[at], cpu));
        print!(
            "| {} | {:.0} | {:.1} | {} | {to_haproxy} |",
            peer.name(),
            middle(own, |sample| sample.rate),
            middle(own, cpu),
            ratio(own, &samples[0], cpu),
        );
        if timed {
            let of = |pick: fn((f64, f64)) -> f64| {
                middle(own, |sample| sample.times.map_or(f64::NAN, pick))
            };
            print!(" {:.0} | {:.0} |", of(|times| times.0), of(|times| times.1));
        }
        println!();
    }
}

impl Scenario {
    fn sample(&self, peer: Peer, folder: &Path, workers: usize) -> Outcome<Sample> {
        let h2 = matches!(self.kind, Kind::H2);
        // nginx speaks HTTP/1.1 to a workload whatever its callers speak.
        let (behind, _backend) = backend(h2 && peer != Peer::Nginx)?;
        let setup = Setup {
            folder,
            behind,
            limit: 100,
            h2,
            workers,
            lame_duck: 0,
        };
        let proxy = setup.start(peer)?;
        self.load(&proxy, folder, 1)?;
        let before = proxy.process.cpu();
        let (load, times) = self.load(&proxy, folder, SECONDS)?;
        let cpu = proxy.process.cpu().saturating_sub(before);
        pause(200);
        Ok(Sample {
            rate: load.rate,
            cpu_micros: cpu.as_secs_f64() * 1e6 / load.requests,
            times,
        })
    }

    fn load(
        &self,
        proxy: &Started,
        folder: &Path,
        seconds: u32,
    ) -> Outcome<(Load, Option<(f64, f64)>)> {
        let url = format!("http://127.0.0.1:{}{}", proxy.port, self.path);
        let load = match self.kind {
            Kind::Get { connections } => wrk(&url, HOST, connections, seconds, None)?,
            Kind::Post { connections, bytes } => {
                let script = folder.join("post.lua");
                let text = format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n");
                fs::write(&script, text).map_err(|error| error.to_string())?;
                wrk(&url, HOST, connections, seconds, Some(&script))?
            }
            Kind::H2 => h2load(&url, 8, 10, seconds)?,
            Kind::Steady => {
                let (rate, connections) = STEADY;
                let (load, micros) = steady(&url, rate, connections, seconds, folder)?;
                let at = |share: f64| {
                    let index = (micros.len() as f64 * share) as usize;
                    micros.get(index).copied().unwrap_or(f64::NAN)
                };
                return Ok((load, Some((at(0.5), at(0.99)))));
            }
        };
        Ok((load, None))
    }
}
