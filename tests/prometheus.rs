//! A real Prometheus server scrapes the admin listener.

use std::process::Stdio;

use penstock_testkit::client::Client;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::harness::{Folder, Output, Service, Up, tests, until};

tests! {
    a_prometheus_server_scrapes_it_and_counts_the_requests needs "prometheus";
}

/// A Prometheus server of one test.
struct Prometheus {
    addr: std::net::SocketAddr,
    output: Output,
    _child: Child,
    _folder: Folder,
}

impl Prometheus {
    /// Starts to scrape `target`.
    async fn start(target: std::net::SocketAddr) -> Self {
        let folder = Folder::new();
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: penstock
    static_configs: [{{targets: [\"{target}\"]}}]
"
        );
        let config = folder.write("prometheus.yml", &config);
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.file("data").display()
            ))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = Output::read(child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let line = output.until_line("\"Listening on\"").await;
        let line: Value = serde_json::from_str(&line).unwrap();
        Self {
            addr: line["address"].as_str().unwrap().parse().unwrap(),
            output,
            _child: child,
            _folder: folder,
        }
    }

    /// The `data` of an answer of its API; nothing while it still starts.
    async fn data(&self, path: &str) -> Option<Value> {
        let mut client = Client::http1(self.addr).await;
        let answer = client.get("prometheus.test", path).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        Some(answer["data"].clone())
    }

    /// The value of a query that has one.
    async fn value(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let data = self.data(&format!("/api/v1/query?query={escaped}")).await?;
        let value = data["result"][0]["value"][1].as_str()?;
        Some(value.parse().unwrap())
    }

    /// Waits until a query has this value.
    async fn until_value(&self, query: &str, want: f64) {
        let mut last = None;
        let found = until(query, async || {
            last = self.value(query).await;
            (last == Some(want)).then_some(())
        });
        found.await;
    }
}

async fn a_prometheus_server_scrapes_it_and_counts_the_requests() {
    let services = [Service::hello("hello"), Service::hello("other")];
    let up = Up::with(&services).await;
    let prometheus = Prometheus::start(up.admin).await;
    prometheus.until_value("up", 1.0).await;
    up.gateway.tally("hello.default.example.com", 37).await;
    up.gateway.tally("other.default.example.com", 5).await;
    assert_eq!(up.gateway.get("unknown.example.com", "/").await.status, 404);

    let count = "http_server_request_duration_seconds_count";
    for component in ["activator", "queue-proxy"] {
        let of = |name: &str| {
            format!(
                "sum({count}{{component=\"{component}\",kn_service_name=\"{name}\",\
                 http_response_status_code=\"200\"}})"
            )
        };
        prometheus.until_value(&of("hello"), 37.0).await;
        prometheus.until_value(&of("other"), 5.0).await;
    }
    let unknown =
        format!("sum({count}{{component=\"activator\",http_response_status_code=\"404\"}})");
    prometheus.until_value(&unknown, 1.0).await;
    let cold = "sum(penstock_cold_start_duration_seconds_count{stage=\"total\"})";
    prometheus.until_value(cold, 2.0).await;

    until("a scrape without an error", async || {
        let targets = prometheus.data("/api/v1/targets").await?;
        let target = &targets["activeTargets"][0];
        (target["health"] == "up" && target["lastError"] == "").then_some(())
    })
    .await;
    // Series that are refused are only logged.
    assert_eq!(prometheus.output.lines_with("\"level\":\"error\""), [""; 0]);
    assert_eq!(prometheus.output.lines_with("\"level\":\"warn\""), [""; 0]);
    up.stop().await;
}
