//! What the workload does, by path.

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, TRAILER, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::AnswerBody;
use super::seen::Seen;
use super::server::{Inside, Shared};
use super::stream::{self, FrameBody};

/// Answers one request.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let inside = Inside::enter(&shared);
    let path = request.uri().path().to_owned();
    Ok(match path.as_str() {
        "/hold" => hold(&shared, inside).await,
        "/echo" => echo(request),
        "/trailers" => trailers(),
        "/events" => events(&shared, inside),
        path if path.starts_with("/status/") => status(path),
        path if path.starts_with("/grpc") => grpc(request),
        _ if asks_for_upgrade(&request) => upgrade(&shared, request),
        _ => describe(request).await,
    })
}

async fn hold(shared: &Shared, inside: Inside) -> Response<AnswerBody> {
    // The semaphore is never closed.
    if let Ok(permit) = shared.released.acquire().await {
        permit.forget();
    }
    drop(inside);
    Response::new(full("held"))
}

fn echo(request: Request<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(boxed(body));
    for name in [CONTENT_TYPE, TRAILER] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

fn trailers() -> Response<AnswerBody> {
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("42"),
    )]);
    let frames = [
        Frame::data(Bytes::from_static(b"body")),
        Frame::trailers(trailers),
    ];
    let mut response = Response::new(boxed(FrameBody::of(frames)));
    // Without the announcement hyper does not send them over HTTP/1.1.
    response
        .headers_mut()
        .insert(TRAILER, HeaderValue::from_static("x-checksum"));
    response
}

fn events(shared: &Shared, inside: Inside) -> Response<AnswerBody> {
    let (stream, body) = stream::streamed(inside);
    // Without a test that wants it the stream ends at once.
    let _ = shared.streams.send(stream);
    let mut response = Response::new(boxed(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn status(path: &str) -> Response<AnswerBody> {
    let wanted = path.trim_start_matches("/status/").parse::<StatusCode>();
    let mut response = Response::new(full(""));
    *response.status_mut() = wanted.unwrap_or(StatusCode::BAD_REQUEST);
    response
}

/// Sends the body back as it comes, then the trailers of a call that went well.
fn grpc(request: Request<Incoming>) -> Response<AnswerBody> {
    let well = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let body = request
        .into_body()
        .with_trailers(async move { Some(Ok(well)) });
    let mut response = Response::new(boxed(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn asks_for_upgrade(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11 && request.headers().contains_key(UPGRADE)
}

/// Switches to whatever protocol was asked for, and sends its bytes back.
fn upgrade(shared: &Shared, mut request: Request<Incoming>) -> Response<AnswerBody> {
    let protocol = request.headers().get(UPGRADE).cloned();
    let upgraded = hyper::upgrade::on(&mut request);
    let mut tasks = shared
        .upgraded
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    tasks.spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    drop(tasks);
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    response
}

async fn describe(request: Request<Incoming>) -> Response<AnswerBody> {
    let (parts, body) = request.into_parts();
    match body.collect().await {
        Ok(body) => Response::new(full(Seen::describe(&parts, &body.to_bytes()))),
        Err(_) => {
            let mut response = Response::new(full("the body broke off"));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        }
    }
}

fn full(text: impl Into<Bytes>) -> AnswerBody {
    boxed(Full::new(text.into()))
}

fn boxed<B>(body: B) -> AnswerBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    body.map_err(Into::into).boxed_unsync()
}
