//! The time that a caller gives its own request: gRPC's `grpc-timeout`, or a header of the
//! operator's choice. The least of these and the revision's limits ends the request.
//!
//! What is no such value is passed on and limits nothing: whether it is wrong is for the workload
//! to say.
//!
//! Source: issue "The activator", point 3; gRPC over HTTP/2, "Timeout".

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The content type of a gRPC call, whose refusals have to be gRPC, too; `None` for other requests.
pub(crate) fn grpc_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    let kind = headers.get(CONTENT_TYPE)?;
    kind.as_bytes()
        .starts_with(b"application/grpc")
        .then_some(kind)
}

/// How long a request may take from its arrival, as its caller says. The value of `header` is
/// in whole milliseconds.
pub(crate) fn own_limit(
    headers: &HeaderMap,
    is_grpc: bool,
    header: Option<&HeaderName>,
) -> Option<Duration> {
    let grpc = is_grpc
        .then(|| headers.get(GRPC_TIMEOUT))
        .flatten()
        .and_then(|value| grpc_timeout(value.as_bytes()));
    let own = header
        .and_then(|name| headers.get(name))
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_millis);
    grpc.into_iter().chain(own).min()
}

/// One to eight digits and a unit.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = str::from_utf8(digits).ok()?.parse::<u64>().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_has_its_length_and_what_is_none_limits_nothing() {
        let table = [
            ("2H", Some(Duration::from_secs(7200))),
            ("2M", Some(Duration::from_secs(120))),
            ("2S", Some(Duration::from_secs(2))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("2u", Some(Duration::from_micros(2))),
            ("0n", Some(Duration::ZERO)),
            ("123456789S", None),
            ("S", None),
            ("2", None),
            ("-2S", None),
            ("2.5S", None),
            ("2 S", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(grpc_timeout(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn the_least_counts_and_only_what_was_asked_for() {
        let name = HeaderName::from_static("x-limit-ms");
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("3S"));
        headers.insert(&name, HeaderValue::from_static("2000"));
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(own_limit(&headers, true, Some(&name)), seconds(2));
        assert_eq!(own_limit(&headers, true, None), seconds(3));
        assert_eq!(own_limit(&headers, false, None), None);
        headers.insert(&name, HeaderValue::from_static("soon"));
        assert_eq!(own_limit(&headers, false, Some(&name)), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_limit_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let limit = grpc_timeout(&bytes);
            let most = Duration::from_secs(99_999_999 * 3600);
            prop_assert!(limit.is_none_or(|limit| limit <= most));
        }
    }
}
