//! What the container gets of a request, and the caller of an answer.

use http::{HeaderMap, Request, StatusCode};
use penstock_testkit::client::{Client, RawClient, empty, raw_http1};
use penstock_testkit::workload::{RawWorkload, Seen, Turn, Workload};

use crate::world::{Container, before, has_line, nobody};

/// The request as the container sees it, sent over HTTP/1.1 byte by byte.
async fn seen(request: &str) -> Seen {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send(request.replace('\n', "\r\n")).await;
    let answer = client.read_response().await;
    assert_eq!(answer.head.status, 200);
    proxy.end().await;
    Seen::parse(&answer.body)
}

/// The same over HTTP/2.
async fn seen_h2(request: Request<()>) -> Seen {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut client = Client::h2c(proxy.addr()).await;
    let answer = client.ask(request.map(|()| empty())).await.unwrap();
    assert_eq!(answer.status, 200);
    proxy.end().await;
    Seen::parse(&answer.body)
}

#[tokio::test]
async fn case_20_what_an_activator_adds_stays() {
    let seen = seen("GET / HTTP/1.1\nHost: a\nK-Proxy-Request: activator\nK-Passthrough-Lb: true\nTraceparent: t\n\n").await;
    assert_eq!(seen.header("k-proxy-request"), Some("activator"));
    assert_eq!(seen.header("k-passthrough-lb"), Some("true"));
    assert_eq!(seen.header("traceparent"), Some("t"));
}

#[tokio::test]
async fn cases_21_and_22_the_original_host_is_restored_and_any_other_stays() {
    let with = "GET / HTTP/1.1\nHost: nimporte.pas\nK-Original-Host: a-better-host.com\n\n";
    let with = seen(with).await;
    assert_eq!(with.all("host").collect::<Vec<_>>(), ["a-better-host.com"]);
    assert_eq!(with.header("k-original-host"), None);
    for rest in ["", "K-Original-Host:\n"] {
        let without = seen(&format!("GET / HTTP/1.1\nHost: nimporte.pas:81\n{rest}\n")).await;
        assert_eq!(without.header("host"), Some("nimporte.pas:81"));
    }
}

#[tokio::test]
async fn cases_101_to_103_hop_by_hop_goes_the_rest_stays() {
    let seen = seen(
        "GET / HTTP/1.1\nHost: a\nConnection: keep-alive, X-Foo\nX-Foo: 1\nKeep-Alive: 5\n\
         Proxy-Connection: x\nProxy-Authenticate: x\nProxy-Authorization: x\nTE: trailers, deflate\n\
         Knative-Serving-Revision: r\nKnative-Serving-Namespace: n\nKnative-Serving-Tag: t\n\
         X-Forwarded-For: 1.2.3.4\nX-Forwarded-For: ::1\nX-Forwarded-Proto: https\n\
         X-Twice: a\nX-Twice: b\n\n",
    )
    .await;
    for name in [
        "connection",
        "x-foo",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "knative-serving-revision",
        "knative-serving-namespace",
        "user-agent",
        "accept-encoding",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let table = [
        ("te", "trailers"),
        ("knative-serving-tag", "t"),
        ("x-forwarded-for", "1.2.3.4, ::1, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=1.2.3.4;proto=https"),
    ];
    for (name, value) in table {
        assert_eq!(seen.all(name).collect::<Vec<_>>(), [value], "{name}");
    }
    assert_eq!(seen.all("x-twice").collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn case_101_an_explicit_user_agent_stays() {
    let seen = seen("GET / HTTP/1.1\nHost: a\nUser-Agent: mine/1\n\n").await;
    assert_eq!(seen.header("user-agent"), Some("mine/1"));
}

#[tokio::test]
async fn case_109_http2_stays_http2_with_the_original_host_as_authority() {
    let request = Request::get("/p?q")
        .header("k-original-host", "better.com")
        .header("host", "x");
    let over_h2 = seen_h2(request.body(()).unwrap()).await;
    assert_eq!(over_h2.version, "HTTP/2.0");
    assert_eq!(over_h2.target, "http://better.com/p?q");
    assert_eq!(over_h2.header("host"), None);
    assert_eq!(over_h2.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        seen("GET / HTTP/1.1\nHost: a\n\n").await.version,
        "HTTP/1.1"
    );
}

#[tokio::test]
async fn case_115_a_container_sees_where_a_request_came_from_and_the_callers_headers_verbatim() {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let seen = seen(&format!(
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-For: 203.0.113.7, 2001:db8::1\n\
         X-Forwarded-Host: shop.example\nX-Forwarded-Proto: https\nTraceparent: {traceparent}\n\
         X-Custom: Some Value; a=\"b\"\n\n"
    ))
    .await;
    // RFC 7239 §4: an IPv6 address is in brackets and quotes.
    let forwarded = "for=203.0.113.7;host=shop.example;proto=https, for=\"[2001:db8::1]\"";
    for (name, value) in [
        ("forwarded", forwarded),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "203.0.113.7, 2001:db8::1, 127.0.0.1"),
        ("traceparent", traceparent),
        ("x-custom", "Some Value; a=\"b\""),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn case_110_http2_to_a_container_that_knows_only_http_1_is_502() {
    let raw = RawWorkload::start([Turn::close(
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    )])
    .await;
    let proxy = before(raw.addr()).start();
    let mut client = Client::h2c(proxy.addr()).await;
    assert_eq!(client.get("a", "/").await.unwrap().status, 502);
    proxy.end().await;
}

#[tokio::test]
async fn path_and_query_pass_byte_for_byte() {
    for target in [
        "//a%2Fb/../c?x=1;y=%zz",
        "/?",
        "/a//b/./c?",
        "/%7Euser?q=a+b&c",
        "/'()*!$",
    ] {
        let container = Container::listen().await;
        let proxy = before(container.addr()).start();
        let mut client = RawClient::connect(proxy.addr()).await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let mut wire = container.accept().await;
        let head = wire.head().await;
        assert!(
            head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
            "{head}"
        );
        wire.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        client.read_response().await;
        proxy.end().await;
        let h2 = seen_h2(Request::get(target).body(()).unwrap()).await;
        assert!(h2.target.ends_with(target), "{h2:?}");
    }
}

#[tokio::test]
async fn case_113_an_absolute_target_names_the_host() {
    let seen = seen("GET http://named.example/p?q HTTP/1.1\nHost: other\n\n").await;
    assert_eq!(
        (&*seen.target, seen.header("host")),
        ("/p?q", Some("named.example"))
    );
}

#[tokio::test]
async fn case_113_http_1_0_is_answered_in_kind_and_closed() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let answer = raw_http1(proxy.addr(), "GET /x HTTP/1.0\r\n\r\n").await;
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains(&format!("host: {}\n", workload.addr())),
        "{answer}"
    );
    assert!(answer.contains("GET /x HTTP/1.1\n"), "{answer}");
    // A body of unknown length ends with the connection.
    let raw = RawWorkload::start([Turn::write(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )])
    .await;
    let proxy_of_raw = before(raw.addr()).start();
    let answer = raw_http1(proxy_of_raw.addr(), "GET /x HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with(b"\r\n\r\nabc"), "{answer:?}");
    proxy.end().await;
    proxy_of_raw.end().await;
}

#[tokio::test]
async fn an_answer_in_http_1_0_reaches_the_caller_in_its_own_version() {
    let raw =
        RawWorkload::start([Turn::close("HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nto the end")]).await;
    let proxy = before(raw.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let status = client.read_until(b"\r\n").await;
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    let rest = client.read_until(b"0\r\n\r\n").await;
    let rest = String::from_utf8(rest.to_vec()).unwrap();
    assert!(
        has_line(&rest, "transfer-encoding: chunked") && rest.contains("to the end"),
        "{rest}"
    );
    proxy.end().await;
}

#[tokio::test]
async fn case_113_head_204_304_and_any_method_pass() {
    let table = [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-a: 1\r\n\r\n",
            200,
            Some("10"),
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
            204,
            None,
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\nx-a: 1\r\n\r\n",
            304,
            Some("10"),
        ),
        (
            "BREW",
            "HTTP/1.1 299 Odd\r\ncontent-length: 0\r\nx-a: 1\r\n\r\n",
            299,
            Some("0"),
        ),
    ];
    for (method, answer, status, length) in table {
        let container = Container::listen().await;
        let proxy = before(container.addr()).start();
        let mut client = RawClient::connect(proxy.addr()).await;
        let mut wire = None;
        // Twice: both connections are kept.
        for _ in 0..2 {
            client
                .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            if wire.is_none() {
                wire = Some(container.accept().await);
            }
            let wire = wire.as_mut().unwrap();
            let head = wire.head().await;
            assert!(
                head.starts_with(&format!("{method} / HTTP/1.1\r\n")),
                "{head}"
            );
            wire.write(answer).await;
            let got = match method {
                "HEAD" => client.read_response_to_head().await,
                _ => client.read_response().await,
            };
            assert_eq!(
                (got.head.status, got.head.header("content-length")),
                (status, length),
                "{method} {:?}",
                got.head
            );
            assert_eq!(got.head.header("x-a"), Some("1"));
            assert_eq!(got.head.header("transfer-encoding"), None);
        }
        proxy.end().await;
    }
}

#[tokio::test]
async fn case_113_connect_reaches_the_container_as_it_came() {
    let container = Container::listen().await;
    let proxy = before(container.addr()).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client
        .send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")
        .await;
    let mut wire = container.accept().await;
    let head = wire.head().await;
    assert!(
        head.starts_with("CONNECT example.com:443 HTTP/1.1\r\n"),
        "{head}"
    );
    wire.write("HTTP/1.1 405 No\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, &answer.body[..]), (405, &b"no"[..]));
    drop(client);
    proxy.end().await;
}

#[tokio::test]
async fn options_of_the_server_itself_is_answered_here() {
    let proxy = before(nobody().await).start();
    let mut client = RawClient::connect(proxy.addr()).await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.read_response().await;
    assert_eq!((answer.head.status, answer.body.len()), (200, 0));
    proxy.end().await;
}

#[tokio::test]
async fn case_114_a_request_without_one_host_is_400() {
    let proxy = before(nobody().await).start();
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        let mut client = RawClient::connect(proxy.addr()).await;
        client.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(client.read_response().await.head.status, 400);
    }
    proxy.end().await;
}

#[tokio::test]
async fn headers_of_an_answer_pass_except_those_of_its_connection() {
    let answer = "HTTP/1.1 203 Fine Too\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, X-Foo\r\nX-Foo: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nServer: s\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok";
    let raw = RawWorkload::start([Turn::close(answer)]).await;
    let proxy = before(raw.addr()).start();
    let mut client = Client::http1(proxy.addr()).await;
    for _ in 0..2 {
        let answer = client.get("a", "/").await.unwrap();
        assert_eq!(answer.status, StatusCode::NON_AUTHORITATIVE_INFORMATION);
        let headers: &HeaderMap = &answer.headers;
        assert_eq!(
            headers.get_all("set-cookie").iter().collect::<Vec<_>>(),
            ["a=1", "b=2"]
        );
        assert_eq!(
            (&headers["server"], &headers["content-encoding"]),
            (&"s".parse().unwrap(), &"gzip".parse().unwrap())
        );
        for name in ["connection", "x-foo", "keep-alive", "proxy-authenticate"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(answer.text(), "ok");
    }
    proxy.end().await;
}

#[tokio::test]
async fn a_burst_over_http2_shares_one_connection_to_the_container() {
    let workload = Workload::start().await;
    let proxy = before(workload.addr()).start();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let addr = proxy.addr();
        asked.spawn(async move {
            let mut client = Client::h2c(addr).await;
            client.get("a", "/hold").await.unwrap().brief()
        });
    }
    workload.until_inside(50).await;
    assert_eq!(workload.connections(), 1);
    workload.release(50);
    while let Some(answer) = asked.join_next().await {
        assert_eq!(answer.unwrap(), (200, "held".to_owned()));
    }
    proxy.end().await;
}
