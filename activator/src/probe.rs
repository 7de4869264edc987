//! Probes that are answered here, whatever the path and the method, and never forwarded.
//!
//! Source: spec/activator.md §2.1 to §2.3.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use penstock_relay::body::{Body, Guard};
use penstock_types::header;

use penstock_relay::refusal::text_error;

/// Answers a probe; takes the hash header from what is none.
pub(crate) fn answer<G: Guard>(
    headers: &mut HeaderMap,
    healthy: bool,
) -> Option<Response<Body<G>>> {
    if is_kubelet(headers) {
        return Some(if healthy {
            Response::new(Body::text(""))
        } else {
            let text = "received SIGTERM from kubelet";
            text_error(StatusCode::INTERNAL_SERVER_ERROR, text)
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
        answer::<()>(&mut headers, healthy).map(|answer| answer.status())
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
    fn a_hash_without_a_probe_is_taken_out() {
        let mut headers = HeaderMap::new();
        headers.insert(header::NETWORK_HASH, HeaderValue::from_static("h"));
        assert!(answer::<()>(&mut headers, true).is_none());
        assert!(headers.is_empty());
    }
}
