//! Load from the outside: wrk for closed loops, h2load for HTTP/2 and for a constant rate.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::Outcome;

/// What one run of a load generator tells.
pub(crate) struct Load {
    /// Requests answered.
    pub(crate) requests: f64,
    /// The same per second.
    pub(crate) rate: f64,
}

/// A closed loop of `connections` for so many seconds. With `script`, what that Lua file sends.
pub(crate) fn wrk(
    url: &str,
    host: &str,
    connections: u32,
    seconds: u32,
    script: Option<&Path>,
) -> Outcome<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
    command.args(["-H", &format!("Host: {host}")]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let text = output(command.arg(url))?;
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("requests failed:\n{text}"));
    }
    let word = |line: &str, index| {
        let line = text.lines().find(|seen| seen.contains(line))?;
        line.split_whitespace().nth(index)?.parse::<f64>().ok()
    };
    Ok(Load {
        requests: word("requests in", 0).ok_or("wrk told no number of requests")?,
        rate: word("Requests/sec", 1).ok_or("wrk told no rate")?,
    })
}

/// HTTP/2 without TLS: `connections` with `streams` requests on each at all times.
pub(crate) fn h2load(url: &str, connections: u32, streams: u32, seconds: u32) -> Outcome<Load> {
    let mut command = Command::new("h2load");
    command.args([&format!("-c{connections}"), &format!("-m{streams}")]);
    let text = output(command.args([&format!("-D{seconds}"), url]))?;
    told_by_h2load(&text)
}

/// HTTP/1.1 at a constant `rate` over `connections`; also the time of each request in
/// microseconds, in ascending order.
pub(crate) fn steady(
    url: &str,
    rate: u32,
    connections: u32,
    seconds: u32,
    folder: &Path,
) -> Outcome<(Load, Vec<f64>)> {
    let log = folder.join("times.tsv");
    let mut command = Command::new("h2load");
    command.args(["--h1", &format!("-c{connections}"), &format!("-D{seconds}")]);
    command.arg(format!("--rps={}", rate / connections));
    command.arg("--log-file").arg(&log).arg(url);
    let text = output(&mut command)?;
    let times = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let _ = fs::remove_file(&log);
    let mut micros: Vec<f64> = times
        .lines()
        .filter_map(|line| line.split('\t').nth(2)?.parse().ok())
        .collect();
    micros.sort_by(f64::total_cmp);
    Ok((told_by_h2load(&text)?, micros))
}

fn told_by_h2load(text: &str) -> Outcome<Load> {
    let number = |line: &str, before: &str| {
        let line = text.lines().find(|seen| seen.starts_with(line))?;
        let at = line.find(before)?;
        line[..at].split_whitespace().last()?.parse::<f64>().ok()
    };
    let failed = number("requests:", " failed").ok_or("h2load told no failures")?;
    if failed > 0.0 {
        return Err(format!("requests failed:\n{text}"));
    }
    Ok(Load {
        requests: number("requests:", " succeeded").ok_or("h2load told no number of requests")?,
        rate: number("finished in", " req/s").ok_or("h2load told no rate")?,
    })
}

fn output(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|error| format!("{name}: {error} (a package of Debian's)"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
