//! What the server sends: one JSON document, or a stream of them.

use std::io;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

/// The body of an answer; its error cuts the connection.
pub(super) type Answer = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response<Answer> {
    let body = serde_json::to_vec(body).expect("JSON is written as JSON");
    answer(status, "application/json", body.into())
}

pub(super) fn text_answer(status: StatusCode, body: &'static str) -> Response<Answer> {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn answer(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Answer> {
    let body = Full::new(body).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
