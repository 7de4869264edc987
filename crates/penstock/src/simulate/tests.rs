//! The whole command, but for the process around it.

mod figures;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};
use crate::up::folder::Folder;

fn simulate(args: &[&str]) -> Result<String, Error> {
    let all = ["penstock", "simulate"].iter().chain(args);
    let Command::Simulate(args) = Cli::try_parse_from(all).unwrap().command else {
        panic!("another command");
    };
    let mut out = Vec::new();
    run(&args, &mut out).map(|()| String::from_utf8(out).unwrap())
}

const ARGS: [&str; 13] = [
    "--shape",
    "spike:base=5,peak=60",
    "--length",
    "3m",
    "--arrivals",
    "random",
    "--concurrency",
    "5",
    "--work",
    "lognormal:200ms,900ms",
    "--pod-start",
    "uniform:1s,4s",
    "--decisions",
];

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let folder = Folder::new();
    let told = |seed: &str, name: &str| {
        let chart = folder.0.join(name);
        let chart = chart.to_str().unwrap();
        let args = [&ARGS[..], &["--seed", seed, "--chart", chart]].concat();
        (simulate(&args).unwrap(), fs::read(chart).unwrap())
    };
    let once = told("7", "a.html");
    assert_eq!(told("7", "b.html"), once);
    let other = told("8", "c.html");
    assert_ne!(other.0, once.0);
    assert_ne!(other.1, once.1);
}

#[test]
fn the_table_has_a_column_for_each_policy_and_fits_a_terminal() {
    let text = simulate(&ARGS).unwrap();
    let (table, decisions) = text.split_once("\nchanges of scale under").unwrap();
    for line in table.lines() {
        assert!(line.len() <= 80, "{line}");
    }
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name));
        let values = line.unwrap()[name.len()..].split_whitespace();
        values.map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(
        table
            .lines()
            .nth(6)
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["knative", "demand"]
    );
    assert_eq!(row("pod-seconds").len(), 2);
    assert!(
        decisions.contains(" 0 -> 1: 1 waiting + 0 in flight, 5 a pod"),
        "{decisions}"
    );
    let one = simulate(&[&ARGS[..], &["--compare", "demand"]].concat()).unwrap();
    assert!(!one.contains("knative"), "{one}");
}

#[test]
fn the_chart_is_one_file_that_needs_no_other() {
    let folder = Folder::new();
    for name in ["chart.svg", "chart.html"] {
        let path = folder.0.join(name);
        let args = [&ARGS[..], &["--chart", path.to_str().unwrap()]].concat();
        let text = simulate(&args).unwrap();
        let chart = fs::read_to_string(&path).unwrap();
        for part in [
            "load, requests per second",
            "demand: ready",
            "knative: wanted",
            "waiting",
        ] {
            assert!(chart.contains(part), "{part} in {name}");
        }
        for outside in ["href", "src=", "url(", "@import"] {
            assert!(!chart.contains(outside), "{outside} in {name}");
        }
        assert!(chart.len() < 200_000, "{}", chart.len());
        let in_it = chart.contains(text.lines().nth(8).unwrap());
        assert_eq!(in_it, name == "chart.html", "the table");
    }
}

#[test]
fn nothing_is_written_if_anything_is_wrong() {
    let folder = Folder::new();
    let path = folder.0.join("chart.svg");
    let args = ["--shape", "square", "--chart", path.to_str().unwrap()];
    let Err(Error::Input(said)) = simulate(&args) else {
        panic!("it was taken");
    };
    assert_eq!(said.len(), 1);
    assert!(!path.exists());
    let nowhere = folder.0.join("no/chart.svg");
    let args = ["--shape", "step", "--chart", nowhere.to_str().unwrap()];
    let Err(Error::Output(said)) = simulate(&args) else {
        panic!("it was written");
    };
    assert!(said.ends_with("chart.svg: there is no such file"), "{said}");
}
