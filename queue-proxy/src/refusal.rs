//! Every answer that is not the container's: status, text and reason, in one place.

use http::{Response, StatusCode};
use penstock_gate::Full;
use penstock_relay::body::{Body, Guard};
use penstock_relay::forward::ForwardError;
use penstock_relay::refusal::{bare_error, by, text_error};

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
        let text = self.to_string();
        let answer = match self {
            Self::TimedOut => bare_error(status, &text),
            _ => text_error(status, &text),
        };
        by(answer, "penstock-queue-proxy", reason)
    }
}
