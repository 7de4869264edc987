//! A limit of 10 before a workload that takes 20 ms: how much of what it could do is done, and
//! who gets it, when many more clients ask again as soon as they are answered or refused.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, allow_many_files, median};

const LIMIT: u32 = 10;
const CROWDS: [usize; 2] = [100, 500];
const SECONDS: Duration = Duration::from_secs(6);

/// What one client saw.
#[derive(Default)]
struct Client {
    /// Milliseconds that each answer with status 200 took.
    served: Vec<f64>,
    refused: u64,
}

pub(super) fn run(peers: &[Peer], folder: &Path, workers: usize) -> Outcome {
    allow_many_files();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    println!("\n### Limit {LIMIT}, a workload of 20 ms, closed loops for 6 s\n");
    println!("| | clients | of what is possible | refused | wait p99/p50 | Jain's index |");
    println!("|---|---|---|---|---|---|");
    for &peer in peers.iter().filter(|&&peer| peer != Peer::Nginx) {
        for clients in CROWDS {
            let (behind, _backend) = backend(false)?;
            let alone = runtime.block_on(service_millis(behind))?;
            let setup = Setup {
                folder,
                behind,
                limit: LIMIT,
                h2: false,
                workers,
                lame_duck: 0,
            };
            let proxy = setup.start(peer)?;
            let seen = runtime.block_on(crowd(proxy.port, clients));
            report(peer, clients, alone, &seen);
        }
    }
    Ok(())
}

fn report(peer: Peer, clients: usize, alone: f64, seen: &[Client]) {
    let counts: Vec<f64> = seen
        .iter()
        .map(|client| client.served.len() as f64)
        .collect();
    let total: f64 = counts.iter().sum();
    let squares: f64 = counts.iter().map(|count| count * count).sum();
    let possible = f64::from(LIMIT) * SECONDS.as_secs_f64() * 1e3 / alone;
    let mut waits: Vec<f64> = seen
        .iter()
        .flat_map(|client| &client.served)
        .map(|took| took - alone)
        .collect();
    waits.sort_by(f64::total_cmp);
    let late = waits
        .get(waits.len() * 99 / 100)
        .copied()
        .unwrap_or(f64::NAN);
    println!(
        "| {} | {clients} | {:.2} | {} | {:.2} | {:.2} |",
        peer.name(),
        total / possible,
        seen.iter().map(|client| client.refused).sum::<u64>(),
        late / median(waits),
        total * total / (clients as f64 * squares),
    );
}

/// How long the workload takes when it is asked directly: its timer is not exact.
async fn service_millis(port: u16) -> Outcome<f64> {
    let mut client = Client::default();
    client
        .ask(port, Instant::now() + Duration::from_secs(1))
        .await
        .map_err(|error| error.to_string())?;
    Ok(median(client.served))
}

async fn crowd(port: u16, clients: usize) -> Vec<Client> {
    let until = Instant::now() + SECONDS;
    let mut all = JoinSet::new();
    for _ in 0..clients {
        all.spawn(async move {
            let mut client = Client::default();
            // A proxy may close a connection with a refusal: then the next one.
            while Instant::now() < until {
                let _ = tokio::time::timeout_at(until.into(), client.ask(port, until)).await;
            }
            client
        });
    }
    all.join_all().await
}

impl Client {
    /// Asks over one connection until then, or until it closes.
    async fn ask(&mut self, port: u16, until: Instant) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut answer = [0; 2048];
        while Instant::now() < until {
            let start = Instant::now();
            let request = b"GET /sleep/20 HTTP/1.1\r\nHost: bench\r\n\r\n";
            stream.write_all(request).await?;
            let read = stream.read(&mut answer).await?;
            match &answer[..read] {
                [] => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                seen if seen.starts_with(b"HTTP/1.1 200") => {
                    self.served.push(start.elapsed().as_secs_f64() * 1e3);
                }
                _ => self.refused += 1,
            }
        }
        Ok(())
    }
}
