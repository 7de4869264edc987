//! Every answer that is not a pod's: status, text and reason, in one place.
//!
//! Source: spec/activator.md §2.5, §2.12; RFC 9209 for `Proxy-Status`.

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use penstock_relay::body::{Body, Guard};
use penstock_relay::deadline::TooLate;
use penstock_relay::forward::ForwardError;
use penstock_relay::refusal::{bare_error, by, text_error};
use penstock_types::{RevisionId, header};

use crate::bind::Overflow;

/// Why a request got no answer of a pod. `Display` is what the caller may read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// Headers or a service host named a revision that is not known.
    #[error(
        "Error getting active endpoint: revision.serving.knative.dev \"{}\" not found",
        .0.name()
    )]
    UnknownRevision(RevisionId),
    /// No service has that host.
    #[error("no service has the host {host:?}{}", known_hosts(.known))]
    UnknownHost {
        /// As the caller sent it.
        host: String,
        /// All hosts there are, if the caller may know them.
        known: Option<Vec<String>>,
    },
    /// The host is a service's, but it has no revision that could take traffic.
    #[error("the service of host {host:?} has no revision that takes traffic")]
    NoRevision {
        /// As the caller sent it.
        host: String,
    },
    /// There is no room to wait, in the line or in memory.
    #[error("{why}")]
    NoRoom {
        /// What there is no room in.
        why: NoRoom,
        /// What the operator wants to be said.
        overflow: Overflow,
        /// Seconds until it is worth another try.
        retry_after: u64,
    },
    /// The revision was removed while the request waited. The contract says nothing to the caller.
    #[error("")]
    Gone,
    /// The same of a workload that no contract speaks of.
    #[error("the workload {0} was deleted, or is not scaled from zero any more")]
    Removed(RevisionId),
    /// A time limit of the revision passed before an answer began.
    #[error("activator request timeout")]
    TimedOut(#[from] TooLate),
    /// The pod gave no answer.
    #[error("the workload did not answer")]
    Upstream(#[from] ForwardError),
    /// HTTP/1.1 without a Host, or with several (RFC 9112 §3.2).
    #[error("the request must have exactly one Host header")]
    BadHost,
}

/// Why a request may not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRoom {
    /// As many wait as may. The contract's text.
    #[error("pending request queue full")]
    Line,
    /// The revision's share of the memory for requests that wait is used up.
    #[error("no memory left for requests that wait")]
    Memory,
}

fn known_hosts(known: &Option<Vec<String>>) -> String {
    match known {
        None => String::new(),
        Some(known) if known.is_empty() => "; there is no service".to_owned(),
        Some(known) => format!("; there are: {}", known.join(", ")),
    }
}

impl RequestError {
    /// Status and RFC 9209 error type together; no `_` arm, so a new variant must choose both.
    pub(crate) fn verdict(&self) -> (StatusCode, &'static str) {
        match self {
            Self::UnknownRevision(_) | Self::UnknownHost { .. } => {
                (StatusCode::NOT_FOUND, "destination_not_found")
            }
            Self::NoRevision { .. } => (StatusCode::NOT_FOUND, "destination_unavailable"),
            Self::Gone => (StatusCode::INTERNAL_SERVER_ERROR, "destination_unavailable"),
            Self::Removed(_) => (StatusCode::SERVICE_UNAVAILABLE, "destination_unavailable"),
            Self::NoRoom { overflow, .. } => {
                let status = match overflow {
                    Overflow::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                    Overflow::TooMany => StatusCode::TOO_MANY_REQUESTS,
                };
                (status, "connection_limit_reached")
            }
            Self::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
            Self::Upstream(error) => (StatusCode::BAD_GATEWAY, error.proxy_error()),
            Self::BadHost => (StatusCode::BAD_REQUEST, "http_request_error"),
        }
    }

    /// The same for callers of gRPC: UNIMPLEMENTED is what their libraries make of a 404.
    fn grpc_status(&self) -> u8 {
        const DEADLINE_EXCEEDED: u8 = 4;
        const RESOURCE_EXHAUSTED: u8 = 8;
        const UNIMPLEMENTED: u8 = 12;
        const INTERNAL: u8 = 13;
        const UNAVAILABLE: u8 = 14;
        match self {
            Self::UnknownRevision(_) | Self::UnknownHost { .. } => UNIMPLEMENTED,
            Self::NoRevision { .. } | Self::Gone | Self::Removed(_) | Self::Upstream(_) => {
                UNAVAILABLE
            }
            Self::NoRoom { overflow, .. } => match overflow {
                Overflow::Unavailable => UNAVAILABLE,
                Overflow::TooMany => RESOURCE_EXHAUSTED,
            },
            Self::TimedOut(_) => DEADLINE_EXCEEDED,
            Self::BadHost => INTERNAL,
        }
    }

    /// The answer to the caller. Addresses of pods stay in the log. A gRPC call, of which `grpc` is
    /// the content type, is answered by a head alone (gRPC over HTTP/2, "Trailers-Only").
    pub(crate) fn answer<G: Guard>(&self, grpc: Option<HeaderValue>) -> Response<Body<G>> {
        let (status, reason) = self.verdict();
        let text = self.to_string();
        let mut answer = match (self, grpc) {
            (_, Some(kind)) => self.grpc_answer(kind, &text),
            (Self::TimedOut(_) | Self::Gone, None) => bare_error(status, &text),
            (_, None) => text_error(status, &text),
        };
        if let Self::NoRoom { retry_after, .. } = self {
            answer
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(*retry_after));
        }
        by(answer, "penstock-activator", reason)
    }

    fn grpc_answer<G: Guard>(&self, kind: HeaderValue, text: &str) -> Response<Body<G>> {
        let mut answer = Response::new(Body::text(""));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(
            "grpc-status",
            HeaderValue::from(u16::from(self.grpc_status())),
        );
        let text = if text.is_empty() {
            "the revision was removed"
        } else {
            text
        };
        if let Ok(message) = HeaderValue::try_from(percent_encoded(text)) {
            headers.insert("grpc-message", message);
        }
        answer
    }
}

/// A `grpc-message`: what is not printable ASCII, and the percent sign, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | ..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            byte => encoded.push(char::from(byte)),
        }
    }
    encoded
}

/// Whether an answer is a queue-proxy's word that its container could not be reached, so that
/// nothing of the request has got there.
pub(crate) fn is_unreached<B>(answer: &Response<B>) -> bool {
    says(answer, "penstock-queue-proxy; error=connection_refused")
}

/// Whether an answer is a queue-proxy's word that its container closed the connection instead of
/// answering: as one does that is about to end.
pub(crate) fn is_cut_off<B>(answer: &Response<B>) -> bool {
    says(answer, "penstock-queue-proxy; error=connection_terminated")
}

fn says<B>(answer: &Response<B>, status: &str) -> bool {
    let said = answer.headers().get(header::PROXY_STATUS);
    answer.status() == StatusCode::BAD_GATEWAY && said.is_some_and(|value| value == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_grpc_is_printable_whatever_a_caller_sent() {
        let table = [
            ("plain text: 1", "plain text: 1"),
            ("100%", "100%25"),
            ("h\u{f6}st\n", "h%C3%B6st%0A"),
        ];
        for (text, want) in table {
            assert_eq!(percent_encoded(text), want);
        }
    }
}
