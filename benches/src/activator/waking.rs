//! Cold revisions: how soon their demand is told, and how soon a pod that is ready is used.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::pod::Pod;
use super::{Setup, Stage, at, caller, millis, runtime};
use crate::process::{Outcome, pause, pause_micros};

/// Revisions that get a pod, one after the other.
const TIMES: u32 = 200;
/// Of so many revisions so many are woken within a second.
const KNOWN: u32 = 5_000;
const WOKEN: u32 = 500;

/// From the word that a pod is ready to its first request.
pub(super) fn first() -> Outcome {
    let runtime = runtime()?;
    let mut stage = Stage::start(Setup {
        revisions: TIMES,
        slots: 10,
        waiting: 10_000,
        workers: 1,
    })?;
    let (behind, pod) = runtime.block_on(Pod::start(Duration::ZERO))?;
    let (mut times, mut callers) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        callers.push(caller::ask(stage.port, n, n as usize)?);
        stage.until_waiting(n, 1)?;
        // What its demand sets going is over.
        pause(20);
        let start = Instant::now();
        stage.place(n, &[behind])?;
        while pod.count() <= n as usize {
            pause_micros(200);
        }
        let came = pod.seen().last().map_or(start, |(_, came)| *came);
        times.push(millis(came - start));
    }
    times.sort_by(f64::total_cmp);
    println!("\n#### From a pod that is ready to the first who waited in it, {TIMES} times\n");
    println!("| median ms | p99 ms | most |\n|---|---|---|");
    println!(
        "| {:.2} | {:.2} | {:.2} |",
        at(&times, 50),
        at(&times, 99),
        at(&times, 100)
    );
    Ok(())
}

/// From a request for a cold revision to the report of its demand.
pub(super) fn demand() -> Outcome {
    let stage = Stage::start(Setup {
        revisions: KNOWN,
        slots: 10,
        waiting: 10_000,
        workers: 1,
    })?;
    pause(300);
    let (mut asked, mut callers) = (HashMap::new(), Vec::new());
    let start = Instant::now();
    for n in 0..WOKEN {
        let due = start + Duration::from_secs(1) * n / WOKEN;
        let early = due.saturating_duration_since(Instant::now());
        pause_micros(u64::try_from(early.as_micros()).unwrap_or(0));
        // Far from each other.
        let revision = n * (KNOWN / WOKEN);
        asked.insert(revision, Instant::now());
        callers.push(caller::ask(stage.port, revision, 0)?);
    }
    let took = start.elapsed();
    let mut times = Vec::new();
    while times.len() < asked.len() {
        let (line, heard) = stage.next()?;
        let revision = line.strip_prefix("asked ").and_then(|n| n.parse().ok());
        let revision: u32 = revision.ok_or(line)?;
        let sent = asked
            .get(&revision)
            .ok_or("a revision that nobody asked for")?;
        times.push(millis(heard - *sent));
    }
    times.sort_by(f64::total_cmp);
    let late = times.iter().filter(|time| **time > 50.0).count();
    println!(
        "\n#### {WOKEN} of {KNOWN} revisions are woken within {:.2} s: until their demand is out\n",
        took.as_secs_f64()
    );
    println!("| median ms | p99 ms | most | later than 50 ms |\n|---|---|---|---|");
    println!(
        "| {:.2} | {:.2} | {:.2} | {late} |",
        at(&times, 50),
        at(&times, 99),
        at(&times, 100)
    );
    Ok(())
}
