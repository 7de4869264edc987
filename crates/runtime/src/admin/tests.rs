use std::net::Ipv4Addr;

use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";

struct Running {
    addr: SocketAddr,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

async fn start(more: impl FnOnce(Routes) -> Routes) -> Running {
    let gather = Gather::default();
    let registry = Registry::new();
    metrics::register_build_info(&registry, "1.2.3").unwrap();
    gather.add(registry);
    let (ready, seen) = watch::channel(false);
    let admin = Admin::bind(LOCAL).await.unwrap();
    let addr = admin.addr();
    let stop = CancellationToken::new();
    let ended = tokio::spawn(admin.run(more(Routes::standard(gather, seen)), stop.clone()));
    Running {
        addr,
        ready,
        stop,
        ended,
    }
}

impl Running {
    /// All that comes back on a connection of its own, in lower-case header names.
    async fn ask(&self, method: &str, path: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap();
    }
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Reads one answer with a known length from a connection that stays open.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    loop {
        answer.push(stream.read_u8().await.unwrap());
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.unwrap().parse::<usize>().unwrap() {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn metrics_are_served_as_text() {
    let admin = start(|routes| routes).await;
    let answer = admin.ask("GET", "/metrics").await;
    assert_eq!(status(&answer), "200");
    let content_type = format!("content-type: {}\r\n", metrics::CONTENT_TYPE);
    assert!(answer.contains(&content_type), "{answer}");
    assert!(body(&answer).ends_with("penstock_build_info{version=\"1.2.3\"} 1\n"));
    admin.stop().await;
}

#[tokio::test]
async fn head_has_the_headers_alone() {
    let admin = start(|routes| routes).await;
    let answer = admin.ask("HEAD", "/metrics").await;
    assert_eq!(status(&answer), "200");
    assert!(answer.contains("content-length: "), "{answer}");
    assert_eq!(body(&answer), "");
    admin.stop().await;
}

#[tokio::test]
async fn health_is_being_alive_and_readiness_is_what_the_process_says() {
    let admin = start(|routes| routes).await;
    let health = admin.ask("GET", "/healthz").await;
    assert_eq!((status(&health), body(&health)), ("200", "ok\n"));
    assert_eq!(status(&admin.ask("GET", "/readyz").await), "503");
    admin.ready.send_replace(true);
    assert_eq!(status(&admin.ask("GET", "/readyz?verbose").await), "200");
    admin.ready.send_replace(false);
    assert_eq!(status(&admin.ask("GET", "/readyz").await), "503");
    assert_eq!(status(&admin.ask("GET", "/healthz").await), "200");
    admin.stop().await;
}

#[tokio::test]
async fn a_page_of_the_process_is_served_too() {
    let admin = start(|routes| routes.page("/state", || Page::new(JSON, "{}"))).await;
    let answer = admin.ask("GET", "/state").await;
    assert_eq!((status(&answer), body(&answer)), ("200", "{}"));
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    admin.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_told_the_known_ones() {
    let admin = start(|routes| routes).await;
    let answer = admin.ask("GET", "/metrics/").await;
    assert_eq!(status(&answer), "404");
    assert_eq!(
        body(&answer),
        "nothing here; there is /healthz, /metrics, /readyz\n"
    );
    admin.stop().await;
}

#[tokio::test]
async fn another_method_is_refused_with_those_allowed() {
    let admin = start(|routes| routes).await;
    let answer = admin.ask("POST", "/metrics").await;
    assert_eq!(status(&answer), "405");
    assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    admin.stop().await;
}

#[tokio::test]
async fn a_path_for_any_method_may_wait_for_an_event() {
    let drained = CancellationToken::new();
    let waiting = drained.clone();
    let admin = start(|routes| {
        routes.any("/wait-for-drain", move || {
            let waiting = waiting.clone();
            async move {
                waiting.cancelled().await;
                Page::text(StatusCode::OK, "")
            }
        })
    })
    .await;
    let event = async { drained.cancel() };
    let (answer, ()) = tokio::join!(admin.ask("POST", "/wait-for-drain"), event);
    assert_eq!((status(&answer), body(&answer)), ("200", ""));
    admin.stop().await;
}

#[tokio::test]
async fn a_connection_takes_several_requests_and_ends_with_the_listener() {
    let admin = start(|routes| routes).await;
    let mut stream = TcpStream::connect(admin.addr).await.unwrap();
    for _ in 0..3 {
        stream.write_all(HEALTH).await.unwrap();
        assert_eq!(status(&read_answer(&mut stream).await), "200");
    }
    let addr = admin.addr;
    admin.stop().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"");
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = Admin::bind(LOCAL).await.unwrap();
    let error = Admin::bind(first.addr()).await.unwrap_err();
    let want = format!("{} is taken by another program", first.addr());
    assert_eq!(error.to_string(), want);
}

#[tokio::test]
async fn an_address_of_another_machine_is_named() {
    // TEST-NET-1, which no machine has.
    let addr: SocketAddr = "192.0.2.1:9090".parse().unwrap();
    let error = Admin::bind(addr).await.unwrap_err();
    let want = "192.0.2.1:9090 is not an address of this machine";
    assert_eq!(error.to_string(), want);
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let admin = start(|routes| routes).await;
    let mut stream = TcpStream::connect(admin.addr).await.unwrap();
    let head = format!(
        "GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}",
        "y".repeat(2 * MAX_HEAD)
    );
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || status(&answer) == "431", "{answer}");
    assert_eq!(status(&admin.ask("GET", "/healthz").await), "200");
    admin.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let admin = start(|routes| routes).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(admin.addr).await.unwrap();
        stream.write_all(HEALTH).await.unwrap();
        assert_eq!(status(&read_answer(&mut stream).await), "200");
        held.push(stream);
    }
    let mut waiting = TcpStream::connect(admin.addr).await.unwrap();
    waiting.write_all(HEALTH).await.unwrap();
    drop(held.pop());
    assert_eq!(status(&read_answer(&mut waiting).await), "200");
    admin.stop().await;
}

/// Over a pipe in memory, since paused time jumps while a socket is idle.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_head_is_left_after_five_seconds() {
    let start = tokio::time::Instant::now();
    let (mut client, server) = tokio::io::duplex(1024);
    let routes = Arc::new(Routes::default());
    client.write_all(b"GET / HTT").await.unwrap();
    serve(server, HEAD_TIMEOUT, routes, CancellationToken::new()).await;
    assert_eq!(start.elapsed(), HEAD_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_idles_for_five_seconds_is_closed() {
    let (mut client, server) = tokio::io::duplex(1024);
    let page = || Page::new(TEXT, "ok");
    let routes = Arc::new(Routes::default().page("/healthz", page));
    let serving = tokio::spawn(serve(
        server,
        HEAD_TIMEOUT,
        routes,
        CancellationToken::new(),
    ));
    for _ in 0..2 {
        tokio::time::sleep(HEAD_TIMEOUT - Duration::from_secs(1)).await;
        client.write_all(HEALTH).await.unwrap();
        assert_eq!(status(&read_answer(&mut client).await), "200");
    }
    let answered = tokio::time::Instant::now();
    serving.await.unwrap();
    assert_eq!(answered.elapsed(), HEAD_TIMEOUT);
}

#[tokio::test]
async fn pages_below_a_prefix_get_what_follows_it() {
    let routes = Routes::default()
        .page("/explain/all", || Page::new(TEXT, "all"))
        .below("/explain/", |rest| Page::new(TEXT, format!("<{rest}>")));
    let body = async |path: &str| {
        let answer = routes.answer(&Method::GET, path).await;
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap();
        (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
    };
    assert_eq!(body("/explain/all").await, (200, "all".to_owned()));
    assert_eq!(body("/explain/a/b").await, (200, "<a/b>".to_owned()));
    let (status, text) = body("/other").await;
    assert_eq!(status, 404);
    assert!(text.contains("/explain/"), "{text}");
    assert_eq!(
        routes.answer(&Method::POST, "/explain/a").await.status(),
        404
    );
}

/// Serves connections that begin with an exclamation mark, which is not part of what is served.
fn after_a_mark(mut stream: TcpStream, _: Duration) -> Wrapping {
    Box::pin(async move {
        let marked = matches!(stream.read_u8().await, Ok(b'!'));
        marked.then(|| Box::new(stream) as Box<dyn Connection>)
    })
}

#[tokio::test]
async fn a_connection_may_be_wrapped_before_it_is_served() {
    let admin = Admin::bind(LOCAL).await.unwrap().wrapped(after_a_mark);
    let (addr, stop) = (admin.addr(), CancellationToken::new());
    let page = Routes::default().page("/", || Page::text(StatusCode::OK, "inside"));
    let ended = tokio::spawn(admin.run(page, stop.clone()));
    for (mark, want) in [("!", "200"), ("?", "")] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("{mark}GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // What is not read any more may be answered with a reset.
        let _ = stream.read_to_string(&mut answer).await;
        assert_eq!(answer.split(' ').nth(1).unwrap_or_default(), want);
    }
    stop.cancel();
    ended.await.unwrap();
}
