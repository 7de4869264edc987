//! What installations before 1.19 set in place of `OBSERVABILITY_CONFIG`.

use super::*;

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
