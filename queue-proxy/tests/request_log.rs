//! Lines about requests: spec/queue-proxy.md §7.4. (The language of their templates is tested
//! where it is compiled.)

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, StatusCode};
use penstock_queue_proxy::{Choices, RequestLines};
use penstock_runtime::request_log::{Lines, RequestLog, STOCK_TEMPLATE};
use penstock_testkit::client::{Client, RawClient, body, empty};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::world::{Proxy, before, nobody};

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

/// A queue-proxy that logs, and its log.
struct Logging {
    proxy: Proxy,
    log: Arc<RequestLog>,
    lines: UnboundedReceiver<String>,
}

impl Logging {
    fn start(user_addr: SocketAddr, template: &str, probes: bool) -> Self {
        let (sender, lines) = unbounded_channel();
        let sink = Lines::to(Told(sender)).unwrap();
        let log = Arc::new(RequestLog::compile(template, sink).unwrap());
        let mut requests = RequestLines {
            log: Arc::clone(&log),
            probes,
            identity: Default::default(),
        };
        requests.identity.revision = "hello-00001".to_owned();
        requests.identity.pod_ip = "10.0.0.9".to_owned();
        let choices = Choices {
            requests: Some(requests),
            ..Choices::default()
        };
        Self {
            proxy: before(user_addr).slots(1).choices(choices).start(),
            log,
            lines,
        }
    }

    async fn next(&mut self) -> String {
        self.lines.recv().await.unwrap()
    }
}

const SHORT: &str =
    "{{.Request.Method}} {{.Request.RequestURI}} {{.Response.Code}} {{.Response.Size}}";

#[tokio::test]
async fn case_124_the_stock_line_is_json_and_tells_what_happened() {
    let workload = Workload::start().await;
    let mut logging = Logging::start(workload.addr(), STOCK_TEMPLATE, true);
    let mut client = Client::http1(logging.proxy.addr()).await;
    let upload = Request::post("/echo?a='b'")
        .header("host", "shop.example")
        .header("user-agent", "curl/8 'x'")
        .header("k-original-host", "original.example")
        .body(body("hello"));
    client.ask(upload.unwrap()).await.unwrap();
    let line = logging.next().await;
    let (before, after) = line.split_once("\"latency\": \"").unwrap();
    let (latency, after) = after.split_once("s\"").unwrap();
    assert!(latency.parse::<f64>().unwrap() > 0.0);
    let (start, remote) = before.split_once("127.0.0.1:").unwrap();
    assert_eq!(
        start,
        r#"{"httpRequest": {"requestMethod": "POST", "requestUrl": "/echo?a\u003D\'b\'", "requestSize": "5", "status": 200, "responseSize": "5", "userAgent": "curl/8 \'x\'", "remoteIp": ""#
    );
    assert!(
        remote.ends_with(r#"", "serverIp": "10.0.0.9", "referer": "", "#),
        "{remote}"
    );
    assert_eq!(after, ", \"protocol\": \"HTTP/1.1\"}, \"traceId\": \"\"}\n");

    let probe = Request::get("/")
        .header("host", "a")
        .header("user-agent", "kube-probe/1.29")
        .header("k-network-probe", "queue")
        .body(empty());
    client.ask(probe.unwrap()).await.unwrap();
    let line = logging.next().await;
    assert!(
        line.contains("kube-probe/1.29") && line.contains("\"status\": 200"),
        "{line}"
    );
    drop(client);
    logging.proxy.end().await;
}

#[tokio::test]
async fn headers_show_what_was_changed_and_the_host_is_the_inbound_one() {
    let workload = Workload::start().await;
    let template = "{{.Request.Host}}|{{.Request.Header.Get \"Forwarded\"}}|\
                    {{.Request.Header.Get \"K-Original-Host\"}}|\
                    {{.Request.Header.Get \"Knative-Serving-Revision\"}}|{{.Revision.Name}}";
    let mut logging = Logging::start(workload.addr(), template, false);
    let mut client = Client::http1(logging.proxy.addr()).await;
    let request = Request::get("/status/200")
        .header("host", "10.0.0.9:8012")
        .header("k-original-host", "shop.example")
        .header("x-forwarded-for", "1.2.3.4")
        .header("knative-serving-revision", "r")
        .body(empty());
    client.ask(request.unwrap()).await.unwrap();
    assert_eq!(
        logging.next().await,
        "10.0.0.9:8012|for=1.2.3.4||r|hello-00001\n"
    );
    drop(client);
    logging.proxy.end().await;
}

#[tokio::test]
async fn case_119_probes_get_lines_only_if_they_are_to() {
    let workload = Workload::start().await;
    for probes in [false, true] {
        let mut logging = Logging::start(workload.addr(), SHORT, probes);
        let mut client = Client::http1(logging.proxy.addr()).await;
        let with = |path: &str, name: &str, value: &str| {
            let request = Request::get(path).header("host", "a").header(name, value);
            request.body(empty()).unwrap()
        };
        // One that reaches the container, one that is answered at the gate, and a request.
        client
            .ask(with("/status/200", "k-kubelet-probe", "x"))
            .await
            .unwrap();
        client
            .ask(with("/gate", "k-network-probe", "probe"))
            .await
            .unwrap();
        client
            .ask(with("/status/404", "x-none", "x"))
            .await
            .unwrap();
        if probes {
            assert_eq!(logging.next().await, "GET /status/200 200 0\n");
            assert_eq!(logging.next().await, "GET /gate 400 65\n");
        }
        assert_eq!(logging.next().await, "GET /status/404 404 0\n");
        drop(client);
        logging.proxy.end().await;
    }
}

#[tokio::test]
async fn cases_105_and_120_what_breaks_off_is_logged_as_500() {
    let raw = RawWorkload::start([Turn::close(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
    )])
    .await;
    let mut logging = Logging::start(raw.addr(), SHORT, false);
    let mut client = RawClient::connect(logging.proxy.addr()).await;
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_to_close().await;
    assert_eq!(logging.next().await, "GET /cut 500 0\n");
    logging.proxy.end().await;
}

#[tokio::test]
async fn case_25_a_caller_that_leaves_is_logged_as_200_without_a_byte() {
    let workload = Workload::start().await;
    let mut logging = Logging::start(workload.addr(), SHORT, false);
    let mut client = RawClient::connect(logging.proxy.addr()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    drop(client);
    assert_eq!(logging.next().await, "GET /hold 200 0\n");
    logging.proxy.end().await;
}

#[tokio::test]
async fn case_123_a_failed_upgrade_has_its_status_and_a_made_one_has_not() {
    let refused = nobody().await;
    let mut logging = Logging::start(refused, SHORT, false);
    let mut client = Client::http1(logging.proxy.addr()).await;
    let answer = client.get("a", "/ws").await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let line = logging.next().await;
    assert_eq!(line, format!("GET /ws 502 {}\n", answer.body.len()));
    drop(client);
    logging.proxy.end().await;

    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                  upgrade: websocket\r\n\r\nfrom here";
    let raw = RawWorkload::start([Turn::close(switch)]).await;
    let mut logging = Logging::start(raw.addr(), SHORT, false);
    let mut client = RawClient::connect(logging.proxy.addr()).await;
    let ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(ask).await;
    client.read_until(b"from here").await;
    drop(client);
    assert_eq!(logging.next().await, "GET /ws 200 0\n");
    logging.proxy.end().await;
}

#[tokio::test]
async fn case_121_a_template_replaced_while_serving_counts_from_the_next_request_on() {
    let workload = Workload::start().await;
    let mut logging = Logging::start(workload.addr(), "one", false);
    let mut client = Client::http1(logging.proxy.addr()).await;
    client.get("a", "/status/200").await.unwrap();
    assert_eq!(logging.next().await, "one\n");
    logging.log.replace("").unwrap();
    client.get("a", "/status/200").await.unwrap();
    logging.log.replace("{{.Request.Something}}").unwrap();
    client.get("a", "/status/201").await.unwrap();
    let line = logging.next().await;
    let start = "Invalid request log template: method: GET, response code: 201, latency: ";
    assert!(
        line.starts_with(start) && line.ends_with(", url: /status/201\n"),
        "{line}"
    );
    drop(client);
    logging.proxy.end().await;
}

#[tokio::test]
async fn without_metrics_nothing_is_counted_and_lines_are_as_ever() {
    let workload = Workload::start().await;
    let (sender, mut lines) = unbounded_channel();
    let log = RequestLog::compile(SHORT, Lines::to(Told(sender)).unwrap()).unwrap();
    let requests = RequestLines {
        log: Arc::new(log),
        probes: false,
        identity: Default::default(),
    };
    let logged = Choices {
        requests: Some(requests),
        ..Choices::default()
    };
    for (choices, line) in [(Choices::default(), None), (logged, Some("GET /seen 200"))] {
        let make = before(workload.addr()).slots(1).unmeasured();
        let proxy = make.choices(choices).start();
        let mut client = Client::http1(proxy.addr()).await;
        assert_eq!(client.get("a", "/seen").await.unwrap().status, 200);
        drop(client);
        assert_eq!(proxy.scrape(), "");
        // The autoscaler asks all the same.
        proxy.until_nobody_is_counted().await;
        proxy.end().await;
        if let Some(line) = line {
            assert!(lines.recv().await.unwrap().starts_with(line));
        }
    }
}
