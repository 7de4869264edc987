//! Activator and autoscaler as processes beside an API server in this one: how long the first
//! request of a revision at zero takes to a PATCH, and what thousands of revisions cost.
//!
//! - `world.rs`: the server, its objects, and the two programs

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::process::{Outcome, allow_many_files, median};
use world::World;

/// Revisions that are known.
const REVISIONS: usize = 5_000;
/// Revisions that are woken one after the other, and then as many at once.
const WOKEN: usize = 500;
/// Pods of the revisions that are not woken.
const PODS: usize = 10_000;
/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures all of it.
///
/// # Errors
///
/// What did not come.
pub(crate) fn run() -> Outcome {
    allow_many_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(measure())
}

async fn measure() -> Outcome {
    let mut world = World::start(REVISIONS, PODS).await?;
    println!("\n#### Kubernetes: {REVISIONS} revisions and {PODS} pods known\n");
    println!("| | |\n|---|---|");
    let arranged = world.arranged.as_secs_f64();
    println!("| until each had its Service and EndpointSlice | {arranged:.1} s |");

    let (patched, ready) = one_by_one(&world).await?;
    row("first request at zero to PATCH at the server", &patched);
    row("pod ready to the answer at the caller", &ready);
    let rate = all_at_once(&world).await?;
    println!("| {WOKEN} cold starts at once | {rate:.0} a second |");
    let (activator, autoscaler) = world.memory();
    println!("| memory of the activator | {activator} MB |");
    println!("| memory of the autoscaler | {autoscaler} MB |");
    let first = after_restart(&mut world).await?;
    println!(
        "| asked while the autoscaler is restarted, from its new process to PATCH | {first:.0} ms |"
    );
    Ok(())
}

fn row(what: &str, millis: &[f64]) {
    let most = millis.iter().copied().fold(0.0, f64::max);
    let middle = median(millis.to_vec());
    println!("| {what} | {middle:.2} ms median, {most:.2} ms at most |");
}

/// Milliseconds of each: to the PATCH, and from there on.
async fn one_by_one(world: &World) -> Outcome<(Vec<f64>, Vec<f64>)> {
    let (mut patched, mut ready) = (Vec::new(), Vec::new());
    for number in 0..WOKEN {
        let name = world::name(number);
        world.server.forget_calls();
        let asked = Instant::now();
        let asking = tokio::spawn(ask(world.activator, name.clone()));
        patched.push(millis(asked, world.patched(&name).await?));
        asking.await.map_err(|error| error.to_string())??;
        let answered = Instant::now();
        if let Some(at) = world.started(&name) {
            ready.push(millis(at, answered));
        }
    }
    Ok((patched, ready))
}

/// Whole cold starts in a second.
async fn all_at_once(world: &World) -> Outcome<f64> {
    world.server.forget_calls();
    let before = world.cpu();
    let begun = Instant::now();
    let mut asked = JoinSet::new();
    for number in WOKEN..2 * WOKEN {
        asked.spawn(ask(world.activator, world::name(number)));
    }
    while let Some(ended) = asked.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let all = WOKEN as f64;
    let took = begun.elapsed().as_secs_f64();
    let calls = world.server.count_calls(|_| true);
    let per = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() * 1000.0 / all;
    let now = world.cpu();
    println!(
        "| of each, processor time of API server, activator, autoscaler; calls of the API | {:.1} ms, {:.1} ms, {:.1} ms; {:.1} |",
        per(now[0], before[0]),
        per(now[1], before[1]),
        per(now[2], before[2]),
        f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / all,
    );
    Ok(all / took)
}

/// Milliseconds from the start of a new autoscaler to the PATCH for one who waits already.
async fn after_restart(world: &mut World) -> Outcome<f64> {
    let name = world::name(2 * WOKEN);
    world.stop_autoscaler();
    let asking = tokio::spawn(ask(world.activator, name.clone()));
    let begun = Instant::now();
    world.start_autoscaler()?;
    let patched = millis(begun, world.patched(&name).await?);
    asking.await.map_err(|error| error.to_string())??;
    Ok(patched)
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

/// A whole request, whose answer has to be 200.
async fn ask(activator: SocketAddr, name: String) -> Outcome {
    let exchange = async {
        let mut stream = TcpStream::connect(activator).await?;
        stream.set_nodelay(true)?;
        let head =
            format!("GET / HTTP/1.1\r\nHost: {name}.example.com\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(Ok(answer)) => Err(format!("{name}: {answer}")),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(_) => Err(format!("{name}: no answer within {PATIENCE:?}")),
    }
}
