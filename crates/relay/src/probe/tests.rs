//! Attempts against real sockets.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use penstock_types::probe::{Check, HttpGet};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::grpc::{HealthCheckRequest, HealthCheckResponse};
use super::{Failure, attempt};

mod http2;
mod https;

/// Longer than any machine takes for an answer from itself.
const AMPLE: Duration = Duration::from_secs(60);

/// A server that answers each connection with the next of its answers, the last for ever.
struct Server {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

/// Speaks HTTP/1.1 by hand, so that the requests are seen as they are on the wire.
async fn http_server(answers: &[&str]) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
    let seen = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = Vec::new();
        for turn in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            seen.lock()
                .unwrap()
                .push(String::from_utf8(request).unwrap());
            let answer = answers.get(turn).or(answers.last()).unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
            open.push(stream);
        }
    });
    Server {
        addr,
        asked,
        _serving: serving,
    }
}

fn http(path: &str) -> Check {
    Check::Http(get(path))
}

fn get(path: &str) -> HttpGet {
    HttpGet {
        path: path.to_owned(),
        ..HttpGet::default()
    }
}

async fn ask(addr: SocketAddr, check: &Check) -> Result<(), Failure> {
    attempt(check, addr.ip(), addr.port(), AMPLE).await
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
}

fn moved(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// A port that was free a moment ago.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn case_64_tcp_passes_where_somebody_listens() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    ask(addr, &Check::OWN_PORT).await.unwrap();
    let named = Check::Tcp {
        host: None,
        port: Some(addr.port()),
    };
    attempt(&named, addr.ip(), 1, Duration::ZERO).await.unwrap();
    drop(listener);
    let failure = ask(addr, &Check::OWN_PORT).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
}

#[tokio::test]
async fn a_connection_to_itself_is_nobody() {
    let addr = closed().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    let itself = socket.connect(addr).await.unwrap();
    assert_eq!(itself.local_addr().unwrap(), itself.peer_addr().unwrap());
    let failure = super::somebody_else(itself, addr).unwrap_err();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
}

#[tokio::test]
async fn cases_68_and_81_http_passes_from_200_to_399() {
    let table = [
        ("200 OK", true),
        ("204 No Content", true),
        ("301 Moved Permanently", true),
        ("399 Almost", true),
        ("400 Bad Request", false),
        ("404 Not Found", false),
        ("503 Service Unavailable", false),
    ];
    for (line, passes) in table {
        let server = http_server(&[&status(line)]).await;
        let outcome = ask(server.addr, &http("/")).await;
        assert_eq!(outcome.is_ok(), passes, "{line}: {outcome:?}");
    }
}

#[tokio::test]
async fn cases_80_and_84_the_request_is_a_kubelets_with_the_probes_headers_beside_its_own() {
    for path in ["/health?foo=bar", "health?foo=bar"] {
        let server = http_server(&[&status("200 OK")]).await;
        let headers = [
            ("X-Own", "1"),
            ("X-Own", "2"),
            ("User-Agent", "mine"),
            ("Host", "h"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let check = Check::Http(HttpGet {
            headers: headers.to_vec(),
            ..get(path)
        });
        ask(server.addr, &check).await.unwrap();
        let request = server.asked.lock().unwrap()[0].to_lowercase();
        let lines: Vec<&str> = request.lines().collect();
        assert_eq!(lines[0], "get /health?foo=bar http/1.1");
        let agents: Vec<_> = lines
            .iter()
            .filter(|l| l.starts_with("user-agent:"))
            .collect();
        assert_eq!(agents, [&"user-agent: kube-probe//", &"user-agent: mine"]);
        let host = format!("host: {}", server.addr);
        for line in ["connection: close", "x-own: 1", "x-own: 2", &host] {
            assert!(lines.contains(&line), "{line} in {request}");
        }
        assert!(!lines.contains(&"host: h"));
    }
}

#[tokio::test]
async fn case_83_redirects_are_followed_and_the_last_status_decides() {
    let (ok, missing) = (status("200 OK"), status("404 Not Found"));
    let table = [
        ("to a good place", vec![moved("/b"), ok.clone()], true, 2),
        (
            "to a bad place",
            vec![moved("/b"), missing.clone()],
            false,
            2,
        ),
        (
            "to another host",
            vec![moved("http://other.example/"), missing],
            true,
            1,
        ),
        ("to nowhere", vec![moved("")], true, 1),
        ("in circles", vec![moved("/")], false, 11),
        (
            "ten times",
            [vec![moved("/"); 10], vec![ok]].concat(),
            true,
            11,
        ),
    ];
    for (case, answers, passes, requests) in table {
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let server = http_server(&answers).await;
        let outcome = ask(server.addr, &http("/a")).await;
        assert_eq!(outcome.is_ok(), passes, "{case}: {outcome:?}");
        assert_eq!(server.asked.lock().unwrap().len(), requests, "{case}");
    }
}

#[tokio::test]
async fn a_body_without_end_does_not_hold_the_probe() {
    let long = "x".repeat(64 * 1024);
    for body in ["", &long] {
        let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{body}");
        let server = http_server(&[&endless]).await;
        ask(server.addr, &http("/")).await.unwrap();
    }
}

#[tokio::test]
async fn case_81_what_is_not_http_fails() {
    let server = http_server(&["nonsense\r\n\r\n"]).await;
    let failure = ask(server.addr, &http("/")).await.unwrap_err();
    assert!(matches!(failure, Failure::Protocol { .. }), "{failure}");
    let failure = ask(closed().await, &http("/")).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
    // Nobody listens at port 0.
    let nobody = Check::Http(HttpGet {
        port: Some(0),
        ..get("/")
    });
    let failure = ask(server.addr, &nobody).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure}");
    let failure = ask(server.addr, &http("/a b")).await.unwrap_err();
    assert!(matches!(failure, Failure::Invalid { .. }), "{failure}");
}

#[tokio::test]
async fn case_81_silence_ends_with_the_limit() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let limit = Duration::from_millis(1);
    let grpc = Check::Grpc {
        port: None,
        service: String::new(),
    };
    for check in [http("/"), grpc] {
        let failure = attempt(&check, addr.ip(), addr.port(), limit).await;
        let failure = failure.unwrap_err();
        assert!(matches!(failure, Failure::TimedOut { .. }), "{failure}");
    }
}

#[tokio::test]
async fn case_67_what_cannot_be_asked_from_here_says_so() {
    let exec = Check::Exec {
        command: vec!["true".to_owned()],
    };
    let table = [
        (exec, "exec probe not supported"),
        (Check::Nothing, "no probe found"),
    ];
    for (check, want) in table {
        let failure = ask(closed().await, &check).await.unwrap_err();
        assert_eq!(failure.to_string(), want);
    }
}

#[tokio::test]
async fn a_probe_goes_to_the_host_that_it_names() {
    let server = http_server(&[&status("200 OK")]).await;
    let port = Some(server.addr.port());
    let elsewhere = [192, 0, 2, 1].into();
    for (host, header) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let named = Check::Http(HttpGet {
            host: Some(host.to_owned()),
            port,
            ..get("/")
        });
        attempt(&named, elsewhere, 1, AMPLE).await.unwrap();
        let request = server.asked.lock().unwrap().pop().unwrap().to_lowercase();
        let line = format!("\r\nhost: {header}:{}\r\n", server.addr.port());
        assert!(request.contains(&line), "{request}");
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let tcp = Check::Tcp {
        host: Some("localhost".to_owned()),
        port: Some(listener.local_addr().unwrap().port()),
    };
    attempt(&tcp, elsewhere, 1, AMPLE).await.unwrap();
    // Longer than a name can be.
    let unknown = Check::Tcp {
        host: Some("x".repeat(300)),
        port,
    };
    let failure = attempt(&unknown, elsewhere, 1, AMPLE).await.unwrap_err();
    assert!(matches!(failure, Failure::Host { .. }), "{failure}");
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_if_the_probe_says_so() {
    let other = http_server(&[&status("404 Not Found")]).await;
    let elsewhere = moved(&format!("http://localhost:{}/x", other.addr.port()));
    for (leaves_host, passes) in [(false, true), (true, false)] {
        let server = http_server(&[&elsewhere]).await;
        let check = Check::Http(HttpGet {
            leaves_host,
            ..get("/")
        });
        let outcome = ask(server.addr, &check).await;
        assert_eq!(outcome.is_ok(), passes, "{outcome:?}");
    }
    assert_eq!(other.asked.lock().unwrap().len(), 1);
}

/// Answers a health check with `status`: SERVING is 1. `None` refuses, as a server without
/// the health service does.
async fn grpc_server(status: Option<i32>) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let message = HealthCheckRequest::decode(&body[5..]).unwrap();
                seen.lock()
                    .unwrap()
                    .push(format!("{path} {}", message.service));
                Ok::<_, Infallible>(health(status))
            }
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    });
    Server {
        addr,
        asked,
        _serving: serving,
    }
}

type HealthBody = http_body_util::combinators::BoxBody<Bytes, Infallible>;

fn health(status: Option<i32>) -> Response<HealthBody> {
    let Some(status) = status else {
        return Response::builder()
            .header("grpc-status", "12")
            .header("grpc-message", "unknown service")
            .body(Full::default().boxed())
            .unwrap();
    };
    let message = HealthCheckResponse { status }.encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put(message.as_slice());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(async { Some(Ok(trailers)) });
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/grpc")
        .body(body.boxed())
        .unwrap()
}

#[tokio::test]
async fn case_76_grpc_passes_only_when_serving() {
    let table = [
        (Some(1), "passes"),
        (Some(0), "gRPC health is UNKNOWN where SERVING passes"),
        (Some(2), "gRPC health is NOT_SERVING where SERVING passes"),
        (
            Some(3),
            "gRPC health is SERVICE_UNKNOWN where SERVING passes",
        ),
        (
            Some(9),
            "gRPC health is of unknown kind 9 where SERVING passes",
        ),
        (
            None,
            "gRPC health is refused, status 12 unknown service where SERVING passes",
        ),
    ];
    for (status, want) in table {
        let server = grpc_server(status).await;
        let check = Check::Grpc {
            port: None,
            service: "shop".to_owned(),
        };
        let outcome = ask(server.addr, &check).await;
        let outcome = outcome.map_or_else(|failure| failure.to_string(), |()| "passes".to_owned());
        assert_eq!(outcome, want);
        let asked = server.asked.lock().unwrap().clone();
        assert_eq!(asked, ["/grpc.health.v1.Health/Check shop"]);
    }
}

#[tokio::test]
async fn case_76_grpc_fails_where_another_protocol_is_spoken_and_without_a_limit() {
    let server = http_server(&[&status("200 OK")]).await;
    let check = Check::Grpc {
        port: None,
        service: String::new(),
    };
    let failure = ask(server.addr, &check).await.unwrap_err();
    assert!(matches!(failure, Failure::Protocol { .. }), "{failure}");
    let failure = attempt(&check, server.addr.ip(), server.addr.port(), Duration::ZERO).await;
    assert!(matches!(failure, Err(Failure::TimedOut { .. })));
}
