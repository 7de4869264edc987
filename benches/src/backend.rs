//! The workload: as fast as hyper is, so that it is not what is measured.
//!
//! `/` 13 bytes, `/bytes/N` so many, `/sleep/MS` 13 bytes after so many milliseconds, `/echo` the
//! body of the request. HTTP/1.1, or with `PROTOCOL=h2c` HTTP/2 without TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Outcome, number_from, text_from};

const GREETING: Bytes = Bytes::from_static(b"Hello, World!");
/// What `/bytes/N` is cut from.
static ZEROS: [u8; 1 << 20] = [b'0'; 1 << 20];

/// Serves until it is killed.
pub(crate) fn run() -> Outcome {
    let addr = SocketAddr::from(([127, 0, 0, 1], number_from("PORT")?));
    let h2 = text_from("PROTOCOL") == "h2c";
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await;
        let listener = listener.map_err(|error| format!("{addr}: {error}"))?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, h2));
            }
        }
    })
}

async fn serve(stream: TcpStream, h2: bool) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
    let io = TokioIo::new(stream);
    // A connection that breaks is the client's affair.
    if h2 {
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new()).max_concurrent_streams(250);
        let _ = http.serve_connection(io, service).await;
    } else {
        let http = hyper::server::conn::http1::Builder::new();
        let _ = http.serve_connection(io, service).await;
    }
}

async fn answer(request: Request<Incoming>) -> Response<Either<Full<Bytes>, Incoming>> {
    let path = request.uri().path();
    if path == "/echo" {
        return Response::new(Either::Right(request.into_body()));
    }
    let number = |prefix| path.strip_prefix(prefix)?.parse::<usize>().ok();
    let mut body = GREETING;
    if let Some(millis) = number("/sleep/") {
        tokio::time::sleep(Duration::from_millis(millis as u64)).await;
    } else if let Some(bytes) = number("/bytes/") {
        body = Bytes::from_static(&ZEROS[..bytes.min(ZEROS.len())]);
    }
    // What was sent has to be taken before the connection can carry another request.
    let _ = request.into_body().collect().await;
    Response::new(Either::Left(Full::new(body)))
}
