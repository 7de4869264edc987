//! What a hundred services at zero cost.

use std::fs;
use std::time::Instant;

use crate::cold::services;
use crate::process::{Outcome, free_port, pause, penstock, processors};
use crate::warm::start_up;

const SERVICES: usize = 100;
const SETTLE_MILLIS: u64 = 2_000;
const WATCH_MILLIS: u64 = 20_000;

/// Watches `up` doing nothing, with the helper processes it has.
pub(crate) fn run() -> Outcome {
    let penstock = penstock()?;
    let folder = std::env::temp_dir().join(format!("penstock-idle-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let file = folder.join("idle.yaml");
    fs::write(&file, services(SERVICES)).map_err(|error| error.to_string())?;
    let up = start_up(&penstock, &file, free_port()?, free_port()?, processors())?;
    pause(SETTLE_MILLIS);
    let (start, before) = (Instant::now(), up.cpu());
    pause(WATCH_MILLIS);
    let share = (up.cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64();
    println!(
        "\n### Idle: {SERVICES} services at zero, {} s\n",
        WATCH_MILLIS / 1000
    );
    println!("| RSS, all processes | processor |");
    println!("|---|---|");
    println!(
        "| {:.1} MB | {:.3} % of a core |",
        up.rss() as f64 / 1e6,
        share * 100.0
    );
    drop(up);
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}
