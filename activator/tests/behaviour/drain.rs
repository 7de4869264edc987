//! The end of an activator loses no request.

use std::time::Duration;

use penstock_runtime::drain::Drained;
use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::workload::Workload;

use crate::stage::{HOST, Stage, hello, hello_id, within};

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn requests_that_were_accepted_are_answered_also_those_that_wait_for_a_pod() {
    let (one, two) = (Workload::start().await, Workload::start().await);
    let stage = Stage::new([hello().concurrency(1).pod(one.addr()).build()]);
    let inside = stage.getting("/hold");
    within(one.until_inside(1)).await;
    let mut h2 = Client::h2c(stage.addr).await;
    let by_h2 = tokio::spawn(async move { h2.get(HOST, "/").await });
    let waiting = [stage.getting("/"), stage.getting("/")];
    stage.until_load(3, 1).await;
    let cluster = std::sync::Arc::clone(&stage.cluster);
    let addr = stage.addr;
    let draining = tokio::spawn(stage.running.drain(Duration::ZERO, LONG));
    within(async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} }).await;
    cluster.start_pod(&hello_id(), two.addr());
    for answer in waiting {
        assert_eq!(within(answer).await.unwrap().status, 200);
    }
    assert_eq!(within(by_h2).await.unwrap().unwrap().status, 200);
    one.release(1);
    assert_eq!(within(inside).await.unwrap().status, 200);
    assert_eq!(within(draining).await.unwrap(), Drained::Clean);
}

#[tokio::test]
async fn idle_connections_hold_nothing_up() {
    let one = Workload::start().await;
    let stage = Stage::new([hello().pod(one.addr()).build()]);
    let mut used = stage.client().await;
    assert_eq!(used.get(HOST, "/").await.unwrap().status, 200);
    let mut by_stream = Client::h2c(stage.addr).await;
    assert_eq!(by_stream.get(HOST, "/").await.unwrap().status, 200);
    let _silent = RawClient::connect(stage.addr).await;
    // A later connection that is answered shows that the earlier ones were accepted.
    assert_eq!(stage.get("/").await.status, 200);
    stage.end().await;
}

#[tokio::test]
async fn a_tunnel_is_waited_for_and_cut_when_its_time_is_over() {
    let one = Workload::start().await;
    let upgrade =
        format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    for grace in [LONG, Duration::ZERO] {
        let stage = Stage::new([hello().pod(one.addr()).build()]);
        let mut tunnel = RawClient::connect(stage.addr).await;
        tunnel.send(&upgrade).await;
        assert_eq!(tunnel.read_head().await.status, 101);
        let addr = stage.addr;
        let draining = tokio::spawn(stage.running.drain(Duration::ZERO, grace));
        within(async { while tokio::net::TcpStream::connect(addr).await.is_ok() {} }).await;
        if grace.is_zero() {
            let drained = within(draining).await.unwrap();
            assert!(matches!(drained, Drained::Cut { left: 1.. }), "{drained:?}");
            assert!(within(tunnel.read_to_close()).await.is_empty());
        } else {
            tunnel.send("still there").await;
            assert_eq!(&tunnel.read_exact(11).await[..], b"still there");
            drop(tunnel);
            assert_eq!(within(draining).await.unwrap(), Drained::Clean);
        }
    }
}
