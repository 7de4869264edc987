//! Messages made to hide another one. Each is refused, or reaches the container as one request
//! that can be read in one way; what is shown is the bytes that the container receives.

use penstock_testkit::client::RawClient;
use penstock_testkit::frames::{END_HEADERS, END_STREAM, Frames, head, kind, request};
use penstock_testkit::workload::Workload;
use tokio::time::timeout;

use crate::world::{Container, LATER, Wire, before, has_line, nobody};

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const PROTOCOL_ERROR: u32 = 1;

#[tokio::test]
async fn no_dress_of_transfer_encoding_passes() {
    let proxy = before(nobody().await).start();
    for lines in [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding:\u{c}chunked",
        "Transfer-Encoding: \u{1}chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: , chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:",
        "Transfer-Encoding:\r\n chunked",
        "X: 1\rTransfer-Encoding: chunked",
        "X: 1\u{0}Transfer-Encoding: chunked",
        "X\u{0}Y: 1",
        "Content-Length: 3, 3",
        "Content-Length: 3 3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: 3.0",
        "Content-Length: 3;",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 3\r\nContent-Length: 03\r\nContent-Length: 4",
        "Content-Length: \u{1}3",
        "Host: b",
    ] {
        let mut client = RawClient::connect(proxy.addr()).await;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        client
            .send(format!("{head}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let answer = client.read_response().await;
        assert!(
            [400, 501].contains(&answer.head.status),
            "{lines:?} {}",
            answer.head.status
        );
        if lines != "Host: b" {
            // Where the next request begins is not known.
            assert!(client.read_to_close().await.is_empty(), "{lines:?}");
        }
    }
    proxy.end().await;
}

#[tokio::test]
async fn what_a_chunked_body_hides_is_400_and_goes_nowhere() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    for body in [
        // Overflow, signs, other bases, blanks.
        "10000000000000002\r\nok\r\n0\r\n\r\n",
        "+2\r\nok\r\n0\r\n\r\n",
        "0x2\r\nok\r\n0\r\n\r\n",
        " 2\r\nok\r\n0\r\n\r\n",
        "2_0\r\nok\r\n0\r\n\r\n",
        "\r\nok\r\n0\r\n\r\n",
        // Ends of lines that some take for one.
        "2\nok\r\n0\r\n\r\n",
        "2\rok\r\n0\r\n\r\n",
        "2;x\nok\r\n0\r\n\r\n",
        "2;a\rb\r\nok\r\n0\r\n\r\n",
        "2;\u{0}\r\nok\r\n0\r\n\r\n",
        "2\r\nokxx\r\n0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        // Trailers.
        "0\r\nx y: 1\r\n\r\n",
        "0\r\nx : 1\r\n\r\n",
        "0\r\nx: 1\r\n folded\r\n\r\n",
        "0\r\nx: 1\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "0\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "0\r\nx: a\rb\r\n\r\n",
        "0\r\nnone\r\n\r\n",
    ] {
        let mut client = RawClient::connect(proxy.addr()).await;
        let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{body}")).await;
        // Whether the container was connected to before the error was seen is left open.
        let seen = async {
            let mut wire = container.accept().await;
            let all = String::from_utf8(wire.read_to_close().await).unwrap();
            assert!(!all.contains("smuggled"), "{body:?}: {all:?}");
            assert!(!all.ends_with("\r\n0\r\n\r\n"), "{body:?}: {all:?}");
        };
        let answered = async {
            let answer = client.read_response();
            tokio::select! {
                answer = answer => answer,
                () = seen => client.read_response().await,
            }
        };
        let answer = timeout(LATER, answered).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {body:?}"));
        assert_eq!(answer.head.status, 400, "{body:?}");
        assert!(client.read_to_close().await.is_empty(), "{body:?}");
    }
    proxy.end().await;
}

/// Sends `bytes` on a connection, and expects one request: all of it that the container gets.
async fn one_request(bytes: &str) -> String {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(bytes.replace('\n', "\r\n")).await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    wire.write("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(client.read_response().await.head.status, 204);
    drop(client);
    let rest = wire.read_to_close().await;
    proxy.end().await;
    (head + &String::from_utf8(rest).unwrap()).replace("\r\n", "\n")
}

#[tokio::test]
async fn trailers_cannot_frame_route_or_speak_for_their_caller() {
    let all = one_request(
        "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n2\nok\n0\nContent-Length: 9\nTransfer-Encoding: chunked\nHost: evil\nConnection: x\nAuthorization: x\nUpgrade: x\nTE: x\nX-Kept: 1\n\n",
    )
    .await;
    assert_eq!(
        all,
        "POST / HTTP/1.1\nhost: a\nx-forwarded-for: 127.0.0.1\ntransfer-encoding: chunked\n\n2\nok\n0\nx-kept: 1\n\n"
    );
}

#[tokio::test]
async fn trailers_cannot_do_so_over_http2_either() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = before(listener.local_addr().unwrap()).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let upload = request("POST", &[]);
    caller.send(kind::HEADERS, END_HEADERS, 1, &upload).await;
    caller.send(kind::DATA, 0, 1, b"ok").await;
    let trailers = head(&[
        ("content-length", "9"),
        ("host", "evil"),
        ("authorization", "x"),
        ("x-kept", "1"),
    ]);
    let flags = END_HEADERS | END_STREAM;
    caller.send(kind::HEADERS, flags, 1, &trailers).await;
    let mut container = Frames::accept(&listener, &[]).await;
    let asked = container.until(kind::HEADERS).await;
    let last = container.until(kind::HEADERS).await;
    assert!(last.has(END_STREAM) && last.stream == asked.stream);
    let text = String::from_utf8_lossy(&last.payload);
    // Only what is left is so short: a literal of 6 and 1 bytes, compressed or not.
    assert!(last.payload.len() <= 10, "{text:?}");
    drop((caller, container));
    proxy.end().await;
}

#[tokio::test]
async fn bytes_behind_an_answer_are_no_answer_to_the_next_request() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";
    let table = [
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{smuggled}")),
        (
            "GET",
            format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n{smuggled}"),
        ),
        (
            "GET",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{smuggled}"),
        ),
        (
            "GET",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        // A body that nobody may send here, half of it.
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned(),
        ),
    ];
    for (method, bytes) in table {
        let container = Container::listen().await;
        let proxy = before(container.addr()).slots(1).start();
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!("{method} /1 HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let mut first = container.accept().await;
        first.head().await;
        first.write(&bytes).await;
        if method == "HEAD" {
            client.read_response_to_head().await;
        } else {
            client.read_response().await;
        }
        client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        // That connection is not used again.
        let rest = timeout(LATER, first.read_to_close()).await;
        assert_eq!(rest, Ok(Vec::new()), "{bytes:?}");
        let mut second = container.accept().await;
        assert!(second.head().await.starts_with("GET /2 "));
        second.write(DONE).await;
        assert_eq!(client.read_response().await.head.status, 204, "{bytes:?}");
        drop(client);
        proxy.end().await;
    }
}

#[tokio::test]
async fn an_authority_is_no_better_than_a_host() {
    let proxy = before(nobody().await).start();
    for target in [
        "http://u@a/",
        "http://u:p@a/",
        "http://a\"/",
        "http:///x",
        "http://a b/",
    ] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        assert_eq!(client.read_response().await.head.status, 400, "{target}");
    }
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let flags = END_HEADERS | END_STREAM;
    let user = head(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "u@a"),
        (":path", "/"),
    ]);
    caller.send(kind::HEADERS, flags, 1, &user).await;
    let answer = caller.of(1).await;
    let is_reset = answer.kind == kind::RST_STREAM;
    // 400 is number 12 of the static table.
    assert!(
        is_reset || answer.payload.starts_with(&[0x8c]),
        "{answer:?}"
    );
    drop(caller);
    proxy.end().await;
}

/// What an h2 caller asks goes to a container over HTTP/1: nothing of it may end a line there.
#[tokio::test]
async fn nothing_in_an_http2_head_becomes_a_line_of_http1() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let base = |method, path| {
        vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", path),
        ]
    };
    let with = |name, value| {
        let mut fields = base("GET", "/");
        fields.push((name, value));
        fields
    };
    let table = [
        with("x", "1\r\ntransfer-encoding: chunked"),
        with("x", "1\nb: 2"),
        with("x", "1\rb: 2"),
        with("x", "1\0"),
        with("x\r\ny", "1"),
        with("x y", "1"),
        with("x: y", "1"),
        with("X", "1"),
        with("", "1"),
        with("transfer-encoding", "chunked"),
        with("transfer-encoding", "identity"),
        with("connection", "x"),
        with("keep-alive", "x"),
        with("proxy-connection", "x"),
        with("upgrade", "x"),
        with("te", "trailers, deflate"),
        with("content-length", "5"),
        with("content-length", "-1"),
        with("content-length", "x"),
        with(":path", "/2"),
        with(":authority", "b"),
        with(":method", "POST"),
        with(":status", "200"),
        with(":unknown", "1"),
        base("GE T", "/"),
        base("GET / HTTP/1.1\r\nx: ", "/"),
        base("", "/"),
        base("GET", "/a b"),
        base("GET", "/ HTTP/1.1\r\nx: 1\r\n\r\nGET /smuggled"),
        base("GET", "/\t"),
        base("GET", ""),
        base("GET", "x"),
        base("GET", "*"),
        base("GET", "http://evil/"),
        base("GET", "?q"),
        base("CONNECT", "/"),
        base("GET", "/")[..3].to_vec(),
        base("GET", "/")[1..].to_vec(),
        {
            let mut late = base("GET", "/");
            late.insert(3, ("x", "1"));
            late
        },
    ];
    for fields in table {
        let mut caller = Frames::connect(proxy.addr(), &[]).await;
        let bad = head(&fields);
        caller
            .send(kind::HEADERS, END_HEADERS | END_STREAM, 1, &bad)
            .await;
        // The stream is reset, or the connection ended.
        let end = loop {
            let next = caller.next().await;
            let next = next.unwrap_or_else(|| panic!("{fields:?}: no word"));
            if [kind::RST_STREAM, kind::GOAWAY, kind::HEADERS].contains(&next.kind) {
                break next;
            }
        };
        assert_ne!(end.kind, kind::HEADERS, "{fields:?} {end:?}");
        assert_eq!(end.error(), PROTOCOL_ERROR, "{fields:?}");
    }
    proxy.end().await;
}

#[tokio::test]
async fn a_length_that_an_http2_caller_says_twice_is_said_once_or_not_at_all() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).slots(1).start();
    let mut caller = Frames::connect(proxy.addr(), &[]).await;
    let upload = request("POST", &[("content-length", "2"), ("content-length", "9")]);
    caller.send(kind::HEADERS, END_HEADERS, 1, &upload).await;
    caller.send(kind::DATA, END_STREAM, 1, b"ok").await;
    let end = caller.of(1).await;
    assert_eq!((end.kind, end.error()), (kind::RST_STREAM, PROTOCOL_ERROR));
    drop(caller);
    proxy.end().await;
}

#[tokio::test]
async fn an_upgrade_does_not_hide_a_request_from_the_next_reader() {
    // Without a switch, what follows an upgrade is the next request, to its own end.
    let container = Container::listen().await;
    let proxy = before(container.addr()).slots(1).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\n\r\n")
        .await;
    let mut wire: Wire = container.accept().await;
    assert!(wire.head().await.starts_with("GET /ws "));
    wire.write(DONE).await;
    assert_eq!(client.read_response().await.head.status, 204);
    let next = wire.head().await;
    assert!(
        next.starts_with("GET /next ") && has_line(&next, "x-forwarded-for: 1, 127.0.0.1"),
        "{next}"
    );
    wire.write(DONE).await;
    client.read_response().await;
    drop(client);
    proxy.end().await;
}
