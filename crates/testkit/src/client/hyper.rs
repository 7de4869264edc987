//! hyper's clients, without a pool: one connection, so that a test knows which one it uses.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::workload::FrameBody;

/// The bodies that a [`Client`] sends.
pub type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// One connection to a server. Dropped, it closes.
pub struct Client {
    sender: Sender,
    addr: SocketAddr,
    /// Drives the connection until dropped.
    _connection: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    H2c(http2::SendRequest<RequestBody>),
}

/// A whole response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailers; empty if there were none.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and text, which is what most tests compare.
    pub fn brief(&self) -> (u16, String) {
        (self.status.as_u16(), self.text())
    }
}

impl Client {
    /// Connects for HTTP/1.1.
    ///
    /// # Panics
    ///
    /// If nobody listens at `addr`.
    pub async fn http1(addr: SocketAddr) -> Self {
        let mut tasks = JoinSet::new();
        let handshake = http1::handshake(connect(addr).await).await;
        let (sender, connection) = handshake.expect("nothing can fail before the first byte");
        tasks.spawn(async move {
            // Its end is seen by the request.
            let _ = connection.with_upgrades().await;
        });
        Self {
            sender: Sender::Http1(sender),
            addr,
            _connection: tasks,
        }
    }

    /// Connects for HTTP/2 without TLS, by prior knowledge.
    ///
    /// # Panics
    ///
    /// If nobody listens at `addr`, or not for HTTP/2.
    pub async fn h2c(addr: SocketAddr) -> Self {
        let mut tasks = JoinSet::new();
        let handshake = http2::handshake(TokioExecutor::new(), connect(addr).await).await;
        let (sender, connection) = handshake.expect("a server that speaks HTTP/2");
        tasks.spawn(async move {
            // Its end is seen by the requests.
            let _ = connection.await;
        });
        Self {
            sender: Sender::H2c(sender),
            addr,
            _connection: tasks,
        }
    }

    /// Sends a request, and returns its response when that begins. A request without a host gets
    /// the address as its host; a path alone is completed to what HTTP/2 needs.
    ///
    /// # Errors
    ///
    /// hyper's, if the connection or the stream broke.
    pub async fn send(
        &mut self,
        mut request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let host = match request.headers().get(http::header::HOST) {
            Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
            None => self.addr.to_string(),
        };
        match &mut self.sender {
            Sender::Http1(sender) => {
                let host = host.parse().expect("a host that is a header value");
                request.headers_mut().insert(http::header::HOST, host);
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::H2c(sender) => {
                request.headers_mut().remove(http::header::HOST);
                let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
                let uri = format!("http://{host}{target}").parse();
                *request.uri_mut() = uri.expect("a host and a path make a URI");
                *request.version_mut() = Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Sends a request and reads its whole response.
    ///
    /// # Errors
    ///
    /// hyper's, if the connection or the stream broke.
    pub async fn ask(&mut self, request: Request<RequestBody>) -> Result<Answer, hyper::Error> {
        let (parts, body) = self.send(request).await?.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            trailers: trailers.unwrap_or_default(),
        })
    }

    /// GET of `path` at `host`.
    ///
    /// # Errors
    ///
    /// hyper's, if the connection or the stream broke.
    ///
    /// # Panics
    ///
    /// If `host` or `path` is malformed.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Answer, hyper::Error> {
        let request = Request::get(path).header("host", host).body(empty());
        self.ask(request.expect("a well-formed host and path"))
            .await
    }
}

async fn connect(addr: SocketAddr) -> TokioIo<TcpStream> {
    TokioIo::new(super::connect(addr).await)
}

/// No body.
pub fn empty() -> RequestBody {
    Empty::new().boxed_unsync()
}

/// A body of known length.
pub fn body(bytes: impl Into<Bytes>) -> RequestBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// A body of these bytes, then these trailers. Over HTTP/1.1 the request has to announce them in
/// its header `trailer`.
pub fn with_trailers(bytes: impl Into<Bytes>, trailers: HeaderMap) -> RequestBody {
    let frames = [Frame::data(bytes.into()), Frame::trailers(trailers)];
    FrameBody::of(frames).boxed_unsync()
}

/// A body that the test writes; it ends when the sender is dropped.
pub fn streaming_body() -> (mpsc::Sender<Bytes>, RequestBody) {
    let (sender, pieces) = mpsc::channel(16);
    (sender, Pieces(pieces).boxed_unsync())
}

struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
