//! Every answer that is not the container's: status, text and reason, in one place.
//!
//! `Proxy-Status` names this proxy and the type of the error (RFC 9209). What exactly went wrong
//! names addresses, and is for the log; operators may have it told to callers as well.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use http::header::HeaderValue;
use http::{Response, StatusCode};
use penstock_gate::Full;
use penstock_relay::body::{Body, Guard};
use penstock_relay::forward::ForwardError;
use penstock_relay::refusal::{bare_error, by, text_error};
use penstock_types::{Timeouts, header};

/// How this proxy calls itself in `Proxy-Status`.
pub(crate) const OURS: &str = "penstock-queue-proxy";

/// Why a request got no answer of the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// As many requests wait as may.
    #[error(transparent)]
    Full(#[from] Full),
    /// A time limit passed before the answer began (spec/queue-proxy.md §3.3).
    #[error("request timeout")]
    TimedOut(#[source] PassedLimit),
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
            Self::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
            Self::Upstream(error) => (StatusCode::BAD_GATEWAY, error.proxy_error()),
            Self::NoHost => (StatusCode::BAD_REQUEST, "http_request_error"),
        }
    }

    /// The answer to the caller. Addresses within the pod stay in the log, unless `detail`.
    pub(crate) fn answer<G: Guard>(&self, detail: bool) -> Response<Body<G>> {
        let (status, reason) = self.verdict();
        let text = self.to_string();
        let answer = match self {
            Self::TimedOut(_) => bare_error(status, &text),
            _ => text_error(status, &text),
        };
        let mut answer = by(answer, OURS, reason);
        if detail
            && let Some(cause) = self.source()
            && let Ok(value) =
                HeaderValue::try_from(format!("{OURS}; error={reason}; details={}", quoted(cause)))
        {
            answer.headers_mut().insert(header::PROXY_STATUS, value);
        }
        answer
    }
}

/// Says of an answer to a probe that it is this proxy's own, if it is an error.
pub(crate) fn own<B>(answer: Response<B>) -> Response<B> {
    match answer.status() {
        status if status.is_client_error() => by(answer, OURS, "http_request_error"),
        status if status.is_server_error() => by(answer, OURS, "destination_unavailable"),
        _ => answer,
    }
}

/// An error with all that caused it, as a string of RFC 8941 §3.3.3: visible ASCII and spaces.
fn quoted(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Some errors say already what caused them.
        let further = error.to_string();
        if !text.ends_with(&further) {
            let _ = write!(text, ": {further}");
        }
        cause = error.source();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// The limit that passed, in the words that operators of the original look for in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PassedLimit {
    /// The whole request took too long.
    #[error("Request timeout: {0:?}")]
    Whole(Duration),
    /// Nothing of the answer came.
    #[error("Response start timeout: {0:?}")]
    ResponseStart(Duration),
    /// Nothing more of the answer came.
    #[error("Idle timeout: {0:?}")]
    Idle(Duration),
}

impl PassedLimit {
    /// The one that passes first while nothing of the answer has come.
    pub(crate) fn before_the_answer(timeouts: Timeouts) -> Self {
        let Timeouts {
            whole,
            response_start,
            idle,
        } = timeouts;
        let start = response_start.unwrap_or(Duration::MAX);
        let idle = idle.unwrap_or(Duration::MAX);
        if whole <= start && whole <= idle {
            Self::Whole(whole)
        } else if start <= idle {
            Self::ResponseStart(start)
        } else {
            Self::Idle(idle)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_clean_string_whatever_an_error_says() {
        #[derive(Debug, thiserror::Error)]
        #[error("a \"b\" \\ c\n\u{e9}")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("10.0.0.1:80 refused")]
        struct Inner;
        let want = r#""a \"b\" \\ c??: 10.0.0.1:80 refused""#;
        assert_eq!(quoted(&Outer(Inner)), want);
    }

    #[test]
    fn the_limit_that_passed_is_the_least() {
        let second = Duration::from_secs;
        let table = [
            (5, None, None, "Request timeout: 5s"),
            (5, Some(2), Some(3), "Response start timeout: 2s"),
            (5, Some(4), Some(3), "Idle timeout: 3s"),
            (5, Some(5), Some(5), "Request timeout: 5s"),
        ];
        for (whole, start, idle, want) in table {
            let passed = PassedLimit::before_the_answer(Timeouts {
                whole: second(whole),
                response_start: start.map(second),
                idle: idle.map(second),
            });
            assert_eq!(passed.to_string(), want);
        }
    }
}
