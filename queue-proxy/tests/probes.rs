//! The drain and probe gate, and readiness.

use std::time::Duration;

use penstock_queue_proxy::Probes;
use penstock_testkit::client::{Client, RawClient, RawResponse};
use penstock_testkit::workload::{RawWorkload, Seen, Turn, Workload};
use penstock_types::probe::{Check, HttpGet, Probe};

use crate::world::{Container, NEVER, Proxy, SOON, before, nobody};

async fn ask(proxy: &Proxy, request: &str) -> RawResponse {
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(request.replace('\n', "\r\n")).await;
    client.read_response().await
}

fn text(answer: &RawResponse) -> (u16, &str) {
    (
        answer.head.status,
        std::str::from_utf8(&answer.body).unwrap(),
    )
}

fn http(path: &str) -> Probe {
    Probe {
        check: Check::Http(HttpGet {
            path: path.to_owned(),
            headers: vec![("X-Probe".to_owned(), "mine".to_owned())],
            ..HttpGet::default()
        }),
        ..Probe::tcp_default()
    }
}

#[tokio::test]
async fn cases_52_to_56_health_probes_are_answered_here_whatever_the_path_and_method() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let table = [
        (
            "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1.29\nK-Network-Probe: queue\n\n",
            200,
            "queue",
        ),
        (
            "POST /x?y HTTP/1.1\nHost: a\nUser-Agent: Knative-Activator-Probe\nK-Network-Probe: queue\nContent-Length: 0\n\n",
            200,
            "queue",
        ),
        (
            "GET /healthz HTTP/1.1\nHost: a\nUser-Agent: Knative-Autoscaling-Probe/1\nK-Network-Probe: queue\n\n",
            200,
            "queue",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1.29\n\n",
            400,
            "unexpected probe header value: \n",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1.29\nK-Network-Probe: test-probe\n\n",
            400,
            "unexpected probe header value: test-probe\n",
        ),
    ];
    for (request, status, body) in table {
        let answer = ask(&proxy, request).await;
        assert_eq!(text(&answer), (status, body), "{request}");
        if status == 400 {
            assert_eq!(
                answer.head.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
            assert_eq!(
                answer.head.header("x-content-type-options"),
                Some("nosniff")
            );
        }
    }
    let mut h2c = Client::h2c(proxy.addr()).await;
    let probe = http::Request::get("/")
        .header("user-agent", "kube-probe/1.29")
        .header("k-network-probe", "queue")
        .body(penstock_testkit::client::empty())
        .unwrap();
    assert_eq!(
        h2c.ask(probe).await.unwrap().brief(),
        (200, "queue".to_owned())
    );
    assert_eq!(workload.total(), 0);
    proxy.end().await;
}

#[tokio::test]
async fn case_57_a_network_probe_echoes_its_hash() {
    let proxy = before(nobody().await).start();
    let answer = ask(
        &proxy,
        "GET / HTTP/1.1\nHost: a\nK-Network-Probe: probe\nK-Network-Hash: h\n\n",
    )
    .await;
    assert_eq!(text(&answer), (200, ""));
    assert_eq!(answer.head.header("k-network-hash"), Some("h"));
    for hash in ["", "K-Network-Hash:\n"] {
        let answer = ask(
            &proxy,
            &format!("GET / HTTP/1.1\nHost: a\nK-Network-Probe: probe\n{hash}\n"),
        )
        .await;
        let want = "a probe request must contain a non-empty \"K-Network-Hash\" header\n";
        assert_eq!(text(&answer), (400, want));
    }
    proxy.end().await;
}

#[tokio::test]
async fn cases_58_and_59_other_probe_headers_reach_the_container() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    for value in ["queue", "blah"] {
        let answer = ask(
            &proxy,
            &format!("GET / HTTP/1.1\nHost: a\nUser-Agent: curl/8\nK-Network-Probe: {value}\n\n"),
        )
        .await;
        assert_eq!(answer.head.status, 200);
        assert_eq!(
            Seen::parse(&answer.body).header("k-network-probe"),
            Some(value)
        );
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_60_every_probe_fails_while_draining_and_requests_are_served() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut draining = std::pin::pin!(proxy.running.drain(NEVER, NEVER));
    assert!(futures_poll_once(draining.as_mut()).await.is_pending());
    for probe in [
        "User-Agent: kube-probe/1.29\nK-Network-Probe: queue\n",
        "User-Agent: kube-probe/1.29\n",
        "User-Agent: Knative-Activator-Probe\nK-Network-Probe: queue\n",
        "K-Network-Probe: probe\nK-Network-Hash: h\n",
        "K-Network-Probe: probe\n",
    ] {
        let answer = ask(&proxy, &format!("GET / HTTP/1.1\nHost: a\n{probe}\n")).await;
        assert_eq!(text(&answer), (503, "shutting down\n"), "{probe}");
    }
    let answer = ask(&proxy, "GET /status/200 HTTP/1.1\nHost: a\n\n").await;
    assert_eq!(answer.head.status, 200);
}

async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx)))
        .await
}

#[tokio::test]
async fn case_53_a_container_that_is_not_ready_is_503_without_a_body() {
    let probe = Probe {
        period: Some(Duration::from_secs(1)),
        ..http("/health")
    };
    let raw =
        RawWorkload::start([Turn::close("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")]).await;
    let proxy = before(raw.addr()).readiness(probe).start();
    let answer = ask(
        &proxy,
        "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1\nK-Network-Probe: queue\n\n",
    )
    .await;
    assert_eq!(text(&answer), (503, ""));
    proxy.end().await;
}

#[tokio::test]
async fn case_64_tcp_passes_where_somebody_listens() {
    let probe = Probe {
        period: Some(Duration::from_secs(1)),
        ..Probe::tcp_default()
    };
    let proxy = before(nobody().await).readiness(probe.clone()).start();
    assert!(proxy.running.probe().await.is_err());
    let container = Container::listen().await;
    let proxy = before(container.addr()).readiness(probe).start();
    proxy.running.probe().await.unwrap();
}

#[tokio::test]
async fn case_69_questions_asked_together_share_one_attempt() {
    let container = Container::listen().await;
    let proxy = before(container.addr())
        .readiness(Probe {
            period: Some(NEVER),
            timeout: NEVER,
            ..http("/")
        })
        .start();
    let asked = async { tokio::join!(proxy.running.probe(), proxy.running.probe()) };
    let answered = async {
        let mut wire = container.accept().await;
        let head = wire.head().await;
        assert!(crate::world::has_line(&head, "x-probe: mine"), "{head}");
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
    };
    let ((one, other), ()) = tokio::join!(asked, answered);
    assert!(one.is_ok() && other.is_ok());
    // A later question is a new attempt.
    let later = async {
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write("HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n")
            .await;
    };
    let (again, ()) = tokio::join!(proxy.running.probe(), later);
    assert!(again.is_err());
}

/// A probe that is tried once for each question.
fn once(probe: Probe) -> Probe {
    Probe {
        period: Some(Duration::from_secs(1)),
        ..probe
    }
}

#[tokio::test]
async fn case_68_a_container_is_ready_by_its_status_unless_it_keeps_its_prober_waiting() {
    let table = [(200, true), (400, false)];
    for (status, ready) in table {
        let container = Container::listen().await;
        let proxy = before(container.addr()).readiness(once(http("/"))).start();
        let statuses = [status];
        let answered = answer_attempts(&container, &statuses);
        let (outcome, ()) = tokio::join!(proxy.running.probe(), answered);
        assert_eq!(outcome.is_ok(), ready, "{status}");
    }
    let proxy = before(nobody().await).readiness(once(http("/"))).start();
    assert!(proxy.running.probe().await.is_err());
    // It accepts, and says nothing.
    let container = Container::listen().await;
    let impatient = Probe {
        timeout: SOON,
        ..once(http("/"))
    };
    let proxy = before(container.addr()).readiness(impatient).start();
    let failure = proxy.running.probe().await.unwrap_err();
    assert_eq!(failure.last, "no answer within 150ms");
}

#[tokio::test]
async fn case_70_of_two_containers_both_have_to_pass() {
    for (statuses, ready) in [([200, 200], true), ([500, 200], false), ([200, 500], false)] {
        let containers = [Container::listen().await, Container::listen().await];
        let probe = |container: &Container| {
            once(Probe {
                check: Check::Http(HttpGet {
                    port: Some(container.addr().port()),
                    ..HttpGet::default()
                }),
                ..Probe::tcp_default()
            })
        };
        let probes = Probes::new(containers.iter().map(probe).collect());
        let proxy = before(nobody().await).readiness(probes).start();
        // Both are asked, whatever the first one says.
        let (outcome, (), ()) = tokio::join!(
            proxy.running.probe(),
            answer_attempts(&containers[0], &statuses[..1]),
            answer_attempts(&containers[1], &statuses[1..]),
        );
        assert_eq!(outcome.is_ok(), ready, "{statuses:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_prober_that_leaves_does_not_end_the_attempts() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).readiness(http("/")).start();
    let mut leaving = RawClient::connect(proxy.addr()).await;
    let request = "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1\nK-Network-Probe: queue\n\n";
    leaving.send(request.replace('\n', "\r\n")).await;
    let mut first = container.accept().await;
    drop(leaving);
    first.head().await;
    first
        .write("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
        .await;
    // Nobody asks any more, yet it is tried again.
    answer_attempts(&container, &[503, 200]).await;
    proxy.end().await;
}

#[tokio::test]
async fn a_waiting_probe_is_answered_once_the_container_listens_and_passes() {
    let addr = nobody().await;
    let proxy = before(addr).readiness(http("/")).start();
    let request = "GET / HTTP/1.1\nHost: a\nUser-Agent: kube-probe/1\nK-Network-Probe: queue\n\n";
    let container = async {
        let container = Container::listen_at(addr).await;
        answer_attempts(&container, &[503, 503, 200]).await;
    };
    let (answer, ()) = tokio::join!(ask(&proxy, request), container);
    assert_eq!(text(&answer), (200, "queue"));
    proxy.end().await;
}

/// Answers each attempt with the next of `statuses`, and says how many attempts were ready.
async fn answer_attempts(container: &Container, statuses: &[u16]) {
    for status in statuses {
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"))
            .await;
    }
}

#[tokio::test]
async fn cases_71_to_73_aggressive_probes_go_on_until_enough_successes_in_a_row() {
    let table: [(u32, &[u16]); 3] = [
        (1, &[400, 200]),
        (3, &[200, 200, 200]),
        (3, &[200, 500, 200, 200, 200]),
    ];
    for (threshold, statuses) in table {
        let container = Container::listen().await;
        let probe = Probe {
            success_threshold: threshold,
            ..http("/")
        };
        let proxy = before(container.addr()).readiness(probe).start();
        // Fewer answers would leave the probe waiting, more would leave the container so.
        let (ready, ()) =
            tokio::join!(proxy.running.probe(), answer_attempts(&container, statuses));
        assert!(ready.is_ok(), "{statuses:?}");
        // The successes are remembered: one more suffices.
        let (ready, ()) = tokio::join!(proxy.running.probe(), answer_attempts(&container, &[200]));
        assert!(ready.is_ok());
    }
}

#[tokio::test]
async fn until_ready_returns_once_the_container_listens() {
    let addr = nobody().await;
    let proxy = before(addr).start();
    let mut ready = std::pin::pin!(proxy.running.until_ready());
    assert!(futures_poll_once(ready.as_mut()).await.is_pending());
    let _listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    ready.await;
}
