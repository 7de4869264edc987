//! The warm path: 13-byte GETs over 64 keep-alive connections. All have the same number of
//! worker threads; samples are interleaved, ratios formed within a round.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::load::wrk;
use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, Running, free_port, median, own, pause, penstock, until_open};

const SECONDS: u32 = 3;
const HOST: &str = "bench.default.example.com";

/// One sample.
struct Sample {
    rate: f64,
    cpu_micros: f64,
}

/// Prints a table of nginx, the queue-proxy alone, and `up` as a whole.
pub(crate) fn run(rounds: u32, workers: usize) -> Outcome {
    let (own, penstock) = (own()?, penstock()?);
    let folder = std::env::temp_dir().join(format!("penstock-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let peers = ["nginx", "queue-proxy", "up"];
    let mut samples: Vec<Vec<Sample>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let index = if round % 2 == 0 {
                turn
            } else {
                peers.len() - 1 - turn
            };
            let sample = match peers[index] {
                "nginx" => one_hop(Peer::Nginx, &folder, workers)?,
                "queue-proxy" => one_hop(Peer::QueueProxy, &folder, workers)?,
                _ => up(&own, &penstock, &folder, workers)?,
            };
            samples[index].push(sample);
        }
    }
    println!(
        "\n### Warm path: 13-byte GET, 64 connections, {workers} worker(s) each, {rounds} rounds\n"
    );
    println!("| | requests/s | vs nginx (min–max) | CPU µs/request | vs nginx |");
    println!("|---|---|---|---|---|");
    for (index, name) in peers.iter().enumerate() {
        let own = &samples[index];
        let ratios = |figure: fn(&Sample) -> f64| -> Vec<f64> {
            let pairs = own.iter().zip(&samples[0]);
            pairs
                .map(|(own, nginx)| figure(own) / figure(nginx))
                .collect()
        };
        let rates = ratios(|sample| sample.rate);
        let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = rates.iter().copied().fold(0.0, f64::max);
        println!(
            "| {name} | {:.0} | {:.2} ({least:.2}–{most:.2}) | {:.1} | {:.2} |",
            median(own.iter().map(|sample| sample.rate).collect()),
            median(rates),
            median(own.iter().map(|sample| sample.cpu_micros).collect()),
            median(ratios(|sample| sample.cpu_micros)),
        );
    }
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

fn one_hop(peer: Peer, folder: &Path, workers: usize) -> Outcome<Sample> {
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
    sample(proxy.port, &proxy.process, None)
}

fn up(own: &Path, penstock: &Path, folder: &Path, workers: usize) -> Outcome<Sample> {
    let (port, admin) = (free_port()?, free_port()?);
    let file = folder.join("bench.yaml");
    let manifest = format!(
        "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: bench}}
spec:
  template:
    metadata: {{annotations: {{autoscaling.knative.dev/max-scale: \"1\"}}}}
    spec:
      containers:
      - command: [{:?}, backend]
",
        own.display().to_string()
    );
    fs::write(&file, manifest).map_err(|error| error.to_string())?;
    let up = start_up(penstock, &file, port, admin, workers)?;
    // The backend is a descendant of `up`; what it uses is not the proxies'.
    sample(port, &up, Some("backend"))
}

/// `penstock up FILE`, once its gateway listens.
pub(crate) fn start_up(
    penstock: &Path,
    file: &Path,
    port: u16,
    admin: u16,
    workers: usize,
) -> Outcome<Running> {
    let mut command = Command::new(penstock);
    command.arg("up").arg(file);
    command.args(["--log-level", "warn", "--workers", &workers.to_string()]);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--admin", &format!("127.0.0.1:{admin}")]);
    let up = Running::start(&mut command)?;
    until_open(port)?;
    Ok(up)
}

fn sample(port: u16, proxy: &Running, without: Option<&str>) -> Outcome<Sample> {
    let url = format!("http://127.0.0.1:{port}/");
    wrk(&url, HOST, 64, 1, None)?;
    let before = proxy.cpu_without(without);
    let load = wrk(&url, HOST, 64, SECONDS, None)?;
    let cpu = proxy.cpu_without(without).saturating_sub(before);
    pause(200);
    Ok(Sample {
        rate: load.rate,
        cpu_micros: cpu.as_secs_f64() * 1e6 / load.requests,
    })
}
