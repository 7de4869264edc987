//! Connections that change protocol.

use std::time::Duration;

use penstock_runtime::drain::Drained;
use penstock_testkit::client::{RawClient, raw_http1};
use penstock_testkit::workload::{RawWorkload, Turn, Workload};

use crate::world::{Container, LATER, NEVER, Proxy, SOON, Wire, before, has_line};

const ASK: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n\r\n";

/// A caller and the container, joined.
async fn joined(proxy: &Proxy, container: &Container) -> (RawClient, Wire) {
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(ASK).await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert!(
        has_line(&head, "connection: upgrade") && has_line(&head, "upgrade: websocket"),
        "{head}"
    );
    wire.write(SWITCH).await;
    let answer = client.read_head().await;
    assert_eq!(
        (
            answer.status,
            answer.header("upgrade"),
            answer.header("x-a")
        ),
        (101, Some("websocket"), Some("1"))
    );
    assert!(
        answer
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    (client, wire)
}

#[tokio::test]
async fn bytes_flow_both_ways_and_each_side_may_end_first() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for caller_first in [true, false] {
        let (mut client, mut wire) = joined(&proxy, &container).await;
        for number in 0..3 {
            client.send(format!("to {number};")).await;
            wire.read_until(&format!("to {number};")).await;
            wire.write(format!("from {number};")).await;
            client
                .read_until(format!("from {number};").as_bytes())
                .await;
        }
        if caller_first {
            client.end().await;
            assert!(wire.read_to_close().await.is_empty());
            wire.write("still from here").await;
            client.read_until(b"still from here").await;
            wire.end().await;
            assert!(client.read_to_close().await.is_empty());
        } else {
            wire.end().await;
            assert!(client.read_to_close().await.is_empty());
            client.send("still from there").await;
            wire.read_until("still from there").await;
            client.end().await;
            assert!(wire.read_to_close().await.is_empty());
        }
        // With one slot, the next turn shows that it is free again.
    }
    proxy
        .until_value(
            "http_server_request_duration_seconds_count",
            &["code=\"101\""],
            2.0,
        )
        .await;
    proxy.end().await;
}

#[tokio::test]
async fn bytes_sent_right_behind_either_head_are_not_lost() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(format!("{ASK}early from the caller")).await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write(format!("{SWITCH}early from the container"))
        .await;
    assert_eq!(client.read_head().await.status, 101);
    client.read_until(b"early from the container").await;
    wire.read_until("early from the caller").await;
    drop((client, wire));
    proxy.end().await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let raw = RawWorkload::start([
        Turn::write("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno"),
        Turn::write("HTTP/1.1 204 No Content\r\n\r\n"),
    ])
    .await;
    let proxy = before(raw.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(ASK).await;
    assert_eq!(client.read_response().await.head.status, 426);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_response().await.head.status, 204);
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn case_111_a_wrong_or_unrequested_switch_is_502() {
    let wrong = SWITCH.replace("websocket", "other");
    let table = [
        (ASK, wrong.as_str()),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", SWITCH),
        (
            ASK,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
        ),
    ];
    for (request, answer) in table {
        let raw = RawWorkload::start([Turn::write(answer)]).await;
        let proxy = before(raw.addr()).slots(1).start();
        for _ in 0..2 {
            let mut client = RawClient::connect(proxy.addr()).await;
            client.send(request).await;
            assert_eq!(client.read_response().await.head.status, 502, "{answer}");
        }
        proxy.end().await;
    }
}

#[tokio::test]
async fn upgrade_to_h2c_is_declined_and_the_request_served() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let answer = raw_http1(proxy.addr(), "GET /status/200 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
    proxy.end().await;
}

#[tokio::test]
async fn case_100_the_start_limit_is_met_by_the_switch() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).response_start(LATER).start();
    let (mut client, mut wire) = joined(&proxy, &container).await;
    tokio::time::sleep(LATER + SOON).await;
    client.send("late;").await;
    wire.read_until("late;").await;
    drop((client, wire));
    proxy.end().await;
}

#[tokio::test]
async fn case_100_bytes_in_either_direction_keep_the_idle_limit_away() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).idle(LATER).start();
    let (mut client, mut wire) = joined(&proxy, &container).await;
    let start = tokio::time::Instant::now();
    let mut turns = 0;
    // Longer than the limit in all, in one direction at a time.
    while start.elapsed() < 2 * LATER {
        if start.elapsed() < LATER {
            client.send("x").await;
            wire.read_until("x").await;
        } else {
            wire.write("y").await;
            client.read_until(b"y").await;
        }
        turns += 1;
        tokio::time::sleep(LATER / 20).await;
    }
    assert!(turns > 2);
    // Silence ends it.
    client.read_to_close().await;
    wire.read_to_close().await;
    proxy.end().await;
}

#[tokio::test]
async fn case_100_the_whole_limit_ends_it_whatever_flows() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).whole(LATER).start();
    let (mut client, mut wire) = joined(&proxy, &container).await;
    let chatter = async {
        loop {
            client.send("x").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = chatter => {}
        _ = wire.read_to_close() => {}
    }
    client.read_to_close().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_tunnel_outlives_the_close_and_is_cut_at_the_end() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let (mut client, mut wire) = joined(&proxy, &container).await;
    let drained = proxy.running.drain(Duration::ZERO, SOON).await;
    assert_eq!(drained, Drained::Cut { left: 1 });
    client.read_to_close().await;
    wire.read_to_close().await;
}

#[tokio::test]
async fn a_tunnel_that_ends_by_itself_lets_the_drain_end_well() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let (mut client, mut wire) = joined(&proxy, &container).await;
    let ends = async {
        // It works on while the drain waits for it.
        while tokio::net::TcpStream::connect(proxy.addr()).await.is_ok() {}
        client.send("bye").await;
        wire.read_until("bye").await;
        drop((client, wire));
    };
    let (drained, ()) = tokio::join!(proxy.running.drain(Duration::ZERO, NEVER), ends);
    assert_eq!(drained, Drained::Clean);
}
