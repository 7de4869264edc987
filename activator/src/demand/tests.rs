//! The accumulator against what was observed of the original (`stats.json`), and the rules of
//! spec/activator.md §11, cases 91 to 98, which those vectors contain as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_testkit::cluster::revision;
use penstock_testkit::vectors::Vectors;
use prometheus::Registry;
use serde_json::Value;

use super::{Account, Settling, Tracker, in_table};
use crate::discovery::Discovery;
use crate::metrics::Metrics;
use crate::revision::Entry;

fn micros(value: &Value) -> Duration {
    Duration::from_micros(value.as_u64().unwrap())
}

/// Revision to average and count, as one message has them.
type Emitted = BTreeMap<String, (f64, f64)>;

fn emitted(value: &Value) -> Emitted {
    let entries = value.as_array().unwrap().iter();
    entries
        .map(|entry| {
            let number = |index: usize| entry[index].as_f64().unwrap();
            let name = entry[0].as_str().unwrap().to_owned();
            (name, (number(1), number(2)))
        })
        .collect()
}

fn same(got: &Emitted, want: &Emitted) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9_f64.max(b.abs() * 1e-9);
    got.keys().eq(want.keys())
        && got
            .iter()
            .all(|(name, got)| near(got.0, want[name].0) && near(got.1, want[name].1))
}

#[test]
fn reports_are_those_of_the_original() {
    let observed = |case: &Value| {
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        let mut wrong = case["ops"].as_array().unwrap().iter().filter(|op| {
            let now = micros(&op[1]);
            match op[0].as_str().unwrap() {
                "in" => {
                    let name = op[3].as_str().unwrap().to_owned();
                    let first = accounts.entry(name.clone()).or_default().enter(now);
                    let got = first.then_some((name, (1.0, 1.0))).into_iter().collect();
                    !same(&got, &emitted(&op[4]))
                }
                "out" => {
                    let name = op[3].as_str().unwrap();
                    accounts.get_mut(name).unwrap().leave(now);
                    false
                }
                "tick" => {
                    let got = accounts
                        .iter_mut()
                        .filter_map(|(name, account)| Some((name.clone(), account.report(now)?)))
                        .collect();
                    !same(&got, &emitted(&op[2]))
                }
                other => panic!("unknown operation {other}"),
            }
        });
        match wrong.next() {
            Some(op) => Err(format!("another outcome of {op}")),
            None => Ok(()),
        }
    };
    Vectors::open("stats.json activator_reports")
        .part("activator_reports", observed)
        .end();
}

#[test]
fn the_table_leaves_out_a_revision_whose_burst_still_comes_in() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let revision = revision("hello").build();
    let entry = Entry::new(
        &revision,
        10,
        0,
        metrics.of_revision(&revision),
        &Discovery::default(),
    );
    let _open = Tracker::enter(&entry);
    let settling = [(); 2].map(|()| Settling::begin(Arc::clone(&entry)));
    let [one, another] = settling;
    assert!(in_table(&entry).is_none());
    drop(one);
    assert!(in_table(&entry).is_none());
    drop(another);
    assert!(in_table(&entry).is_some());
}

/// In the original a report may fall between the moment when a revision is tracked and the one when
/// its request is counted, and says −1 then. Here both are one step: whatever reports come at the
/// same time, each finds a request whole or not at all, and none is lost.
#[test]
fn case_99_reports_that_come_with_a_first_request_lose_none_and_invent_none() {
    const ROUNDS: u32 = 20_000;
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let revision = revision("hello").build();
    let gauges = metrics.of_revision(&revision);
    let entry = Entry::new(&revision, 10, 0, gauges, &Discovery::default());
    let mut told = 0.0;
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let asked = (0..ROUNDS).map(|_| Tracker::enter(&entry).1);
            // Each first word counts one, which the next report leaves out.
            asked.filter(|first| *first).count()
        });
        while !asking.is_finished() {
            if let Some(report) = in_table(&entry) {
                assert!(report.request_count >= 0.0, "{report:?}");
                told += report.request_count;
            }
        }
        let first_words = asking.join().unwrap();
        assert!(first_words > 0);
        told += f64::from(u32::try_from(first_words).unwrap());
    });
    while let Some(report) = in_table(&entry) {
        told += report.request_count;
    }
    assert!((told - f64::from(ROUNDS)).abs() < 0.5, "{told} of {ROUNDS}");
}
