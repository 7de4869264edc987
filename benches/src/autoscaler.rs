//! The autoscaler: what ten thousand revisions cost it, how late its decisions are, and how long a
//! first request waits for its scale call.
//!
//! The autoscaler is a process of its own (`stage.rs`), so that its memory and its processor time
//! are nobody else's; the activators that report to it are here.

mod first;
pub(crate) mod stage;

use std::process::Command;
use std::time::Duration;

use futures_util::SinkExt;
use http::HeaderValue;
use penstock_types::demand::Demand;
use penstock_types::header::{DEMAND_EXTENSION, DEMAND_EXTENSION_VERSION};
use penstock_types::wire::Frame;
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::process::{Outcome, Running, free_port, get, until_open};

/// Revisions, each with one pod that has ten slots.
const REVISIONS: u32 = 10_000;
/// Activators, each of which has requests for all of them.
const ACTIVATORS: usize = 3;
/// Seconds until windows are full, before anything is measured.
const WARM_UP: u32 = 65;
/// The series that says how late decisions are.
const LATENCY: &str = "penstock_autoscaler_decision_latency_seconds";

/// Prints both tables.
pub(crate) fn run(seconds: u32) -> Outcome {
    println!(
        "\n#### {REVISIONS} revisions, all in the table of each of {ACTIVATORS} activators every second, {seconds} s\n"
    );
    println!(
        "| policy | processor | RSS | RSS after a scrape | decisions on reports | within 50, 100 ms | latest within |"
    );
    println!("|---|---|---|---|---|---|---|");
    for policy in ["demand", "knative"] {
        steady(policy, seconds)?;
    }
    first::run()
}

fn steady(policy: &str, seconds: u32) -> Outcome {
    let (stats, admin) = (free_port()?, free_port()?);
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command
        .arg("autoscaler-stage")
        .env("STAGE_STATS", stats.to_string())
        .env("STAGE_ADMIN", admin.to_string())
        .env("STAGE_REVISIONS", REVISIONS.to_string())
        .env("STAGE_POLICY", policy);
    let autoscaler = Running::start(&mut command)?;
    until_open(stats)?;
    let runtime = runtime()?;
    let mut activators = runtime.block_on(async {
        let mut activators = Vec::new();
        for n in 0..ACTIVATORS {
            activators.push(Activator::connect(stats, &format!("activator-{n}")).await?);
        }
        Ok::<_, String>(activators)
    })?;
    runtime.block_on(report(&mut activators, WARM_UP))?;
    let (before, cpu, start) = (scrape(admin)?, autoscaler.cpu(), Instant::now());
    runtime.block_on(report(&mut activators, seconds))?;
    let share = (autoscaler.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    let rss = autoscaler.rss();
    let after = scrape(admin)?;
    let scraped = autoscaler.rss();
    let within = |bound: &str| {
        let line = format!("{LATENCY}_bucket{{le=\"{bound}\"}}");
        value(&after, &line) - value(&before, &line)
    };
    let all = within("+Inf");
    let bounds = [
        "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1",
    ];
    let latest = bounds.into_iter().find(|bound| within(bound) >= all);
    let latest = latest.map_or("more than 1 s".to_owned(), |latest| format!("{latest} s"));
    let part = |bound| within(bound) / all * 100.0;
    // A policy that decides on ticks alone has no report to be late after.
    let late = match all > 0.0 {
        true => format!("{:.2} %, {:.2} % | {latest}", part("0.05"), part("0.1")),
        false => "on ticks alone | -".to_owned(),
    };
    println!(
        "| {policy} | {:.1} % of a core | {:.1} MB | {:.1} MB (at most {:.1}) | {all} | {late} |",
        share * 100.0,
        megabytes(rss),
        megabytes(scraped),
        megabytes(autoscaler.most_rss()),
    );
    drop(activators);
    Ok(())
}

/// All tables, each second; all at the same moment, which is the worst case.
async fn report(activators: &mut [Activator], seconds: u32) -> Outcome {
    let start = Instant::now();
    for second in 1..=seconds {
        for activator in &mut *activators {
            activator.say(second).await?;
        }
        sleep_until(start + Duration::from_secs(1) * second).await;
    }
    Ok(())
}

/// The sender of one table.
struct Activator {
    socket: WebSocketStream<TcpStream>,
    /// What it says in turns.
    tables: [Vec<u8>; 2],
}

impl Activator {
    async fn connect(port: u16, name: &str) -> Outcome<Self> {
        let table = |requests: u32| {
            let demand = |n| demand(&stage::name(n), requests);
            let table: Vec<Demand> = (0..REVISIONS).map(demand).collect();
            Frame::of(&table, name, true).encode_to_vec()
        };
        Ok(Self {
            socket: dial(port).await?,
            // Up to six in flight in a pod of ten slots: the pods stay.
            tables: [table(1), table(2)],
        })
    }

    async fn say(&mut self, second: u32) -> Outcome {
        let table = self.tables[second as usize % 2].clone();
        let sent = self.socket.send(Message::binary(table)).await;
        sent.map_err(|error| format!("the autoscaler takes no more: {error}"))
    }
}

/// Connects as an activator does.
async fn dial(port: u16) -> Outcome<WebSocketStream<TcpStream>> {
    let failed =
        |error: &dyn std::fmt::Display| format!("no connection to the autoscaler: {error}");
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = stream.map_err(|error| failed(&error))?;
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    let request = format!("ws://127.0.0.1:{port}/").into_client_request();
    let mut request = request.map_err(|error| failed(&error))?;
    let version = HeaderValue::from_static(DEMAND_EXTENSION_VERSION);
    request.headers_mut().insert(DEMAND_EXTENSION, version);
    let (socket, _) = client_async(request, stream)
        .await
        .map_err(|error| failed(&error))?;
    Ok(socket)
}

/// So many requests, for a second, in the pods of a revision.
fn demand(name: &str, requests: u32) -> Demand {
    Demand {
        revision: penstock_types::RevisionId::new("default", name),
        average_concurrency: f64::from(requests),
        average_proxied_concurrency: 0.0,
        request_count: f64::from(requests) * 10.0,
        proxied_request_count: 0.0,
        waiting: 0,
        in_flight: requests,
        first: false,
    }
}

fn scrape(port: u16) -> Outcome<String> {
    get(port, "localhost", "/metrics").map_err(|error| format!("no metrics: {error}"))
}

/// The value of a series in a scrape; 0 if it is not there.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or(0.0)
}

fn runtime() -> Outcome<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
