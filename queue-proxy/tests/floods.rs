//! Too much of something: names, lengths, requests on one connection, connections, streams. What
//! is shown is that nobody else suffers, and that nothing is left afterwards.

use std::fmt::Write as _;

use penstock_testkit::client::{Client, RawClient};
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, head, kind, request};
use penstock_testkit::workload::Workload;
use tokio::net::TcpListener;

use crate::world::{Container, before};

#[tokio::test]
async fn a_head_with_more_names_than_there_is_room_for_is_431() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    // A map of headers is full at 24,576, and some are added on the way.
    for names in [24_574, 24_575, 24_576, 24_577, 40_000] {
        let mut lines = String::new();
        for at in 0..names {
            write!(lines, "x{at}: \r\n").unwrap();
        }
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
            .await;
        assert_eq!(client.read_response().await.head.status, 431, "{names}");
    }
    proxy.serves_others_and_ends(workload).await;
}

/// A head by HTTP/2 with so many names, in as many frames as it needs.
async fn send_names(caller: &mut Frames, names: usize) {
    let mut fields = request("GET", &[]);
    for at in 0..names {
        fields.extend(head(&[(&format!("{at:x}"), "")]));
    }
    let mut parts = fields.chunks(16_000).peekable();
    let mut kind = kind::HEADERS;
    let mut flags = END_STREAM;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            flags |= END_HEADERS;
        }
        caller.send(kind, flags, 1, part).await;
        (kind, flags) = (penstock_testkit::frames::kind::CONTINUATION, 0);
    }
}

#[tokio::test]
async fn a_head_with_more_names_than_there_is_room_for_is_refused_over_http2_too() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    for names in [16_385, 24_570, 24_576, 24_577, 28_000] {
        let mut caller = Frames::connect(proxy.addr(), &[]).await;
        send_names(&mut caller, names).await;
        // An answer without a body, or an end of the stream or the connection.
        let last = loop {
            match caller.next().await {
                Some(next) if next.kind == kind::HEADERS => break next.has(END_STREAM),
                Some(next) if next.kind == kind::RST_STREAM => break true,
                Some(_) => {}
                None => break true,
            }
        };
        assert!(last, "{names}");
    }
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn a_list_of_headers_that_unpacks_to_more_than_its_limit_is_refused() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    // One name and value for the table (RFC 7541 §6.2.1), and then one byte for each repetition.
    let mut fields = request("GET", &[]);
    fields.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    fields.extend([b'v'; 4000]);
    fields.extend([0x80 | 62; 12_000]);
    let flags = END_HEADERS | END_STREAM;
    for stream in [1, 3, 5] {
        caller.send(kind::HEADERS, flags, stream, &fields).await;
    }
    let mut refused = false;
    while let Some(next) = caller.next().await {
        match next.kind {
            // 431, or an error of the stream or of the connection.
            kind::HEADERS => {
                assert!(next.has(END_STREAM), "{next:?}");
                refused = true;
            }
            kind::RST_STREAM | kind::GOAWAY => refused = true,
            _ => continue,
        }
        break;
    }
    assert!(refused);
    drop(caller);
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn the_longest_length_there_is_waits_for_its_bytes_and_nothing_overflows() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for length in [u64::MAX, i64::MAX.unsigned_abs() + 1] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nsome"
            ))
            .await;
        let mut wire = container.accept().await;
        let head = wire.read_until("\r\n\r\nsome").await;
        assert!(
            head.contains(&format!("content-length: {length}\r\n")),
            "{head}"
        );
        wire.write(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\nsome"
        ))
        .await;
        let answer = client.read_until(b"\r\n\r\nsome").await;
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        assert!(answer.contains(&format!("content-length: {length}\r\n")));
        drop((client, wire));
    }
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn ten_thousand_pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    let mut all = String::new();
    for at in 0..REQUESTS {
        let status = 200 + at % 3;
        write!(all, "GET /status/{status} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    // All at once: what is read ahead is bounded, so it is taken as it is answered.
    client.send_what_is_taken(all.as_bytes()).await;
    for at in 0..100 {
        let answer = client.read_response().await;
        assert_eq!(usize::from(answer.head.status), 200 + at % 3);
    }
    // And leaves with the rest unread.
    drop(client);
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn answers_of_our_own_that_nobody_takes_do_not_hold_up_others() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut greedy = RawClient::connect(proxy.addr()).await;
    // Refused here, again and again, and never read.
    let bad = "GET / HTTP/1.1\r\nHost: a b\r\n\r\n";
    greedy
        .send_what_is_taken(bad.repeat(200_000).as_bytes())
        .await;
    let mut other = Client::http1(proxy.addr()).await;
    assert_eq!(other.get("a", "/status/200").await.unwrap().status, 200);
    drop((greedy, other));
    proxy.serves_others_and_ends(workload).await;
}

#[tokio::test]
async fn windows_that_never_open_end_with_their_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = before(silent.local_addr().unwrap()).start();
    // SETTINGS_INITIAL_WINDOW_SIZE (4) is 0; 250 answers of our own wait for room.
    let mut caller = Frames::connect(proxy.addr(), &[0, 4, 0, 0, 0, 0]).await;
    let bad = request("GET", &[("host", "a b")]);
    for at in 0..250 {
        let flags = END_HEADERS | END_STREAM;
        caller.send(kind::HEADERS, flags, 2 * at + 1, &bad).await;
    }
    caller.of(499).await;
    drop(caller);
    proxy.until_nobody_is_counted().await;
    proxy.end().await;
}

#[tokio::test]
async fn a_window_beyond_the_largest_is_an_error_and_no_overflow() {
    const FLOW_CONTROL_ERROR: u32 = 3;
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let most = i32::MAX.unsigned_abs().to_be_bytes();
    for _ in 0..3 {
        caller.send(kind::WINDOW_UPDATE, 0, 0, &most).await;
    }
    assert_eq!(caller.last_word().await, Some(FLOW_CONTROL_ERROR));
    proxy.serves_others_and_ends(workload).await;
}
