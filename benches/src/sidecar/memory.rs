//! Memory: at rest, after 10,000 requests, and for each of 2,000 connections that had a request
//! each, all at once, and stay open.

use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, allow_many_files, pause};

const CONNECTIONS: usize = 2_000;
const REQUESTS: usize = 10_000;
/// Connections that the 10,000 requests come over.
const FEW: usize = 50;

pub(super) fn run(peers: &[Peer], folder: &Path, workers: usize) -> Outcome {
    allow_many_files();
    println!("\n### Memory; {workers} worker(s) each\n");
    println!("| | RSS at rest | after {REQUESTS} requests | private KiB per open connection |");
    println!("|---|---|---|---|");
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    for &peer in peers {
        let (behind, _backend) = backend(false)?;
        let setup = Setup {
            folder,
            behind,
            limit: 0,
            h2: false,
            workers,
            lame_duck: 0,
        };
        let fresh = setup.start(peer)?;
        pause(300);
        let rest = fresh.process.rss();
        runtime.block_on(crowd(fresh.port, FEW, REQUESTS / FEW, "/"))?;
        pause(300);
        let used = fresh.process.rss();
        drop(fresh);

        let fresh = setup.start(peer)?;
        pause(300);
        let before = fresh.process.private();
        let held = runtime.block_on(crowd(fresh.port, CONNECTIONS, 1, "/sleep/200"))?;
        pause(300);
        let each = fresh.process.private().saturating_sub(before) as f64 / CONNECTIONS as f64;
        drop(held);
        println!(
            "| {} | {:.1} MiB | {:.1} MiB | {:.1} |",
            peer.name(),
            rest as f64 / f64::from(1 << 20),
            used as f64 / f64::from(1 << 20),
            each / 1024.0
        );
    }
    Ok(())
}

/// Connects so many times, asks so often on each, the first time all at once. The connections are
/// handed back open.
async fn crowd(port: u16, connections: usize, times: usize, path: &str) -> Outcome<Vec<TcpStream>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let together = Arc::new(Barrier::new(connections));
    let mut all = JoinSet::new();
    for _ in 0..connections {
        let (request, together) = (request.clone(), Arc::clone(&together));
        all.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            together.wait().await;
            let mut answer = [0; 1024];
            for _ in 0..times {
                stream.write_all(request.as_bytes()).await?;
                let mut seen = 0;
                // The body is the same 13 bytes each time, and the last ones.
                while !answer[..seen].ends_with(b"Hello, World!") {
                    match stream.read(&mut answer[seen..]).await? {
                        0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                        read => seen += read,
                    }
                }
            }
            Ok::<_, std::io::Error>(stream)
        });
    }
    let mut held = Vec::new();
    while let Some(joined) = all.join_next().await {
        let done = joined.map_err(|error| error.to_string())?;
        held.push(done.map_err(|error| format!("a connection failed: {error}"))?);
    }
    Ok(held)
}
