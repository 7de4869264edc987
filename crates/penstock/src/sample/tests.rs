//! The samples behind real sockets.

use http_body_util::{BodyExt, Empty};
use hyper::client::conn;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(kind: Kind) -> Running {
    let server = Server::bind(kind, (Ipv4Addr::LOCALHOST, 0).into());
    let server = server.await.unwrap();
    let addr = server.listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.run(stop.clone()));
    Running { addr, stop, task }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(path).header("host", "sample.test");
    request.body(Empty::new()).unwrap()
}

async fn told(response: Response<Incoming>) -> (u16, String, String) {
    let status = response.status().as_u16();
    let most = response.headers()[CONCURRENCY_MAX]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap(), most)
}

async fn connect_h1(addr: SocketAddr) -> conn::http1::SendRequest<Empty<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (sender, connection) = conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[test]
fn samples_are_known_by_name() {
    let hello = |target: &str| {
        let target = target.to_owned();
        Some(Kind::Hello { target })
    };
    assert_eq!(Kind::new("hello", None), hello("World"));
    assert_eq!(Kind::new("hello", Some(String::new())), hello("World"));
    assert_eq!(Kind::new("hello", Some("you".to_owned())), hello("you"));
    assert_eq!(Kind::new("autoscale", None), Some(Kind::Autoscale));
    assert_eq!(Kind::new("other", None), None);
}

#[tokio::test]
async fn hello_greets_over_http1_and_h2c() {
    let running = start(Kind::new("hello", Some("you".to_owned())).unwrap()).await;
    let want = (200, "Hello you!\n".to_owned(), "1".to_owned());
    let mut h1 = connect_h1(running.addr).await;
    assert_eq!(told(h1.send_request(get("/")).await.unwrap()).await, want);
    let stream = TokioIo::new(TcpStream::connect(running.addr).await.unwrap());
    let h2 = conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (mut h2, connection) = h2.unwrap();
    tokio::spawn(connection);
    let request = get("http://sample.test/");
    assert_eq!(told(h2.send_request(request).await.unwrap()).await, want);
    running.stop.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn autoscale_refuses_a_query_it_cannot_read() {
    let running = start(Kind::Autoscale).await;
    let mut h1 = connect_h1(running.addr).await;
    let (status, text, _) = told(h1.send_request(get("/?sleep=x")).await.unwrap()).await;
    let want = "sleep=\"x\" is not a whole number from 0 to 600000\n";
    assert_eq!((status, text.as_str()), (400, want));
    running.stop.cancel();
    running.task.await.unwrap();
}

/// A request that stays inside, and the most that were when it was seen there.
async fn inside(running: &Running, millis: u32) -> Option<JoinHandle<Response<Incoming>>> {
    let mut h1 = connect_h1(running.addr).await;
    let long = tokio::spawn(async move {
        let path = format!("/?sleep={millis}");
        h1.send_request(get(&path)).await.unwrap()
    });
    let mut other = connect_h1(running.addr).await;
    while !long.is_finished() {
        let (_, _, most) = told(other.send_request(get("/")).await.unwrap()).await;
        if most == "2" {
            return Some(long);
        }
    }
    None
}

#[tokio::test]
async fn a_request_that_is_inside_is_counted_and_answered_when_the_sample_stops() {
    // How long it has to stay to be seen is the machine's affair.
    for millis in [100, 1_000, 10_000, 100_000] {
        let running = start(Kind::Autoscale).await;
        let Some(long) = inside(&running, millis).await else {
            continue;
        };
        running.stop.cancel();
        let (status, text, most) = told(long.await.unwrap()).await;
        assert_eq!((status, most.as_str()), (200, "2"));
        assert!(text.starts_with("Slept for "), "{text}");
        running.task.await.unwrap();
        return;
    }
    panic!("no request was seen inside");
}

#[test]
fn the_most_that_were_inside_at_once_is_kept() {
    let inside = Inside::default();
    {
        let _three = (inside.enter(), inside.enter(), inside.enter());
    }
    let _one = inside.enter();
    assert_eq!(inside.most(), 3);
}
