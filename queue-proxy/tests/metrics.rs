//! What a scrape shows: spec/queue-proxy.md §7.1.

use http::Request;
use penstock_testkit::client::{Client, RawClient, body, empty};
use penstock_testkit::workload::Workload;

use crate::world::{NEVER, SOON, before, nobody};

#[tokio::test]
async fn names_labels_and_counts_are_the_contracts() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(2).start();
    let mut client = Client::http1(proxy.addr()).await;
    for _ in 0..3 {
        client
            .get("shop.example:8080", "/status/404")
            .await
            .unwrap();
    }
    let upload = Request::post("/echo")
        .header("host", "shop.example")
        .header("knative-serving-tag", "blue")
        .body(body("hello"));
    client.ask(upload.unwrap()).await.unwrap();
    let mut h2 = Client::h2c(proxy.addr()).await;
    let brew = Request::builder()
        .method("BREW")
        .uri("/status/200")
        .header("host", "h2.example");
    let brew = brew
        .header("knative-serving-default-route", "true")
        .body(empty());
    h2.ask(brew.unwrap()).await.unwrap();

    let http = "otel_scope_name=\"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp\"";
    let kn = "otel_scope_name=\"knative.dev/serving/pkg/queue\"";
    let port = format!("server_port=\"{}\"", workload.addr().port());
    let table: [(&str, &[&str], f64); 12] = [
        (
            "kn_serving_invocation_duration_seconds_count",
            &[kn, "http_response_status_code=\"404\""],
            3.0,
        ),
        ("kn_serving_queue_depth", &[kn], 1.0),
        (
            "http_server_request_duration_seconds_count",
            &[
                http,
                "http_request_method=\"GET\"",
                "http_response_status_code=\"404\"",
                "kn_route_tag=\"kn:disabled\"",
                "network_protocol_name=\"http\"",
                "network_protocol_version=\"1.1\"",
                "server_address=\"shop.example\"",
                "server_port=\"8080\"",
                "url_scheme=\"http\"",
            ],
            3.0,
        ),
        (
            "http_server_request_duration_seconds_count",
            &[
                "http_request_method=\"POST\"",
                "kn_route_tag=\"blue\"",
                "server_address=\"shop.example\"",
            ],
            1.0,
        ),
        (
            "http_server_request_body_size_bytes_sum",
            &["http_request_method=\"POST\""],
            5.0,
        ),
        (
            "http_server_response_body_size_bytes_sum",
            &["http_request_method=\"POST\""],
            5.0,
        ),
        (
            "http_server_request_duration_seconds_count",
            &[
                "http_request_method=\"_OTHER\"",
                "network_protocol_version=\"2.0\"",
                "kn_route_tag=\"kn:default\"",
                "server_address=\"h2.example\"",
            ],
            1.0,
        ),
        (
            "http_client_request_duration_seconds_count",
            &[
                http,
                "http_request_method=\"GET\"",
                "http_response_status_code=\"404\"",
                "kn_route_tag=\"kn:disabled\"",
                "server_address=\"127.0.0.1\"",
                &port,
                "url_scheme=\"http\"",
            ],
            3.0,
        ),
        (
            "http_client_request_body_size_bytes_sum",
            &["http_request_method=\"POST\""],
            5.0,
        ),
        (
            "http_client_request_duration_seconds_count",
            &["network_protocol_version=\"2.0\""],
            1.0,
        ),
        (
            "kn_serving_invocation_duration_seconds_bucket",
            &["le=\"0.005\"", "code=\"404\""],
            3.0,
        ),
        (
            "http_server_request_body_size_bytes_bucket",
            &["le=\"0\"", "http_request_method=\"POST\""],
            0.0,
        ),
    ];
    for (name, labels, value) in table {
        if name.contains("bucket") && value > 0.0 {
            // How fast this machine is shows only here; that the bucket is there suffices.
            assert!(proxy.scrape().contains("le=\"0.005\""));
            continue;
        }
        proxy.until_value(name, labels, value).await;
    }
    // The usual port is no label.
    let text = proxy.scrape();
    let mut posts = text
        .lines()
        .filter(|line| line.starts_with("http_server") && line.contains("\"POST\""));
    assert!(posts.all(|line| !line.contains("server_port")));
    for (family, help) in [
        (
            "kn_serving_invocation_duration_seconds histogram",
            "The duration of task execution",
        ),
        (
            "kn_serving_queue_depth gauge",
            "Number of current requests in the queue",
        ),
    ] {
        let name = family.split(' ').next().unwrap();
        assert!(
            text.contains(&format!("# TYPE {family}\n"))
                && text.contains(&format!("# HELP {name} {help}\n"))
        );
    }
    drop((client, h2));
    proxy.end().await;
}

#[tokio::test]
async fn case_48_probes_that_reach_the_container_count_only_there() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = Client::http1(proxy.addr()).await;
    for (name, value) in [("k-network-probe", "activator"), ("k-kubelet-probe", "x")] {
        let request = Request::get("/status/200")
            .header(name, value)
            .body(empty());
        assert_eq!(client.ask(request.unwrap()).await.unwrap().status, 200);
    }
    proxy
        .until_value(
            "http_client_request_duration_seconds_count",
            &["code=\"200\""],
            2.0,
        )
        .await;
    let text = proxy.scrape();
    assert!(
        !text.contains("kn_serving_invocation_duration_seconds_count{"),
        "{text}"
    );
    assert!(
        !text.contains("http_server_request_duration_seconds_count{"),
        "{text}"
    );
    assert!(!text.contains("kn_route_tag"), "{text}");
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn a_container_without_a_limit_has_no_depth() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = Client::http1(proxy.addr()).await;
    client.get("a", "/status/200").await.unwrap();
    assert_eq!(proxy.value("kn_serving_queue_depth", &[]), 0.0);
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn failures_count_as_what_the_caller_was_told_and_by_their_kind() {
    let refused = before(nobody().await).start();
    let mut client = Client::http1(refused.addr()).await;
    assert_eq!(client.get("a", "/").await.unwrap().status, 502);
    for (name, label) in [
        ("http_server_request_duration_seconds_count", "code=\"502\""),
        (
            "kn_serving_invocation_duration_seconds_count",
            "code=\"502\"",
        ),
        (
            "http_client_request_duration_seconds_count",
            "error_type=\"connection_refused\"",
        ),
    ] {
        refused.until_value(name, &[label], 1.0).await;
    }

    let workload = Workload::start().await;
    let late = before(workload.addr()).slots(1).whole(SOON).start();
    let mut client = Client::http1(late.addr()).await;
    assert_eq!(client.get("a", "/hold").await.unwrap().status, 504);
    for (name, label) in [
        ("http_server_request_duration_seconds_count", "code=\"504\""),
        (
            "kn_serving_invocation_duration_seconds_count",
            "code=\"504\"",
        ),
        (
            "http_client_request_duration_seconds_count",
            "error_type=\"http_response_timeout\"",
        ),
    ] {
        late.until_value(name, &[label], 1.0).await;
    }

    // A caller that leaves while the container works.
    let left = before(workload.addr()).slots(1).whole(NEVER).start();
    let mut client = RawClient::connect(left.addr()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    drop(client);
    for (name, label) in [
        ("http_server_request_duration_seconds_count", "code=\"499\""),
        (
            "kn_serving_invocation_duration_seconds_count",
            "code=\"499\"",
        ),
        (
            "http_client_request_duration_seconds_count",
            "error_type=\"canceled\"",
        ),
    ] {
        left.until_value(name, &[label], 1.0).await;
    }
    left.end().await;
}

#[tokio::test]
async fn a_refusal_at_the_line_never_reached_the_container() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let addr = proxy.addr();
        asked.spawn(async move {
            let mut client = Client::http1(addr).await;
            client.get("a", "/hold").await.unwrap().status.as_u16()
        });
    }
    assert_eq!(asked.join_next().await.unwrap().unwrap(), 503);
    workload.release(11);
    while asked.join_next().await.is_some() {}
    proxy
        .until_value(
            "http_server_request_duration_seconds_count",
            &["code=\"503\""],
            1.0,
        )
        .await;
    proxy
        .until_value(
            "http_server_request_duration_seconds_count",
            &["code=\"200\""],
            11.0,
        )
        .await;
    proxy
        .until_value(
            "kn_serving_invocation_duration_seconds_count",
            &["code=\"200\""],
            11.0,
        )
        .await;
    assert_eq!(
        proxy.value(
            "kn_serving_invocation_duration_seconds_count",
            &["code=\"503\""]
        ),
        0.0
    );
    proxy.end().await;
}
