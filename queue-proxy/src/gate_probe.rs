//! Probes: answered here, whatever the path and the method, and never forwarded.
//!
//! Source: spec/queue-proxy.md §3.1, §4.1.

use std::sync::Arc;

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use penstock_relay::body::{Body, Guard};
use penstock_types::header;

use crate::readiness::Readiness;
use crate::signs::Signs;
use penstock_relay::refusal::text_error;

/// What a request asks of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Kubelet, activator or autoscaler: is the container ready? With the probe header's value.
    Health(String),
    /// Anybody: is this hop there? With the hash to echo.
    Network(Option<HeaderValue>),
}

/// The probe that a request with these headers is, if it is one.
pub(crate) fn probe_of(headers: &HeaderMap, signs: Signs) -> Option<Probe> {
    let agent = headers
        .get(USER_AGENT)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let value = signs.platform.then(|| headers.get(header::NETWORK_PROBE));
    let value = value.flatten();
    let of_health = [
        header::KUBE_PROBE_AGENT,
        header::ACTIVATOR_PROBE_AGENT,
        header::AUTOSCALING_PROBE_AGENT,
    ];
    if of_health
        .iter()
        .any(|prefix| agent.starts_with(prefix.as_bytes()))
    {
        let value = value.map_or_else(String::new, |value| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        });
        return Some(Probe::Health(value));
    }
    (value? == header::PROBE_ANY).then(|| {
        let hash = headers.get(header::NETWORK_HASH);
        Probe::Network(hash.filter(|hash| !hash.is_empty()).cloned())
    })
}

/// Answers a probe.
pub(crate) async fn answer<G: Guard>(
    probe: Probe,
    draining: bool,
    readiness: &Arc<Readiness>,
) -> Response<Body<G>> {
    match probe {
        _ if draining => text_error(StatusCode::SERVICE_UNAVAILABLE, "shutting down"),
        Probe::Health(value) if value != header::PROBE_QUEUE => text_error(
            StatusCode::BAD_REQUEST,
            &format!("unexpected probe header value: {value}"),
        ),
        Probe::Health(_) => match readiness.ask().await {
            Ok(()) => Response::new(Body::text(header::PROBE_QUEUE)),
            Err(_) => {
                let mut answer = Response::new(Body::text(""));
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer
            }
        },
        Probe::Network(None) => text_error(
            StatusCode::BAD_REQUEST,
            "a probe request must contain a non-empty \"K-Network-Hash\" header",
        ),
        Probe::Network(Some(hash)) => {
            let mut answer = Response::new(Body::text(""));
            answer.headers_mut().insert(header::NETWORK_HASH, hash);
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cases_52_to_59_what_counts_as_a_probe() {
        let health = |value: &str| Some(Probe::Health(value.to_owned()));
        let hash = HeaderValue::from_static("h");
        let table = [
            ("kube-probe/1.29", None, None, health("")),
            ("kube-probe/1.29", Some("queue"), None, health("queue")),
            (
                "Knative-Activator-Probe",
                Some("queue"),
                None,
                health("queue"),
            ),
            ("Knative-Autoscaling-Probe/1", Some("x"), None, health("x")),
            (
                "curl/8",
                Some("probe"),
                Some("h"),
                Some(Probe::Network(Some(hash))),
            ),
            ("curl/8", Some("probe"), None, Some(Probe::Network(None))),
            ("curl/8", Some("queue"), None, None),
            ("curl/8", Some("blah"), None, None),
            ("curl/8", None, Some("h"), None),
        ];
        for (agent, value, hash, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            if let Some(value) = value {
                headers.insert(header::NETWORK_PROBE, HeaderValue::from_static(value));
            }
            if let Some(hash) = hash {
                headers.insert(header::NETWORK_HASH, HeaderValue::from_static(hash));
            }
            assert_eq!(
                probe_of(&headers, Signs::of(&headers)),
                want,
                "{agent} {value:?}"
            );
        }
    }

    /// Values of a header as callers send them: words of the contract, and any bytes.
    fn values(words: &'static [&'static str]) -> impl Strategy<Value = Option<HeaderValue>> {
        let word = prop::sample::select(words).prop_map(HeaderValue::from_static);
        let any = prop::collection::vec(any::<u8>(), 0..12);
        let any = any.prop_filter_map("no value", |bytes| HeaderValue::from_bytes(&bytes).ok());
        prop::option::of(prop_oneof![word, any])
    }

    const AGENTS: [&str; 7] = [
        "kube-probe/",
        "kube-probe/1.29",
        "kube-probe",
        "Kube-Probe/1.29",
        "Knative-Activator-Probe",
        "Knative-Autoscaling-Probe/1",
        "Knative-Ingress-Probe",
    ];

    proptest! {
        /// §3.1, read line by line.
        #[test]
        fn any_headers_are_the_probe_that_the_contract_says(
            agent in values(&AGENTS),
            probe in values(&["probe", "queue", "activator", "Probe", ""]),
            hash in values(&["override", ""]),
        ) {
            let mut headers = HeaderMap::new();
            let all = [
                (USER_AGENT.as_str(), &agent),
                ("k-network-probe", &probe),
                ("k-network-hash", &hash),
            ];
            for (name, value) in all {
                if let Some(value) = value {
                    headers.insert(name, value.clone());
                }
            }
            let begins = |with: &str| {
                agent.as_ref().is_some_and(|agent| agent.as_bytes().starts_with(with.as_bytes()))
            };
            let of_health = begins("kube-probe/")
                || begins("Knative-Activator-Probe")
                || begins("Knative-Autoscaling-Probe");
            match probe_of(&headers, Signs::of(&headers)) {
                Some(Probe::Health(value)) => {
                    prop_assert!(of_health);
                    let said = probe.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
                    prop_assert_eq!(value, String::from_utf8_lossy(said));
                }
                Some(Probe::Network(echoed)) => {
                    prop_assert!(!of_health && probe.is_some_and(|probe| probe == "probe"));
                    prop_assert_eq!(echoed, hash.filter(|hash| !hash.is_empty()));
                }
                None => prop_assert!(!of_health && probe.is_none_or(|probe| probe != "probe")),
            }
        }
    }
}
