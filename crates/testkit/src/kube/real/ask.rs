//! Requests to the cluster: through `kubectl proxy`, which has the credentials.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::JSON;

/// Starts it, and waits until it listens.
pub(super) fn start_proxy() -> (Child, SocketAddr) {
    let started = Command::new("kubectl")
        .args(["proxy", "--port=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut proxy = started.expect("kubectl, which PENSTOCK_TEST_KUBE=1 needs");
    let output = proxy.stdout.take().expect("it is piped");
    let mut line = String::new();
    let _ = BufReader::new(output).read_line(&mut line);
    let addr = line
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|it| it.parse().ok());
    (
        proxy,
        addr.unwrap_or_else(|| panic!("kubectl proxy said {line:?}")),
    )
}

/// Sends one request over a connection of its own.
pub(super) async fn send(
    base: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<Response<Incoming>> {
    let stream = TcpStream::connect(base).await?;
    stream.set_nodelay(true)?;
    let connected = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(io::Error::other)?;
    // It ends with its answer.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

/// A request of the test's own.
pub(super) fn request(
    method: Method,
    path: &str,
    media: &str,
    body: &Value,
) -> Request<Full<Bytes>> {
    let body = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, media)
        .header(header::ACCEPT, JSON)
        .body(Full::new(body))
        .expect("a request")
}

/// Sends it, and reads the answer.
pub(super) async fn ask(
    base: SocketAddr,
    request: Request<Full<Bytes>>,
) -> io::Result<(u16, Value)> {
    let answer = send(base, request).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// Asks for code that cannot wait: on a thread of its own, so that no runtime stands still for its
/// own answer.
#[derive(Debug)]
pub(super) struct Asker {
    questions: mpsc::UnboundedSender<Question>,
}

struct Question {
    request: Request<Full<Bytes>>,
    answer: std::sync::mpsc::SyncSender<io::Result<(u16, Value)>>,
}

impl Asker {
    pub(super) fn start(base: SocketAddr) -> Self {
        let (questions, mut asked) = mpsc::unbounded_channel::<Question>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                while let Some(question) = asked.recv().await {
                    let answer = ask(base, question.request).await;
                    // Whoever asked may have failed meanwhile.
                    let _ = question.answer.send(answer);
                }
            });
        });
        Self { questions }
    }

    pub(super) fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, JSON, Value::Null)
    }

    /// # Panics
    ///
    /// If the cluster gives no answer.
    pub(super) fn ask(&self, method: Method, path: &str, media: &str, body: Value) -> (u16, Value) {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let question = Question {
            request: request(method, path, media, &body),
            answer,
        };
        assert!(
            self.questions.send(question).is_ok(),
            "the thread that asks"
        );
        let answer = answered.recv().expect("the thread that asks");
        answer.unwrap_or_else(|error| panic!("{path}: the cluster does not answer: {error}"))
    }
}
