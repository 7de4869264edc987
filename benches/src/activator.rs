//! The activator: what a request costs that passes it, what those cost who wait in it, and what
//! becomes of them when there are too many.
//!
//! The activator is a process of its own (`stage.rs`), so that its memory and its processor time
//! are nobody else's; callers and pods are here, or further processes.

mod caller;
mod overload;
mod passing;
mod pod;
mod release;
pub(crate) mod stage;
mod waiting;
mod waking;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use crate::process::{Outcome, Running, allow_many_files, free_port, own, pause};

/// For whatever takes long on a busy machine; beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Processor time of a proxied request, beside nginx
    Passing,
    /// Memory of each of 10,000 who wait, by HTTP/1.1 and by HTTP/2
    Waiting,
    /// 2,000 requests a second for a pod that can do 10
    Overload,
    /// From a pod that is ready to the first request in it
    First,
    /// 10,000 who waited go into ten pods
    Release,
    /// A revision's times while 50,000 wait for another
    Fairness,
    /// 500 of 5,000 revisions are woken within a second
    Demand,
}

/// Prints a table for each of `parts`, for all if there are none.
pub(crate) fn run(parts: &[Part], rounds: u32, overload: u32, fairness: u32) -> Outcome {
    allow_many_files();
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    if wanted(Part::Passing) {
        passing::run(rounds)?;
    }
    if wanted(Part::Waiting) {
        waiting::run()?;
    }
    if wanted(Part::Overload) {
        overload::run(overload)?;
    }
    if wanted(Part::First) {
        waking::first()?;
    }
    if wanted(Part::Release) {
        release::run()?;
    }
    if wanted(Part::Fairness) {
        release::fairness(rounds, fairness)?;
    }
    if wanted(Part::Demand) {
        waking::demand()?;
    }
    Ok(())
}

/// How an activator is started.
#[derive(Clone, Copy)]
struct Setup {
    /// Known revisions, without pods.
    revisions: u32,
    /// Requests that one of their pods takes at once; 0 for any number.
    slots: u32,
    /// Requests that may wait for one of them.
    waiting: usize,
    workers: usize,
}

/// An activator that runs.
struct Stage {
    process: Running,
    port: u16,
    control: TcpStream,
    /// What it says, and when it was heard.
    said: Receiver<(String, Instant)>,
}

impl Stage {
    fn start(setup: Setup) -> Outcome<Self> {
        let (port, control) = (free_port()?, free_port()?);
        let mut command = Command::new(own()?);
        command
            .arg("activator-stage")
            .env("STAGE_PORT", port.to_string())
            .env("STAGE_CONTROL", control.to_string())
            .env("STAGE_REVISIONS", setup.revisions.to_string())
            .env("STAGE_SLOTS", setup.slots.to_string())
            .env("STAGE_WAITING", setup.waiting.to_string())
            .env("STAGE_WORKERS", setup.workers.to_string());
        let process = Running::start(&mut command)?;
        let control = connected(control)?;
        control
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let lines = control.try_clone().map_err(|error| error.to_string())?;
        let (say, said) = channel();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                if say.send((line, Instant::now())).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            process,
            port,
            control,
            said,
        })
    }

    /// Gives a revision these pods.
    fn place(&mut self, revision: u32, ports: &[u16]) -> Outcome {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        self.say(&format!("pods {revision} {}\n", ports.join(" ")))
    }

    /// Requests that wait for a revision, and that are in its pods.
    fn load(&mut self, revision: u32) -> Outcome<(usize, usize)> {
        self.say(&format!("load {revision}\n"))?;
        loop {
            let line = self.next()?.0;
            let mut words = line.split_whitespace();
            if words.next() == Some("load") {
                let mut number = || words.next()?.parse().ok();
                return number().zip(number()).ok_or(line);
            }
        }
    }

    /// Returns once so many wait for a revision.
    fn until_waiting(&mut self, revision: u32, count: usize) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (waiting, _) = self.load(revision)?;
            if waiting == count {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{waiting} wait, not {count}"));
            }
            if count > 1 && waiting + 1 < count {
                pause(1);
            }
        }
    }

    fn say(&mut self, line: &str) -> Outcome {
        let said = self.control.write_all(line.as_bytes());
        said.map_err(|error| format!("the activator is gone: {error}"))
    }

    fn next(&self) -> Outcome<(String, Instant)> {
        let said = self.said.recv_timeout(PATIENCE);
        said.map_err(|error| format!("the activator says nothing: {error}"))
    }
}

/// A connection to `port`, as soon as something listens there.
fn connected(port: u16) -> Outcome<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(format!("nothing listens on {port}: {error}"));
            }
            Err(_) => pause(5),
        }
    }
}

/// Where pods run.
fn runtime() -> Outcome<Runtime> {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.map_err(|error| error.to_string())
}

/// The value below which so many of a hundred are; 0 of none.
fn at(sorted: &[f64], hundredth: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (sorted.len() * hundredth / 100).min(last);
    sorted.get(index).copied().unwrap_or(0.0)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
