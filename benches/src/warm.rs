//! The warm path: 13-byte GETs over 64 keep-alive connections. All have the same number of
//! worker threads; samples are interleaved, ratios formed within a round.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{Outcome, Running, free_port, median, pause, programs, until_open};

const SECONDS: u32 = 3;
const HOST: &str = "bench.default.example.com";

/// One sample.
struct Sample {
    rate: f64,
    cpu_micros: f64,
}

/// Prints a table of nginx, the queue-proxy alone, and `up` as a whole.
pub(crate) fn run(rounds: u32, workers: usize) -> Outcome {
    let (own, penstock) = programs()?;
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
                "nginx" => nginx(&own, &folder, workers)?,
                "queue-proxy" => queue_proxy(&own, workers)?,
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

fn nginx(own: &Path, folder: &Path, workers: usize) -> Outcome<Sample> {
    let (port, behind) = (free_port()?, free_port()?);
    let _backend = backend(own, behind)?;
    let config = folder.join("nginx.conf");
    let text = format!(
        "worker_processes {workers}; daemon off; pid {0}/nginx.pid; error_log {0}/error.log;
         events {{ worker_connections 4096; }}
         http {{ access_log off; keepalive_requests 1000000;
           client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
           uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
           upstream back {{ server 127.0.0.1:{behind}; keepalive 256; keepalive_requests 1000000; }}
           server {{ listen 127.0.0.1:{port};
             location / {{ proxy_pass http://back; proxy_http_version 1.1;
               proxy_set_header Connection \"\"; proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}",
        folder.display()
    );
    fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new("nginx");
    let nginx = Running::start(command.arg("-c").arg(&config))?;
    until_open(port)?;
    sample(port, &nginx, None)
}

fn queue_proxy(own: &Path, workers: usize) -> Outcome<Sample> {
    let (port, behind) = (free_port()?, free_port()?);
    let _backend = backend(own, behind)?;
    let mut command = Command::new(own);
    let settings = [
        ("PORT", port.to_string()),
        ("USER_PORT", behind.to_string()),
        ("WORKERS", workers.to_string()),
    ];
    let proxy = Running::start(command.arg("sidecar").envs(settings))?;
    until_open(port)?;
    sample(port, &proxy, None)
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

fn backend(own: &Path, port: u16) -> Outcome<Running> {
    let mut command = Command::new(own);
    let backend = Running::start(command.arg("backend").env("PORT", port.to_string()))?;
    until_open(port)?;
    Ok(backend)
}

fn sample(port: u16, proxy: &Running, without: Option<&str>) -> Outcome<Sample> {
    load(port, 1)?;
    let before = proxy.cpu_without(without);
    let (requests, rate) = load(port, SECONDS)?;
    let cpu = proxy.cpu_without(without).saturating_sub(before);
    pause(200);
    Ok(Sample {
        rate,
        cpu_micros: cpu.as_secs_f64() * 1e6 / requests,
    })
}

/// Requests answered, and per second.
fn load(port: u16, seconds: u32) -> Outcome<(f64, f64)> {
    let output = Command::new("wrk")
        .args([
            "-t1",
            "-c64",
            &format!("-d{seconds}s"),
            "-H",
            &format!("Host: {HOST}"),
        ])
        .arg(format!("http://127.0.0.1:{port}/"))
        .output()
        .map_err(|error| format!("wrk: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("requests failed:\n{text}"));
    }
    let before = |word: &str| {
        let line = text.lines().find(|line| line.contains(word))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let after = |word: &str| {
        let line = text.lines().find(|line| line.contains(word))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    };
    let requests = before("requests in").ok_or("wrk told no number of requests")?;
    let rate = after("Requests/sec").ok_or("wrk told no rate")?;
    Ok((requests, rate))
}
