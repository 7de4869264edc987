//! Where spans go as the environment asks for it: spec/queue-proxy.md §1.1, §7.2, §7.3.

use penstock_testkit::workload::Workload;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::world::{before, get};

#[tokio::test]
async fn spans_go_to_standard_output_between_the_lines_of_requests() {
    let workload = Workload::start().await;
    let config = r#"{"tracing":{"protocol":"stdout"},"enableRequestLog":true,
        "requestLogTemplate":"\"{{.Request.RequestURI}}\""}"#;
    let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
    let mut program = make.with("HOSTNAME", "pod-x").start().await;
    assert!(program.before.is_empty(), "{:?}", program.before);
    let mut lines = BufReader::new(program.output()).lines();
    for path in ["/status/200", "/status/404"] {
        get(program.at("main"), path).await;
        let mut read = Vec::new();
        for _ in 0..4 {
            let line = lines.next_line().await.unwrap().unwrap();
            read.push(serde_json::from_str::<Value>(&line).unwrap());
        }
        let names: Vec<_> = read.iter().map(|line| &line["Name"]).collect();
        let want = ["GET", "kn.queueproxy.proxy", "HTTP GET"].map(Value::from);
        assert_eq!(read[0], path);
        assert_eq!(names[1..], want.each_ref());
        let resource = read[1]["Resource"].as_array().unwrap();
        for (name, value) in [("service.name", "svc"), ("k8s.pod.name", "pod-x")] {
            let told = |one: &&Value| one["Key"] == name && one["Value"]["Value"] == value;
            assert!(
                resource.iter().any(|one| told(&one)),
                "{name}: {resource:?}"
            );
        }
    }
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn a_collector_that_nobody_can_reach_is_said_and_requests_pass_as_they_are() {
    let workload = Workload::start().await;
    let config = r#"{"tracing":{"protocol":"http/protobuf","samplingRate":1}}"#;
    let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
    let program = make.start().await;
    let said = program.before[0]["message"].as_str().unwrap();
    assert!(said.contains("without the feature otlp"), "{said}");
    assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
}

#[cfg(feature = "otlp")]
mod to_a_collector {
    use prost::Message;
    use rustix::process::Signal;

    use super::*;
    use crate::collector::{Attributes, Collector};
    use crate::world::{QUIET, ask};

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
        #[prost(string, tag = "3")]
        schema: String,
    }

    #[derive(Message)]
    struct Scope {
        #[prost(message, repeated, tag = "2")]
        spans: Vec<Span>,
    }

    #[derive(Message)]
    struct Span {
        #[prost(bytes = "vec", tag = "1")]
        trace: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        parent: Vec<u8>,
        #[prost(string, tag = "5")]
        name: String,
        #[prost(int32, tag = "6")]
        kind: i32,
        #[prost(fixed64, tag = "7")]
        begun: u64,
        #[prost(fixed64, tag = "8")]
        ended: u64,
        #[prost(message, optional, tag = "15")]
        status: Option<Status>,
    }

    #[derive(Message)]
    struct Status {
        #[prost(int32, tag = "3")]
        code: i32,
    }

    #[tokio::test]
    async fn spans_go_to_a_collector_and_the_last_ones_before_the_end() {
        for (protocol, path) in [
            ("http/protobuf", "/v1/traces"),
            (
                "grpc",
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            ),
        ] {
            spans_go_there_before_the_end(protocol, path).await;
        }
    }

    async fn spans_go_there_before_the_end(protocol: &str, path: &str) {
        const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
        const SPAN: &str = "b7ad6b7169203331";
        let workload = Workload::start().await;
        let mut collector = Collector::start(protocol, [], None).await;
        let endpoint = format!("http://{}", collector.addr);
        let config = format!(
            r#"{{"tracing":{{"protocol":"{protocol}","endpoint":"{endpoint}","samplingRate":1}}}}"#
        );
        let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", &config);
        let program = make.quiet(QUIET).start().await;
        assert!(program.before.is_empty(), "{:?}", program.before);
        let traceparent = format!("00-{TRACE}-{SPAN}-01");
        let headers = [("traceparent", &*traceparent)];
        ask(program.at("main"), "GET", "/status/500", &headers).await;
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await.0, 0);
        let taken = collector.next().await;
        assert_eq!(taken.path, path);
        let export = Export::decode(taken.message).unwrap();
        let [resource] = &export.resources[..] else {
            panic!("{export:?}");
        };
        assert!(resource.schema.contains("1.41.0"));
        let told = resource.of.as_ref().unwrap();
        assert_eq!(told.text("service.name"), Some("svc"));
        let spans = resource.scopes.iter().flat_map(|scope| &scope.spans);
        let spans: Vec<_> = spans.collect();
        let find = |name| *spans.iter().find(|span| span.name == name).unwrap();
        let (server, proxy, client) = (find("GET"), find("kn.queueproxy.proxy"), find("HTTP GET"));
        assert_eq!(spans.len(), 3);
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(
            (hex(&server.trace), hex(&server.parent)),
            (TRACE.into(), SPAN.into())
        );
        assert_eq!((&proxy.parent, &client.parent), (&server.id, &proxy.id));
        assert_eq!([server.kind, proxy.kind, client.kind], [2, 1, 3]);
        let code = |span: &Span| span.status.as_ref().map_or(0, |status| status.code);
        assert_eq!([server, proxy, client].map(code), [2, 0, 2]);
        assert!(server.begun < server.ended && server.begun <= client.begun);
    }

    #[tokio::test]
    async fn a_collector_that_is_gone_is_told_and_keeps_nobody_waiting() {
        let workload = Workload::start().await;
        let config = r#"{"tracing":{"protocol":"http/protobuf","samplingRate":1}}"#;
        let make = before(workload.addr()).with("OBSERVABILITY_CONFIG", config);
        let gone = "http://127.0.0.1:1/v1/traces";
        let make = make.with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", gone);
        let program = make.quiet(QUIET).start().await;
        assert_eq!(get(program.at("main"), "/status/200").await.0, 200);
        program.signal(Signal::TERM);
        let (code, rest) = program.ended().await;
        assert_eq!(code, 0);
        let said = "spans did not get to http://127.0.0.1:1/v1/traces";
        assert!(rest.contains(said), "{rest}");
    }
}
