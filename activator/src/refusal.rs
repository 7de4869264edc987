//! Every answer that is not a pod's: status, text and reason, in one place.
//!
//! Source: spec/activator.md §2.5, §2.12; RFC 9209 for `Proxy-Status`.

use http::{Response, StatusCode};
use penstock_gate::Refused;
use penstock_relay::body::{Body, Guard};
use penstock_relay::deadline::TooLate;
use penstock_relay::forward::ForwardError;
use penstock_relay::refusal::{bare_error, by, text_error};
use penstock_types::{RevisionId, header};

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
    /// As many requests wait as may.
    #[error("pending request queue full")]
    Full,
    /// The revision was removed while the request waited. The contract says no more of it.
    #[error("")]
    Gone,
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

impl From<Refused> for RequestError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Closed => Self::Gone,
        }
    }
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
            Self::Full => (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached"),
            Self::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout"),
            Self::Upstream(error) => (StatusCode::BAD_GATEWAY, error.proxy_error()),
            Self::BadHost => (StatusCode::BAD_REQUEST, "http_request_error"),
        }
    }

    /// The answer to the caller. Addresses of pods stay in the log.
    pub(crate) fn answer<G: Guard>(&self) -> Response<Body<G>> {
        let (status, reason) = self.verdict();
        let text = self.to_string();
        let answer = match self {
            Self::TimedOut(_) | Self::Gone => bare_error(status, &text),
            _ => text_error(status, &text),
        };
        by(answer, "penstock-activator", reason)
    }
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
