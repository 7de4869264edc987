//! What Penstock adds to a cold start: from the request's first byte sent to the answer's first
//! byte, less the time that the workload itself takes from exec to listening.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Instant;

use crate::process::{Outcome, Running, free_port, get, median, penstock, processors, until_open};
use crate::warm::start_up;

const TIMES: usize = 50;

/// Starts 50 services from zero, one after the other, and as many workloads without Penstock.
pub(crate) fn run() -> Outcome {
    let penstock = penstock()?;
    let folder = std::env::temp_dir().join(format!("penstock-cold-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let file = folder.join("cold.yaml");
    fs::write(&file, services(TIMES)).map_err(|error| error.to_string())?;
    let (port, admin) = (free_port()?, free_port()?);
    let _up = start_up(&penstock, &file, port, admin, processors())?;
    let mut own = Vec::new();
    let mut whole = Vec::new();
    for index in 0..TIMES {
        let alone = free_port()?;
        let start = Instant::now();
        let mut command = Command::new(&penstock);
        command
            .args(["sample", "hello"])
            .env("PORT", alone.to_string());
        let workload = Running::start(&mut command)?;
        until_answers(alone)?;
        own.push(start.elapsed().as_secs_f64() * 1e3);
        drop(workload);

        let start = Instant::now();
        ask(port, &format!("hello-{index}.default.example.com"))?;
        whole.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let alone = median(own);
    let added: Vec<f64> = whole.iter().map(|whole| whole - alone).collect();
    let most = added.iter().copied().fold(0.0, f64::max);
    println!("\n### Cold start: {TIMES} services, one after the other\n");
    println!("| | median ms | max ms |");
    println!("|---|---|---|");
    println!(
        "| request to first byte | {:.2} | {:.2} |",
        median(whole),
        most + alone
    );
    println!("| of it the workload: exec to accepting | {alone:.2} | |");
    println!("| added by Penstock | {:.2} | {most:.2} |", median(added));
    println!(
        "\nBy stage, in the mean, as `/metrics` has it: {}.",
        stages(admin)?
    );
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// Mean of each stage, as Penstock itself tells it.
fn stages(admin: u16) -> Outcome<String> {
    let page = get(admin, "localhost", "/metrics").map_err(|error| error.to_string())?;
    let value = |series: &str, stage: &str| {
        let name = format!("penstock_cold_start_duration_seconds_{series}{{");
        let stage = format!("stage=\"{stage}\"");
        let line = page
            .lines()
            .find(|line| line.starts_with(&name) && line.contains(&stage))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    let stages = ["decide", "start", "ready", "first_byte"].map(|stage| {
        let mean = value("sum", stage)? / value("count", stage)?;
        Some(format!("{stage} {:.2} ms", mean * 1e3))
    });
    let told: Option<Vec<String>> = stages.into_iter().collect();
    told.map(|told| told.join(", "))
        .ok_or_else(|| "/metrics has no cold starts".to_owned())
}

/// So many `hello` services, as one manifest.
pub(crate) fn services(count: usize) -> String {
    let one = |index: usize| {
        format!(
            "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: hello-{index}}}
spec: {{template: {{spec: {{containers: [{{image: ghcr.io/knative/helloworld-go:latest}}]}}}}}}
"
        )
    };
    (0..count).map(one).collect::<Vec<_>>().join("---\n")
}

fn until_answers(port: u16) -> Outcome {
    // `until_open` looks only every few milliseconds; here each of them counts.
    let deadline = Instant::now() + std::time::Duration::from_secs(10);
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::yield_now();
    }
    until_open(port)
}

fn ask(port: u16, host: &str) -> Outcome {
    let fail = |error: std::io::Error| format!("{host}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(fail)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut first = [0; 12];
    stream.read_exact(&mut first).map_err(fail)?;
    if &first == b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(format!("{host}: {}", String::from_utf8_lossy(&first)))
    }
}
