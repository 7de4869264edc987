//! Child processes, and what /proc says of them.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run may end with: a sentence for a person.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// A child that is ended with the value.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let named = format!("{command:?}");
        let child = command.spawn();
        child.map(Self).map_err(|error| format!("{named}: {error}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The process and its children.
    pub(crate) fn family(&self) -> Vec<u32> {
        family(self.pid())
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) -> Outcome {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(self.pid().to_string());
        kill.status()
            .map(|_| ())
            .map_err(|error| format!("kill: {error}"))
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }

    /// Processor time of the process and its children so far.
    pub(crate) fn cpu(&self) -> Duration {
        family(self.pid()).into_iter().map(cpu_of).sum()
    }

    /// As [`Running::cpu`], without descendants whose command line contains `word`.
    pub(crate) fn cpu_without(&self, word: Option<&str>) -> Duration {
        let counts = |pid: &u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            !word.is_some_and(|word| line.contains(word))
        };
        family(self.pid())
            .into_iter()
            .filter(counts)
            .map(cpu_of)
            .sum()
    }

    /// Memory of the process and its children that belongs to nobody else, in bytes.
    pub(crate) fn private(&self) -> u64 {
        let of = |pid| from_status(pid, "RssAnon:");
        family(self.pid()).into_iter().map(of).sum()
    }

    /// Resident memory of the process and its children, in bytes.
    pub(crate) fn rss(&self) -> u64 {
        let of = |pid| from_status(pid, "VmRSS:");
        family(self.pid()).into_iter().map(of).sum()
    }

    /// The most that was ever resident of the process, in bytes.
    pub(crate) fn most_rss(&self) -> u64 {
        from_status(self.pid(), "VmHWM:")
    }

    /// Open descriptors of the process.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let pid = self.pid().to_string();
        let _ = Command::new("kill").arg(&pid).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            pause(10);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process and all its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&parent) = all.get(next) {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{parent}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// The scheduler's account, in nanoseconds, of all threads.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let nanos = tasks.into_iter().flatten().flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// A figure of the kernel's, in bytes.
fn from_status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// A port that is free now.
pub(crate) fn free_port() -> Outcome<u16> {
    let port = || -> io::Result<u16> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()) };
    port().map_err(|error| format!("no free port: {error}"))
}

/// Waits until something accepts on `port`.
pub(crate) fn until_open(port: u16) -> Outcome {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if TcpStream::connect(addr).is_ok() {
            return Ok(());
        }
        pause(5);
    }
    Err(format!("nothing listens on {addr}"))
}

/// This program.
pub(crate) fn own() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|error| error.to_string())
}

/// The program `name` of the package `package`, which is built into the same folder.
pub(crate) fn program(name: &str, package: &str) -> Outcome<PathBuf> {
    let program = own()?.with_file_name(name);
    if program.exists() {
        Ok(program)
    } else {
        Err(format!(
            "there is no {}; build it first: cargo build --release -p {package}",
            program.display()
        ))
    }
}

/// The program `penstock`.
pub(crate) fn penstock() -> Outcome<PathBuf> {
    program("penstock", "penstock")
}

pub(crate) fn pause(millis: u64) {
    pause_micros(millis * 1000);
}

#[expect(
    clippy::disallowed_methods,
    reason = "an observer from outside has nothing to wait for"
)]
pub(crate) fn pause_micros(micros: u64) {
    std::thread::sleep(Duration::from_micros(micros));
}

/// The variable; empty if it is not set.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the program, not a library"
)]
pub(crate) fn text_from(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Thousands of connections need as many descriptors, here and in the children.
pub(crate) fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it may not be raised, the connections that fail say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

pub(crate) fn number_from<T: std::str::FromStr>(name: &str) -> Outcome<T> {
    let text = text_from(name);
    text.parse()
        .map_err(|_| format!("{name}={text:?} is not a number that fits"))
}

/// One request on a connection of its own; the whole answer, head and body.
pub(crate) fn get(port: u16, host: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Processors of this machine: the usual number of workers.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
