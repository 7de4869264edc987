//! Containers that misbehave in ways that failures.rs does not show: resets, silence, heads that
//! do not end, bodies nobody asked for, restarts under load. After each the counts are at zero.

use std::io::ErrorKind;

use penstock_testkit::client::RawClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::world::{Container, GET, LATER, OK, before};

#[tokio::test]
async fn a_reset_at_any_byte_of_an_answer_is_never_taken_for_its_end() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for whole in [
        OK,
        "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        // To the end of the connection, which a reset is not.
        "HTTP/1.1 200 OK\r\n\r\nok",
    ] {
        for length in 0..whole.len() {
            let mut client = RawClient::connect(proxy.addr()).await;
            client
                .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .await;
            let mut wire = container.accept().await;
            wire.head().await;
            wire.write(&whole[..length]).await;
            wire.reset();
            let all = client.read_to_close().await;
            let all = String::from_utf8(all.to_vec()).unwrap();
            let last = all.rsplit("HTTP/1.1 ").next().unwrap();
            let (head, body) = last.split_once("\r\n\r\n").unwrap_or_default();
            let complete = match head.get(..3) {
                Some("200") if head.contains("content-length: 2") => body == "ok",
                Some("200") => body.ends_with("0\r\n\r\n"),
                Some("502") | None => false,
                _ => panic!("{all}"),
            };
            assert!(!complete, "{length} of {whole:?}: {all}");
        }
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_caller_to_whom_the_end_says_that_it_was_all_sees_a_reset_instead() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for resets in [false, true] {
        let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
            .await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
        if resets {
            wire.reset();
        } else {
            drop(wire);
        }
        let end = client.read_buf(&mut answer).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_head_of_ten_megabytes_is_502_and_empty_lines_are_passed_over() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for line in ["x-a: 1\r\n", "x", "\r\n"] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(GET).await;
        let mut wire = container.accept().await;
        wire.head().await;
        if line != "\r\n" {
            wire.write("HTTP/1.1 200 OK\r\n").await;
        }
        wire.write_what_is_taken(&line.repeat((10 << 20) / line.len()))
            .await;
        if line == "\r\n" {
            // Empty lines are no head: they are passed over, and nothing of them is kept.
            wire.write(OK).await;
            assert_eq!(client.read_response().await.head.status, 200);
        } else {
            assert_eq!(client.read_response().await.head.status, 502, "{line:?}");
        }
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn an_answer_with_more_names_than_there_is_room_for_is_502() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for names in [16_000, 24_574, 24_576, 40_000] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(GET).await;
        let mut wire = container.accept().await;
        wire.head().await;
        let lines: String = (0..names).map(|at| format!("x{at}: \r\n")).collect();
        wire.write(format!(
            "HTTP/1.1 204 No Content\r\nconnection: close\r\n{lines}\r\n"
        ))
        .await;
        let status = if names <= 16_000 { 204 } else { 502 };
        assert_eq!(client.read_response().await.head.status, status, "{names}");
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn interim_answers_without_end_are_502() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    wire.write_what_is_taken(&hint.repeat(100_000)).await;
    let answer = client.read_response().await;
    assert_eq!(answer.head.status, 502);
    assert!(answer.informational.len() <= 1000);
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_container_that_accepts_and_says_nothing_costs_a_request_its_limit_and_no_more() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).whole(LATER).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    assert_eq!(client.read_response().await.head.status, 504);
    // It is told so, and the slot is free for the next one.
    assert!(wire.read_to_close().await.is_empty());
    client.send(GET).await;
    let mut wire = container.accept().await;
    wire.head().await;
    wire.write(OK).await;
    assert_eq!(client.read_response().await.head.status, 200);
    drop(client);
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn an_answer_before_the_body_was_read_passes_and_its_connection_is_not_used_again() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for framing in ["Content-Length: 50000000", "Transfer-Encoding: chunked"] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n"
            ))
            .await;
        let mut wire = container.accept().await;
        wire.head().await;
        wire.write(OK).await;
        let answer = client.read_response().await;
        assert_eq!((answer.head.status, &answer.body[..]), (200, &b"ok"[..]));
        // Neither side can tell where a next request would begin.
        wire.read_to_close().await;
        client.read_to_close().await;
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_container_that_restarts_again_and_again_under_load_loses_its_own_requests_only() {
    const CALLERS: usize = 8;
    const RESTARTS: usize = 20;
    let mut container = Container::listen().await;
    let addr = container.addr();
    let proxy = before(addr).slots(2).start();
    let (done, over) = tokio::sync::watch::channel(false);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (at, over) = (proxy.addr(), over.clone());
        callers.spawn(async move {
            let mut answered = 0;
            let mut client = RawClient::connect(at).await;
            while !*over.borrow() {
                client.send(GET).await;
                // Always an answer, and never a connection that is cut.
                let status = client.read_response().await.head.status;
                assert!([200, 502].contains(&status), "{status}");
                answered += usize::from(status == 200);
            }
            answered
        });
    }
    for turn in 0..RESTARTS {
        // Some requests are answered, the one after them dies with the container.
        let mut wire = container.accept().await;
        for _ in 0..turn % 3 {
            wire.head().await;
            wire.write(OK).await;
        }
        wire.head().await;
        wire.reset();
        drop(container);
        container = Container::listen_at(addr).await;
    }
    done.send_replace(true);
    let serving = async {
        let mut wires = JoinSet::new();
        loop {
            let mut wire = container.accept().await;
            wires.spawn(async move {
                while wire.try_head().await {
                    wire.write(OK).await;
                }
            });
        }
    };
    let ended = async {
        let mut answered = 0;
        while let Some(each) = callers.join_next().await {
            answered += each.unwrap();
        }
        answered
    };
    let answered = tokio::select! {
        answered = ended => answered,
        () = serving => unreachable!("it accepts for ever"),
    };
    assert!(answered > 0);
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}
