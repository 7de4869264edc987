//! What single steps cost: the gate, a head, the statistics, the series of a request; a decision.

use std::hint::black_box;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};
use penstock_autoscaler::{PolicyKind, Scaler};
use penstock_gate::{Gate, Limits};
use penstock_runtime::metrics::{
    Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, Outcome as Ended, Peer, Scheme, Side,
};
use penstock_scaling::config::Config;
use penstock_scaling::spec::Spec;
use penstock_types::annotation::Annotations;
use penstock_types::demand::Demand;
use penstock_types::request_stats::RequestStats;
use penstock_types::{Reachability, RevisionId, Slots};
use prometheus::Registry;

use crate::process::{Outcome, median};

/// Repetitions of which the middle one counts, and what each of them repeats.
const BATCHES: usize = 31;
const TIMES: u32 = 50_000;

/// As curl sends it.
const SHORT: &[u8] = b"GET /hello HTTP/1.1\r\nHost: hello.default.example.com\r\n\
    User-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";

/// Prints a table.
pub(crate) fn run() -> Outcome {
    println!("\n### Single steps, {BATCHES} times {TIMES}\n");
    println!("| | ns |\n|---|---|");
    gate();
    heads()?;
    statistics();
    series()?;
    decisions();
    Ok(())
}

/// A report into a full window of 60 s, and the decision that it brings.
fn decisions() {
    let config = Config::default();
    let slots = Slots::from_concurrency(10);
    let annotations = Annotations::new();
    for kind in [PolicyKind::Knative, PolicyKind::Demand] {
        let spec = Spec::derive(&config, &annotations, slots, Reachability::Reachable);
        let mut now = Duration::from_secs(1_700_000_000);
        let mut scaler = Scaler::new(kind, spec, slots, 5, 5, now);
        let mut report = |requests: u32| {
            now += Duration::from_secs(1);
            let report = Demand {
                revision: RevisionId::new("default", "hello-00001"),
                average_concurrency: f64::from(requests),
                average_proxied_concurrency: 0.0,
                request_count: f64::from(requests),
                proxied_request_count: 0.0,
                waiting: 0,
                in_flight: requests,
                first: false,
            };
            scaler.observe(&report, 5, now);
            black_box(scaler.decide(5, now).pods);
        };
        for _ in 0..60 {
            report(30);
        }
        let mut requests = 0;
        measure(
            &format!("{}: a report and its decision", kind.as_str()),
            || {
                requests = (requests + 7) % 35;
                report(requests);
            },
        );
    }
}

fn measure(name: &str, mut step: impl FnMut()) {
    let mut batch = || {
        let start = Instant::now();
        for _ in 0..TIMES {
            step();
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    batch();
    println!(
        "| {name} | {:.0} |",
        median((0..BATCHES).map(|_| batch()).collect())
    );
}

fn gate() {
    let gate = Gate::new(Slots::from_concurrency(100), Limits { waiting: 1000 }, 0);
    gate.set_places(&[()]);
    measure("gate: a slot at once, and back", || {
        drop(black_box(gate.try_admit()));
    });
    let one = Gate::new(Slots::from_concurrency(1), Limits { waiting: 1000 }, 0);
    one.set_places(&[()]);
    let mut held = one.try_admit();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    measure("gate: into the line, a slot handed on", || {
        let mut waiting = Box::pin(one.admit());
        let _ = waiting.as_mut().poll(&mut cx);
        held = None;
        if let std::task::Poll::Ready(Ok(slot)) = waiting.as_mut().poll(&mut cx) {
            held = Some(slot);
        }
    });
    drop(held);
}

fn heads() -> Outcome {
    let many: String = (0..20)
        .map(|n| format!("X-Header-{n}: value {n}\r\n"))
        .collect();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").into_bytes();
    for (name, head) in [
        ("head of a request: 3 lines", SHORT),
        ("head of a request: 21 lines", &long),
    ] {
        penstock_relay::request_head(head).map_err(|error| error.to_string())?;
        measure(name, || {
            let _ = black_box(penstock_relay::request_head(black_box(head)));
        });
    }
    Ok(())
}

fn statistics() {
    let mut stats = RequestStats::new(Duration::ZERO);
    let mut now = Duration::ZERO;
    measure("statistics: a request in and out", || {
        now += Duration::from_micros(10);
        stats.enter(now, true);
        stats.leave(now + Duration::from_micros(5), true);
    });
    black_box(stats.report(now + Duration::from_secs(1)));
}

fn series() -> Outcome {
    let series = HttpSeries::register(&Registry::new(), HTTP_SCOPE, Side::Server, &[]);
    let series = series.map_err(|error| error.to_string())?;
    let seen = Exchange {
        duration: Duration::from_millis(1),
        request_bytes: 0,
        response_bytes: 13,
    };
    measure("series: one exchange counted", || {
        let labels = HttpLabels {
            method: &Method::GET,
            outcome: Ended::Status(StatusCode::OK),
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            peer: Peer::Host("hello.default.example.com"),
            further: &[],
        };
        series.observe(labels, seen);
    });
    Ok(())
}
