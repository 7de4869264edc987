//! Told to stop under load: who is cut off, and how soon it ends once nobody asks any more.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::peers::{Peer, Setup, backend};
use crate::process::{Outcome, pause};

const CALLERS: usize = 4;
const REQUEST: &[u8] = b"GET /sleep/5 HTTP/1.1\r\nHost: bench\r\n\r\n";
/// Milliseconds before and after the signal during which is asked. Ours goes on serving for a
/// second after the last request; Knative's for thirty, whatever anybody says.
const BEFORE: u64 = 1_000;
const AFTER: u64 = 1_000;
const LAME_DUCK: u32 = 1_000;
const GIVE_UP: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Tally {
    over: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

pub(super) fn run(peers: &[Peer], folder: &Path, workers: usize) -> Outcome {
    println!("\n### Told to stop, {CALLERS} callers that go on for a second\n");
    println!("| | answered | failed | seconds from the last request to its end |");
    println!("|---|---|---|---|");
    for &peer in peers {
        let (behind, _backend) = backend(false)?;
        let setup = Setup {
            folder,
            behind,
            limit: 10,
            h2: false,
            workers,
            lame_duck: LAME_DUCK,
        };
        let mut proxy = setup.start(peer)?;
        let tally = Tally::default();
        let port = proxy.port;
        let end = std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| call(port, &tally));
            }
            pause(BEFORE);
            let told = proxy.process.signal(peer.stop_signal());
            pause(AFTER);
            tally.over.store(true, Ordering::Relaxed);
            told
        });
        end?;
        let last = Instant::now();
        while !proxy.process.has_ended() && last.elapsed() < GIVE_UP {
            pause(5);
        }
        println!(
            "| {} | {} | {} | {:.1} |",
            peer.name(),
            tally.answered.load(Ordering::Relaxed),
            tally.failed.load(Ordering::Relaxed),
            last.elapsed().as_secs_f64(),
        );
    }
    Ok(())
}

/// Asks over and over, on a connection for as long as it is kept.
fn call(port: u16, tally: &Tally) {
    let mut kept = None;
    while !tally.over.load(Ordering::Relaxed) {
        let asked = match kept.take() {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(("127.0.0.1", port)),
        };
        match asked.and_then(ask) {
            Ok(stream) => {
                tally.answered.fetch_add(1, Ordering::Relaxed);
                kept = stream;
            }
            Err(_) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                // Nobody who is refused a connection asks again at once.
                pause(5);
            }
        }
    }
}

/// One request, and the connection again if it is kept.
fn ask(mut stream: TcpStream) -> io::Result<Option<TcpStream>> {
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"Hello, World!") {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    Ok((!head.contains("connection: close")).then_some(stream))
}
