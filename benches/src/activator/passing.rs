//! Processor time of a request that passes: 13-byte GETs over 64 connections, kept alive on both
//! sides, beside nginx, one worker each. Samples are interleaved, ratios formed within a round.

use std::fs;

use super::{Setup, Stage, caller};
use crate::load::wrk;
use crate::peers::{self, Peer, backend};
use crate::process::{Outcome, Running, median, until_open};

const SECONDS: u32 = 3;

pub(super) fn run(rounds: u32) -> Outcome {
    let folder = std::env::temp_dir().join(format!("penstock-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let (mut nginx, mut limited, mut free) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (behind, _backend) = backend(false)?;
        let setup = peers::Setup {
            folder: &folder,
            behind,
            limit: 0,
            h2: false,
            workers: 1,
            lame_duck: 0,
        };
        let peer = || {
            let started = setup.start(Peer::Nginx)?;
            sample(started.port, &started.process)
        };
        let ours = |slots| {
            let mut stage = Stage::start(Setup {
                revisions: 1,
                slots,
                waiting: 10_000,
                workers: 1,
            })?;
            stage.place(0, &[behind])?;
            until_open(stage.port)?;
            sample(stage.port, &stage.process)
        };
        if round % 2 == 0 {
            nginx.push(peer()?);
            limited.push(ours(100)?);
            free.push(ours(0)?);
        } else {
            free.push(ours(0)?);
            limited.push(ours(100)?);
            nginx.push(peer()?);
        }
    }
    let _ = fs::remove_dir_all(&folder);
    println!(
        "\n#### A request that passes: 13-byte GET, 64 connections, 1 worker, {rounds} rounds\n"
    );
    println!("| | requests/s | CPU µs/request | vs nginx (min–max) |\n|---|---|---|---|");
    let rows = [
        ("nginx", &nginx),
        ("activator, limit 100", &limited),
        ("activator, no limit", &free),
    ];
    for (name, own) in rows {
        let ratios = own.iter().zip(&nginx).map(|(own, nginx)| own.1 / nginx.1);
        let ratios: Vec<f64> = ratios.collect();
        println!(
            "| {name} | {:.0} | {:.1} | {:.2} ({:.2}–{:.2}) |",
            median(own.iter().map(|sample| sample.0).collect()),
            median(own.iter().map(|sample| sample.1).collect()),
            median(ratios.clone()),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
    }
    Ok(())
}

/// Requests a second, and the processor time of one in microseconds.
fn sample(port: u16, proxy: &Running) -> Outcome<(f64, f64)> {
    let url = format!("http://127.0.0.1:{port}/");
    wrk(&url, &caller::host(0), 64, 1, None)?;
    let before = proxy.cpu();
    let load = wrk(&url, &caller::host(0), 64, SECONDS, None)?;
    let cpu = proxy.cpu().saturating_sub(before);
    Ok((load.rate, cpu.as_secs_f64() * 1e6 / load.requests))
}
