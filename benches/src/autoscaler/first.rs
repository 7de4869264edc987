//! From the first word about a revision at zero to the scale call, over a WebSocket on loopback.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use penstock_autoscaler::{Autoscaler, Peers, PolicyKind, StatServer};
use penstock_cluster::Leases;
use penstock_scaling::config::Config;
use penstock_types::demand::Demand;
use penstock_types::wire::Frame;
use prometheus::Registry;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stage::{Still, name, revision};
use super::{demand, dial, runtime};
use crate::process::{Outcome, median};

/// Revisions that are woken, one after the other.
const TIMES: u32 = 500;

/// Prints a table.
pub(super) fn run() -> Outcome {
    println!("\n#### First word to scale call, {TIMES} times, both ends on one thread\n");
    println!("| policy | median µs | p99 µs | at most |\n|---|---|---|---|");
    for policy in [PolicyKind::Demand, PolicyKind::Knative] {
        let mut micros = runtime()?.block_on(wake(policy))?;
        micros.sort_by(f64::total_cmp);
        let at = |part: usize| micros.get(micros.len() * part / 100).copied();
        println!(
            "| {} | {:.0} | {:.0} | {:.0} |",
            policy.as_str(),
            median(micros.clone()),
            at(99).unwrap_or(f64::NAN),
            micros.last().unwrap_or(&f64::NAN),
        );
    }
    Ok(())
}

/// Microseconds from each word to its call.
async fn wake(policy: PolicyKind) -> Outcome<Vec<f64>> {
    let config = Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    };
    let (_configs, config) = watch::channel(Arc::new(config));
    let (_holders, leases) = watch::channel(Arc::new(Leases::alone()));
    let (still, mut asked) = Still::new((0..TIMES).map(|n| revision(&name(n), 0)));
    let autoscaler = Autoscaler::new(Arc::new(still), config, policy, &Registry::new());
    let autoscaler = autoscaler.map_err(|error| error.to_string())?;
    let server = StatServer::bind((Ipv4Addr::LOCALHOST, 0).into());
    let server = server.map_err(|error| error.to_string())?;
    let port = server.addr().port();
    let stop = CancellationToken::new();
    let (serving, _, batches) = server.start(leases, Peers::default(), stop.clone());
    let tasks = TaskTracker::new();
    tasks.spawn(autoscaler.run(batches, stop.clone()));
    tasks.close();
    let mut socket = dial(port).await?;
    // The first tick decides that there is nothing, from which on a word is urgent.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut micros = Vec::new();
    for n in 0..TIMES {
        let word = Demand {
            first: true,
            waiting: 1,
            in_flight: 0,
            ..demand(&name(n), 1)
        };
        let frame = Frame::of(&[word], "activator", true).encode_to_vec();
        let start = Instant::now();
        let sent = socket.send(Message::binary(frame)).await;
        sent.map_err(|error| error.to_string())?;
        let call = timeout(Duration::from_secs(5), asked.recv()).await;
        call.map_err(|_late| format!("no scale call for revision {n} within 5 s"))?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    drop(socket);
    stop.cancel();
    serving.ended().await;
    tasks.wait().await;
    Ok(micros)
}
