//! Callers that disappear, at every stage and in every protocol: what they held is free, the
//! container's connection ends, and the counts are back at zero.

use penstock_testkit::client::RawClient;
use penstock_testkit::frames::{END_HEADERS, head, kind};

use crate::frames::{CANCEL, World, reset};
use crate::world::{Container, GET, Proxy, Wire, before};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n";
const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Ends the connection of a caller, or resets it.
fn leave(client: RawClient, reset: bool) {
    if reset {
        client.reset();
    }
}

/// A caller whose request the container has read, and the container's side of it.
async fn inside(proxy: &Proxy, container: &Container, request: &str) -> (RawClient, Wire) {
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(request).await;
    let mut wire = container.accept().await;
    wire.head().await;
    (client, wire)
}

/// Nobody is counted, the only slot is free, and nothing holds the end up.
async fn nothing_is_left(proxy: Proxy, container: &Container) {
    proxy.until_nobody_is_counted().await;
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET /last HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut wire = container.accept().await;
    assert!(wire.head().await.starts_with("GET /last "));
    wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read_response().await.head.status, 204);
    drop((client, wire));
    proxy.end().await;
}

#[tokio::test]
async fn at_any_byte_of_a_request() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: 1\r\n\r\n";
    let head = request.find("\r\n\r\n").unwrap() + 4;
    for length in 0..request.len() {
        for reset in [false, true] {
            let mut client = RawClient::connect(proxy.addr()).await;
            client.send(&request[..length]).await;
            if length < head {
                if reset {
                    client.reset();
                }
                continue;
            }
            let mut wire = container.accept().await;
            wire.head().await;
            leave(client, reset);
            // It is not told that this was all.
            let all = wire.read_to_close().await;
            assert!(!all.ends_with(b"\r\n\r\n"), "{length} {all:?}");
        }
    }
    nothing_is_left(proxy, &container).await;
}

#[tokio::test]
async fn while_nobody_takes_what_they_send() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let (mut client, mut wire) = inside(&proxy, &container, POST).await;
    // More than all buffers on the way hold, as the container reads none of it. Only a reset
    // gets past that: a regular end waits behind what the sockets do not take.
    client.send_what_is_taken(&vec![b'x'; 40_000_000]).await;
    client.reset();
    // The slot is free although the container has not read on.
    proxy.until_nobody_is_counted().await;
    wire.read_to_close().await;
    nothing_is_left(proxy, &container).await;
}

#[tokio::test]
async fn before_the_answer() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for reset in [false, true] {
        let (client, mut wire) = inside(&proxy, &container, GET).await;
        leave(client, reset);
        assert!(wire.read_to_close().await.is_empty());
    }
    nothing_is_left(proxy, &container).await;
}

#[tokio::test]
async fn in_the_middle_of_an_answer_that_they_do_not_read() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for reset in [false, true] {
        let (client, mut wire) = inside(&proxy, &container, GET).await;
        wire.write("HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
            .await;
        wire.write_what_is_taken(&"x".repeat(40_000_000)).await;
        leave(client, reset);
        wire.read_to_close().await;
    }
    nothing_is_left(proxy, &container).await;
}

#[tokio::test]
async fn in_a_websocket_by_a_reset() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for talks in [false, true] {
        let (mut client, mut wire) = inside(&proxy, &container, UPGRADE).await;
        wire.write(SWITCH).await;
        assert_eq!(client.read_head().await.status, 101);
        if talks {
            // While neither takes what the other sends.
            wire.write_what_is_taken(&"x".repeat(40_000_000)).await;
        }
        client.reset();
        wire.read_to_close().await;
    }
    nothing_is_left(proxy, &container).await;
}

#[tokio::test]
async fn as_streams_at_every_stage_and_as_their_connection() {
    let mut world = World::start(1).await;
    for whole_connection in [false, true] {
        world.connect().await;
        // 1 is inside and has sent a part of its body, 3 waits in line, 5 too with a body.
        world.upload(1).await;
        world.caller.send(kind::DATA, 0, 1, b"part").await;
        let mut container = world.accept().await;
        let asked = container.until(kind::HEADERS).await;
        container.until(kind::DATA).await;
        world.ask(3).await;
        world.upload(5).await;
        world.caller.send(kind::DATA, 0, 5, &[7; 16_000]).await;
        let depth = "kn_serving_queue_depth";
        world.proxy.until_value(depth, &[], 3.0).await;
        // 1 is being answered.
        let ok = head(&[(":status", "200")]);
        container
            .send(kind::HEADERS, END_HEADERS, asked.stream, &ok)
            .await;
        world.caller.of(1).await;
        if whole_connection {
            world.connect().await;
        } else {
            for stream in [5, 3, 1] {
                reset(&mut world.caller, stream, CANCEL).await;
            }
        }
        let end = container.of(asked.stream).await;
        assert_eq!(end.kind, kind::RST_STREAM);
        world.proxy.until_nobody_is_counted().await;
    }
    world.end().await;
}
