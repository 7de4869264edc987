//! Every answer that is not the container's: status, text and reason, in one place.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use penstock_gate::Full;
use penstock_relay::body::{Body, Guard};
use penstock_relay::forward::ForwardError;
use penstock_types::header;

const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// Why a request got no answer of the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// As many requests wait as may.
    #[error(transparent)]
    Full(#[from] Full),
    /// A time limit passed before the answer began (spec/queue-proxy.md §3.3).
    #[error("request timeout")]
    TimedOut,
    /// The container gave no answer.
    #[error("the container did not answer")]
    Upstream(#[from] ForwardError),
    /// HTTP/1.1 without a Host (RFC 9112 §3.2).
    #[error("missing required Host header")]
    NoHost,
}

impl RequestError {
    /// Status and RFC 9209 error type together; no `_` arm, so a new variant must choose both.
    pub(crate) fn verdict(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
            Self::Upstream(error) => (StatusCode::BAD_GATEWAY, error.proxy_error()),
            Self::NoHost => (StatusCode::BAD_REQUEST, "http_request_error"),
        }
    }

    /// The answer to the caller. Addresses within the pod stay in the log.
    pub(crate) fn answer<G: Guard>(&self) -> Response<Body<G>> {
        let (status, reason) = self.verdict();
        let mut answer = text_error(status, &self.to_string());
        if matches!(self, Self::TimedOut) {
            // Without the final newline, by contract.
            *answer.body_mut() = Body::text(self.to_string());
            answer.headers_mut().remove(NO_SNIFF);
        }
        if let Ok(value) = HeaderValue::try_from(format!("penstock-queue-proxy; error={reason}")) {
            answer.headers_mut().insert(header::PROXY_STATUS, value);
        }
        answer
    }
}

/// The contract's plain error: spec/queue-proxy.md, `ERR(code, text)`.
pub(crate) fn text_error<G: Guard>(status: StatusCode, text: &str) -> Response<Body<G>> {
    let mut answer = Response::new(Body::text(format!("{text}\n")));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    answer
}
