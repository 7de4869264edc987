//! Probes are answered here and never forwarded.

use std::time::Duration;

use http::Request;
use penstock_testkit::client::{Client, empty};
use penstock_testkit::workload::{Seen, Workload};

use crate::stage::{HOST, Stage, hello, request, within};

type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn cases_5_to_11_what_is_answered_here_and_what_reaches_the_pod() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    let mut client = stage.client().await;
    let table: [(Headers, u16, &str); 7] = [
        (&[("k-network-probe", "activator")], 200, "activator"),
        (
            &[("k-network-probe", "queue")],
            400,
            "unexpected probe header value: \"queue\"\n",
        ),
        (
            &[("k-network-probe", "<\"a\\b\">")],
            400,
            "unexpected probe header value: \"&lt;&#34;a\\\\b&#34;&gt;\"\n",
        ),
        (
            &[("k-network-probe", "probe")],
            400,
            "a probe request must contain a non-empty \"K-Network-Hash\" header\n",
        ),
        (
            &[("k-network-probe", "probe"), ("k-network-hash", "h")],
            200,
            "",
        ),
        (&[("user-agent", "kube-probe/1.30")], 200, ""),
        (&[("k-kubelet-probe", "queue")], 200, ""),
    ];
    for (headers, status, text) in table {
        let answer = client.ask(request(headers)).await.unwrap();
        assert_eq!(answer.brief(), (status, text.to_owned()), "{headers:?}");
    }
    let hash = [("k-network-probe", "probe"), ("k-network-hash", "h")];
    let echoed = client.ask(request(&hash)).await.unwrap();
    assert_eq!(echoed.headers["k-network-hash"], "h");
    let by_post = Request::post("//healthz")
        .header("host", HOST)
        .header("user-agent", "Knative-Autoscaling-Probe")
        .header("k-network-probe", "activator");
    let by_post = client.ask(by_post.body(empty()).unwrap()).await.unwrap();
    assert_eq!(by_post.brief(), (200, "activator".to_owned()));
    assert_eq!(pod.total(), 0, "a probe was forwarded");

    for headers in [
        &[("k-network-probe", "")][..],
        &[],
        &[("user-agent", "curl/8")],
        &[("k-network-hash", "h")],
    ] {
        let answer = client.ask(request(headers)).await.unwrap();
        let seen = Seen::parse(&answer.body);
        assert_eq!(seen.header("k-network-hash"), None);
    }
    assert_eq!(pod.total(), 4);
    assert_eq!(
        stage.metric("http_server_request_duration_seconds_count", &[]),
        Some(4.0),
        "probes were measured"
    );
    stage.end().await;
}

#[tokio::test]
async fn case_10_kubelet_probes_fail_while_the_process_drains_and_requests_are_served() {
    let pod = Workload::start().await;
    let stage = Stage::new([hello().pod(pod.addr()).build()]);
    let mut client = stage.client().await;
    let mut late = Client::http1(stage.addr).await;
    let addr = stage.addr;
    let probe = [("user-agent", "kube-probe/1.30")];
    assert_eq!(client.ask(request(&probe)).await.unwrap().status, 200);
    let long = Duration::from_secs(3600);
    let draining = tokio::spawn(stage.running.drain(long, long));
    within(async {
        loop {
            let answer = client.ask(request(&probe)).await.unwrap();
            if answer.status == 500 {
                assert_eq!(answer.text(), "received SIGTERM from kubelet\n");
                return;
            }
        }
    })
    .await;
    assert_eq!(late.get(HOST, "/").await.unwrap().status, 200);
    assert_eq!(
        crate::stage::get(addr, "/").await.status,
        200,
        "a new connection"
    );
    draining.abort();
}
