//! The listener for metrics, health and state: small pages over HTTP/1, away from the traffic.
//!
//! It outlives the traffic's listeners, so that a process can be watched while it drains: give
//! [`Admin::run`] a `stop` of its own. A few hundred scrapers are the most it takes at once, so
//! that nobody can use up the process's memory or file descriptors here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{self, Gather};

/// Connections served at once; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 256;

/// Bytes of a request's head.
pub const MAX_HEAD: usize = 64 * 1024;

/// Limit for a request's head to arrive, and for an idle connection to send its next one, unless
/// [`Admin::head_timeout`] says otherwise.
///
/// Source: spec/queue-proxy.md §2, port 9091.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Content type of a page of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// Content type of a page of JSON.
pub const JSON: &str = "application/json";

/// Time that open connections get to end once `stop` came: enough for a scrape under way.
const CLOSING: Duration = Duration::from_secs(2);

/// Pause after a failed accept, which is nearly always a lack of file descriptors: trying again
/// at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a path answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Status; 200 in nearly all cases.
    pub status: StatusCode,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// All of the body.
    pub body: Bytes,
}

impl Page {
    /// A page with status 200.
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: body.into(),
        }
    }

    /// A page of plain text with any status.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: body.into(),
        }
    }
}

/// The paths that a listener answers. Everything else is a 404 that lists them.
#[derive(Clone, Default)]
pub struct Routes {
    by_path: BTreeMap<&'static str, Route>,
    below: BTreeMap<&'static str, Arc<Below>>,
}

#[derive(Clone)]
struct Route {
    any_method: bool,
    answer: Arc<Answer>,
}

type Below = dyn Fn(&str) -> Page + Send + Sync;

type Answer = dyn Fn() -> Pin<Box<dyn Future<Output = Page> + Send>> + Send + Sync;

impl Routes {
    /// What every process has: `/metrics`; `/healthz`, which answers as long as the process
    /// lives; `/readyz`, which is 200 while `ready` and 503 otherwise.
    pub fn standard(gather: Gather, ready: watch::Receiver<bool>) -> Self {
        Self::default()
            .page("/metrics", move || {
                Page::new(metrics::CONTENT_TYPE, gather.text())
            })
            .page("/healthz", || Page::text(StatusCode::OK, "ok\n"))
            .page("/readyz", move || {
                if *ready.borrow() {
                    Page::text(StatusCode::OK, "ok\n")
                } else {
                    Page::text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
                }
            })
    }

    /// Answers GET and HEAD of `path` with what `answer` makes, which must not block.
    #[must_use]
    pub fn page(
        self,
        path: &'static str,
        answer: impl Fn() -> Page + Send + Sync + 'static,
    ) -> Self {
        let answer = move || -> Pin<Box<dyn Future<Output = Page> + Send>> {
            Box::pin(std::future::ready(answer()))
        };
        self.with(path, false, Arc::new(answer))
    }

    /// Answers GET and HEAD of every path below `prefix` (which ends with a slash) that is no page
    /// of its own. `answer` gets what follows the prefix, as it was sent, and must not block.
    #[must_use]
    pub fn below(
        mut self,
        prefix: &'static str,
        answer: impl Fn(&str) -> Page + Send + Sync + 'static,
    ) -> Self {
        self.below.insert(prefix, Arc::new(answer));
        self
    }

    /// Answers any method of `path`, once `answer` is there: it may wait for an event.
    #[must_use]
    pub fn any<F>(self, path: &'static str, answer: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Page> + Send + 'static,
    {
        let answer = move || -> Pin<Box<dyn Future<Output = Page> + Send>> { Box::pin(answer()) };
        self.with(path, true, Arc::new(answer))
    }

    fn with(mut self, path: &'static str, any_method: bool, answer: Arc<Answer>) -> Self {
        self.by_path.insert(path, Route { any_method, answer });
        self
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let Some(route) = self.by_path.get(path) else {
            let may_read = method == Method::GET || method == Method::HEAD;
            let mut below = self.below.iter();
            let found =
                below.find_map(|(prefix, answer)| Some((answer, path.strip_prefix(prefix)?)));
            if let Some((answer, rest)) = found.filter(|_| may_read) {
                return respond(answer(rest));
            }
            let paths = self.by_path.keys().chain(self.below.keys());
            let paths: Vec<&str> = paths.copied().collect();
            let text = format!("nothing here; there is {}\n", paths.join(", "));
            return respond(Page::text(StatusCode::NOT_FOUND, text));
        };
        if !route.any_method && method != Method::GET && method != Method::HEAD {
            let text = format!("{path} takes GET and HEAD\n");
            let mut response = respond(Page::text(StatusCode::METHOD_NOT_ALLOWED, text));
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allow);
            return response;
        }
        respond((route.answer)().await)
    }
}

fn respond(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(page.body));
    *response.status_mut() = page.status;
    let content_type = HeaderValue::from_static(page.content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Why an address cannot be listened on. Its text is a whole sentence but for the full stop.
#[derive(Debug, thiserror::Error)]
#[error("{addr} {}", reason(.source))]
pub struct BindError {
    /// Address that was asked for.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is taken by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "is not an address of this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "may not be listened on without more rights".to_owned(),
        _ => format!("cannot be listened on: {error}"),
    }
}

/// What is spoken on a connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// A connection that is being made fit to be served; `None` if it is not to be.
pub type Wrapping = Pin<Box<dyn Future<Output = Option<Box<dyn Connection>>> + Send>>;

type Wrap = Arc<dyn Fn(TcpStream, Duration) -> Wrapping + Send + Sync>;

/// A listener that is bound, and not yet served.
pub struct Admin {
    listener: TcpListener,
    addr: SocketAddr,
    head_timeout: Duration,
    wrap: Option<Wrap>,
}

impl Admin {
    /// Binds `addr`; port 0 is any free one, see [`Self::addr`].
    ///
    /// # Errors
    ///
    /// The address is taken, is not of this machine, or is not allowed.
    pub async fn bind(addr: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            addr,
            head_timeout: HEAD_TIMEOUT,
            wrap: None,
        })
    }

    /// Takes a listener that is bound already, and non-blocking. Has to be called within a runtime.
    ///
    /// # Errors
    ///
    /// The system's, if the socket cannot be watched.
    pub fn on(listener: std::net::TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            addr,
            head_timeout: HEAD_TIMEOUT,
            wrap: None,
        })
    }

    /// Sets another limit than [`HEAD_TIMEOUT`].
    #[must_use]
    pub fn head_timeout(self, head_timeout: Duration) -> Self {
        Self {
            head_timeout,
            ..self
        }
    }

    /// Lets `wrap` have each connection first, to speak TLS on it, say. It gets the limit for a
    /// head as its own.
    #[must_use]
    pub fn wrapped(
        self,
        wrap: impl Fn(TcpStream, Duration) -> Wrapping + Send + Sync + 'static,
    ) -> Self {
        Self {
            wrap: Some(Arc::new(wrap)),
            ..self
        }
    }

    /// Address that it is bound to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers `routes` until `stop`; answers under way then get two seconds.
    pub async fn run(self, routes: Routes, stop: CancellationToken) {
        let routes = Arc::new(routes);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, self.listener.accept().await)
            };
            let Some((place, accepted)) = stop.run_until_cancelled(accepted).await else {
                break;
            };
            match accepted {
                Ok((stream, _)) => {
                    let limit = self.head_timeout;
                    let (routes, stop) = (Arc::clone(&routes), stop.clone());
                    let wrapping = self.wrap.clone();
                    let serving = async move {
                        let Some(wrap) = wrapping else {
                            return serve(stream, limit, routes, stop).await;
                        };
                        if let Some(stream) = wrap(stream, limit).await {
                            serve(stream, limit, routes, stop).await;
                        }
                    };
                    let cut = cut.clone();
                    connections.spawn(async move {
                        cut.run_until_cancelled(serving).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(addr = %self.addr, %error, "cannot accept a connection");
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE))
                        .await;
                }
            }
        }
        drop(self.listener);
        connections.close();
        if tokio::time::timeout(CLOSING, connections.wait())
            .await
            .is_err()
        {
            cut.cancel();
            connections.wait().await;
        }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    head_timeout: Duration,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let routes = Arc::clone(&routes);
        async move {
            let response = routes.answer(request.method(), request.uri().path()).await;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

#[cfg(test)]
mod tests;
