//! Variables that stand for themselves.

use std::collections::BTreeSet;

use super::*;

#[test]
fn case_136_the_least_that_a_controller_sets_is_enough() {
    let setup = set(&[]);
    let ports = Ports {
        host: None,
        main: 8012,
        tls: Some(8112),
        admin: 8022,
        stats: 9090,
        profiling: 8008,
    };
    assert_eq!(setup.ports, ports);
    let user_addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    assert_eq!(setup.container.user_addr, user_addr);
    assert_eq!(setup.container.slots, Slots::from_concurrency(10));
    let timeouts = Timeouts {
        whole: Duration::from_secs(300),
        response_start: None,
        idle: None,
    };
    assert_eq!(setup.container.timeouts, timeouts);
    assert_eq!(setup.choices.pod, "pod");
    assert_eq!(setup.choices.kubelet, Kubelet::Node(Vec::new()));
    assert!(!setup.choices.detail);
    assert_eq!(setup.choices.late, Late::Told);
    assert_eq!(setup.observability.prometheus, None);
    assert_eq!(setup.observability.request_log, None);
    assert!(setup.observability.missing().is_empty());
    assert_eq!((setup.quiet, setup.grace), (QUIET, GRACE));
    assert_eq!(setup.workers, None);
}

#[test]
fn case_136_everything_may_be_set() {
    let setup = set(&[
        ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", "10"),
        ("REVISION_IDLE_TIMEOUT_SECONDS", "1000"),
        ("ENABLE_HTTP_FULL_DUPLEX", "T"),
        ("ENABLE_HTTP2_AUTO_DETECTION", "true"),
        ("ENABLE_MULTI_CONTAINER_PROBES", "1"),
        ("SERVING_READINESS_PROBE", "[]"),
        ("SERVING_SERVICE", "svc"),
        ("HOSTNAME", "host"),
        ("OTEL_SERVICE_NAME", "told"),
        ("HOST_IP", "10.0.0.1, fd00::1"),
        ("QUEUE_SERVING_TLS_PORT", ""),
        ("PENSTOCK_WORKERS", "3"),
        ("PENSTOCK_DRAIN_QUIET_MS", "250"),
        ("PENSTOCK_DRAIN_GRACE_MS", "0"),
        ("PENSTOCK_PROXY_STATUS_DETAIL", "true"),
        ("PENSTOCK_LATE_ANSWER", "reset"),
        ("PENSTOCK_ADMIN_PORT", "0"),
        ("PENSTOCK_STATS_PORT", "1"),
        ("PROFILING_PORT", "2"),
        ("NOBODY_KNOWS_THIS", "\u{0}"),
    ]);
    let timeouts = Timeouts {
        whole: Duration::from_secs(300),
        response_start: Some(Duration::from_secs(10)),
        idle: Some(Duration::from_secs(1000)),
    };
    assert_eq!(setup.container.timeouts, timeouts);
    assert_eq!(setup.identity.service, "svc");
    assert_eq!(setup.identity.host, "host");
    assert_eq!(setup.identity.telemetry_service, "told");
    let node: [IpAddr; 2] = [[10, 0, 0, 1].into(), "fd00::1".parse().unwrap()];
    assert_eq!(setup.choices.kubelet, Kubelet::Node(node.into()));
    assert!(setup.choices.detail);
    assert_eq!(setup.choices.late, Late::Reset);
    assert_eq!(setup.ports.tls, None);
    assert_eq!((setup.ports.admin, setup.ports.stats), (0, 1));
    assert_eq!(setup.ports.profiling, 2);
    assert_eq!(setup.workers, NonZeroUsize::new(3));
    let times = (Duration::from_millis(250), Duration::ZERO);
    assert_eq!((setup.quiet, setup.grace), times);
    let anyone = set(&[("PENSTOCK_KUBELET_PROBE", "anyone")]);
    assert_eq!(anyone.choices.kubelet, Kubelet::Anyone);
}

#[test]
fn case_17_the_concurrency_is_read_as_go_does() {
    let table = [
        ("0", Slots::Unlimited),
        ("-5", Slots::Unlimited),
        ("0x10", Slots::from_concurrency(16)),
        ("9223372036854775807", Slots::from_concurrency(u32::MAX)),
    ];
    for (text, want) in table {
        let setup = set(&[("CONTAINER_CONCURRENCY", text)]);
        assert_eq!(setup.container.slots, want, "{text}");
    }
}

#[test]
fn case_139_a_limit_of_zero_or_less_passes_at_once_and_a_huge_one_can_be_reckoned_with() {
    for text in ["0", "-1"] {
        let setup = set(&[("REVISION_TIMEOUT_SECONDS", text)]);
        assert_eq!(setup.container.timeouts.whole, Duration::ZERO, "{text}");
    }
    let setup = set(&[("REVISION_TIMEOUT_SECONDS", "9223372036854775807")]);
    let far = std::time::Instant::now().checked_add(setup.container.timeouts.whole);
    assert!(far.is_some());
}

#[test]
fn case_137_each_variable_that_is_required_is_missed() {
    for (name, _) in REQUIRED {
        let told = mistakes(&[(name, None)]);
        let start = format!("{name} is not set; it has to be ");
        assert!(told.starts_with(&start), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    // None of them hides another.
    let told = with(&REQUIRED.map(|(name, _)| (name, None))).unwrap_err();
    assert_eq!(told.0.len(), REQUIRED.len());
}

const COUNT: &str = "a whole number; below 1 is no limit";
const SECONDS: &str = "whole seconds; 0 is no limit";
const SWITCH: &str = "true or false";
const MILLIS: &str = "whole milliseconds";

/// Each variable with a text that is wrong, and what would be right.
const WRONG: [(&str, &str, &str); 26] = [
    ("CONTAINER_CONCURRENCY", "", COUNT),
    ("CONTAINER_CONCURRENCY", "abc", COUNT),
    ("QUEUE_SERVING_PORT", "http", PORT),
    ("QUEUE_SERVING_PORT", "", PORT),
    (
        "QUEUE_SERVING_TLS_PORT",
        "65536",
        "a port from 0 to 65535, or empty",
    ),
    ("USER_PORT", "0", "a port from 1 to 65535"),
    ("REVISION_TIMEOUT_SECONDS", "5s", "whole seconds"),
    ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", "", SECONDS),
    ("REVISION_IDLE_TIMEOUT_SECONDS", "1.5", SECONDS),
    ("ENABLE_HTTP_FULL_DUPLEX", "", SWITCH),
    ("ENABLE_HTTP_FULL_DUPLEX", "yes", SWITCH),
    ("ENABLE_HTTP2_AUTO_DETECTION", "on", SWITCH),
    ("ENABLE_MULTI_CONTAINER_PROBES", "2", SWITCH),
    (
        "SERVING_READINESS_PROBE",
        "{",
        "JSON: EOF while parsing an object at line 1 column 1",
    ),
    (
        "OBSERVABILITY_CONFIG",
        "prometheus",
        "JSON: expected value at line 1 column 1",
    ),
    ("PENSTOCK_WORKERS", "0", "a count from 1 to 1024"),
    ("PENSTOCK_WORKERS", "1025", "a count from 1 to 1024"),
    ("PENSTOCK_DRAIN_QUIET_MS", "-1", MILLIS),
    ("PENSTOCK_DRAIN_GRACE_MS", "1s", MILLIS),
    ("PENSTOCK_KUBELET_PROBE", "everyone", "node or anyone"),
    ("PENSTOCK_PROXY_STATUS_DETAIL", "", SWITCH),
    ("PENSTOCK_LATE_ANSWER", "end", "text or reset"),
    ("PENSTOCK_ADMIN_PORT", "-1", PORT),
    ("PENSTOCK_STATS_PORT", "x", PORT),
    ("PROFILING_PORT", "pprof", PORT),
    ("OBSERVABILITY_CONFIG", "[]", "an object"),
];

#[test]
fn case_137_each_variable_wrong_in_turn() {
    for (name, text, wanted) in WRONG {
        let told = mistakes(&[(name, Some(text))]);
        assert_eq!(told, format!("{name}={text:?} is not {wanted}"));
    }
}

#[test]
fn case_137_all_variables_wrong_at_once_are_told_at_once() {
    let changed: BTreeMap<&str, &str> = WRONG.map(|(name, text, _)| (name, text)).into();
    let changed: Vec<_> = changed.into_iter().map(|(n, v)| (n, Some(v))).collect();
    let told = with(&changed).unwrap_err();
    assert_eq!(told.0.len(), changed.len(), "{told}");
    for (name, _) in changed {
        assert!(told.0.iter().any(|bad| bad.name == name), "{name}");
    }
}

#[test]
fn every_variable_of_our_own_is_listed() {
    let asked = std::cell::RefCell::new(BTreeSet::new());
    let vars: BTreeMap<&str, &str> = REQUIRED.into();
    let metrics = r#"{"requestMetrics":{"protocol":"prometheus"}}"#;
    let get = |name: &str| {
        asked.borrow_mut().insert(name.to_owned());
        match name {
            "OBSERVABILITY_CONFIG" => Some(metrics.to_owned()),
            name => vars.get(name).map(|value| (*value).to_owned()),
        }
    };
    read(get, |_| false).unwrap();
    let asked = asked.into_inner().into_iter();
    let own: BTreeSet<_> = asked.filter(|name| name.starts_with("PENSTOCK_")).collect();
    assert_eq!(own, OWN.map(|(name, _, _)| name.to_owned()).into());
}
