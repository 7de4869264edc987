//! Requests over TLS: the listener, the workers and what is served on them.

use std::num::NonZeroUsize;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;
use crate::body::Body;
use crate::incoming::Incoming;
use crate::listen::listen;
use crate::serve::{Answer, Caller as Peer, Port, Stop, serve_all};
use crate::workers::Workers;

/// Answers with the version of the request, and of its TLS; or with as many bytes as the path says.
struct Versions;

impl Answer for Versions {
    type Guard = ();

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Peer>,
    ) -> Response<Body<()>> {
        if let Ok(count) = request.uri().path()[1..].parse() {
            return Response::new(Body::text("x".repeat(count)));
        }
        let tls = caller.tls().map(|agreed| agreed.version);
        Response::new(Body::text(format!("{:?} {tls:x?}", request.version())))
    }
}

/// A listener without TLS and one with, on two workers.
struct Served {
    plain: SocketAddr,
    secure: SocketAddr,
    stop: Stop,
    workers: Workers,
    _folder: Folder,
}

fn serve_two(test: &str, authority: &Authority) -> Served {
    let folder = Folder::new(test);
    let certificates = Certificates::load(folder.put(&authority.certify("one"))).unwrap();
    let server = server(&certificates, Written::default(), &ClientAuth::None);
    let listeners = [(); 2].map(|()| listen(([127, 0, 0, 1], 0).into()).unwrap());
    let [plain, secure] = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap());
    let ports = [
        Port {
            listener: &listeners[0],
            tls: None,
        },
        Port {
            listener: &listeners[1],
            tls: Some(&server),
        },
    ];
    let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
    let stop = Stop::default();
    serve_all(&ports, &workers, &stop, |_| Arc::new(Versions)).unwrap();
    Served {
        plain,
        secure,
        stop,
        workers,
        _folder: folder,
    }
}

impl Served {
    /// Ends it; nothing may be left.
    async fn end(self) {
        self.stop.close.cancel();
        self.stop.tasks.close();
        self.stop.tasks.wait().await;
        self.stop.cut.cancel();
        let all = self.workers.all();
        let load = all.iter().map(|worker| {
            worker
                .connections
                .load(std::sync::atomic::Ordering::Relaxed)
        });
        assert_eq!(load.sum::<usize>(), 0);
    }
}

type Connected = tokio_rustls::client::TlsStream<TcpStream>;

async fn http1(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> String {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/")
        .header("host", "a")
        .body(Empty::<Bytes>::new());
    text(sender.send_request(request.unwrap()).await.unwrap()).await
}

async fn http2(stream: Connected) -> String {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::get("https://one/")
        .body(Empty::<Bytes>::new())
        .unwrap();
    *request.version_mut() = Version::HTTP_2;
    text(sender.send_request(request).await.unwrap()).await
}

async fn text(answer: Response<hyper::body::Incoming>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn requests_come_over_tls_and_beside_it_in_either_version_of_http() {
    let authority = Authority::new();
    let served = serve_two("served", &authority);
    let caller = |protocols| Caller {
        protocols,
        ..Caller::of(&authority)
    };
    let plain = TcpStream::connect(served.plain).await.unwrap();
    assert_eq!(http1(plain).await, "HTTP/1.1 None");
    for protocols in [&[][..], &["http/1.1"]] {
        let stream = caller(protocols)
            .connect(served.secure, "one")
            .await
            .unwrap();
        assert_eq!(http1(stream).await, "HTTP/1.1 Some(304)");
    }
    for protocols in [&["h2", "http/1.1"][..], &["h2"], &[]] {
        let stream = caller(protocols)
            .connect(served.secure, "one")
            .await
            .unwrap();
        assert_eq!(http2(stream).await, "HTTP/2.0 Some(304)");
    }
    served.end().await;
}

/// Where the sockets are full just when TLS has taken the last of an answer, that has to be
/// written later. How much they hold is the system's affair, so there are answers of many lengths.
#[tokio::test]
async fn an_answer_of_any_length_reaches_a_caller_that_is_slow_to_take_it() {
    let authority = Authority::new();
    let served = serve_two("slow", &authority);
    for count in (0..6_000_000).step_by(60_000) {
        let caller = Caller::of(&authority);
        let mut stream = caller.connect(served.secure, "one").await.unwrap();
        let request = format!("GET /{count} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.get_ref().0.readable().await.unwrap();
        // Whether the sockets are full by then decides what is shown here, but fails nothing.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let (mut whole, mut piece) = (Vec::new(), vec![0; 1 << 20]);
        let end = loop {
            let read = stream.read(&mut piece).await.unwrap();
            whole.extend_from_slice(&piece[..read]);
            if let Some(end) = whole.windows(4).position(|at| at == b"\r\n\r\n") {
                break end + 4;
            }
        };
        while whole.len() < end + count {
            let read = stream.read(&mut piece).await.unwrap();
            whole.extend_from_slice(&piece[..read]);
        }
    }
    served.end().await;
}

#[tokio::test]
async fn who_speaks_another_protocol_than_agreed_on_is_let_go() {
    let authority = Authority::new();
    let served = serve_two("disagreed", &authority);
    for (protocol, sent) in [
        ("h2", &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        ("http/1.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let caller = Caller {
            protocols: &[protocol],
            ..Caller::of(&authority)
        };
        let mut stream = caller.connect(served.secure, "one").await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
    }
    served.end().await;
}

#[tokio::test]
async fn handshakes_and_idle_connections_do_not_hold_up_the_end() {
    let authority = Authority::new();
    let served = serve_two("ended", &authority);
    let mut shaking = TcpStream::connect(served.secure).await.unwrap();
    shaking.write_all(b"\x16\x03\x01").await.unwrap();
    let mut idle = Caller::of(&authority)
        .connect(served.secure, "one")
        .await
        .unwrap();
    served.end().await;
    let mut rest = Vec::new();
    let _ = shaking.read_to_end(&mut rest).await;
    let _ = idle.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}
