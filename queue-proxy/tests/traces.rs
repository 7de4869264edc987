//! The spans of requests, and what the container hears of them: spec/queue-proxy.md §3.7, §7.3.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, StatusCode};
use penstock_queue_proxy::Choices;
use penstock_runtime::request_log::Lines;
use penstock_runtime::trace::{Sampler, Tracer};
use penstock_testkit::client::{Client, RawClient, body, empty};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::world::{Container, Proxy, before, has_line, nobody};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const NO_SPAN: &str = "0000000000000000";

/// Tells what is written to it.
struct Told(UnboundedSender<Span>);

impl Write for Told {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(Span(serde_json::from_slice(line)?));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One span, as it was written.
struct Span(Value);

impl Span {
    fn text(&self, path: &str) -> &str {
        self.0.pointer(path).unwrap().as_str().unwrap()
    }

    fn name(&self) -> &str {
        self.text("/Name")
    }

    fn id(&self) -> &str {
        self.text("/SpanContext/SpanID")
    }

    fn parent(&self) -> &str {
        self.text("/Parent/SpanID")
    }

    fn trace(&self) -> &str {
        self.text("/SpanContext/TraceID")
    }

    fn failed(&self) -> bool {
        self.text("/Status/Code") == "Error"
    }

    fn attributes(&self) -> BTreeMap<&str, String> {
        let all = self.0["Attributes"].as_array().unwrap().iter();
        all.map(|one| {
            let name = one["Key"].as_str().unwrap();
            let value = &one["Value"]["Value"];
            let text = value.as_str().map(str::to_owned);
            (name, text.unwrap_or_else(|| value.to_string()))
        })
        .collect()
    }
}

/// A queue-proxy that traces, and its spans.
struct Tracing {
    proxy: Proxy,
    spans: UnboundedReceiver<Span>,
}

impl Tracing {
    fn start(user_addr: SocketAddr, slots: u32, sampler: Sampler) -> Self {
        let (sender, spans) = unbounded_channel();
        let sink = Lines::to(Told(sender)).unwrap();
        let choices = Choices {
            tracer: Some(Arc::new(Tracer::to_lines(sampler, sink, &[]))),
            ..Choices::default()
        };
        let make = before(user_addr).slots(slots).choices(choices);
        Self {
            proxy: make.start(),
            spans,
        }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::get(path).header("host", "a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(empty()).unwrap();
        let mut client = Client::http1(self.proxy.addr()).await;
        client.ask(request).await.unwrap().status
    }

    /// The spans of one request, once their outermost is there, by name.
    async fn next<const N: usize>(&mut self, names: [&str; N]) -> [Span; N] {
        let mut spans = Vec::new();
        for name in names {
            let span = self.spans.recv().await.unwrap();
            assert_eq!(span.name(), name);
            spans.push(span);
        }
        spans.try_into().ok().unwrap()
    }

    /// Ends it; no span may be left that was not read.
    async fn end(mut self) {
        self.proxy.end().await;
        assert!(
            self.spans
                .recv()
                .await
                .is_none_or(|span| panic!("{:?}", span.0))
        );
    }
}

#[tokio::test]
async fn case_140_with_a_limit_there_are_wait_client_and_proxy_and_without_no_wait() {
    let workload = Workload::start().await;
    for (slots, names) in [
        (
            1,
            &[
                "GET",
                "kn.queueproxy.proxy",
                "kn.queueproxy.wait",
                "HTTP GET",
            ][..],
        ),
        (0, &["GET", "kn.queueproxy.proxy", "HTTP GET"][..]),
    ] {
        let mut tracing = Tracing::start(workload.addr(), slots, Sampler::ALWAYS);
        tracing.ask("/status/200", &[]).await;
        let mut parent = NO_SPAN.to_owned();
        let mut trace = None;
        for name in names {
            let [span] = tracing.next([*name]).await;
            assert_eq!(span.parent(), parent, "{name}");
            let trace = trace.get_or_insert_with(|| span.trace().to_owned());
            assert_eq!(span.trace(), trace);
            assert!(!span.failed());
            let scope = span.text("/InstrumentationScope/Name");
            let own = name.starts_with("kn.");
            assert_eq!(own, scope == "knative.dev/serving/pkg/queue", "{scope}");
            parent = span.id().to_owned();
        }
        tracing.end().await;
    }
}

/// What the container gets of a request with these headers.
async fn received(sampler: Option<Sampler>, headers: &str) -> (String, Vec<Span>) {
    let container = Container::listen().await;
    let tracing = sampler.map(|sampler| Tracing::start(container.addr(), 0, sampler));
    let plain = tracing.is_none().then(|| before(container.addr()).start());
    let addr = match (&tracing, &plain) {
        (Some(tracing), _) => tracing.proxy.addr(),
        (_, plain) => plain.as_ref().unwrap().addr(),
    };
    let mut client = RawClient::connect(addr).await;
    client
        .send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n"))
        .await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.read_until(b"\r\n\r\n").await;
    drop(client);
    let mut spans = Vec::new();
    if let Some(mut tracing) = tracing {
        tracing.proxy.end().await;
        while let Some(span) = tracing.spans.recv().await {
            spans.push(span);
        }
    }
    if let Some(plain) = plain {
        plain.end().await;
    }
    (head, spans)
}

fn line<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value)
}

#[tokio::test]
async fn without_tracing_the_headers_of_a_trace_pass_as_they_are() {
    let headers = format!(
        "traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=b\r\nbaggage: c=d\r\n\
         b3: {TRACE}-{SPAN}-1\r\n"
    );
    let (head, _) = received(None, &headers).await;
    for header in headers.lines() {
        assert!(has_line(&head, header), "{header}: {head}");
    }
    let (head, _) = received(None, "traceparent: nonsense\r\n").await;
    assert!(has_line(&head, "traceparent: nonsense"), "{head}");
}

#[tokio::test]
async fn the_container_hears_of_the_client_span_in_the_trace_that_the_request_came_with() {
    let kept = format!(
        "tracestate: a=b\r\nbaggage: c=d\r\nb3: {TRACE}-{SPAN}-1\r\nx-b3-traceid: {TRACE}\r\n"
    );
    let headers = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n{kept}");
    let (head, spans) = received(Some(Sampler::ALWAYS), &headers).await;
    let client = spans.iter().find(|span| span.name() == "HTTP GET").unwrap();
    let want = format!("00-{TRACE}-{}-01", client.id());
    assert_eq!(line(&head, "traceparent"), Some(&*want));
    for header in kept.lines() {
        assert!(has_line(&head, header), "{header}: {head}");
    }
    assert_eq!(spans[0].parent(), SPAN);
    assert_eq!(spans[0].0["Parent"]["Remote"], true);
    assert_eq!(spans[1].0["Parent"]["Remote"], false);
}

#[tokio::test]
async fn a_trace_that_cannot_be_read_gives_way_to_a_new_one() {
    let headers = format!("traceparent: 00-{TRACE}-{NO_SPAN}-01\r\ntracestate: a=b\r\n");
    let (head, spans) = received(Some(Sampler::ALWAYS), &headers).await;
    let want = format!("00-{}-{}-01", spans[0].trace(), spans[2].id());
    assert_eq!(line(&head, "traceparent"), Some(&*want));
    assert_ne!(spans[0].trace(), TRACE);
    assert_eq!(spans[0].parent(), NO_SPAN);
    assert_eq!(line(&head, "tracestate"), None);
}

#[tokio::test]
async fn a_trace_that_nobody_is_told_of_goes_on_and_is_marked() {
    let half = Sampler::of_rate(0.5);
    let table = [
        // sampler, flags that came, flags that go on, spans
        (Sampler::NEVER, "01", "00", 0),
        (half, "00", "00", 0),
        (half, "01", "01", 3),
        (Sampler::ALWAYS, "00", "01", 3),
    ];
    for (sampler, came, goes, count) in table {
        let headers = format!("traceparent: 00-{TRACE}-{SPAN}-{came}\r\n");
        let (head, spans) = received(Some(sampler), &headers).await;
        let got = line(&head, "traceparent").unwrap();
        assert!(got.starts_with(&format!("00-{TRACE}-")), "{got}");
        assert!(got.ends_with(&format!("-{goes}")), "{got}");
        assert!(!got.contains(SPAN), "{got}");
        assert_eq!(spans.len(), count, "{sampler:?} {came}");
    }
}

#[tokio::test]
async fn gated_probes_have_no_spans_and_others_begin_a_trace_where_they_go_on() {
    let workload = Workload::start().await;
    let mut tracing = Tracing::start(workload.addr(), 1, Sampler::ALWAYS);
    let came_with = format!("00-{TRACE}-{SPAN}-01");
    let with = |name, value| [(name, value), ("traceparent", &*came_with)];
    for (name, value) in [
        ("user-agent", "kube-probe/1.29"),
        ("k-network-probe", "probe"),
    ] {
        tracing.ask("/", &with(name, value)).await;
    }
    tracing
        .ask("/status/200", &with("k-kubelet-probe", "x"))
        .await;
    let [client] = tracing.next(["HTTP GET"]).await;
    assert_eq!(client.parent(), NO_SPAN);
    assert_ne!(client.trace(), TRACE);
    tracing
        .ask("/status/200", &with("k-network-probe", "other"))
        .await;
    let names = ["kn.queueproxy.proxy", "kn.queueproxy.wait", "HTTP GET"];
    let [proxy, ..] = tracing.next(names).await;
    assert_eq!(proxy.parent(), NO_SPAN);
    assert_ne!(proxy.trace(), TRACE);
    tracing.end().await;
}

#[tokio::test]
async fn spans_say_what_was_asked_and_what_was_answered() {
    let workload = Workload::start().await;
    let mut tracing = Tracing::start(workload.addr(), 0, Sampler::ALWAYS);
    let request = Request::post("/echo?a=b")
        .header("host", "shop.example:8080")
        .header("user-agent", "curl/8")
        .header("x-forwarded-for", "192.0.2.7, 10.0.0.1")
        .header("knative-serving-tag", "blue")
        .body(body("hello"));
    let mut client = Client::http1(tracing.proxy.addr()).await;
    client.ask(request.unwrap()).await.unwrap();
    let names = ["POST", "kn.queueproxy.proxy", "HTTP POST"];
    let [server, proxy, exchange] = tracing.next(names).await;
    let mut told = server.attributes();
    let port = told.remove("network.peer.port").unwrap();
    assert!(port.parse::<u16>().unwrap() > 0);
    let want = [
        ("client.address", "192.0.2.7"),
        ("http.request.body.size", "5"),
        ("http.request.method", "POST"),
        ("http.response.body.size", "5"),
        ("http.response.status_code", "200"),
        ("kn.route.tag", "blue"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("server.address", "shop.example"),
        ("server.port", "8080"),
        ("url.path", "/echo"),
        ("url.scheme", "http"),
        ("user_agent.original", "curl/8"),
    ];
    assert_eq!(
        told,
        want.map(|(name, value)| (name, value.to_owned())).into()
    );
    assert!(proxy.attributes().is_empty());
    let url = format!("http://{}/echo?a=b", workload.addr());
    let want = [
        ("http.request.method", "POST".to_owned()),
        ("http.response.status_code", "200".to_owned()),
        ("server.address", "127.0.0.1".to_owned()),
        ("server.port", workload.addr().port().to_string()),
        ("url.full", url),
    ];
    assert_eq!(exchange.attributes(), want.into());
    assert_eq!(
        [&server, &proxy, &exchange].map(|span| &span.0["SpanKind"]),
        [2, 1, 3]
    );
    assert!(server.text("/StartTime") <= exchange.text("/StartTime"));
    assert_eq!(server.text("/EndTime"), exchange.text("/EndTime"));
    drop(client);
    tracing.end().await;
}

#[tokio::test]
async fn what_the_container_refuses_failed_for_the_client_and_from_500_on_for_the_server() {
    let workload = Workload::start().await;
    let mut tracing = Tracing::start(workload.addr(), 0, Sampler::ALWAYS);
    for (status, of_server, of_client) in
        [(302, false, false), (404, false, true), (500, true, true)]
    {
        tracing.ask(&format!("/status/{status}"), &[]).await;
        let names = ["GET", "kn.queueproxy.proxy", "HTTP GET"];
        let [server, proxy, client] = tracing.next(names).await;
        let failed = (server.failed(), proxy.failed(), client.failed());
        assert_eq!(failed, (of_server, false, of_client), "{status}");
    }
    tracing.end().await;
}

#[tokio::test]
async fn without_an_answer_the_client_span_says_why() {
    let mut tracing = Tracing::start(nobody().await, 0, Sampler::ALWAYS);
    assert_eq!(tracing.ask("/", &[]).await, StatusCode::BAD_GATEWAY);
    let names = ["GET", "kn.queueproxy.proxy", "HTTP GET"];
    let [server, _, client] = tracing.next(names).await;
    assert!(server.failed() && client.failed());
    assert_eq!(server.attributes()["http.response.status_code"], "502");
    assert_eq!(client.attributes()["error.type"], "connection_refused");
    assert_eq!(client.attributes().get("http.response.status_code"), None);
    tracing.end().await;

    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc";
    let raw = RawWorkload::start([Turn::close(cut)]).await;
    let mut tracing = Tracing::start(raw.addr(), 0, Sampler::ALWAYS);
    let mut client = RawClient::connect(tracing.proxy.addr()).await;
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_to_close().await;
    let [server, _, exchange] = tracing.next(names).await;
    assert!(server.failed() && exchange.failed());
    tracing.end().await;
}

#[tokio::test]
async fn the_wait_ends_where_the_exchange_begins_and_one_that_never_got_in_has_no_exchange() {
    let workload = Workload::start().await;
    let mut tracing = Tracing::start(workload.addr(), 1, Sampler::ALWAYS);
    let addr = tracing.proxy.addr();
    let mut first = RawClient::connect(addr).await;
    first.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    let mut second = RawClient::connect(addr).await;
    second.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tracing
        .proxy
        .until_value("kn_serving_queue_depth", &[], 2.0)
        .await;
    // It leaves the line.
    drop(second);
    let names = ["GET", "kn.queueproxy.proxy", "kn.queueproxy.wait"];
    let [server, _, wait] = tracing.next(names).await;
    assert_eq!(server.attributes().get("http.response.status_code"), None);
    assert_eq!(wait.text("/EndTime"), server.text("/EndTime"));
    workload.release(1);
    first.read_until(b"held").await;
    let names = [names[0], names[1], names[2], "HTTP GET"];
    let [server, _, wait, exchange] = tracing.next(names).await;
    assert_eq!(wait.text("/EndTime"), exchange.text("/StartTime"));
    assert!(exchange.text("/StartTime") < server.text("/EndTime"));
    drop(first);
    tracing.end().await;
}

#[tokio::test]
async fn a_method_that_the_caller_made_up_is_not_a_name() {
    let workload = Workload::start().await;
    let mut tracing = Tracing::start(workload.addr(), 0, Sampler::ALWAYS);
    let mut client = RawClient::connect(tracing.proxy.addr()).await;
    client
        .send("BREW /status/200 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    client.read_until(b"\r\n\r\n").await;
    let [server, ..] = tracing.next(["HTTP", "kn.queueproxy.proxy", "HTTP"]).await;
    assert_eq!(server.attributes()["http.request.method"], "_OTHER");
    drop(client);
    tracing.end().await;
}
