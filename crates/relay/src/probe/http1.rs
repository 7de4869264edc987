//! One GET over HTTP/1.1, on a connection of its own.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;

use super::http::{Answer, invalid};
use super::tls::{self, Trust};
use super::url::Url;
use super::{BODY_LIMIT, Failure, connect_to};

/// How long the body of an answer is waited for after its head.
const COURTESY: Duration = Duration::from_millis(10);

pub(super) async fn get(url: &Url, headers: HeaderMap, trust: &Trust) -> Result<Answer, Failure> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url
        .path
        .parse::<Uri>()
        .map_err(|_| invalid("path", &url.path))?;
    *request.headers_mut() = headers;
    let stream = connect_to(&url.host, url.port).await?;
    if url.tls {
        exchange(
            url,
            TokioIo::new(tls::wrap(stream, &url.host, trust).await?),
            request,
        )
        .await
    } else {
        exchange(url, TokioIo::new(stream), request).await
    }
}

async fn exchange(
    url: &Url,
    stream: impl Read + Write + Unpin,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, Failure> {
    let broken = |source: hyper::Error| Failure::Protocol {
        host: url.authority(),
        source: source.into(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(broken)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // A connection that ends well has left its answer behind.
        end = &mut connection => match end {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    }
    .map_err(broken)?;

    let told = Answer::from(&answer);
    // The rest decides nothing: it is read so that the workload can finish its answer.
    let rest = async {
        tokio::select! {
            () = read_some(answer.into_body()) => {}
            _ = connection => {}
        }
    };
    let _ = tokio::time::timeout(COURTESY, rest).await;
    Ok(told)
}

/// Reads a body to its end, or to the limit.
async fn read_some(body: Incoming) {
    let mut body = pin!(Limited::new(body, BODY_LIMIT));
    while let Some(Ok(_)) = body.frame().await {}
}
