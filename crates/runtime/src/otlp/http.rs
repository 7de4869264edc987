//! One message over HTTP/1.1 (OTLP §OTLP/HTTP).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::channel::{Channel, Socket, Undelivered};

/// How much of an answer is read so that the collector can finish it.
const MOST: usize = 64 * 1024;

/// Sends `message` and waits for its answer.
pub(super) async fn export(
    channel: &Channel,
    socket: Box<dyn Socket>,
    message: Bytes,
) -> Result<(), Undelivered> {
    let mut request = Request::new(Full::new(message));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path(&channel.uri);
    *request.headers_mut() = channel.headers.clone();
    let headers = request.headers_mut();
    let authority = channel.uri.authority().map(|authority| authority.as_str());
    if let Ok(host) = HeaderValue::try_from(authority.unwrap_or_default()) {
        headers.insert(HOST, host);
    }
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, protobuf);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let io = TokioIo::new(socket);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let mut driving = JoinSet::new();
    driving.spawn(async move {
        // Its error is the request's error too.
        let _ = connection.await;
    });
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let _ = Limited::new(answer.into_body(), MOST).collect().await;
    if status.is_success() {
        Ok(())
    } else {
        Err(Undelivered::Status(status))
    }
}

/// What of a URL stands in the first line of a request.
fn path(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map_or_else(|| Uri::from_static("/"), Uri::from)
}
