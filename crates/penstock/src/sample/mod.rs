//! The samples that the tutorials' images stand for, built in: `hello` (helloworld-go) and
//! `autoscale` (autoscale-go).
//!
//! They are workloads like any other: they listen on `$PORT`, speak HTTP/1.1 and HTTP/2 by prior
//! knowledge, and end at SIGTERM once their requests are answered. One thread, so that they start
//! in about a millisecond. Each answer says in `x-concurrency-max` how many requests were inside
//! at once, at most, so that a limit can be seen to hold from within.

mod autoscale;
mod inside;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use inside::Inside;

/// Header of each answer: most requests that were inside at once.
const CONCURRENCY_MAX: &str = "x-concurrency-max";

/// How long accepting pauses after it failed.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How an HTTP/2 connection begins; no method of HTTP/1 does.
const PREFACE: &[u8] = b"PRI ";

/// Which sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Greets `target`.
    Hello {
        /// Whom: `$TARGET`.
        target: String,
    },
    /// Sleeps, computes and allocates as the query says.
    Autoscale,
}

impl Kind {
    /// The sample called `name`; `target` is the text of `$TARGET`, if any.
    pub(crate) fn new(name: &str, target: Option<String>) -> Option<Self> {
        match name {
            "hello" => {
                let target = target.filter(|target| !target.is_empty());
                let target = target.unwrap_or_else(|| "World".to_owned());
                Some(Self::Hello { target })
            }
            "autoscale" => Some(Self::Autoscale),
            _ => None,
        }
    }
}

/// Serves `kind` on all addresses at `port` until SIGTERM or SIGINT, then answers what is open.
///
/// # Errors
///
/// The system's: the port cannot be had, or signals cannot be handled.
pub(crate) fn run(kind: Kind, port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::bind(kind, (Ipv4Addr::UNSPECIFIED, port).into()).await?;
        let stop = CancellationToken::new();
        let serving = server.run(stop.clone());
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => return Ok(()),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        serving.await;
        Ok(())
    })
}

/// A sample that listens.
#[derive(Debug)]
struct Server {
    listener: TcpListener,
    kind: Arc<Kind>,
}

impl Server {
    async fn bind(kind: Kind, addr: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(addr).await?,
            kind: Arc::new(kind),
        })
    }

    /// Serves until `stop`; open requests are answered.
    async fn run(self, stop: CancellationToken) {
        let Self { listener, kind } = self;
        let inside = Arc::new(Inside::default());
        let connections = TaskTracker::new();
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            // A failed accept is of one connection, which was reset, or of all: then no
            // descriptor is left, and one that ends makes room.
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
                continue;
            };
            let (kind, inside, stop) = (Arc::clone(&kind), Arc::clone(&inside), stop.clone());
            connections.spawn(connection(stream, kind, inside, stop));
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }
}

async fn connection(
    stream: TcpStream,
    kind: Arc<Kind>,
    inside: Arc<Inside>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let mut first = [0; PREFACE.len()];
    let peeked = stop.run_until_cancelled(stream.peek(&mut first)).await;
    let Some(Ok(length @ 1..)) = peeked else {
        return;
    };
    let service = service_fn(move |request| {
        let (kind, inside) = (Arc::clone(&kind), Arc::clone(&inside));
        async move { Ok::<_, Infallible>(answer(&kind, &inside, &request).await) }
    });
    let stream = TokioIo::new(stream);
    // A connection that breaks is the caller's affair: nobody is left to be told.
    if first[..length] == *PREFACE {
        let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service);
        tokio::pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        let _ = serving.await;
    } else {
        let serving = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(stream, service);
        tokio::pin!(serving);
        tokio::select! {
            _ = serving.as_mut() => return,
            () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        let _ = serving.await;
    }
}

async fn answer(
    kind: &Kind,
    inside: &Inside,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let _entered = inside.enter();
    let (status, text) = match kind {
        Kind::Hello { target } => (StatusCode::OK, format!("Hello {target}!\n")),
        Kind::Autoscale => autoscale::answer(request.uri().query().unwrap_or_default()).await,
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(http::header::CONTENT_TYPE, plain);
    headers.insert(CONCURRENCY_MAX, HeaderValue::from(inside.most()));
    response
}

#[cfg(test)]
mod tests;
