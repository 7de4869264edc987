//! One look at the names of a request's headers: which of those that mean something here can be
//! there at all.
//!
//! Most requests have none, and each name that is asked for by itself costs a hash of it: without
//! this look a twelfth of all instructions of a small request.

use http::HeaderMap;

/// What can be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Headers of the platform: all of [`penstock_types::header`] that come with requests.
    pub(crate) platform: bool,
    /// `Forwarded`, or what it is made from.
    pub(crate) forwarded: bool,
}

impl Signs {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut signs = Self::default();
        for name in headers.keys() {
            let name = name.as_str();
            signs.platform |= name.starts_with("k-") || name.starts_with("knative-");
            signs.forwarded |= name.starts_with("x-forwarded-") || name == "forwarded";
        }
        signs
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use penstock_types::header;

    use super::*;

    fn of(name: impl Into<HeaderName>) -> Signs {
        let host = (http::header::HOST, HeaderValue::from_static("a"));
        let other = (name.into(), HeaderValue::from_static("x"));
        Signs::of(&[host, other].into_iter().collect())
    }

    #[test]
    fn every_header_that_means_something_here_is_seen_and_others_are_not() {
        for name in [
            header::SERVING_REVISION,
            header::SERVING_NAMESPACE,
            header::SERVING_TAG,
            header::SERVING_DEFAULT_ROUTE,
            header::PROXY_REQUEST,
            header::ORIGINAL_HOST,
            header::NETWORK_PROBE,
            header::NETWORK_HASH,
            header::KUBELET_PROBE,
        ] {
            assert!(of(name.clone()).platform, "{name}");
        }
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ] {
            assert!(of(HeaderName::from_static(name)).forwarded, "{name}");
        }
        for name in ["accept", "keep-alive", "x-request-id", "forwarded-by"] {
            assert_eq!(of(HeaderName::from_static(name)), Signs::default());
        }
    }
}
