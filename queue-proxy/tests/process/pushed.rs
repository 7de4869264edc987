//! Metrics that are pushed to a collector: spec/queue-proxy.md §1.1, §7.1, §7.2.

use std::time::Duration;

use penstock_testkit::workload::Workload;
use prost::Message;
use rustix::process::Signal;

use crate::collector::{Attribute, Attributes, Collector, Taken};
use crate::tls::Folder;
use crate::world::{Make, before, get};

const NEVER: &str = "3600000";
const PROTOCOLS: [(&str, &str); 2] = [
    ("http/protobuf", "/v1/metrics"),
    (
        "grpc",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    ),
];

/// What OTLP's messages have of what is looked at here.
#[derive(Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
}

#[derive(Message)]
struct Resource {
    #[prost(message, optional, tag = "1")]
    of: Option<Attributes>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Message)]
struct Scope {
    #[prost(message, optional, tag = "1")]
    of: Option<Name>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Numbers>,
    #[prost(message, optional, tag = "9")]
    histogram: Option<Histograms>,
}

#[derive(Message)]
struct Numbers {
    #[prost(message, repeated, tag = "1")]
    points: Vec<Number>,
}

#[derive(Message)]
struct Number {
    #[prost(double, tag = "4")]
    value: f64,
}

#[derive(Message)]
struct Histograms {
    #[prost(message, repeated, tag = "1")]
    points: Vec<Histogram>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Message)]
struct Histogram {
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(fixed64, tag = "2")]
    since: u64,
    #[prost(fixed64, tag = "3")]
    now: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
}

impl Export {
    fn of(taken: Taken) -> Self {
        Self::decode(taken.message).unwrap()
    }

    fn metric(&self, name: &str) -> Option<&Metric> {
        let scopes = self.resources.iter().flat_map(|resource| &resource.scopes);
        let mut metrics = scopes.flat_map(|scope| &scope.metrics);
        metrics.find(|metric| metric.name == name)
    }

    /// How many were counted with that status.
    fn count(&self, name: &str, status: i64) -> u64 {
        let histogram = self.metric(name).and_then(|it| it.histogram.as_ref());
        let points = histogram.map_or(&[][..], |histogram| &histogram.points);
        let of_status = |point: &&Histogram| {
            let mut attributes = point.attributes.iter();
            attributes.any(|it| it.key == "http.response.status_code" && it.number() == status)
        };
        points.iter().filter(of_status).map(|it| it.count).sum()
    }
}

fn pushing(make: Make, protocol: &str, endpoint: &str) -> Make {
    let config = format!(
        r#"{{"requestMetrics":{{"protocol":"{protocol}","endpoint":"{endpoint}",
            "exportInterval":3600000000000}}}}"#
    );
    make.with("OBSERVABILITY_CONFIG", &config)
        .with("CONTAINER_CONCURRENCY", "10")
        .quiet(Duration::ZERO)
}

#[tokio::test]
async fn metrics_are_pushed_again_and_again_and_a_last_time_at_the_end() {
    let workload = Workload::start().await;
    for (protocol, path) in PROTOCOLS {
        let mut collector = Collector::start(protocol, [], None).await;
        let make = before(workload.addr()).with("OTEL_METRIC_EXPORT_INTERVAL", "20");
        let make = make
            .with("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b")
            .with("OTEL_RESOURCE_ATTRIBUTES", "team=blue,service.name=other");
        let endpoint = format!("http://{}", collector.addr);
        let program = pushing(make, protocol, &endpoint).start().await;
        assert!(program.before.is_empty(), "{:?}", program.before);
        for count in [1, 2, 3] {
            assert_eq!(get(program.at("main"), "/status/404").await.0, 404);
            // What is told is the sum since the start.
            loop {
                let taken = collector.next().await;
                assert_eq!(taken.path, path);
                assert_eq!(taken.headers["api-key"], "a b");
                let seen = Export::of(taken).count("http.server.request.duration", 404);
                assert!(seen <= count);
                if seen == count {
                    break;
                }
            }
        }
        assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await.0, 0);
        let last = Export::of(collector.rest().pop().unwrap());
        for name in [
            "http.server.request.duration",
            "http.server.response.body.size",
            "http.client.request.duration",
            "kn.serving.invocation.duration",
        ] {
            let counts = [404, 200].map(|status| last.count(name, status));
            assert_eq!(counts, [3, 1], "{name}: {last:?}");
        }
        let duration = last.metric("http.server.request.duration").unwrap();
        assert_eq!(duration.unit, "s");
        let histogram = duration.histogram.as_ref().unwrap();
        assert_eq!(histogram.temporality, 2); // cumulative
        for point in &histogram.points {
            assert_eq!(point.bounds.len(), 14);
            assert_eq!(point.counts.len(), 15);
            assert_eq!(point.counts.iter().sum::<u64>(), point.count);
            assert!(point.sum.unwrap() > 0.0 && point.since < point.now);
        }
        let depth = last.metric("kn.serving.queue.depth").unwrap();
        assert_eq!(depth.gauge.as_ref().unwrap().points[0].value, 1.0);
        let [resource] = &last.resources[..] else {
            panic!("{last:?}");
        };
        let told = |key: &str| resource.of.as_ref().unwrap().text(key);
        let keys = ["service.name", "team", "kn.revision.name"];
        assert_eq!(keys.map(told), [Some("svc"), Some("blue"), Some("rev")]);
        let mut scopes: Vec<_> = resource
            .scopes
            .iter()
            .map(|scope| &*scope.of.as_ref().unwrap().name)
            .collect();
        scopes.sort_unstable();
        let http = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp";
        assert_eq!(scopes, [http, "knative.dev/serving/pkg/queue"]);
    }
}

#[tokio::test]
async fn a_collector_that_is_not_ready_gets_it_again_and_one_that_refuses_does_not() {
    let workload = Workload::start().await;
    // gRPC: 14 is UNAVAILABLE, 3 is INVALID_ARGUMENT.
    for (protocol, later, never) in [("http/protobuf", 503, 400), ("grpc", 14, 3)] {
        let mut collector = Collector::start(protocol, [never, later], None).await;
        let endpoint = format!("http://{}", collector.addr);
        let make = before(workload.addr()).with("OTEL_METRIC_EXPORT_INTERVAL", "5");
        let mut program = pushing(make, protocol, &endpoint).start().await;
        let (first, second) = (collector.next().await, collector.next().await);
        assert_eq!(first.message, second.message);
        let line = program
            .until_logged(&format!(
                "metrics did not get to {}",
                url(&endpoint, protocol)
            ))
            .await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains(&format!("{never}")), "{error}");
        // And the next are taken.
        assert_ne!(collector.next().await.message, second.message);
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await.0, 0);
    }
}

/// As it is told.
fn url(endpoint: &str, protocol: &str) -> String {
    let (_, path) = PROTOCOLS.into_iter().find(|it| it.0 == protocol).unwrap();
    format!("{endpoint}{path}")
}

#[tokio::test]
async fn a_name_without_a_scheme_is_reached_by_tls_and_has_to_prove_itself() {
    let workload = Workload::start().await;
    let folder = Folder::new("pushed");
    for (protocol, path) in PROTOCOLS {
        let pem = (folder.text("tls.crt"), folder.text("tls.key"));
        let mut collector = Collector::start(protocol, [], Some(pem)).await;
        let endpoint = format!("localhost:{}", collector.addr.port());
        let make = pushing(before(workload.addr()), protocol, &endpoint);
        let make = make.with("OTEL_METRIC_EXPORT_INTERVAL", NEVER);
        // Nobody vouches for it.
        let program = make.start().await;
        program.signal(Signal::TERM);
        let (code, log) = program.ended().await;
        assert_eq!(code, 0);
        let said = format!("metrics did not get to https://{endpoint}{path}");
        assert!(log.contains(&said), "{log}");
        assert!(collector.rest().is_empty());
        let make = make.with("OTEL_EXPORTER_OTLP_CERTIFICATE", &folder.text("tls.crt"));
        let program = make.start().await;
        assert_eq!(get(program.at("main"), "/status/204").await.0, 204);
        program.signal(Signal::TERM);
        let (code, log) = program.ended().await;
        assert_eq!((code, log.contains("did not get to")), (0, false), "{log}");
        let last = Export::of(collector.rest().pop().unwrap());
        assert_eq!(last.count("kn.serving.invocation.duration", 204), 1);
    }
}
