//! The `process_*` metrics, read from `/proc` at each scrape.
//!
//! Names and meanings are those of the Prometheus client libraries. A figure that cannot be read
//! (another system, a hidden `/proc`) is left out, never reported as 0.

use std::fs;
use std::path::{Path, PathBuf};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use prometheus::{Opts, Registry};

/// Clock ticks per second in `/proc`. Linux fixes it at 100 for everything that a process can
/// read; asking `sysconf` would need unsafe code.
const TICKS_PER_SECOND: f64 = 100.0;

/// Registers the figures of this process.
///
/// # Errors
///
/// The registry has them already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(Process::new(PathBuf::from("/proc"))?))
}

struct Process {
    proc: PathBuf,
    figures: Vec<(Desc, MetricType, Read)>,
}

type Read = fn(&Path) -> Option<f64>;

impl Process {
    fn new(proc: PathBuf) -> prometheus::Result<Self> {
        let figures: [(&str, &str, MetricType, Read); 6] = [
            (
                "process_cpu_seconds_total",
                "CPU time used, user and system, in seconds",
                MetricType::COUNTER,
                cpu_seconds,
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory in bytes",
                MetricType::GAUGE,
                |proc| status_bytes(proc, "VmRSS:"),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory in bytes",
                MetricType::GAUGE,
                |proc| status_bytes(proc, "VmSize:"),
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                MetricType::GAUGE,
                open_fds,
            ),
            (
                "process_max_fds",
                "File descriptors that may be open at once",
                MetricType::GAUGE,
                max_fds,
            ),
            (
                "process_start_time_seconds",
                "Start of the process in seconds since 1970",
                MetricType::GAUGE,
                start_seconds,
            ),
        ];
        let figures = figures
            .into_iter()
            .map(|(name, help, kind, read)| {
                use prometheus::core::Describer;
                Ok((Opts::new(name, help).describe()?, kind, read))
            })
            .collect::<prometheus::Result<_>>()?;
        Ok(Self { proc, figures })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.figures.iter().map(|(desc, ..)| desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let family = |(desc, kind, read): &(Desc, MetricType, Read)| {
            let value = read(&self.proc)?;
            let mut metric = Metric::default();
            if *kind == MetricType::COUNTER {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            } else {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            let mut family = MetricFamily::default();
            family.set_name(desc.fq_name.clone());
            family.set_help(desc.help.clone());
            family.set_field_type(*kind);
            family.set_metric(vec![metric]);
            Some(family)
        };
        self.figures.iter().filter_map(family).collect()
    }
}

/// Field `number` of `self/stat`, counted from 1 as proc(5) does.
fn stat(proc: &Path, number: usize) -> Option<f64> {
    let text = fs::read_to_string(proc.join("self/stat")).ok()?;
    // Field 2 is the program's name, in brackets, and may contain anything.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_seconds(proc: &Path) -> Option<f64> {
    Some((stat(proc, 14)? + stat(proc, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(proc: &Path) -> Option<f64> {
    let since_boot = stat(proc, 22)? / TICKS_PER_SECOND;
    let text = fs::read_to_string(proc.join("stat")).ok()?;
    let boot = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + since_boot)
}

/// A figure of `self/status`, which is in kB whatever the size of a page is.
fn status_bytes(proc: &Path, name: &str) -> Option<f64> {
    let text = fs::read_to_string(proc.join("self/status")).ok()?;
    let figure = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(figure.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

fn open_fds(proc: &Path) -> Option<f64> {
    let seen = fs::read_dir(proc.join("self/fd")).ok()?.count();
    // One of them reads the directory.
    u32::try_from(seen.saturating_sub(1)).ok().map(f64::from)
}

fn max_fds(proc: &Path) -> Option<f64> {
    let text = fs::read_to_string(proc.join("self/limits")).ok()?;
    let limits = text
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match limits.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        soft => soft.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
