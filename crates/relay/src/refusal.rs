//! Plain answers of a proxy itself, as the contract words them.
//!
//! Source: spec/queue-proxy.md, `ERR(code, text)`; RFC 9209 for `Proxy-Status`.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use penstock_types::header;

use crate::body::{Body, Guard};

const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// An error with its text, and a final newline.
pub fn text_error<G: Guard>(status: StatusCode, text: &str) -> Response<Body<G>> {
    let mut answer = bare_error(status, &format!("{text}\n"));
    let no_sniff = HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(NO_SNIFF, no_sniff);
    answer
}

/// An error with just its text: how the contract answers when a time limit has passed.
pub fn bare_error<G: Guard>(status: StatusCode, text: &str) -> Response<Body<G>> {
    let mut answer = Response::new(Body::text(text.to_owned()));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// What a caller is answered that has sent no proper request.
pub(crate) fn malformed<G: Guard>(
    status: StatusCode,
    text: &str,
    proxy: &str,
) -> Response<Body<G>> {
    by(text_error(status, text), proxy, "http_request_error")
}

/// Says which proxy refused, and why: an error type of RFC 9209 §2.3.
#[must_use]
pub fn by<B>(mut answer: Response<B>, proxy: &str, reason: &str) -> Response<B> {
    if let Ok(value) = HeaderValue::try_from(format!("{proxy}; error={reason}")) {
        answer.headers_mut().insert(header::PROXY_STATUS, value);
    }
    answer
}
