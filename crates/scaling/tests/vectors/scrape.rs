//! `scrape.json`: one scrape each, of pods and through the Service.

use std::time::Duration;

use penstock_scaling::scrape::{Answer, Failed, Mesh, Pods, Reach, Refused, Service, Way, Worker};
use penstock_types::request_stats::Report;
use serde::Deserialize;

use crate::{Number, Vectors, close, ms, same};

#[derive(Deserialize)]
struct Case {
    #[serde(rename = "in")]
    given: Given,
    out: Wanted,
}

#[derive(Deserialize)]
struct Given {
    mesh_mode: String,
    passthrough_lb: bool,
    pods_addressable_before: bool,
    stable_window_ms: f64,
    pods: Vec<Group>,
    service: String,
    service_distinct_pods: usize,
}

/// Pods that are alike.
#[derive(Deserialize)]
struct Group {
    count: usize,
    age_ms: f64,
    direct: String,
    stat: [Number; 4],
}

#[derive(Deserialize)]
struct Wanted {
    error: String,
    empty: bool,
    stat: Option<[Number; 4]>,
    pods_addressable_after: bool,
    direct_pods_tried: usize,
    service_used: bool,
}

#[test]
fn scrapes() {
    Vectors::open("scrape.json").part("cases", run).end();
}

fn run(case: &Case) -> Result<(), String> {
    let (given, want) = (&case.given, &case.out);
    let pods: Vec<&Group> = given
        .pods
        .iter()
        .flat_map(|group| std::iter::repeat_n(group, group.count))
        .collect();
    let mut reach = Reach {
        addressable: given.pods_addressable_before,
        ..Reach::new(Mesh::named(&given.mesh_mode), given.passthrough_lb)
    };
    let (mut tried, mut service_used) = (0, false);
    let mut result = Ok(Report::default());
    if !pods.is_empty() {
        let mut fallen = false;
        let mut way = reach.first();
        if way == Way::Pods {
            result = ask_pods(given, &pods, &mut tried);
            if let Err(failed) = result
                && reach.falls_back(failed)
            {
                (way, fallen) = (Way::Service, true);
            }
        }
        if way == Way::Service {
            service_used = true;
            result = ask_service(given, &pods);
            if fallen && result.is_ok() {
                reach.fell_back();
            }
        }
    }
    let error = match result {
        Ok(_) => "none",
        Err(Failed::Exhausted) => "pods-exhausted",
        Err(Failed::Unreachable) => "direct-unavailable",
        Err(Failed::NoUnseenPod) => "no-unscraped-pod",
        Err(Failed::Transport) => "transport",
    };
    same("error", error, want.error.as_str())?;
    let empty = pods.is_empty() || result.is_err();
    same("empty", empty, want.empty)?;
    same(
        "addressable",
        reach.addressable,
        want.pods_addressable_after,
    )?;
    same("tried", tried, want.direct_pods_tried)?;
    same("service used", service_used, want.service_used)?;
    if let Some([concurrency, proxied, requests, proxied_requests]) = want.stat {
        let got = result.unwrap_or_default();
        close("concurrency", got.average_concurrency, concurrency)?;
        close("proxied", got.average_proxied_concurrency, proxied)?;
        close("requests", got.request_count, requests)?;
        close(
            "proxied requests",
            got.proxied_request_count,
            proxied_requests,
        )?;
    }
    Ok(())
}

/// All attempts of a round end together.
fn ask_pods(given: &Given, pods: &[&Group], tried: &mut usize) -> Result<Report, Failed> {
    let ages: Vec<Duration> = pods.iter().map(|pod| ms(pod.age_ms)).collect();
    let mut scrape = Pods::new(&ages, ms(given.stable_window_ms), || 3);
    let mut round: Vec<usize> = (0..scrape.at_once())
        .filter_map(|_| scrape.next_pod())
        .collect();
    while !round.is_empty() {
        *tried += round.len();
        let mut refused = 0;
        for pod in round {
            match pods[pod].direct.as_str() {
                "ok" => scrape.answered(report(pods[pod])),
                "mesh" => {
                    scrape.refused(Refused::Mesh);
                    refused += 1;
                }
                "status" | "other" => {
                    scrape.refused(Refused::Other);
                    refused += 1;
                }
                other => panic!("no scrape ends with {other:?}"),
            }
        }
        round = (0..refused).filter_map(|_| scrape.next_pod()).collect();
    }
    scrape.end()
}

/// The workers ask in turn.
fn ask_service(given: &Given, pods: &[&Group]) -> Result<Report, Failed> {
    let mut scrape = Service::new(pods.len() as u32, ms(given.stable_window_ms));
    let mut workers = vec![Worker::default(); scrape.workers()];
    let mut turns = (0..given.service_distinct_pods).cycle();
    while !workers.is_empty() {
        workers.retain_mut(|worker| {
            let turn = (given.service == "ok").then(|| turns.next()).flatten();
            let name = turn.map(|turn| format!("pod-{turn}"));
            let answer = turn.zip(name.as_deref()).map(|(turn, pod)| Answer {
                pod,
                uptime: pods[turn].age_ms / 1e3,
                report: report(pods[turn]),
            });
            scrape.heard(worker, answer)
        });
    }
    scrape.end()
}

fn report(pod: &Group) -> Report {
    let [concurrency, proxied, requests, proxied_requests] = pod.stat.map(|it| it.0);
    Report {
        average_concurrency: concurrency,
        average_proxied_concurrency: proxied,
        request_count: requests,
        proxied_request_count: proxied_requests,
    }
}
