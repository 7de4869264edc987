//! What is scraped: names and labels of spec/activator.md §8.

use penstock_testkit::client::RawClient;
use penstock_testkit::cluster::pod;
use penstock_testkit::workload::{RawWorkload, Turn, Workload};

use crate::stage::{HOST, Stage, closed_port, hello, hello_id, within};

const SCOPE: &str = "otel_scope_name=\"knative.dev/serving/pkg/activator\"";

#[tokio::test]
async fn gauges_count_who_waits_and_who_is_inside_from_the_slot_on() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().concurrency(1).pod(one.addr()).build()]);
    stage.until_gauges(0.0, 0.0).await;
    let asked = [(); 3].map(|()| stage.getting("/hold"));
    within(one.until_inside(1)).await;
    stage.until_gauges(2.0, 1.0).await;
    one.release(3);
    for answer in asked {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    stage.until_gauges(0.0, 0.0).await;
    let labels = [SCOPE, "k8s_namespace_name=\"default\""];
    for name in ["kn_revision_request_queued", "kn_revision_request_active"] {
        assert_eq!(stage.metric(name, &labels), Some(0.0), "{name}");
    }
    stage.end().await;
}

#[tokio::test]
async fn the_mean_concurrency_of_the_last_second_has_all_four_labels() {
    let stage = Stage::new([hello().build()]);
    let waiting = [(); 3].map(|()| stage.getting("/"));
    stage.until_load(3, 0).await;
    let labels = [
        SCOPE,
        "kn_service_name=\"hello\"",
        "kn_configuration_name=\"hello\"",
        "kn_revision_name=\"hello-00001\"",
        "k8s_namespace_name=\"default\"",
    ];
    let concurrency = || stage.metric("kn_revision_request_concurrency", &labels);
    crate::stage::until(|| concurrency() == Some(3.0)).await;
    waiting.iter().for_each(|waiting| waiting.abort());
    stage.end().await;
}

#[tokio::test]
async fn requests_are_counted_at_both_ends_with_the_labels_of_the_contract() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let mut client = stage.client().await;
    assert_eq!(client.get(HOST, "/status/201").await.unwrap().status, 201);
    assert_eq!(client.get("nobody", "/").await.unwrap().status, 404);
    let of_both = [
        "otel_scope_name=",
        "http_request_method=\"GET\"",
        "http_response_status_code=\"201\"",
        "network_protocol_name=\"http\"",
        "network_protocol_version=\"1.1\"",
        "url_scheme=\"http\"",
        "kn_service_name=\"hello\"",
        "kn_configuration_name=\"hello\"",
        "kn_revision_name=\"hello-00001\"",
        "k8s_namespace_name=\"default\"",
    ];
    let at = |address: String| {
        let mut labels = of_both.map(str::to_owned).to_vec();
        labels.push(address);
        labels
    };
    let host = at(format!("server_address=\"{HOST}\""));
    let mut dest = at(format!("server_address=\"{}\"", one.addr().ip()));
    dest.push(format!("server_port=\"{}\"", one.addr().port()));
    for (name, labels) in [
        ("http_server_request_duration_seconds_count", &host),
        ("http_server_request_body_size_bytes_count", &host),
        ("http_server_response_body_size_bytes_count", &host),
        ("http_client_request_duration_seconds_count", &dest),
        ("http_client_request_body_size_bytes_count", &dest),
    ] {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        crate::stage::until(|| stage.metric(name, &labels) == Some(1.0)).await;
    }
    let text = stage.scrape();
    let unknown = text
        .lines()
        .find(|line| {
            line.starts_with("http_server_request_duration_seconds_count")
                && line.contains("http_response_status_code=\"404\"")
        })
        .unwrap();
    assert!(!unknown.contains("kn_revision_name"), "{unknown}");
    stage.end().await;
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_counted_by_its_error() {
    let refusing = closed_port();
    let (closing, well) = (
        RawWorkload::start([Turn::close("")]).await,
        Workload::start().await,
    );
    let stage = Stage::new([hello().pod(refusing).build()]);
    let waiting = stage.getting("/");
    stage.until_load(1, 0).await;
    let id = hello_id();
    stage.cluster.set_pods(&id, [pod(well.addr())]);
    assert_eq!(within(waiting).await.unwrap().status, 200);
    stage.cluster.set_pods(&id, [pod(closing.addr())]);
    stage.until_pods(&[closing.addr()]).await;
    assert_eq!(stage.get("/").await.status, 502);
    stage.cluster.set_pods(&id, [pod(well.addr())]);
    stage.until_pods(&[well.addr()]).await;
    let mut leaving = RawClient::connect(stage.addr).await;
    leaving
        .send(format!("GET /hold HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    within(well.until_inside(1)).await;
    drop(leaving);
    for (addr, error) in [
        (refusing, "connection_refused"),
        (closing.addr(), "connection_terminated"),
        (well.addr(), "canceled"),
    ] {
        let port = format!("server_port=\"{}\"", addr.port());
        let error = format!("error_type=\"{error}\"");
        let name = "http_client_request_duration_seconds_count";
        let count = || stage.metric(name, &[&port, &error]);
        crate::stage::until(|| count().is_some_and(|count| count >= 1.0)).await;
    }
    let gone = "http_response_status_code=\"499\"";
    let name = "http_server_request_duration_seconds_count";
    crate::stage::until(|| stage.metric(name, &[gone]) == Some(1.0)).await;
    stage.end().await;
}

#[tokio::test]
async fn gauges_of_a_revision_that_is_gone_are_gone() {
    let stage = Stage::new([hello().build()]);
    let queued = || stage.metric("kn_revision_request_queued", &["hello-00001"]);
    assert_eq!(queued(), Some(0.0));
    stage.cluster.remove(&hello_id());
    crate::stage::until(|| queued().is_none()).await;
    stage.end().await;
}

#[tokio::test]
async fn case_24_a_revision_of_no_service_and_no_configuration_is_counted_with_empty_labels() {
    let one = Workload::start().await;
    let mut revision = hello().pod(one.addr()).build();
    revision.service = "".into();
    revision.configuration = "".into();
    let stage = Stage::new([revision]);
    assert_eq!(stage.get("/status/204").await.status, 204);
    let labels = [
        "kn_service_name=\"\"",
        "kn_configuration_name=\"\"",
        "kn_revision_name=\"hello-00001\"",
    ];
    for side in ["server", "client"] {
        let name = format!("http_{side}_request_duration_seconds_count");
        crate::stage::until(|| stage.metric(&name, &labels) == Some(1.0)).await;
    }
    stage.end().await;
}

#[tokio::test]
async fn case_25_an_answer_that_breaks_off_is_cut_for_its_caller_and_counted_with_all_labels() {
    let broken = RawWorkload::start([Turn::close(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
    )])
    .await;
    let stage = Stage::new([hello().pod(broken.addr()).build()]);
    let mut client = RawClient::connect(stage.addr).await;
    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n"))
        .await;
    let answer = within(client.read_response()).await;
    assert_eq!((answer.head.status, &answer.body[..]), (200, &b"half"[..]));
    assert!(!answer.complete);
    let labels = [
        "kn_service_name=\"hello\"",
        "kn_configuration_name=\"hello\"",
        "kn_revision_name=\"hello-00001\"",
        "k8s_namespace_name=\"default\"",
        "http_response_status_code=\"200\"",
    ];
    let name = "http_server_request_duration_seconds_count";
    crate::stage::until(|| stage.metric(name, &labels) == Some(1.0)).await;
    stage.until_idle().await;
    stage.end().await;
}
