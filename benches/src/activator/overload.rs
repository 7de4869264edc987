//! Far more than a pod can do: callers that come at a fixed rate, whatever becomes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::pod::Pod;
use super::{Setup, Stage, caller, runtime};
use crate::process::Outcome;

/// Requests a second, of which the pod takes one at a time.
const RATE: u32 = 2_000;
const TIME: Duration = Duration::from_millis(100);
/// Between two looks at the callers' clock; a share of them comes at each.
const TICK: Duration = Duration::from_millis(5);

/// What callers were told.
#[derive(Default)]
struct Tally {
    answered: BTreeMap<u16, u32>,
    /// Refusals that lack a reason or the time to come back.
    bare: u32,
    /// No answer at all.
    lost: u32,
}

#[derive(Default)]
struct Callers {
    /// Connections whose callers have their answers.
    idle: Mutex<Vec<TcpStream>>,
    tally: Mutex<Tally>,
}

pub(super) fn run(seconds: u32) -> Outcome {
    // The line fills within five seconds.
    let settled = (seconds / 6).clamp(6, 60);
    if seconds <= settled {
        return Err(format!("{seconds} s are not enough to see what stays"));
    }
    println!("\n#### {RATE} requests/s for a pod that can do 10, {seconds} s\n");
    let runtime = runtime()?;
    let mut stage = Stage::start(Setup {
        revisions: 1,
        slots: 1,
        waiting: 10_000,
        workers: 1,
    })?;
    let (behind, pod) = runtime.block_on(Pod::start(TIME))?;
    stage.place(0, &[behind])?;
    let callers = Arc::new(Callers::default());
    let coming = runtime.spawn(come(Arc::clone(&callers), stage.port));
    let start = Instant::now();
    let mut seen = Vec::new();
    for second in 1..=seconds {
        let due = start + Duration::from_secs(1) * second;
        runtime.block_on(async { sleep_until(due).await });
        if second >= settled {
            seen.push(stage.process.rss() as f64 / f64::from(1 << 20));
        }
    }
    let waiting = stage.load(0)?.0;
    let served = pod.count();
    coming.abort();
    let first = seen.first().copied().unwrap_or_default();
    let most = seen.iter().copied().fold(0.0, f64::max);
    let least = seen.iter().copied().fold(f64::INFINITY, f64::min);
    let tally = callers.tally.lock().unwrap_or_else(PoisonError::into_inner);
    println!("| | |\n|---|---|");
    println!(
        "| RSS after {settled} s; from then on | {first:.1} MiB; {:+.1} % to {:+.1} % |",
        (least / first - 1.0) * 100.0,
        (most / first - 1.0) * 100.0
    );
    println!("| waiting at the end | {waiting} |");
    println!(
        "| begun in the pod | {served}, {:.2}/s |",
        served as f64 / f64::from(seconds)
    );
    println!("| answers by status | {:?} |", tally.answered);
    println!(
        "| refusals without Retry-After or Proxy-Status | {} |",
        tally.bare
    );
    println!("| cut off without an answer | {} |", tally.lost);
    Ok(())
}

/// Comes to ask, for ever.
async fn come(callers: Arc<Callers>, port: u16) {
    let mut ticks = interval(TICK);
    // Whatever the machine is busy with, the rate is kept.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let each = RATE * u32::try_from(TICK.as_millis()).unwrap_or(1) / 1000;
    loop {
        ticks.tick().await;
        for _ in 0..each {
            let callers = Arc::clone(&callers);
            tokio::spawn(async move {
                let result = callers.ask(port).await;
                let mut tally = callers.tally();
                match result {
                    Ok((status, is_bare)) => {
                        *tally.answered.entry(status).or_default() += 1;
                        tally.bare += u32::from(is_bare);
                    }
                    Err(_) => tally.lost += 1,
                }
            });
        }
    }
}

impl Callers {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of the answer, and whether it is a refusal that says too little.
    async fn ask(&self, port: u16) -> std::io::Result<(u16, bool)> {
        let kept = self.idle().pop();
        let mut stream = match kept {
            Some(stream) => stream,
            None => TcpStream::connect(("127.0.0.1", port)).await?,
        };
        stream.write_all(caller::get(0, 0).as_bytes()).await?;
        let mut answer = Vec::with_capacity(512);
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if let Some((head, body)) = parted(&answer)
                && body >= length_in(&head)
            {
                self.idle().push(stream);
                let status = head.get(9..12).and_then(|status| status.parse().ok());
                let status = status.unwrap_or(0);
                let tells =
                    head.contains("\r\nretry-after: ") && head.contains("\r\nproxy-status: ");
                return Ok((status, status != 200 && !tells));
            }
        }
    }
}

/// The head in lower case, and the length of what has come of the body.
fn parted(answer: &[u8]) -> Option<(String, usize)> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end + 2]).to_lowercase();
    Some((head, answer.len() - end - 4))
}

fn length_in(head: &str) -> usize {
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}
