//! Minutes of mixed load with faults on both sides, and what is left of it in the queue-proxy.
//!
//! Callers: well-behaved ones (GET and POST over kept connections), ones that leave in the middle
//! of a request or an answer, ones that send what is no HTTP. The workload is ended and started
//! again all the while; what meets it then gets a 502 and counts as failed, which is its doing. A
//! well-behaved caller whose connection is cut without an answer has lost a request, which is ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::peers::{Peer, Setup, backend_at};
use crate::process::{Outcome, allow_many_files, free_port, pause};

/// Callers of each kind at once.
const CALLERS: usize = 16;
/// Requests inside the workload at once.
const LIMIT: u32 = 10;
/// How long the workload lives each time.
const LIFE_MILLIS: u64 = 5_000;
/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const HELLO: &[u8] = b"Hello, World!";

#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    /// Answers of 5xx.
    failed: AtomicU64,
    /// Cut off without an answer, or none in time.
    lost: AtomicU64,
    /// Exchanges that were broken on purpose.
    spoilt: AtomicU64,
    over: AtomicBool,
}

/// Runs for `minutes`.
pub(crate) fn run(minutes: u32, workers: usize) -> Outcome {
    allow_many_files();
    let folder = std::env::temp_dir();
    let behind = free_port()?;
    let mut workload = backend_at(behind, false)?;
    let setup = Setup {
        folder: &folder,
        behind,
        limit: LIMIT,
        h2: false,
        workers,
        lame_duck: 0,
    };
    let proxy = setup.start(Peer::QueueProxy)?;
    let addr = SocketAddr::from(([127, 0, 0, 1], proxy.port));
    let tally = Arc::new(Tally::default());
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn_on(behaved(addr, Arc::clone(&tally)), runtime.handle());
        callers.spawn_on(spoiling(addr, number, Arc::clone(&tally)), runtime.handle());
    }
    // The allocator's pools fill up first.
    pause(5_000);
    let start = Instant::now();
    let (rss, files) = (proxy.process.rss(), proxy.process.files());
    println!("| minute | RSS MiB | private MiB | answered | failed | lost | spoilt |");
    println!("|---|---|---|---|---|---|---|");
    let row = |minute: u64| {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        println!(
            "| {minute} | {:.1} | {:.1} | {} | {} | {} | {} |",
            mib(proxy.process.rss()),
            mib(proxy.process.private()),
            count(&tally.answered),
            count(&tally.failed),
            count(&tally.lost),
            count(&tally.spoilt)
        );
    };
    row(0);
    let whole = Duration::from_secs(60 * u64::from(minutes));
    let mut told = 0;
    while start.elapsed() < whole {
        pause(LIFE_MILLIS);
        drop(workload);
        workload = backend_at(behind, false)?;
        let minute = start.elapsed().as_secs() / 60;
        if minute > told {
            told = minute;
            row(minute);
        }
    }
    tally.over.store(true, Ordering::Relaxed);
    runtime.block_on(async { while callers.join_next().await.is_some() {} });
    // Connections end when their callers have.
    pause(2_000);
    println!(
        "\nRSS {:.1} MiB after warming up, {:.1} MiB at the end; descriptors {files} under load, {} at the end",
        mib(rss),
        mib(proxy.process.rss()),
        proxy.process.files()
    );
    println!(
        "failed {}, leaked slots {}, lost {}",
        tally.failed.load(Ordering::Relaxed),
        runtime.block_on(leaked(addr))?,
        tally.lost.load(Ordering::Relaxed)
    );
    drop(workload);
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Slots that do not come free: as many requests as there are slots are held at once, each on a
/// connection of its own.
async fn leaked(addr: SocketAddr) -> Outcome<u32> {
    let mut held = JoinSet::new();
    for _ in 0..LIMIT {
        held.spawn(async move {
            let asked = ask(addr, None, b"GET /sleep/500 HTTP/1.1\r\nHost: soak\r\n\r\n");
            let answer = tokio::time::timeout(Duration::from_secs(2), asked).await;
            matches!(answer, Ok(Some((200, _))))
        });
    }
    let mut missing = 0;
    while let Some(inside) = held.join_next().await {
        missing += u32::from(!inside.map_err(|error| error.to_string())?);
    }
    Ok(missing)
}

/// Asks on `kept`, or on a new connection: the status of the answer and the connection. `None`:
/// there was no whole answer.
async fn ask(
    addr: SocketAddr,
    kept: Option<TcpStream>,
    request: &[u8],
) -> Option<(u16, TcpStream)> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(addr).await.ok()?,
    };
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    loop {
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&answer[..at]);
            let length = head.lines().find_map(|line| {
                let value = line.strip_prefix("content-length: ")?;
                value.parse::<usize>().ok()
            });
            if answer.len() >= at + 4 + length.unwrap_or(0) {
                return Some((head.get(9..12)?.parse().ok()?, stream));
            }
        }
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn behaved(addr: SocketAddr, tally: Arc<Tally>) {
    let body = "x".repeat(10_000);
    let get = b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n".to_vec();
    let post = format!("POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: 10000\r\n\r\n{body}");
    let requests = [get, post.into_bytes()];
    let mut kept = None;
    for request in requests.iter().cycle() {
        if tally.over.load(Ordering::Relaxed) {
            return;
        }
        let asked = ask(addr, kept.take(), request);
        let counter = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some((status, stream))) => {
                kept = (status < 500).then_some(stream);
                if status < 500 {
                    &tally.answered
                } else {
                    &tally.failed
                }
            }
            Ok(None) | Err(_) => &tally.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

async fn spoiling(addr: SocketAddr, number: usize, tally: Arc<Tally>) {
    let ways: [&[u8]; 6] = [
        b"GET /sleep/100 HTTP/1.1\r\nHost: soak\r\n\r\n",
        b"GET /bytes/1000000 HTTP/1.1\r\nHost: soak\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: 100000\r\n\r\nsome",
        b"POST /echo HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nso",
        b"POST / HTTP/1.1\r\nHost: soak\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01 no HTTP\r\n\r\n",
    ];
    for turn in number.. {
        if tally.over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = TcpStream::connect(addr).await else {
            continue;
        };
        let _ = stream.write_all(ways[turn % ways.len()]).await;
        // A little of the answer, if it comes soon; every other time not even that.
        let mut some = [0; HELLO.len()];
        let patience = Duration::from_millis((turn % 2) as u64 * 50);
        let _ = tokio::time::timeout(patience, stream.read(&mut some)).await;
        if turn % 3 == 0 {
            let _ = stream.set_zero_linger();
        }
        tally.spoilt.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
