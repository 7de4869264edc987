//! Lines about requests, and their spans: spec/activator.md §2.8, §8.

use std::io::{self, Write};
use std::sync::Arc;

use http::StatusCode;
use penstock_activator::{Options, RequestLines};
use penstock_runtime::request_log::{Lines, RequestLog, STOCK_TEMPLATE};
use penstock_runtime::trace::{Sampler, Tracer};
use penstock_testkit::client::{RawClient, body};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::stage::{Bound, HOST, Stage, hello, post, request, within};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Tells what is written to it.
struct Told(UnboundedSender<String>);

impl Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An activator that tells, and what it tells.
struct Telling {
    stage: Stage,
    log: Arc<RequestLog>,
    lines: UnboundedReceiver<String>,
    spans: UnboundedReceiver<String>,
}

impl Telling {
    fn before(revision: impl Into<penstock_cluster::Revision>, template: &str) -> Self {
        let (to_lines, lines) = unbounded_channel();
        let (to_spans, spans) = unbounded_channel();
        let log = RequestLog::compile(template, Lines::to(Told(to_lines)).unwrap());
        let log = Arc::new(log.unwrap());
        let spans_to = Lines::to(Told(to_spans)).unwrap();
        let tracer = Tracer::to_lines(Sampler::ALWAYS, spans_to, &[]);
        let bound = Bound::before([revision.into()]);
        let bound = bound.telling(RequestLines::to(Arc::clone(&log)), Arc::new(tracer));
        Self {
            stage: bound.start(Options::default()),
            log,
            lines,
            spans,
        }
    }

    async fn line(&mut self) -> String {
        within(self.lines.recv()).await.unwrap()
    }

    async fn span(&mut self) -> Value {
        let line = within(self.spans.recv()).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

#[tokio::test]
async fn case_116_lines_come_and_go_with_the_template_and_a_bad_one_changes_nothing() {
    let one = Workload::start().await;
    let mut telling = Telling::before(hello().pod(one.addr()), "");
    telling.stage.get("/a").await;
    telling
        .log
        .replace("{{.Request.RequestURI}} {{.Revision.Name}} {{.Revision.Service}}")
        .unwrap();
    telling.stage.get("/b").await;
    assert_eq!(telling.line().await, "/b hello-00001 hello\n");
    telling.log.replace("{{.Request").unwrap_err();
    telling.stage.get("/c").await;
    assert_eq!(telling.line().await, "/c hello-00001 hello\n");
    telling.log.replace("").unwrap();
    telling.stage.get("/d").await;
    telling.log.replace("last").unwrap();
    telling.stage.get("/e").await;
    assert_eq!(telling.line().await, "last\n");
    telling.stage.end().await;
}

#[tokio::test]
async fn the_stock_line_tells_what_happened_and_not_which_pod_it_was() {
    let one = Workload::start().await;
    let mut telling = Telling::before(hello().pod(one.addr()), STOCK_TEMPLATE);
    let mut client = telling.stage.client().await;
    let mut upload = post("/echo?a=b", body("hello"));
    upload
        .headers_mut()
        .insert("user-agent", "gold".parse().unwrap());
    client.ask(upload).await.unwrap();
    let line = telling.line().await;
    let json: Value = serde_json::from_str(&line).unwrap();
    let of = &json["httpRequest"];
    let told = [
        "requestMethod",
        "requestSize",
        "responseSize",
        "userAgent",
        "serverIp",
    ];
    let told = told.map(|key| of[key].as_str().unwrap());
    assert_eq!(told, ["POST", "5", "5", "gold", ""]);
    assert_eq!(of["status"], 200);
    assert_eq!(json["traceId"], "");
    telling.stage.end().await;
}

#[tokio::test]
async fn case_24_what_has_no_revision_has_empty_fields_and_is_told_all_the_same() {
    let template = "{{.Response.Code}} <{{.Revision.Name}}{{.Revision.Service}}>";
    let mut unnamed = hello().build();
    unnamed.service = "".into();
    unnamed.configuration = "".into();
    let one = Workload::start().await;
    unnamed.pods = [penstock_testkit::cluster::pod(one.addr())].into();
    let mut telling = Telling::before(unnamed, template);
    let mut client = telling.stage.client().await;
    let answer = client.get("nobody", "/").await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(telling.line().await, "404 <>\n");
    assert_eq!(telling.stage.get("/").await.status, StatusCode::OK);
    assert_eq!(telling.line().await, "200 <hello-00001>\n");
    let labels = ["kn_service_name=\"\"", "kn_revision_name=\"hello-00001\""];
    let name = "http_server_request_duration_seconds_count";
    crate::stage::until(|| telling.stage.metric(name, &labels) == Some(1.0)).await;
    telling.stage.end().await;
}

#[tokio::test]
async fn cases_25_and_117_an_answer_that_breaks_off_breaks_off_and_is_told_as_one_that_failed() {
    let breaking = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
    let one = RawWorkload::start([Turn::close(breaking), Turn::close(breaking)]).await;
    let template = "{{.Response.Code}} {{.Response.Size}} {{.Revision.Namespace}}";
    let mut telling = Telling::before(hello().pod(one.addr()), template);
    let mut client = RawClient::connect(telling.stage.addr).await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    assert_eq!(within(client.read_head()).await.status, 200);
    let rest = within(client.read_to_close()).await;
    assert!(rest.len() < 100, "{rest:?}");
    assert_eq!(telling.line().await, "500 0 default\n");
    // A field that there is none of is told in place of the line.
    telling.log.replace("{{.Nothing}}").unwrap();
    telling
        .stage
        .client()
        .await
        .get("nobody", "/x")
        .await
        .unwrap();
    let line = telling.line().await;
    let want = "Invalid request log template: method: GET, response code: 404, latency: ";
    assert!(line.starts_with(want), "{line}");
    telling.stage.end().await;
}

#[tokio::test]
async fn case_22_spans_end_from_the_inside_out_and_the_pod_hears_of_the_innermost() {
    let one = Workload::start().await;
    let mut telling = Telling::before(hello().pod(one.addr()), "");
    let mut client = telling.stage.client().await;
    let mut asked = post("/", body("x"));
    let parent = format!("00-{TRACE}-{SPAN}-01");
    asked
        .headers_mut()
        .insert("traceparent", parent.parse().unwrap());
    let answer = client.ask(asked).await.unwrap();
    let spans = [
        telling.span().await,
        telling.span().await,
        telling.span().await,
        telling.span().await,
    ];
    let names = spans.each_ref().map(|span| span["Name"].as_str().unwrap());
    assert_eq!(
        names,
        ["throttler_try", "POST /", "activator_proxy", "POST"]
    );
    let id = |span: &Value| span["SpanContext"]["SpanID"].as_str().unwrap().to_owned();
    let parent = |span: &Value| span["Parent"]["SpanID"].as_str().unwrap().to_owned();
    let [tried, client, proxy, server] = &spans;
    assert_eq!(parent(server), SPAN);
    assert_eq!([parent(tried), parent(proxy)], [id(server), id(server)]);
    assert_eq!(parent(client), id(proxy));
    for span in &spans {
        assert_eq!(span["SpanContext"]["TraceID"], TRACE);
        assert_eq!(span["Status"]["Code"], "Unset");
    }
    let seen = penstock_testkit::workload::Seen::parse(&answer.body);
    let heard = format!("00-{TRACE}-{}-01", id(client));
    assert_eq!(seen.header("traceparent"), Some(&*heard));
    telling.stage.end().await;
}

#[tokio::test]
async fn case_22_a_wait_that_ends_without_a_slot_is_a_span_that_failed() {
    let timeouts = penstock_types::Timeouts {
        whole: std::time::Duration::from_millis(50),
        ..Default::default()
    };
    let mut telling = Telling::before(hello().timeouts(timeouts), "");
    assert_eq!(telling.stage.get("/").await.status, 504);
    let (tried, server) = (telling.span().await, telling.span().await);
    assert_eq!([&tried["Name"], &server["Name"]], ["throttler_try", "GET"]);
    for span in [tried, server] {
        assert_eq!(span["Status"]["Code"], "Error", "{span}");
    }
    telling.stage.end().await;
}

#[tokio::test]
async fn case_118_the_trace_in_a_line_is_that_of_w3c_before_b3s() {
    let one = Workload::start().await;
    let mut telling = Telling::before(hello().pod(one.addr()), "<{{.TraceID}}>");
    let w3c = format!("00-{TRACE}-{SPAN}-01");
    let table: [(&[(&str, &str)], &str); 4] = [
        (&[("traceparent", &w3c), ("x-b3-traceid", "b3")], TRACE),
        (&[("x-b3-traceid", "b3")], "b3"),
        (&[("traceparent", "malformed")], ""),
        (&[], ""),
    ];
    for (headers, want) in table {
        let mut client = telling.stage.client().await;
        client.ask(request(headers)).await.unwrap();
        assert_eq!(telling.line().await, format!("<{want}>\n"), "{headers:?}");
    }
    telling.stage.end().await;
}
