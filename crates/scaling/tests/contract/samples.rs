//! §4.6: how many pods are read, what they say, how a scrape of pods ends; §4.5: who is chosen.

use std::collections::BTreeSet;
use std::time::Duration;

use penstock_scaling::bucket::subset;
use penstock_scaling::sample::{extrapolate, sample_size};
use penstock_scaling::scrape::{Failed, Pods, Refused};
use penstock_types::request_stats::Report;
use proptest::prelude::*;

use crate::near;

/// FNV-1a with 64 bits.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The subset choice, word by word.
fn chosen(from: &[String], n: usize, target: &str) -> Vec<String> {
    let mut names = from.to_vec();
    names.sort();
    if n >= names.len() {
        return names;
    }
    let start = hash(&format!("{target}start-angle-salt")) % 2048;
    let step = hash(&format!("{target}step-angle-salt")) % 2048;
    let mut slots: Vec<(u64, String)> = Vec::new();
    for name in names {
        let mut text = format!("{name}{target}");
        let mut h = hash(&text);
        while slots.iter().any(|(slot, _)| *slot == h % 2048) {
            text += &format!("{h:x}");
            h = hash(&text);
        }
        slots.push((h % 2048, name));
    }
    slots.sort();
    let mut angle = start;
    let mut taken = vec![false; slots.len()];
    for _ in 0..n {
        let first = slots.iter().position(|(slot, _)| *slot >= angle);
        let mut at = first.unwrap_or(0);
        while taken[at] {
            at = (at + 1) % slots.len();
        }
        taken[at] = true;
        angle = (angle + step) % 2048;
    }
    let chosen = slots.into_iter().zip(taken).filter(|(_, taken)| *taken);
    let mut chosen: Vec<String> = chosen.map(|((_, name), _)| name).collect();
    chosen.sort();
    chosen
}

proptest! {
    #[test]
    fn samples_are_as_large_as_the_contract_wants(pods in prop_oneof![0..200_u32, any::<u32>()]) {
        let n = f64::from(pods);
        let want = if pods <= 3 {
            n
        } else {
            (n * 15.3664 / (n + 15.3664 - 1.0)).ceil()
        };
        prop_assert_eq!(f64::from(sample_size(pods)), want);
    }

    #[test]
    fn a_sample_stands_for_all(
        figures in prop::collection::vec(prop::array::uniform4(-10.0..1e6_f64), 1..20),
        pods in 1..5000_u32,
    ) {
        let stats: Vec<Report> = figures
            .iter()
            .map(|[conc, proxied, requests, proxied_requests]| Report {
                average_concurrency: *conc,
                average_proxied_concurrency: *proxied,
                request_count: *requests,
                proxied_request_count: *proxied_requests,
            })
            .collect();
        let got = extrapolate(&stats, pods);
        let got = [
            got.average_concurrency,
            got.average_proxied_concurrency,
            got.request_count,
            got.proxied_request_count,
        ];
        for (field, got) in got.into_iter().enumerate() {
            let sum: f64 = figures.iter().map(|stat| stat[field]).sum();
            let want = sum / figures.len() as f64 * f64::from(pods);
            prop_assert!(near(got, want), "{got}, not {want}");
        }
    }

    #[test]
    fn the_chosen_are_those_of_the_contract(
        names in prop::collection::btree_set("[a-z0-9.-]{1,12}", 0..60),
        n in 0..70_usize,
        target in "[a-z/0-9-]{0,16}",
        turned in any::<bool>(),
    ) {
        let mut from: Vec<String> = names.into_iter().collect();
        if turned {
            from.reverse();
        }
        let mut got = subset(&from, n, &target);
        got.sort_unstable();
        prop_assert_eq!(got, chosen(&from, n, &target));
    }

    #[test]
    fn a_scrape_of_pods_ends_as_the_contract_says(
        pods in prop::collection::vec((any::<bool>(), prop::sample::select(vec![0_u8, 0, 0, 1, 2])), 1..60),
        seed in any::<u64>(),
    ) {
        const WINDOW: Duration = Duration::from_secs(60);
        // Old ones are in their window exactly; how one answers: 0 well, 1 as a mesh, 2 otherwise.
        let ages: Vec<Duration> = pods
            .iter()
            .map(|(old, _)| if *old { WINDOW } else { WINDOW - Duration::from_nanos(1) })
            .collect();
        let figure = |old: bool| if old { 7.0 } else { 2.5 };
        let mut random = seed;
        let mut scrape = Pods::new(&ages, WINDOW, || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 33
        });
        let mut asking: Vec<usize> = (0..scrape.at_once()).filter_map(|_| scrape.next_pod()).collect();
        let mut asked = BTreeSet::new();
        while let Some(pod) = asking.pop() {
            prop_assert!(asked.insert(pod), "nobody is asked twice");
            let (old, how) = pods[pod];
            if how == 0 {
                scrape.answered(Report {
                    average_concurrency: figure(old),
                    ..Report::default()
                });
                continue;
            }
            scrape.refused(if how == 1 { Refused::Mesh } else { Refused::Other });
            asking.extend(scrape.next_pod());
        }
        let s = sample_size(pods.len() as u32) as usize;
        let well = |wanted: bool| pods.iter().filter(|(old, how)| *old == wanted && *how == 0).count();
        let (old, young) = (well(true), well(false));
        let want = if old + young >= s {
            let old = old.min(s);
            let sum = old as f64 * figure(true) + (s - old) as f64 * figure(false);
            Ok(sum / s as f64 * pods.len() as f64)
        } else if old + young > 0 || pods.iter().any(|(_, how)| *how == 2) {
            Err(Failed::Exhausted)
        } else {
            Err(Failed::Unreachable)
        };
        let got = scrape.end().map(|report| report.average_concurrency);
        match (got, want) {
            (Ok(got), Ok(want)) => prop_assert!(near(got, want), "{got}, not {want}"),
            (got, want) => prop_assert_eq!(got, want),
        }
    }
}

#[test]
fn of_so_many_that_slots_are_taken_again_and_again_the_same_are_chosen() {
    let from: Vec<String> = (0..1500).map(|name| format!("pod-{name}")).collect();
    for target in ["ns/rev", "default/hello-00001", ""] {
        let mut got = subset(&from, 40, target);
        got.sort_unstable();
        assert_eq!(got, chosen(&from, 40, target), "{target:?}");
    }
}
