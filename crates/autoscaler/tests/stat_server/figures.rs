//! Figures of one machine, for whoever asks: `cargo test --release -p penstock-autoscaler --test
//! stat_server figures -- --ignored --nocapture`. They pass or fail on nothing but being done.

use std::time::{Duration, Instant};

use penstock_autoscaler::{PolicyKind, Scaler};
use penstock_scaling::config::Config;
use penstock_scaling::spec::Spec;
use penstock_types::demand::Demand;

use crate::stage::{Stage, one_revision, word};

#[tokio::test]
#[ignore = "a measurement"]
async fn from_the_first_word_to_the_scale_call() {
    let names: Vec<String> = (0..500).map(|n| format!("s{n:03}-00001")).collect();
    let stage = Stage::start(names.iter().map(|name| one_revision(name))).await;
    let mut activator = stage.activator(true).await;
    let mut took = Vec::new();
    for name in &names {
        let start = Instant::now();
        activator.say(&[word(name, 1.0, 1)]).await;
        stage.asked().await;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    println!(
        "word to scale call: median {:?}, p99 {:?}",
        took[250], took[495]
    );
    drop(activator);
    stage.stop().await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn ten_thousand_revisions_each_second_from_three_activators() {
    const REVISIONS: u32 = 10_000;
    const SECONDS: u32 = 15;
    let names: Vec<String> = (0..REVISIONS).map(|n| format!("s{n:05}-00001")).collect();
    let stage = Stage::start(names.iter().map(|name| one_revision(name))).await;
    let mut activators = Vec::new();
    for _ in 0..3 {
        activators.push(stage.activator(true).await);
    }
    let table: Vec<Demand> = names
        .iter()
        .map(|name| Demand {
            first: false,
            in_flight: 5,
            ..word(name, 5.0, 0)
        })
        .collect();
    let before = cpu();
    let start = Instant::now();
    for second in 1..=SECONDS {
        for activator in &mut activators {
            activator.say(&table).await;
        }
        tokio::time::sleep_until((start + Duration::from_secs(1) * second).into()).await;
    }
    let used = cpu() - before;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    println!(
        "{REVISIONS} revisions x 3 activators: {:.1}% of a core (the activators' own encoding \
         included), {rss}",
        used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0
    );
    drop(activators);
    stage.stop().await;
}

#[test]
#[ignore = "a measurement"]
fn one_decision_of_each_policy() {
    const TIMES: u32 = 200_000;
    for kind in [PolicyKind::Knative, PolicyKind::Demand] {
        let one = one_revision("hello-00001");
        let config = Config::default();
        let spec = Spec::derive(&config, &one.annotations, one.slots, one.reachability);
        let mut now = Duration::from_secs(1_700_000_000);
        let mut scaler = Scaler::new(kind, spec, one.slots, 5, 5, now);
        let report = Demand {
            first: false,
            in_flight: 30,
            ..word("hello-00001", 30.0, 0)
        };
        // Whole windows first.
        for _ in 0..60 {
            now += Duration::from_secs(1);
            scaler.observe(&report, 5, now);
        }
        let start = Instant::now();
        for _ in 0..TIMES {
            now += Duration::from_secs(1);
            scaler.observe(&report, 5, now);
            std::hint::black_box(scaler.decide(5, now).pods);
        }
        println!(
            "{kind:?}: a report and a decision {:?}",
            start.elapsed() / TIMES
        );
    }
}

/// Processor time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
