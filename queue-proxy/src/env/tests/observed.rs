//! `OBSERVABILITY_CONFIG`, and the variables that are laid over it.

use penstock_runtime::trace::Sampler;
use proptest::prelude::*;

use super::*;

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
    assert!(last.starts_with("sampled profiles"), "{last}");
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
