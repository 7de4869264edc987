//! What the loop exports: names, labels and units of both name sets, and how late decisions are.

use penstock_autoscaler::{Names, PolicyKind};
use penstock_cluster::{Phase, Pod};
use penstock_testkit::cluster::{ScriptedCluster, pod, revision};
use prometheus::{Registry, TextEncoder};

use crate::bench::{Bench, addrs, first, report};
use crate::{from_zero, hello};

/// Labels of each gauge of `hello-00001`.
const CURRENT: &str = "{k8s_namespace_name=\"default\",kn_configuration_name=\"hello\",\
                       kn_revision_name=\"hello-00001\",kn_service_name=\"hello\",\
                       otel_scope_name=\"knative.dev/serving/pkg/autoscaler\"}";
const CLASSIC: &str = "{configuration_name=\"hello\",namespace_name=\"default\",\
                       revision_name=\"hello-00001\",service_name=\"hello\"}";

fn scrape(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap()
}

fn must_have(text: &str, name: &str, labels: &str, value: i32) {
    let line = format!("\n{name}{labels} {value}\n");
    assert!(text.contains(&line), "{name}: {text}");
    let kind = format!("# TYPE {name} gauge\n");
    assert!(text.contains(&kind), "{name}: {text}");
}

/// Names of the gauges, and their values under 140 requests in 20 pods of 10 slots.
const GAUGES: [(&str, &str, i32); 11] = [
    ("kn_revision_pods_desired", "autoscaler_desired_pods", 20),
    (
        "kn_revision_pods_requested",
        "autoscaler_requested_pods",
        20,
    ),
    ("kn_revision_pods_count", "autoscaler_actual_pods", 20),
    (
        "kn_revision_pods_not_ready_count",
        "autoscaler_not_ready_pods",
        0,
    ),
    (
        "kn_revision_pods_pending_count",
        "autoscaler_pending_pods",
        0,
    ),
    (
        "kn_revision_pods_terminating_count",
        "autoscaler_terminating_pods",
        0,
    ),
    (
        "kn_revision_capacity_excess",
        "autoscaler_excess_burst_capacity",
        // The target burst capacity is 211.
        200 - 140 - 211,
    ),
    ("kn_revision_panic_mode", "autoscaler_panic_mode", 0),
    (
        "kn_revision_concurrency_stable",
        "autoscaler_stable_request_concurrency",
        140,
    ),
    (
        "kn_revision_concurrency_panic",
        "autoscaler_panic_request_concurrency",
        140,
    ),
    (
        "kn_revision_concurrency_target",
        "autoscaler_target_concurrency_per_pod",
        7,
    ),
];

#[tokio::test(start_paused = true)]
async fn the_gauges_of_both_name_sets_come_and_go_with_the_revision() {
    for (names, labels) in [(Names::Current, CURRENT), (Names::Classic, CLASSIC)] {
        let name = |gauge: &(&'static str, &'static str, i32)| match names {
            Names::Current => gauge.0,
            Names::Classic => gauge.1,
        };
        let hello_revision = revision("hello-00001").concurrency(10).build();
        let cluster = ScriptedCluster::obedient([hello_revision], addrs(20));
        let bench = Bench::named(&cluster, from_zero(), PolicyKind::Demand, names).await;
        let text = scrape(&bench.registry);
        for gauge in &GAUGES {
            match name(gauge) {
                // Nothing is ready: all of the target burst capacity is missing.
                it if it.contains("excess") => must_have(&text, it, labels, -211),
                it if it.contains("target") => must_have(&text, it, labels, 7),
                it => must_have(&text, it, labels, 0),
            }
        }
        let rps = ["rps", "requests_per_second"];
        assert!(
            !rps.iter().any(|it| text.contains(it)),
            "one family: {text}"
        );
        bench.send(vec![first(&hello(), 200)]).await;
        for _ in 0..3 {
            bench.wait(1).await;
            bench.send(vec![report(&hello(), 140.0, 0, 140)]).await;
        }
        bench.wait(2).await;
        let text = scrape(&bench.registry);
        for gauge in &GAUGES {
            must_have(&text, name(gauge), labels, gauge.2);
        }
        let other = match names {
            Names::Current => "autoscaler_desired",
            Names::Classic => "kn_",
        };
        assert!(!text.contains(&format!("\n{other}")), "{text}");
        cluster.remove(&hello());
        bench.settle().await;
        assert!(!scrape(&bench.registry).contains("hello"));
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_scaled_by_another_metric_has_the_gauges_of_that_one() {
    for (names, load, stays, gone) in [
        (
            Names::Current,
            ["stable", "panic", "target"].map(|it| format!("kn_revision_rps_{it}_per_second{{")),
            "kn_revision_pods_requested{",
            "concurrency",
        ),
        (
            Names::Classic,
            ["stable", "panic", "target"]
                .map(|it| format!("autoscaler_{it}_requests_per_second{{")),
            "autoscaler_requested_pods{",
            "concurrency",
        ),
    ] {
        let cluster = ScriptedCluster::new([revision("hello-00001").build()]);
        let bench = Bench::named(&cluster, from_zero(), PolicyKind::Demand, names).await;
        assert!(scrape(&bench.registry).contains(gone));
        cluster.put(revision("hello-00001").autoscaling("metric", "rps").build());
        bench.wait(3).await;
        let text = scrape(&bench.registry);
        for name in load.iter().map(String::as_str).chain([stays]) {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(!text.contains(gone), "{text}");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn pods_are_counted_by_their_phases() {
    let pods = [
        // phase, whether the container was started
        (Phase::Ready, true),
        (Phase::Ready, true),
        (Phase::Ready, true),
        (Phase::Starting, false),
        (Phase::Starting, true),
        (Phase::Draining, true),
    ];
    let mut hello_revision = revision("hello-00001").build();
    hello_revision.unplaced = 2;
    let pods = pods.into_iter().zip(addrs(6));
    hello_revision.pods = pods
        .map(|((phase, started), addr)| Pod {
            phase,
            started: pod(addr).started.filter(|_| started),
            ..pod(addr)
        })
        .collect();
    let cluster = ScriptedCluster::new([hello_revision]);
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Knative).await;
    let text = scrape(&bench.registry);
    for (name, value) in [
        ("kn_revision_pods_count", 3),
        ("kn_revision_pods_not_ready_count", 5),
        ("kn_revision_pods_pending_count", 3),
        ("kn_revision_pods_terminating_count", 1),
        // Several pods are a sign of load that nobody here has seen.
        ("kn_revision_panic_mode", 1),
    ] {
        must_have(&text, name, CURRENT, value);
    }
    bench.stop().await;
}

/// Decisions that a report brought, and how many of them within 100 ms.
fn latency(registry: &Registry) -> [u64; 2] {
    let name = "penstock_autoscaler_decision_latency_seconds";
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let histogram = family.unwrap().get_metric()[0].get_histogram();
    let buckets = histogram.get_bucket().iter();
    let soon = buckets.filter(|bucket| bucket.upper_bound() <= 0.1);
    let soon = soon.map(|bucket| bucket.cumulative_count()).max();
    [histogram.get_sample_count(), soon.unwrap()]
}

#[tokio::test(start_paused = true)]
async fn every_report_is_decided_on_within_a_tenth_of_a_second_and_not_at_the_next_tick() {
    let hello_revision = revision("hello-00001").concurrency(10).build();
    let cluster = ScriptedCluster::obedient([hello_revision], addrs(40));
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 100)]).await;
    bench.wait(3).await;
    assert_eq!(latency(&bench.registry), [1, 1]);
    for _ in 0..2 {
        bench.send(vec![report(&hello(), 70.0, 0, 70)]).await;
        bench.wait(1).await;
    }
    // Two tables one after the other: the load is in the second one.
    bench.send(vec![report(&hello(), 70.0, 0, 70)]).await;
    bench.settle().await;
    bench.send(vec![report(&hello(), 140.0, 0, 140)]).await;
    bench.settle().await;
    assert_eq!(bench.state("default/hello-00001").wanted, 10);
    assert_eq!(latency(&bench.registry), [4, 4]);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert_eq!(bench.state("default/hello-00001").wanted, 20);
    assert_eq!(latency(&bench.registry), [5, 5]);
    bench.stop().await;
}
