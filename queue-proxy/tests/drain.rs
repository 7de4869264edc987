//! From the signal to the end. The quiet time is shown with a paused clock in `src/drain.rs`.

use std::time::Duration;

use penstock_queue_proxy::Waited;
use penstock_runtime::drain::Drained;
use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::workload::Workload;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{LATER, NEVER, Proxy, SOON, before};

async fn until_closed_to_new_connections(proxy: &Proxy) {
    while TcpStream::connect(proxy.addr()).await.is_ok() {}
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).workers(2).start();
    let mut silent = RawClient::connect(proxy.addr()).await;
    let mut kept = RawClient::connect(proxy.addr()).await;
    kept.send("GET /status/200 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(kept.read_response().await.head.status, 200);
    let mut h2 = Client::h2c(proxy.addr()).await;
    assert_eq!(h2.get("a", "/status/200").await.unwrap().status, 200);
    assert_eq!(
        proxy.running.drain(Duration::ZERO, NEVER).await,
        Drained::Clean
    );
    assert!(silent.read_to_close().await.is_empty());
    assert!(kept.read_to_close().await.is_empty());
    assert!(h2.get("a", "/status/200").await.is_err());
    assert!(TcpStream::connect(proxy.addr()).await.is_err());
}

#[tokio::test]
async fn case_130_open_requests_end_well() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut asked = JoinSet::new();
    for h2 in [false, true] {
        let addr = proxy.addr();
        asked.spawn(async move {
            let mut client = match h2 {
                true => Client::h2c(addr).await,
                false => Client::http1(addr).await,
            };
            let answer = client.get("a", "/hold").await.unwrap();
            (
                answer.brief(),
                client.get("a", "/status/200").await.is_err(),
            )
        });
    }
    // One inside, one in line.
    proxy.until_value("kn_serving_queue_depth", &[], 2.0).await;
    let ends = async {
        until_closed_to_new_connections(&proxy).await;
        workload.release(2);
        while let Some(ended) = asked.join_next().await {
            // Answered, and then no further request is taken on that connection.
            assert_eq!(ended.unwrap(), ((200, "held".to_owned()), true));
        }
    };
    let (drained, ()) = tokio::join!(proxy.running.drain(Duration::ZERO, NEVER), ends);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn what_does_not_end_is_cut_and_counted() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut callers = Vec::new();
    for inside in 1..=2 {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
        workload.until_inside(inside).await;
        callers.push(client);
    }
    assert_eq!(
        proxy.running.drain(Duration::ZERO, SOON).await,
        Drained::Cut { left: 2 }
    );
    for client in &mut callers {
        assert!(client.read_to_close().await.is_empty());
    }
    workload.until_inside(0).await;
}

#[tokio::test]
async fn requests_are_taken_until_it_was_quiet() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let asks = async {
        let mut client = Client::http1(proxy.addr()).await;
        let answer = client.get("a", "/status/200").await.unwrap();
        assert_eq!(answer.status, 200);
    };
    let (drained, ()) = tokio::join!(proxy.running.drain(LATER, NEVER), asks);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn while_it_drains_callers_of_http1_are_told_to_come_by_another_connection() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let ask = "GET /status/200 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = RawClient::connect(proxy.addr()).await;
    kept.send(ask).await;
    let answer = kept.read_response().await;
    assert_eq!(answer.head.header("connection"), None);
    let asks = async {
        // One that was open before, and one that comes now.
        for mut client in [kept, RawClient::connect(proxy.addr()).await] {
            client.send(ask).await;
            let answer = client.read_response().await;
            assert_eq!(answer.head.status, 200);
            assert_eq!(answer.head.header("connection"), Some("close"));
            assert!(client.read_to_close().await.is_empty());
        }
        let mut h2 = Client::h2c(proxy.addr()).await;
        for _ in 0..2 {
            assert_eq!(h2.get("a", "/status/200").await.unwrap().status, 200);
        }
        // A container that was merely restarted goes on as before.
        proxy.running.take_back();
        let mut kept = Client::http1(proxy.addr()).await;
        for _ in 0..2 {
            assert_eq!(kept.get("a", "/status/200").await.unwrap().status, 200);
        }
    };
    let (waited, ()) = tokio::join!(proxy.running.until_quiet(NEVER), asks);
    assert_eq!(waited, Waited::TakenBack);
}

#[tokio::test]
async fn a_queue_proxy_that_is_dropped_cuts_everything() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    workload.until_inside(1).await;
    drop(proxy);
    assert!(client.read_to_close().await.is_empty());
    workload.until_inside(0).await;
}

#[tokio::test]
async fn case_126_closing_with_nothing_inside_ends_at_once() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    assert_eq!(proxy.running.close(NEVER).await, Drained::Clean);
}

#[tokio::test]
async fn case_126_http1_requests_have_no_limit_and_the_others_their_own() {
    let workload = Workload::start().await;
    for (h2, grace, clean) in [
        (false, Duration::ZERO, true),
        (true, NEVER, true),
        (true, SOON, false),
    ] {
        let proxy = before(workload.addr()).start();
        let mut client = match h2 {
            true => Client::h2c(proxy.addr()).await,
            false => Client::http1(proxy.addr()).await,
        };
        let asked = tokio::spawn(async move { client.get("a", "/hold").await.is_ok() });
        workload.until_inside(1).await;
        let ends = async {
            until_closed_to_new_connections(&proxy).await;
            if clean {
                workload.release(1);
            }
        };
        let (drained, ()) = tokio::join!(proxy.running.close(grace), ends);
        assert_eq!(drained == Drained::Clean, clean, "HTTP/2: {h2}");
        assert_eq!(asked.await.unwrap(), clean);
        workload.until_inside(0).await;
    }
}
