//! Those who waited: how they go into pods once there are some, and what they are to others.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pod::Pod;
use super::{PATIENCE, Setup, Stage, at, caller, millis, runtime};
use crate::process::{Outcome, median, pause};

const WAITING: usize = 10_000;
const PODS: usize = 10;
const SLOTS: usize = 100;
/// Longer than it takes to reach all pods for the first time.
const SERVICE: Duration = Duration::from_millis(500);
/// Connections of HTTP/2, with a hundred requests each, that wait for the other revision.
const CROWD: u32 = 500;

/// 10,000 who waited, in a known order, go into ten pods.
pub(super) fn run() -> Outcome {
    let runtime = runtime()?;
    let mut stage = Stage::start(Setup {
        revisions: 1,
        slots: u32::try_from(SLOTS).unwrap_or(u32::MAX),
        waiting: WAITING,
        workers: 1,
    })?;
    let mut callers: Vec<TcpStream> = Vec::new();
    for number in 0..WAITING {
        callers.push(caller::ask(stage.port, 0, number)?);
        stage.until_waiting(0, number + 1)?;
    }
    let pods = runtime.block_on(async {
        let mut pods: Vec<(u16, Arc<Pod>)> = Vec::new();
        for _ in 0..PODS {
            pods.push(Pod::start(SERVICE).await?);
        }
        Ok::<_, String>(pods)
    })?;
    let ports: Vec<u16> = pods.iter().map(|(port, _)| *port).collect();
    let start = Instant::now();
    stage.place(0, &ports)?;
    let served = || pods.iter().map(|(_, pod)| pod.count()).sum::<usize>();
    while served() < WAITING {
        if start.elapsed() > PATIENCE {
            return Err(format!("{} of {WAITING} went into the pods", served()));
        }
        pause(5);
    }
    let mut all: Vec<(usize, Instant)> = pods.iter().flat_map(|(_, pod)| pod.seen()).collect();
    all.sort_by_key(|(_, came)| *came);
    let begun = &all[..PODS * SLOTS];
    let early = begun.iter().filter(|(number, _)| *number < PODS * SLOTS);
    let overtaken = all.iter().enumerate().map(|(n, seen)| n.abs_diff(seen.0));
    println!(
        "\n#### {WAITING} who waited go into {PODS} pods of {SLOTS} slots, {} ms each\n",
        SERVICE.as_millis()
    );
    println!("| | |\n|---|---|");
    println!(
        "| most in one pod at once | {} |",
        pods.iter().map(|(_, pod)| pod.most()).max().unwrap_or(0)
    );
    println!(
        "| of the first {} in line among the first as many begun | {} |",
        PODS * SLOTS,
        early.count()
    );
    println!(
        "| most places between line and beginning | {} |",
        overtaken.max().unwrap_or(0)
    );
    let last = all.last().map_or(start, |(_, came)| *came);
    println!(
        "| until the last has begun | {:.0} ms |",
        millis(last - start)
    );
    Ok(())
}

/// The times of 10 requests a second to a revision with a free pod, alone and while 50,000 wait
/// for another, in turns.
pub(super) fn fairness(rounds: u32, seconds: u32) -> Outcome {
    let runtime = runtime()?;
    let (behind, _pod) = runtime.block_on(Pod::start(Duration::from_millis(1)))?;
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let mut stage = Stage::start(Setup {
            revisions: 2,
            slots: 10,
            waiting: CROWD as usize * 100,
            workers: 1,
        })?;
        stage.place(1, &[behind])?;
        let before = times(stage.port, seconds)?;
        let crowd: Outcome<Vec<_>> = (0..CROWD)
            .map(|_| caller::ask_by_http2(stage.port, 0, 100))
            .collect();
        stage.until_waiting(0, CROWD as usize * 100)?;
        let during = times(stage.port, seconds)?;
        stage.until_waiting(0, CROWD as usize * 100)?;
        drop(crowd);
        ratios.push(at(&during, 99) / at(&before, 99));
        alone.extend(before);
        crowded.extend(during);
    }
    println!(
        "\n#### 10 requests/s while {CROWD}00 wait for another revision, {rounds} × {seconds} s\n"
    );
    println!("| | median ms | p99 ms |\n|---|---|---|");
    for (name, times) in [("alone", &mut alone), ("beside them", &mut crowded)] {
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} | {:.2} |", at(times, 50), at(times, 99));
    }
    println!(
        "\nRatio of p99 within a round, in the median: {:.2}.",
        median(ratios)
    );
    Ok(())
}

/// Milliseconds of each request, in ascending order.
fn times(port: u16, seconds: u32) -> Outcome<Vec<f64>> {
    let failed = |error: std::io::Error| format!("the other revision: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let request = caller::get(1, 0);
    caller::exchange(&mut stream, &request).map_err(failed)?;
    let mut times = Vec::new();
    for _ in 0..seconds * 10 {
        pause(100);
        let start = Instant::now();
        caller::exchange(&mut stream, &request).map_err(failed)?;
        times.push(millis(start.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
