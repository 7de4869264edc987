//! Nothing outlives its parent.
//!
//! The parent that is killed and its reaper are this very test binary, started again to play
//! one of the ignored tests.

#![allow(clippy::unwrap_used, reason = "tests only")]

mod support;

use std::ffi::OsString;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::Arc;

use penstock_cluster_local::reaper::{self, MARKER, Reaped};
use penstock_cluster_local::{Reaper, Workload};
use tokio::io::{AsyncBufReadExt, BufReader as AsyncBufReader};
use tokio::time::timeout;

use support::{PATIENCE, harness, pid, shell, until_dead};

/// A program, and one of its children that leaves its group. Neither heeds SIGTERM.
fn stubborn() -> Workload {
    shell(
        "trap '' TERM; echo $$$$; setsid sh -c 'echo $$$$; while :; do sleep 1; done' & \
         while :; do sleep 1; done",
    )
}

fn play(role: &str) -> (std::path::PathBuf, Vec<OsString>) {
    let args = ["--ignored", "--exact", "--nocapture", role];
    (
        std::env::current_exe().unwrap(),
        args.map(OsString::from).to_vec(),
    )
}

fn start_reaper(up_id: &str) -> Arc<Reaper> {
    let (program, args) = play("role_of_the_reaper");
    Arc::new(Reaper::start(&program, args, up_id).unwrap())
}

#[test]
#[ignore = "a role that other tests give to this binary"]
fn role_of_the_reaper() {
    reaper::run(std::io::stdin().lock()).unwrap();
}

#[tokio::test]
#[ignore = "a role that other tests give to this binary"]
#[expect(clippy::disallowed_methods, reason = "how a role gets its lines")]
async fn role_of_the_parent() {
    let Ok(up_id) = std::env::var("ROLE_UP_ID") else {
        return;
    };
    let mut harness = harness(Some(start_reaper(&up_id)));
    harness.apply([stubborn()]);
    harness.scale(1).await;
    loop {
        println!("line: {}", harness.line().await);
    }
}

#[tokio::test]
async fn programs_and_their_strays_are_killed_when_their_parent_is() {
    let (program, args) = play("role_of_the_parent");
    let mut parent = tokio::process::Command::new(program)
        .args(args)
        .env("ROLE_UP_ID", format!("parent-{}", std::process::id()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = AsyncBufReader::new(parent.stdout.take().unwrap()).lines();
    let mut pids = Vec::new();
    while pids.len() < 2 {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let line = line.expect("both process ids");
        pids.extend(line.split_once("line: ").map(|(_, rest)| pid(rest)));
    }
    parent.kill().await.unwrap();
    for pid in pids {
        until_dead(pid).await;
    }
}

#[tokio::test]
async fn a_stray_does_not_outlive_a_shutdown_either() {
    let reaper = start_reaper(&format!("shutdown-{}", std::process::id()));
    let mut harness = harness(Some(Arc::clone(&reaper)));
    let mut workload = stubborn();
    workload.grace = std::time::Duration::from_millis(10);
    harness.apply([workload]);
    harness.scale(1).await;
    let pids = [harness.pid().await, harness.pid().await];
    harness.cluster.shutdown().await;
    assert!(
        timeout(PATIENCE, reaper.finish())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
    for pid in pids {
        until_dead(pid).await;
    }
}

#[test]
fn only_what_is_announced_or_marked_is_ended() {
    let up_id = format!("unit-{}", std::process::id());
    let start = |marked: bool| {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000").process_group(0);
        if marked {
            command.env(MARKER, &up_id);
        }
        command.spawn().unwrap()
    };
    let (mut announced, mut marked, mut over) = (start(false), start(true), start(false));
    let input = format!(
        "{up_id}\n+{announced}\n+{over}\nnonsense\n+0\n+1\n+-1\n-{over}\n",
        announced = announced.id(),
        over = over.id()
    );
    // These are children of this process, which has to collect them for the reaper to see
    // them go.
    let ended = std::thread::spawn(move || (announced.wait().unwrap(), marked.wait().unwrap()));
    let reaped = reaper::run(BufReader::new(input.as_bytes())).unwrap();
    assert_eq!(
        reaped,
        Reaped {
            groups: 1,
            strays: 1
        }
    );
    let (announced, marked) = ended.join().unwrap();
    assert!(!announced.success() && !marked.success());
    assert!(
        over.try_wait().unwrap().is_none(),
        "its group was said to be over"
    );
    over.kill().unwrap();
    over.wait().unwrap();
}
