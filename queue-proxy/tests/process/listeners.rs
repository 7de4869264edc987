//! Who listens where, and what happens if somebody else does.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use penstock_testkit::workload::Workload;
use penstock_types::stat::Stat;
use prost::Message;

use crate::world::{ask, before, get};

const PROMETHEUS: &str = r#"{"requestMetrics":{"protocol":"prometheus"}}"#;
const PROFILING: &str = r#"{"runtime":{"profiling":"enabled"}}"#;

/// A port that is taken on all addresses.
fn taken() -> (TcpListener, String) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    (listener, port)
}

#[tokio::test]
async fn case_138_a_taken_port_ends_it_and_is_named() {
    let workload = Workload::start().await;
    let table = [
        ("QUEUE_SERVING_PORT", "main"),
        ("PENSTOCK_ADMIN_PORT", "admin"),
        ("PENSTOCK_STATS_PORT", "statistics"),
        ("PROFILING_PORT", "profiling"),
    ];
    let (_taken, port) = taken();
    let told = |what: &str| format!("the {what} listener: cannot listen on ");
    let before = |addr| before(addr).with("OBSERVABILITY_CONFIG", PROFILING);
    for (name, what) in table {
        let make = before(workload.addr()).with(name, &port);
        let (code, _, log) = make.end_of(&[]).await;
        assert_eq!(code, 1, "{log}");
        assert!(log.contains(&told(what)), "{log}");
        assert!(
            log.contains(&format!(":{port}: the port is taken")),
            "{log}"
        );
        assert!(log.contains("\"severity\":\"ERROR\""), "{log}");
        assert!(!log.contains("\"serving\""), "{log}");
    }
    let make = table
        .iter()
        .fold(before(workload.addr()), |make, (name, _)| {
            make.with(name, &port)
        });
    let (code, _, log) = make.end_of(&[]).await;
    assert_eq!(code, 1);
    for (_, what) in table {
        assert!(log.contains(&told(what)), "{log}");
    }
}

#[tokio::test]
async fn case_138_a_taken_metrics_port_is_only_told() {
    let workload = Workload::start().await;
    let (_taken, port) = taken();
    let make = before(workload.addr())
        .with("OBSERVABILITY_CONFIG", PROMETHEUS)
        .with("METRICS_PROMETHEUS_PORT", &port);
    let program = make.start().await;
    assert_eq!(program.before.len(), 1, "{:?}", program.before);
    assert_eq!(program.before[0]["message"], "metrics cannot be scraped");
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
}

#[tokio::test]
async fn cases_36_42_and_45_statistics_are_protobuf_whatever_is_accepted() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).start().await;
    let addr = program.at("statistics");
    let accepts = [
        "",
        "text/plain",
        "application/protobuf",
        "text/plain;q=0.5, application/protobuf",
    ];
    for (method, accept) in ["GET", "POST", "GET", "DELETE"].into_iter().zip(accepts) {
        let accept = [("accept", accept)];
        let answer = ask(addr, method, "/metrics", &accept).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.headers["content-type"], "application/protobuf");
        let stat = Stat::decode(answer.body).unwrap();
        assert_eq!(stat.pod_name, "pod-x");
    }
    assert_eq!(get(addr, "/x").await.0, 404);
    // With the next report the time since the start is told.
    let started = |stat: Stat| stat.process_uptime >= 1.0;
    while !started(Stat::decode(ask(addr, "GET", "/metrics", &[]).await.body).unwrap()) {}
}

#[tokio::test]
async fn metrics_can_be_scraped_where_that_is_asked_for() {
    let workload = Workload::start().await;
    let make = before(workload.addr())
        .with("OBSERVABILITY_CONFIG", PROMETHEUS)
        .with("PENSTOCK_METRICS_PORT", "0")
        .with("HOSTNAME", "host-y");
    let program = make.start().await;
    assert_eq!(get(program.at("main"), "/status/204").await.0, 204);
    let addr = program.at("metrics");
    let answer = ask(addr, "GET", "/metrics", &[]).await;
    let content_type = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!(answer.headers["content-type"], content_type);
    let page = answer.text();
    for part in [
        "kn_serving_invocation_duration_seconds_count{http_response_status_code=\"204\"",
        "process_resident_memory_bytes ",
        "k8s_pod_name=\"host-y\"",
        "kn_revision_name=\"rev\"",
        "service_name=\"svc\"",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert_eq!(ask(addr, "POST", "/metrics", &[]).await.status, 405);
    assert_eq!(get(addr, "/").await.0, 404);
}

#[tokio::test]
async fn the_metrics_listener_may_be_kept_within_the_pod() {
    let workload = Workload::start().await;
    let make = before(workload.addr())
        .with("OBSERVABILITY_CONFIG", PROMETHEUS)
        .with("METRICS_PROMETHEUS_HOST", "127.0.0.1")
        .with("PENSTOCK_METRICS_PORT", "0");
    let program = make.start().await;
    let addr: SocketAddr = program.serving["metrics"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(addr.ip().is_loopback(), "{addr}");
    assert_eq!(get(addr, "/metrics").await.0, 200);
}

#[tokio::test]
async fn both_families_of_addresses_reach_every_listener_and_callers_keep_their_names() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).start().await;
    for what in ["main", "admin", "statistics"] {
        let v4 = program.at(what);
        assert!(TcpStream::connect(v4).is_ok(), "{what}");
        let told: SocketAddr = program.serving[what].as_str().unwrap().parse().unwrap();
        if told.is_ipv6() {
            let v6 = (Ipv6Addr::LOCALHOST, v4.port());
            assert!(TcpStream::connect(v6).is_ok(), "{what}");
        }
    }
    // Not as an address of IPv4 within IPv6.
    let seen = get(program.at("main"), "/seen").await.1;
    assert!(
        seen.contains("127.0.0.1") && !seen.contains("ffff"),
        "{seen}"
    );
}

#[tokio::test]
async fn case_60_the_admin_listener_knows_one_path() {
    let workload = Workload::start().await;
    let program = before(workload.addr()).start().await;
    assert_eq!(get(program.at("admin"), "/").await.0, 404);
    assert_eq!(get(program.at("admin"), "/metrics").await.0, 404);
}

#[tokio::test]
async fn where_the_original_serves_profiles_it_tells_of_threads_and_memory() {
    let workload = Workload::start().await;
    let make = before(workload.addr()).with("PROFILING_PORT", "0");
    // Nobody listens unless that is asked for.
    assert!(make.start().await.serving["profiling"].is_null());
    let program = make.with("OBSERVABILITY_CONFIG", PROFILING).start().await;
    let message = program.before[0]["message"].as_str().unwrap();
    assert!(message.contains("not there: sampled profiles"), "{message}");
    let addr = program.at("profiling");
    let (status, index) = get(addr, "/debug/pprof/").await;
    assert_eq!(status, 200);
    let pages: Vec<&str> = index.lines().collect();
    assert_eq!(pages.len(), 3, "{index}");
    for page in pages {
        assert_eq!(get(addr, page).await.0, 200, "{page}");
    }
    let (_, threads) = get(addr, "/debug/pprof/threads").await;
    assert!(threads.contains(" worker-0 "), "{threads}");
    let (_, line) = get(addr, "/debug/pprof/cmdline").await;
    assert!(line.contains("queue-proxy"), "{line}");
    let (status, instead) = get(addr, "/debug/pprof/profile?seconds=1").await;
    assert_eq!(status, 501);
    assert!(instead.contains("perf record"), "{instead}");
    assert_eq!(get(addr, "/metrics").await.0, 404);
    assert_eq!(ask(addr, "POST", "/debug/pprof/", &[]).await.status, 405);
}
