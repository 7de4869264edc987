//! The gate before the container, and callers that leave.

use std::sync::Arc;

use penstock_testkit::client::{Client, RawClient, empty};
use penstock_testkit::workload::Workload;
use tokio::task::JoinSet;

use crate::world::{Container, Proxy, SOON, before};

const FULL: &str = "pending request queue full\n";

/// Sends `count` requests for `/hold`, each on a connection of its own.
fn hold(proxy: &Proxy, count: usize) -> JoinSet<(u16, String)> {
    let mut asked = JoinSet::new();
    for _ in 0..count {
        let addr = proxy.addr();
        asked.spawn(async move {
            let mut client = Client::http1(addr).await;
            client.get("a", "/hold").await.unwrap().brief()
        });
    }
    asked
}

#[tokio::test]
async fn case_15_of_fourteen_requests_eleven_are_taken_and_three_refused_at_once() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = hold(&proxy, 14);
    for _ in 0..3 {
        assert_eq!(
            asked.join_next().await.unwrap().unwrap(),
            (503, FULL.to_owned())
        );
    }
    // Nothing was answered yet by the container.
    workload.until_inside(1).await;
    workload.until_total(1).await;
    assert_eq!(workload.total(), 1);
    workload.release(11);
    while let Some(answer) = asked.join_next().await {
        assert_eq!(answer.unwrap(), (200, "held".to_owned()));
    }
    assert_eq!(workload.most_inside(), 1);
    proxy.end().await;
}

#[tokio::test]
async fn case_16_those_in_line_and_the_one_inside_time_out_and_free_their_places() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).whole(SOON).start();
    for _ in 0..2 {
        let mut asked = hold(&proxy, 11);
        while let Some(answer) = asked.join_next().await {
            assert_eq!(answer.unwrap(), (504, "request timeout".to_owned()));
        }
        // Who times out inside makes room a moment before the container has noticed.
        workload.until_inside(0).await;
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_18_a_refusal_says_why_and_by_whom() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = hold(&proxy, 11);
    proxy.until_value("kn_serving_queue_depth", &[], 11.0).await;
    let mut client = Client::http1(proxy.addr()).await;
    let refused = client.get("a", "/hold").await.unwrap();
    assert_eq!(refused.brief(), (503, FULL.to_owned()));
    assert_eq!(
        refused.headers["proxy-status"],
        "penstock-queue-proxy; error=connection_limit_reached"
    );
    assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");
    // The connection serves on.
    workload.release(12);
    while asked.join_next().await.is_some() {}
    assert_eq!(client.get("a", "/hold").await.unwrap().brief().0, 200);
    proxy.end().await;
}

#[tokio::test]
async fn case_23_health_probes_neither_wait_nor_count_while_the_only_slot_is_taken() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = hold(&proxy, 1);
    workload.until_inside(1).await;
    let mut probes = JoinSet::new();
    for _ in 0..3 {
        let addr = proxy.addr();
        probes.spawn(async move {
            let probe = http::Request::get("/x")
                .header("user-agent", "kube-probe/1.29")
                .header("k-network-probe", "queue")
                .body(empty())
                .unwrap();
            let mut client = Client::http1(addr).await;
            client.ask(probe).await.unwrap().brief()
        });
    }
    while let Some(answer) = probes.join_next().await {
        assert_eq!(answer.unwrap(), (200, "queue".to_owned()));
    }
    assert_eq!(proxy.value("kn_serving_queue_depth", &[]), 1.0);
    workload.release(1);
    assert_eq!(asked.join_next().await.unwrap().unwrap().0, 200);
    proxy.end().await;
}

#[tokio::test]
async fn a_container_never_has_more_connections_than_it_takes_requests() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).workers(2).start();
    // They are spread evenly: one connection for each worker.
    let mut callers = [
        Client::http1(proxy.addr()).await,
        Client::http1(proxy.addr()).await,
    ];
    for _ in 0..3 {
        for caller in &mut callers {
            assert_eq!(caller.get("a", "/").await.unwrap().status, 200);
        }
    }
    assert_eq!(workload.connections(), 1);
    proxy.end().await;
}

#[tokio::test]
async fn case_24_a_kubelet_probe_needs_no_slot() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = hold(&proxy, 1);
    workload.until_inside(1).await;
    let mut client = Client::http1(proxy.addr()).await;
    let probe = http::Request::get("/x")
        .header("k-kubelet-probe", "x")
        .body(empty())
        .unwrap();
    assert_eq!(client.ask(probe).await.unwrap().status, 200);
    workload.release(1);
    asked.join_next().await.unwrap().unwrap();
    proxy.end().await;
}

#[tokio::test]
async fn case_25_a_caller_that_leaves_frees_the_slot_and_the_container() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    for version in ["h1", "h2"] {
        let client = match version {
            "h1" => Client::http1(proxy.addr()).await,
            _ => Client::h2c(proxy.addr()).await,
        };
        let mut client = Box::new(client);
        let mut leaving = JoinSet::new();
        leaving.spawn(async move { client.get("a", "/hold").await.map(drop) });
        workload.until_inside(1).await;
        leaving.shutdown().await;
        workload.until_inside(0).await;
        // And whoever comes next gets the slot.
        let mut next = hold(&proxy, 1);
        workload.until_inside(1).await;
        workload.release(1);
        assert_eq!(next.join_next().await.unwrap().unwrap().0, 200);
    }
    proxy.end().await;
}

#[tokio::test]
async fn case_51_depth_counts_who_waits_and_who_is_inside() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = hold(&proxy, 11);
    proxy.until_value("kn_serving_queue_depth", &[], 11.0).await;
    workload.release(11);
    while asked.join_next().await.is_some() {}
    // Never lowered by completions: the last that started found itself alone.
    assert_eq!(proxy.value("kn_serving_queue_depth", &[]), 1.0);
    proxy.end().await;
}

#[tokio::test]
async fn fifty_callers_at_a_container_for_three_are_all_served_three_at_a_time() {
    let workload = Arc::new(Workload::start().await);
    let proxy = before(workload.addr()).slots(3).workers(2).start();
    workload.release(usize::MAX >> 4);
    let mut asked = JoinSet::new();
    for _ in 0..50 {
        let addr = proxy.addr();
        asked.spawn(async move {
            let mut client = Client::http1(addr).await;
            // Those that find the line full come again, as an activator would send them.
            let mut served = 0;
            while served < 10 {
                match client.get("a", "/hold").await.unwrap().brief().0 {
                    200 => served += 1,
                    503 => tokio::task::yield_now().await,
                    other => panic!("{other}"),
                }
            }
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    assert_eq!(workload.total(), 500);
    assert!(workload.most_inside() <= 3);
    proxy.end().await;
}

#[tokio::test]
async fn requests_reach_the_container_in_the_order_in_which_they_came() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let mut callers = Vec::new();
    for number in 0..5 {
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        callers.push(client);
        proxy
            .until_value("kn_serving_queue_depth", &[], f64::from(number) + 1.0)
            .await;
    }
    let mut wire = container.accept().await;
    for (number, client) in callers.iter_mut().enumerate() {
        let head = wire.head().await;
        assert!(head.starts_with(&format!("GET /{number} ")), "{head}");
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(client.read_response().await.head.status, 200);
    }
    proxy.end().await;
}

/// A caller that waits in line leaves; the next to come is not refused although the line was
/// full.
async fn leaves_the_line(request: &'static str) {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut inside = hold(&proxy, 1);
    workload.until_inside(1).await;
    let mut leaving = RawClient::connect(proxy.addr()).await;
    leaving.send(request.replace('\n', "\r\n")).await;
    proxy.until_value("kn_serving_queue_depth", &[], 2.0).await;
    drop(leaving);
    proxy
        .until_value(
            "http_server_request_duration_seconds_count",
            &["status_code=\"499\""],
            1.0,
        )
        .await;
    let mut line = hold(&proxy, 10);
    proxy.until_value("kn_serving_queue_depth", &[], 11.0).await;
    workload.release(11);
    assert_eq!(inside.join_next().await.unwrap().unwrap().0, 200);
    while let Some(answer) = line.join_next().await {
        assert_eq!(answer.unwrap().0, 200);
    }
    // Who left never reached the container.
    assert_eq!(workload.total(), 11);
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_without_a_body_leaves_the_line_at_once() {
    leaves_the_line("GET /hold HTTP/1.1\nHost: a\n\n").await;
}

#[tokio::test]
async fn a_caller_whose_body_nobody_has_read_leaves_the_line_at_once() {
    leaves_the_line("POST /hold HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello").await;
}

#[tokio::test]
async fn a_caller_in_the_middle_of_its_body_leaves_the_line_at_once() {
    leaves_the_line("POST /hold HTTP/1.1\nHost: a\nContent-Length: 500000\n\nhello").await;
}

#[tokio::test]
async fn a_caller_that_waits_for_100_continue_leaves_the_line_at_once() {
    leaves_the_line("POST /hold HTTP/1.1\nHost: a\nContent-Length: 5\nExpect: 100-continue\n\n")
        .await;
}

#[tokio::test]
async fn a_body_that_waited_in_line_arrives_whole() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut inside = hold(&proxy, 1);
    workload.until_inside(1).await;
    let body = vec![b'x'; 3_000_000];
    let sent = body.clone();
    let addr = proxy.addr();
    let mut waiting = JoinSet::new();
    waiting.spawn(async move {
        let mut client = Client::http1(addr).await;
        let request = http::Request::post("/echo").body(penstock_testkit::client::body(sent));
        client.ask(request.unwrap()).await.unwrap()
    });
    proxy.until_value("kn_serving_queue_depth", &[], 2.0).await;
    workload.release(1);
    inside.join_next().await.unwrap().unwrap();
    let answer = waiting.join_next().await.unwrap().unwrap();
    assert!(answer.body == body, "{} bytes", answer.body.len());
    proxy.end().await;
}

#[tokio::test]
async fn connections_are_spread_over_the_workers() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).workers(2).start();
    // Pools are not shared between workers: with one worker, one connection would do.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::http1(proxy.addr()).await;
        assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.get("a", "/status/200").await.unwrap().status, 200);
    }
    assert_eq!(workload.connections(), 2);
    drop(clients);
    proxy.end().await;
}
