//! One message over gRPC (OTLP §OTLP/gRPC).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Version};
use tokio::task::JoinSet;

use super::address::Signal;
use super::channel::{Channel, Socket, Undelivered};

/// Compression flag and length in front of every gRPC message.
const PREFIX: usize = 5;

/// How much of an answer is read: it says at most how much of the message was left out.
const MOST: usize = 64 * 1024;

/// The code for a failure of which nothing more is known.
const UNKNOWN: u32 = 2;

/// The method that takes a signal.
pub(super) fn path(signal: Signal) -> PathAndQuery {
    PathAndQuery::from_static(match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    })
}

/// Sends `message` and waits for its answer.
pub(super) async fn export(
    channel: &Channel,
    socket: Box<dyn Socket>,
    message: Bytes,
) -> Result<(), Undelivered> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = channel.uri.clone();
    *request.headers_mut() = channel.headers.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .handshake(socket)
        .await?;
    let mut driving = JoinSet::new();
    driving.spawn(async move {
        // Its error is the request's error too.
        let _ = connection.await;
    });
    let mut sender = sender.ready().await?;
    let (answer, mut sending) = sender.send_request(request, false)?;
    sending.send_data(framed(&message)?, true)?;
    let (head, mut body) = answer.await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Undelivered::Status(head.status));
    }
    let mut read = 0;
    while let Some(part) = body.data().await {
        let part = part?;
        read += part.len();
        if read > MOST {
            return Err(refused(UNKNOWN, "an answer without end"));
        }
        body.flow_control().release_capacity(part.len())?;
    }
    // An answer that is a refusal alone has its status in its head.
    let trailers = body.trailers().await?;
    verdict(trailers.as_ref().unwrap_or(&head.headers))
}

fn framed(message: &Bytes) -> Result<Bytes, Undelivered> {
    let length =
        u32::try_from(message.len()).map_err(|_| refused(UNKNOWN, "not sent: too long"))?;
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(message);
    Ok(frame.freeze())
}

fn verdict(trailers: &HeaderMap) -> Result<(), Undelivered> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").map(str::parse) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(refused(code, text("grpc-message").unwrap_or_default())),
        Some(Err(_)) | None => Err(refused(UNKNOWN, "an answer without a status")),
    }
}

fn refused(code: u32, message: &str) -> Undelivered {
    Undelivered::Grpc {
        code,
        message: message.to_owned(),
    }
}
