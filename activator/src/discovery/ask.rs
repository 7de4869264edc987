//! One question to a pod, and its answer.
//!
//! Source: spec/activator.md §4.2.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Collected, Limited};
use penstock_relay::body::Body;
use penstock_relay::forward::{Outgoing, Relay};
use penstock_relay::request_body::RequestBody;
use penstock_relay::serve::Caller;
use penstock_types::header;
use tokio::time::timeout;

use super::{Discovery, Heard};

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// 200 and `queue`: the container is ready.
    Queue,
    /// 200 and something else.
    Other,
    /// Another status.
    Status(StatusCode),
    /// No connection, or one that broke.
    Nothing,
    /// Nothing in time.
    Silence,
}

impl Answer {
    pub(super) fn heard(self) -> Heard {
        match self {
            Self::Queue => Heard::Passed,
            Self::Other => Heard::Failed { not_mesh: true },
            // What a mesh says in place of a pod that it does not let us reach.
            Self::Status(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
                Heard::Failed { not_mesh: false }
            }
            Self::Status(_) => Heard::Failed { not_mesh: true },
            Self::Nothing | Self::Silence => Heard::Failed { not_mesh: false },
        }
    }
}

/// Asks once.
pub(super) async fn ask(
    relay: &Relay,
    how: &Discovery,
    addr: SocketAddr,
    host: &HeaderValue,
) -> Answer {
    let asked = async {
        let Some(outgoing) = question(how) else {
            return Answer::Nothing;
        };
        let us = us();
        let answer = relay.forward(addr, host, &outgoing, RequestBody::empty(), &us);
        let Ok(answer) = answer.await else {
            return Answer::Nothing;
        };
        match answer.status() {
            StatusCode::OK => {}
            status => return Answer::Status(status),
        }
        let body = Body::<()>::relayed(answer.into_body());
        let word = Limited::new(body, header::PROBE_QUEUE.len())
            .collect()
            .await;
        match word.map(Collected::to_bytes) {
            Ok(word) if word == header::PROBE_QUEUE => Answer::Queue,
            Ok(_) | Err(_) => Answer::Other,
        }
    };
    let answer = timeout(how.timeout, asked).await;
    answer.unwrap_or(Answer::Silence)
}

/// Whether there is somebody who answers. It need not be a queue-proxy, nor know the question: the
/// cluster holds the pod for ready, so it is only asked whether it is still there.
pub(super) async fn answers(
    relay: &Relay,
    how: &Discovery,
    addr: SocketAddr,
    host: &HeaderValue,
) -> bool {
    let Some(outgoing) = question(how) else {
        return false;
    };
    let us = us();
    let asked = relay.forward(addr, host, &outgoing, RequestBody::empty(), &us);
    match timeout(how.timeout, asked).await {
        Ok(Ok(answer)) => answer.status() < StatusCode::INTERNAL_SERVER_ERROR,
        Ok(Err(_)) | Err(_) => false,
    }
}

fn question(how: &Discovery) -> Option<Outgoing> {
    // HTTP/1.0, so that no interim answer is owed to anybody.
    let mut probe = Request::get("/healthz")
        .version(Version::HTTP_10)
        .header(USER_AGENT, header::ACTIVATOR_PROBE_AGENT)
        .header(header::NETWORK_PROBE, header::PROBE_QUEUE);
    if how.passthrough {
        probe = probe.header(header::PASSTHROUGH_LB, header::PASSTHROUGH);
    }
    let (head, ()) = probe.body(()).ok()?.into_parts();
    Some(Outgoing::prepare(head, &us()))
}

fn us() -> Arc<Caller> {
    Arc::new(Caller::new(([127, 0, 0, 1], 0).into()))
}
