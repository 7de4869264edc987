use std::collections::{BTreeMap, BTreeSet};

use penstock_runtime::trace::Sampler;
use proptest::prelude::*;

use super::*;

/// The least that a controller sets.
const REQUIRED: [(&str, &str); 12] = [
    ("CONTAINER_CONCURRENCY", "10"),
    ("QUEUE_SERVING_PORT", "8012"),
    ("QUEUE_SERVING_TLS_PORT", "8112"),
    ("USER_PORT", "8080"),
    ("REVISION_TIMEOUT_SECONDS", "300"),
    ("SERVING_NAMESPACE", "ns"),
    ("SERVING_CONFIGURATION", ""),
    ("SERVING_REVISION", "rev"),
    ("SERVING_POD", "pod"),
    ("SERVING_POD_IP", "10.1.2.3"),
    ("SERVING_LOGGING_CONFIG", ""),
    ("SERVING_LOGGING_LEVEL", ""),
];

/// Reads what is required, with `changed` laid over it; `None` takes a variable away.
fn with(changed: &[(&str, Option<&str>)]) -> Result<Setup, BadVars> {
    let mut vars: BTreeMap<&str, &str> = REQUIRED.into();
    for &(name, value) in changed {
        match value {
            Some(value) => vars.insert(name, value),
            None => vars.remove(name),
        };
    }
    let get = |name: &str| vars.get(name).map(|value| (*value).to_owned());
    read(get, |_| false)
}

fn set(changed: &[(&str, &str)]) -> Setup {
    let changed: Vec<_> = changed.iter().map(|&(n, v)| (n, Some(v))).collect();
    with(&changed).unwrap()
}

fn mistakes(changed: &[(&str, Option<&str>)]) -> String {
    with(changed).unwrap_err().to_string()
}

#[test]
fn case_136_the_least_that_a_controller_sets_is_enough() {
    let setup = set(&[]);
    let ports = Ports {
        host: None,
        main: 8012,
        tls: Some(8112),
        admin: 8022,
        stats: 9090,
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
const PORT: &str = "a port from 0 to 65535";
const MILLIS: &str = "whole milliseconds";

/// Each variable with a text that is wrong, and what would be right.
const WRONG: [(&str, &str, &str); 25] = [
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

fn observed(config: &str) -> Observability {
    set(&[("OBSERVABILITY_CONFIG", config)]).observability
}

#[test]
fn an_empty_configuration_of_what_is_observed_is_the_default() {
    for config in [
        "",
        "{}",
        r#"{"tracing":{},"metrics":{},"runtime":{},"requestMetrics":{}}"#,
    ] {
        assert_eq!(observed(config), set(&[]).observability, "{config}");
    }
}

#[test]
fn what_is_observed_whatever_the_case_of_its_keys() {
    let seen = observed(
        r#"{"RequestMetrics":{"PROTOCOL":"prometheus","unknown":[]},"enablerequestlog":true,
            "enableProbeRequestLog":true,"requestLogTemplate":"{{.TraceID}}","metrics":7,
            "EnableVarLogCollection":"x","tracing":null}"#,
    );
    let prometheus = Prometheus {
        host: String::new(),
        port: 9091,
        names: Names::Current,
    };
    assert_eq!(seen.prometheus, Some(prometheus));
    let log = RequestLog {
        template: Some("{{.TraceID}}".to_owned()),
        probes: true,
    };
    assert_eq!(seen.request_log, Some(log));
    // A template alone switches nothing on.
    assert_eq!(observed(r#"{"requestLogTemplate":"x"}"#).request_log, None);
    let stock = observed(r#"{"enableRequestLog":true}"#).request_log;
    assert_eq!(stock.unwrap().template, None);
}

#[test]
fn what_is_not_there_is_accepted_and_said() {
    let seen = observed(
        r#"{"requestMetrics":{"protocol":"grpc","endpoint":"c:4317","exportInterval":5000000000},
            "tracing":{"protocol":"grpc","samplingRate":0.25},"runtime":{"profiling":"enabled"}}"#,
    );
    let missing = seen.missing();
    let last = missing.last().unwrap();
    assert!(last.starts_with("profiles on port 8008"), "{last}");
    if cfg!(feature = "otlp") {
        assert_eq!(missing.len(), 1, "{missing:?}");
    } else {
        assert_eq!(missing.len(), 3, "{missing:?}");
        assert!(missing[0].starts_with("pushing metrics by grpc (this program was built without"));
        assert!(missing[1].starts_with("traces by grpc"));
    }
}

#[test]
fn metrics_are_pushed_where_and_as_often_as_is_said_and_variables_win() {
    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT";
    const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
    let table = [
        // protocol, endpoint, interval in ns, variables, URL, milliseconds, ignored
        (
            "grpc",
            "c:4317",
            "5000000000",
            ["", ""],
            "https://c:4317/v1/metrics",
            5000,
            0,
        ),
        (
            "grpc",
            "",
            "0",
            ["", ""],
            "http://localhost:4317/v1/metrics",
            60_000,
            0,
        ),
        (
            "http/protobuf",
            "http://c",
            "1",
            ["", "250"],
            "http://c/v1/metrics",
            250,
            0,
        ),
        (
            "http/protobuf",
            "",
            "0",
            ["http://e/x", "0"],
            "http://e/x",
            60_000,
            1,
        ),
    ];
    for (protocol, endpoint, nanos, [by_variable, millis], url, want, ignored) in table {
        let config = format!(
            r#"{{"requestMetrics":{{"protocol":"{protocol}","endpoint":"{endpoint}",
                "exportInterval":{nanos}}}}}"#
        );
        let vars = [
            ("OBSERVABILITY_CONFIG", &*config),
            (ENDPOINT, by_variable),
            (INTERVAL, millis),
        ];
        let Some(Push::Otlp { wanted, interval }) = set(&vars).observability.push else {
            panic!("{config}");
        };
        assert_eq!(wanted.collector.url, url);
        assert_eq!(wanted.missing.len(), ignored, "{:?}", wanted.missing);
        assert_eq!(interval, Duration::from_millis(want));
    }
    let config = r#"{"requestMetrics":{"protocol":"grpc"}}"#;
    for (preference, ignored) in [("Cumulative", 0), ("delta", 1)] {
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let vars = [("OBSERVABILITY_CONFIG", config), (name, preference)];
        let Some(Push::Otlp { wanted, .. }) = set(&vars).observability.push else {
            panic!("{preference}");
        };
        assert_eq!(wanted.missing.len(), ignored, "{:?}", wanted.missing);
    }
    for part in ["requestMetrics", "tracing"] {
        let config = format!(r#"{{"{part}":{{"protocol":"grpc","endpoint":"10.1.2.3:4317"}}}}"#);
        assert_eq!(
            mistakes(&[("OBSERVABILITY_CONFIG", Some(&config))]),
            format!(
                "OBSERVABILITY_CONFIG.{part}.endpoint=\"10.1.2.3:4317\" is not an http:// or \
                 https:// URL, or name:port, which is reached by https"
            )
        );
    }
}

#[test]
fn telemetry_tells_what_an_operator_adds() {
    let setup = set(&[("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b,none,deployment=x")]);
    let want = [("team", "a b"), ("deployment", "x")];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(setup.identity.telemetry_attributes, want);
}

#[test]
fn every_mistake_in_what_is_observed_is_told_with_its_place() {
    let told = mistakes(&[(
        "OBSERVABILITY_CONFIG",
        Some(
            r#"{"requestMetrics":{"protocol":"statsd"},"tracing":{"protocol":"zipkin",
                "samplingRate":2},"runtime":{"profiling":true},"enableRequestLog":"true",
                "requestLogTemplate":7}"#,
        ),
    )]);
    let want = [
        r#"OBSERVABILITY_CONFIG.requestMetrics.protocol="statsd" is not none, prometheus, http/protobuf or grpc"#,
        r#"OBSERVABILITY_CONFIG.tracing.protocol="zipkin" is not none, http/protobuf, grpc or stdout"#,
        r#"OBSERVABILITY_CONFIG.tracing.samplingRate="2" is not a number from 0 to 1"#,
        r#"OBSERVABILITY_CONFIG.runtime.profiling="true" is not enabled or disabled"#,
        r#"OBSERVABILITY_CONFIG.enableRequestLog="true" is not true or false"#,
        r#"OBSERVABILITY_CONFIG.requestLogTemplate="7" is not a string"#,
    ];
    assert_eq!(told, want.join("\n"));
}

#[test]
fn the_metrics_listener_is_placed_by_the_endpoint_and_then_by_variables() {
    let table = [
        (":9095", "", "", "", 9095),
        ("127.0.0.1:9095", "", "", "127.0.0.1", 9095),
        ("[::1]:9095", "", "", "::1", 9095),
        ("127.0.0.1:9095", "::1", "1024", "::1", 1024),
        ("", "localhost", "", "localhost", 9091),
    ];
    for (endpoint, host, port, want_host, want_port) in table {
        let config =
            format!(r#"{{"requestMetrics":{{"protocol":"prometheus","endpoint":"{endpoint}"}}}}"#);
        let setup = set(&[
            ("OBSERVABILITY_CONFIG", &config),
            ("METRICS_PROMETHEUS_HOST", host),
            ("METRICS_PROMETHEUS_PORT", port),
        ]);
        let placed = setup.observability.prometheus.unwrap();
        assert_eq!((&*placed.host, placed.port), (want_host, want_port));
    }
    for endpoint in ["9095", "host", "::1:9095", ":0", ":70000", "host:"] {
        let config =
            format!(r#"{{"requestMetrics":{{"protocol":"prometheus","endpoint":"{endpoint}"}}}}"#);
        assert_eq!(
            mistakes(&[("OBSERVABILITY_CONFIG", Some(&config))]),
            format!(
                "OBSERVABILITY_CONFIG.requestMetrics.endpoint={endpoint:?} is not host:port, \
                 or empty for all addresses and 9091"
            )
        );
    }
}

#[test]
fn variables_of_the_metrics_listener_are_checked_where_there_is_one() {
    const CONFIG: &str = r#"{"requestMetrics":{"protocol":"prometheus"}}"#;
    let table = [
        (
            "METRICS_PROMETHEUS_PORT",
            "1023",
            "a port from 1024 to 65535, or empty",
        ),
        ("PENSTOCK_METRICS_PORT", "", PORT),
        ("PENSTOCK_METRICS_NAMES", "old", "current or classic"),
    ];
    for (name, text, wanted) in table {
        let wrong = [(name, Some(text)), ("OBSERVABILITY_CONFIG", Some(CONFIG))];
        assert_eq!(mistakes(&wrong), format!("{name}={text:?} is not {wanted}"));
    }
    let setup = set(&[
        ("OBSERVABILITY_CONFIG", CONFIG),
        ("METRICS_PROMETHEUS_PORT", "1024"),
        ("PENSTOCK_METRICS_PORT", "0"),
        ("PENSTOCK_METRICS_NAMES", "classic"),
    ]);
    let prometheus = setup.observability.prometheus.unwrap();
    assert_eq!((prometheus.port, prometheus.names), (0, Names::Classic));
}

/// What a controller of 1.18 sets beside what is required.
const OF_1_18: [(&str, &str); 14] = [
    ("SERVING_REQUEST_LOG_TEMPLATE", "{{.Request.URL}}"),
    ("SERVING_ENABLE_REQUEST_LOG", "true"),
    ("SERVING_ENABLE_PROBE_REQUEST_LOG", "false"),
    ("SERVING_REQUEST_METRICS_BACKEND", "prometheus"),
    ("SERVING_REQUEST_METRICS_REPORTING_PERIOD_SECONDS", "5"),
    ("METRICS_COLLECTOR_ADDRESS", ""),
    ("METRICS_DOMAIN", "knative.dev/internal/serving"),
    ("TRACING_CONFIG_BACKEND", "none"),
    ("TRACING_CONFIG_ZIPKIN_ENDPOINT", ""),
    ("TRACING_CONFIG_DEBUG", "false"),
    ("TRACING_CONFIG_SAMPLE_RATE", "0.1"),
    ("ENABLE_PROFILING", "false"),
    ("SYSTEM_NAMESPACE", "knative-serving"),
    ("ENABLE_HTTP2_AUTO_DETECTION", "false"),
];

#[test]
fn an_installation_of_1_18_keeps_its_names_and_its_lines() {
    let seen = set(&OF_1_18).observability;
    let prometheus = Prometheus {
        host: String::new(),
        port: 9091,
        names: Names::Classic,
    };
    assert_eq!(seen.prometheus, Some(prometheus));
    let log = RequestLog {
        template: Some("{{.Request.URL}}".to_owned()),
        probes: false,
    };
    assert_eq!(seen.request_log, Some(log));
    assert!(seen.missing().is_empty());
}

#[test]
fn what_an_installation_of_1_18_had_and_is_not_there_is_said() {
    let mut vars = OF_1_18.to_vec();
    vars.extend([
        ("SERVING_REQUEST_METRICS_BACKEND", "opencensus"),
        ("TRACING_CONFIG_BACKEND", "zipkin"),
        ("ENABLE_PROFILING", "true"),
    ]);
    let seen = set(&vars).observability;
    assert_eq!(seen.prometheus, None);
    assert_eq!(seen.missing().len(), 3);
    vars.push(("SERVING_REQUEST_METRICS_BACKEND", "carbon"));
    let vars: Vec<_> = vars.iter().map(|&(n, v)| (n, Some(v))).collect();
    assert_eq!(
        mistakes(&vars),
        "SERVING_REQUEST_METRICS_BACKEND=\"carbon\" is not prometheus, opencensus, none or empty"
    );
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

/// JSON that looks like the variable, and other text.
fn configurations() -> impl Strategy<Value = String> {
    let words = vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "null",
        "true",
        "1",
        "-1e999",
        "\\u0000",
        "\\",
        "\"requestMetrics\":",
        "\"protocol\":",
        "\"prometheus\"",
        "\"exportInterval\":",
        "\"tracing\":",
        "\"samplingRate\":",
        "\"runtime\":",
        "\"requestLog\":",
        "{{",
        "}}",
        "\"10s\"",
        "é",
    ];
    let some = proptest::collection::vec(proptest::sample::select(words), 0..30);
    prop_oneof![some.prop_map(|words| words.concat()), ".{0,100}"]
}

proptest! {
    #[test]
    fn whatever_the_observability_says_it_is_read_or_named(text in configurations()) {
        if let Err(bad) = with(&[("OBSERVABILITY_CONFIG", Some(&text))]) {
            prop_assert!(bad.to_string().contains("OBSERVABILITY_CONFIG"), "{bad}");
        }
    }

    #[test]
    fn an_observability_that_is_written_is_read(
        port in 1_u16..,
        // Shares that a decimal tells exactly.
        rate in (0..=64_u32).prop_map(|share| f64::from(share) / 64.0),
        template in any::<String>(),
        log: bool,
        probes: bool,
        upper: bool,
    ) {
        let mut config = serde_json::json!({
            "requestMetrics": {"protocol": "prometheus", "endpoint": format!("[::1]:{port}")},
            "tracing": {"protocol": "grpc", "samplingRate": rate},
            "requestLogTemplate": template,
            "enableProbeRequestLog": probes,
        });
        let name = if upper { "ENABLEREQUESTLOG" } else { "enableRequestLog" };
        config[name] = log.into();
        let seen = observed(&config.to_string());
        let prometheus = Prometheus { host: "::1".to_owned(), port, names: Names::Current };
        prop_assert_eq!(seen.prometheus, Some(prometheus));
        prop_assert_eq!(seen.traces.unwrap().sampler, Sampler::of_rate(rate));
        let lines = RequestLog { template: Some(template), probes };
        prop_assert_eq!(seen.request_log, log.then_some(lines));
    }
}
