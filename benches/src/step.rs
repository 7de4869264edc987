//! How long each policy takes to follow a load step of x1.5: from the step to the number of pods
//! that the new load needs being wanted.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Outcome, Running, free_port, get, pause, penstock, until_open};

/// `containerConcurrency: 10` and 70 % of it aimed at.
const PER_POD: f64 = 7.0;
/// Requests in flight before and after the step.
const BEFORE: usize = 20;
const AFTER: usize = 30;
/// The load is steady for so long before the step: longer than the stable window.
const STEADY: Duration = Duration::from_secs(75);
const PATIENCE: Duration = Duration::from_secs(120);

const MANIFEST: &str = "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: autoscale}
spec:
  template:
    spec:
      containerConcurrency: 10
      containers: [{image: ghcr.io/knative/autoscale-go:latest}]
";

/// Prints a line for each policy.
pub(crate) fn run() -> Outcome {
    let penstock = penstock()?;
    let folder = std::env::temp_dir().join(format!("penstock-step-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let file = folder.join("step.yaml");
    fs::write(&file, MANIFEST).map_err(|error| error.to_string())?;
    println!("\n### Step x1.5: {BEFORE} to {AFTER} requests in flight, 7 aimed at per pod\n");
    println!("| policy | pods before | pods needed | seconds until they were wanted |");
    println!("|---|---|---|---|");
    for policy in ["demand", "knative"] {
        let (port, admin) = (free_port()?, free_port()?);
        let mut command = Command::new(&penstock);
        command.arg("up").arg(&file).args(["--policy", policy]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--admin", &format!("127.0.0.1:{admin}")]);
        let _up = Running::start(&mut command)?;
        until_open(port)?;
        let load = Load::start(port);
        load.raise(BEFORE);
        pause(u64::try_from(STEADY.as_millis()).unwrap_or(u64::MAX));
        let before = wanted(admin)?;
        let step = Instant::now();
        load.raise(AFTER);
        let needed = (AFTER as f64 / PER_POD).ceil() as u64;
        let took = loop {
            if wanted(admin)? >= needed {
                break format!("{:.1}", step.elapsed().as_secs_f64());
            }
            if step.elapsed() > PATIENCE {
                break format!("not within {}", PATIENCE.as_secs());
            }
            pause(20);
        };
        println!("| {policy} | {before} | {needed} | {took} |");
    }
    let _ = fs::remove_dir_all(&folder);
    Ok(())
}

/// Callers that ask again as soon as they are answered.
struct Load {
    port: u16,
    over: Arc<AtomicBool>,
    callers: std::cell::Cell<usize>,
}

impl Load {
    fn start(port: u16) -> Self {
        Self {
            port,
            over: Arc::default(),
            callers: std::cell::Cell::new(0),
        }
    }

    fn raise(&self, to: usize) {
        for _ in self.callers.get()..to {
            let (port, over) = (self.port, Arc::clone(&self.over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let _ = get(port, "autoscale.default.example.com", "/?sleep=100");
                }
            });
        }
        self.callers.set(to);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Pods that the only revision wants now.
fn wanted(admin: u16) -> Outcome<u64> {
    let answer = get(admin, "localhost", "/state").map_err(|error| error.to_string())?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let state: serde_json::Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    state["revisions"][0]["wanted"]
        .as_u64()
        .ok_or_else(|| format!("/state tells no wanted pods: {state}"))
}
