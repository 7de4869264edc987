//! Probes that are answered here, whatever the path and the method, and never forwarded.
//!
//! Source: spec/activator.md §2.1 to §2.3.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use penstock_relay::body::{Body, Guard};
use penstock_relay::refusal::text_error;
use penstock_types::header;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the kubelet is told.
#[derive(Debug)]
pub(crate) struct Health {
    stopping: CancellationToken,
    /// Whether there is a connection to the autoscaler, if there is to be one.
    connected: Option<watch::Receiver<bool>>,
    liveness_path: Option<String>,
}

/// Why a probe of the kubelet fails, in the words of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("received SIGTERM from kubelet")]
    Stopping,
    #[error("connection has not yet been established")]
    NotConnected,
}

impl Health {
    pub(crate) fn new(
        connected: Option<watch::Receiver<bool>>,
        liveness_path: Option<String>,
    ) -> Self {
        Self {
            stopping: CancellationToken::new(),
            connected,
            liveness_path,
        }
    }

    /// Probes fail from here on.
    pub(crate) fn stops(&self) {
        self.stopping.cancel();
    }

    /// What a probe at `path` is told (§2.1, §6). A kubelet that restarts it for the autoscaler's
    /// sake would end requests that need none.
    pub(crate) fn at(&self, path: &str) -> Result<(), Unhealthy> {
        let connected = self.connected.as_ref().is_none_or(|it| *it.borrow());
        if self.liveness_path.as_deref() == Some(path) {
            Ok(())
        } else if self.stopping.is_cancelled() {
            Err(Unhealthy::Stopping)
        } else if connected {
            Ok(())
        } else {
            Err(Unhealthy::NotConnected)
        }
    }
}

/// Answers a probe; takes the hash header from what is none.
pub(crate) fn answer<G: Guard>(
    headers: &mut HeaderMap,
    health: impl FnOnce() -> Result<(), Unhealthy>,
) -> Option<Response<Body<G>>> {
    if is_kubelet(headers) {
        return Some(match health() {
            Ok(()) => Response::new(Body::text("")),
            Err(why) => text_error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
        });
    }
    let value = headers
        .get(header::NETWORK_PROBE)
        .filter(|value| !value.is_empty())
        .cloned();
    let hash = headers
        .get(header::NETWORK_HASH)
        .filter(|hash| !hash.is_empty())
        .cloned();
    match value {
        Some(value) if value == header::PROBE_ANY => Some(match hash {
            Some(hash) => {
                let mut answer = Response::new(Body::text(""));
                answer.headers_mut().insert(header::NETWORK_HASH, hash);
                answer
            }
            None => text_error(
                StatusCode::BAD_REQUEST,
                "a probe request must contain a non-empty \"K-Network-Hash\" header",
            ),
        }),
        Some(value) if value == header::PROBE_ACTIVATOR => {
            Some(Response::new(Body::text(header::PROBE_ACTIVATOR)))
        }
        Some(value) => Some(text_error(StatusCode::BAD_REQUEST, &unexpected(&value))),
        None => {
            headers.remove(header::NETWORK_HASH);
            None
        }
    }
}

fn is_kubelet(headers: &HeaderMap) -> bool {
    let agent = headers
        .get(USER_AGENT)
        .map_or(&b""[..], HeaderValue::as_bytes);
    agent.starts_with(header::KUBE_PROBE_AGENT.as_bytes())
        || headers
            .get(header::KUBELET_PROBE)
            .is_some_and(|value| !value.is_empty())
}

fn unexpected(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let escaped: String = text
        .chars()
        .map(|char| match char {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '\'' => "&#39;".to_owned(),
            '"' => "&#34;".to_owned(),
            '\\' => "\\\\".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!("unexpected probe header value: \"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(lines: &[(&'static str, &'static str)], healthy: bool) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let health = || healthy.then_some(()).ok_or(Unhealthy::Stopping);
        answer::<()>(&mut headers, health).map(|answer| answer.status())
    }

    #[test]
    fn cases_5_to_11_what_is_answered_and_what_is_forwarded() {
        let (ok, bad) = (Some(StatusCode::OK), Some(StatusCode::BAD_REQUEST));
        let table: [(&[(&str, &str)], _); 9] = [
            (&[("k-network-probe", "activator")], ok),
            (&[("k-network-probe", "queue")], bad),
            (&[("k-network-probe", "")], None),
            (&[("k-network-probe", "probe"), ("k-network-hash", "h")], ok),
            (&[("k-network-probe", "probe")], bad),
            (&[], None),
            (&[("user-agent", "kube-probe/1.30")], ok),
            (&[("k-kubelet-probe", "queue")], ok),
            (&[("user-agent", "curl/8")], None),
        ];
        for (lines, want) in table {
            assert_eq!(ask(lines, true), want, "{lines:?}");
        }
        let unhealthy = ask(&[("user-agent", "kube-probe/1.30")], false);
        assert_eq!(unhealthy, Some(StatusCode::INTERNAL_SERVER_ERROR));
    }

    #[test]
    fn case_10_readiness_needs_the_autoscaler_and_liveness_does_not() {
        let (connect, connected) = watch::channel(false);
        let health = Health::new(Some(connected), Some("/livez".to_owned()));
        assert_eq!(health.at("/"), Err(Unhealthy::NotConnected));
        assert_eq!(health.at("/livez"), Ok(()));
        connect.send_replace(true);
        assert_eq!(health.at("/"), Ok(()));
        health.stops();
        assert_eq!(health.at("/"), Err(Unhealthy::Stopping));
        assert_eq!(health.at("/livez"), Ok(()));
        assert_eq!(Health::new(None, None).at("/"), Ok(()));
    }

    #[test]
    fn a_hash_without_a_probe_is_taken_out() {
        let mut headers = HeaderMap::new();
        headers.insert(header::NETWORK_HASH, HeaderValue::from_static("h"));
        assert!(answer::<()>(&mut headers, || Ok(())).is_none());
        assert!(headers.is_empty());
    }
}
