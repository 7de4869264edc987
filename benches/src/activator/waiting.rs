//! Memory of those who wait for a revision without pods. What the kernel holds for their
//! connections is not in it.

use super::{Setup, Stage, caller};
use crate::process::{Outcome, pause};

const WAITING: usize = 10_000;
/// Connections of HTTP/2 that they come on.
const CONNECTIONS: u32 = 100;

pub(super) fn run() -> Outcome {
    println!("\n#### {WAITING} who wait for a revision without pods\n");
    println!("| | RSS at rest, MiB | while they wait | KiB for each |\n|---|---|---|---|");
    measure("HTTP/1.1, a connection each", |port| {
        let all = (0..WAITING).map(|number| caller::ask(port, 0, number));
        all.collect()
    })?;
    measure("HTTP/2, 100 connections", |port| {
        let streams = u32::try_from(WAITING).unwrap_or(u32::MAX) / CONNECTIONS;
        let all = (0..CONNECTIONS).map(|_| caller::ask_by_http2(port, 0, streams));
        all.collect()
    })
}

fn measure<T>(title: &str, ask: impl FnOnce(u16) -> Outcome<Vec<T>>) -> Outcome {
    let mut stage = Stage::start(Setup {
        revisions: 1,
        slots: 10,
        waiting: WAITING,
        workers: 1,
    })?;
    pause(300);
    let rest = stage.process.rss();
    let callers = ask(stage.port)?;
    stage.until_waiting(0, WAITING)?;
    pause(1000);
    let now = stage.process.rss();
    stage.until_waiting(0, WAITING)?;
    drop(callers);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "| {title} | {:.1} | {:.1} | {:.2} |",
        mib(rest),
        mib(now),
        now.saturating_sub(rest) as f64 / 1024.0 / WAITING as f64,
    );
    Ok(())
}
