//! Environments that start, and ones that do not. Each variable by itself is in `src/env/tests.rs`.

use penstock_testkit::workload::Workload;

use crate::world::{Make, before, get};

fn nowhere() -> Make {
    before(([127, 0, 0, 1], 1).into())
}

#[tokio::test]
async fn case_137_all_mistakes_are_told_at_once_and_nothing_is_started() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    // Had anything been started, the taken port would be told as well.
    let make = nowhere()
        .with("PENSTOCK_ADMIN_PORT", &port)
        .with("CONTAINER_CONCURRENCY", "abc")
        .with("ENABLE_HTTP_FULL_DUPLEX", "yes")
        .with("OBSERVABILITY_CONFIG", r#"{"tracing":{"protocol":"x"}}"#)
        .with("SERVING_READINESS_PROBE", "\"probe\"")
        .without("SERVING_POD");
    let (code, out, told) = make.end_of(&[]).await;
    assert_eq!((code, &*out), (1, ""));
    let mut lines: Vec<_> = told.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 5, "{told}");
    assert_eq!(
        lines[..3],
        [
            "CONTAINER_CONCURRENCY=\"abc\" is not a whole number; below 1 is no limit",
            "ENABLE_HTTP_FULL_DUPLEX=\"yes\" is not true or false",
            "OBSERVABILITY_CONFIG.tracing.protocol=\"x\" is not none, http/protobuf, grpc or stdout",
        ]
    );
    assert!(lines[3].starts_with("SERVING_POD is not set"), "{told}");
    assert!(lines[4].starts_with("SERVING_READINESS_PROBE="), "{told}");
}

#[tokio::test]
async fn case_139_a_limit_of_zero_is_504_for_every_request() {
    let workload = Workload::start().await;
    let make = before(workload.addr()).with("REVISION_TIMEOUT_SECONDS", "0");
    let program = make.start().await;
    for _ in 0..2 {
        let answer = get(program.at("main"), "/status/200").await;
        assert_eq!(answer, (504, "request timeout".to_owned()));
    }
}

/// What `config-logging` has in an installation, and a controller's further variables.
#[tokio::test]
async fn the_environment_of_a_cluster_starts_and_its_lines_are_as_configured() {
    let workload = Workload::start().await;
    let logging = r#"{"level":"info","development":false,"outputPaths":["stderr"],
        "errorOutputPaths":["stderr"],"encoding":"json","encoderConfig":{"timeKey":"timestamp",
        "levelKey":"severity","nameKey":"logger","callerKey":"caller","messageKey":"message",
        "stacktraceKey":"stacktrace","lineEnding":"","levelEncoder":"","timeEncoder":"iso8601",
        "durationEncoder":"","callerEncoder":""}}"#;
    let port = workload.addr().port();
    let probe =
        format!(r#"{{"tcpSocket":{{"port":{port},"host":"127.0.0.1"}},"successThreshold":1}}"#);
    let make = before(workload.addr())
        .with("SERVING_LOGGING_CONFIG", logging)
        .with("SERVING_READINESS_PROBE", &probe)
        .with(
            "OBSERVABILITY_CONFIG",
            r#"{"requestMetrics":{"protocol":"none"}}"#,
        )
        .with("SYSTEM_NAMESPACE", "knative-serving")
        .with("ROOT_CA", "");
    let program = make.start().await;
    let line = &program.serving;
    assert_eq!(line["severity"], "INFO");
    assert_eq!(line["logger"], "queueproxy");
    assert_eq!(line["knative.dev/key"], "ns/rev");
    assert_eq!(line["knative.dev/pod"], "pod-x");
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert!(line["caller"].as_str().unwrap().contains("program.rs:"));
    assert!(line.get("metrics").is_none());
    assert!(program.before.is_empty(), "{:?}", program.before);
    assert_eq!(crate::world::probe(&program).await, 200);
    assert_eq!(get(program.at("main"), "/status/204").await.0, 204);
}

#[tokio::test]
async fn an_installation_of_1_18_starts_and_its_dashboards_find_their_series() {
    let workload = Workload::start().await;
    let make = before(workload.addr())
        .with("SERVING_REQUEST_METRICS_BACKEND", "prometheus")
        .with("SERVING_REQUEST_METRICS_REPORTING_PERIOD_SECONDS", "5")
        .with("SERVING_REQUEST_LOG_TEMPLATE", "")
        .with("SERVING_ENABLE_REQUEST_LOG", "false")
        .with("SERVING_ENABLE_PROBE_REQUEST_LOG", "false")
        .with("METRICS_COLLECTOR_ADDRESS", "")
        .with("METRICS_DOMAIN", "knative.dev/internal/serving")
        .with("TRACING_CONFIG_BACKEND", "none")
        .with("TRACING_CONFIG_DEBUG", "false")
        .with("TRACING_CONFIG_SAMPLE_RATE", "0.1")
        .with("ENABLE_PROFILING", "false")
        .with("PENSTOCK_METRICS_PORT", "0");
    let program = make.start().await;
    assert_eq!(get(program.at("main"), "/status/204").await.0, 204);
    let (status, page) = get(program.at("metrics"), "/metrics").await;
    assert_eq!(status, 200);
    let counted = page
        .lines()
        .find(|line| line.starts_with("revision_request_count{"))
        .unwrap();
    for label in [
        "namespace_name=\"ns\"",
        "service_name=\"svc\"",
        "configuration_name=\"cfg\"",
        "revision_name=\"rev\"",
        "pod_name=\"pod-x\"",
        "response_code=\"204\"",
    ] {
        assert!(counted.contains(label), "{counted}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_one_line_and_the_rest_works() {
    let workload = Workload::start().await;
    let config = r#"{"requestMetrics":{"protocol":"grpc","endpoint":"collector:4317"},
        "tracing":{"protocol":"grpc"},"runtime":{"profiling":"enabled"}}"#;
    let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
    let make = make.with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let program = make.start().await;
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
    assert_eq!(program.before.len(), 1, "{:?}", program.before);
    let line = &program.before[0];
    assert_eq!(line["severity"], "WARNING");
    let said = line["message"].as_str().unwrap();
    let missing: &[&str] = if cfg!(feature = "otlp") {
        &["OTEL_EXPORTER_OTLP_COMPRESSION=", "profiles"]
    } else {
        &["metrics by grpc", "traces by grpc", "profiles"]
    };
    for missing in missing {
        assert!(said.contains(missing), "{said}");
    }
}

#[tokio::test]
async fn lines_go_to_every_output_that_can_be_opened() {
    let folder = std::env::temp_dir().join(format!("penstock-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (good, bad) = (folder.join("log"), folder.join("none/log"));
    let config = serde_json::json!({ "outputPaths": [good, bad, "stderr"] }).to_string();
    let program = nowhere()
        .with("SERVING_LOGGING_CONFIG", &config)
        .start()
        .await;
    let said = program.before[0]["message"].as_str().unwrap();
    assert!(said.contains("none/log cannot be logged to"), "{said}");
    let kept = std::fs::read_to_string(&good).unwrap();
    assert!(kept.contains("\"serving\""), "{kept}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn it_tells_what_it_takes() {
    let (code, help, _) = nowhere().end_of(&["--help"]).await;
    assert_eq!(code, 0);
    assert!(help.contains("PENSTOCK_DRAIN_QUIET_MS"), "{help}");
    let (code, version, _) = nowhere().end_of(&["--version"]).await;
    let want = format!("queue-proxy {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((code, version), (0, want));
    let (code, _, told) = nowhere().end_of(&["--port=1"]).await;
    assert_eq!(code, 1);
    assert!(told.contains("not \"--port=1\""), "{told}");
}
