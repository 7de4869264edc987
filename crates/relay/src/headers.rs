//! What a proxy takes out of a message, puts in, and leaves alone.
//!
//! Source: spec/queue-proxy.md §3.7, §3.9; spec/activator.md §7; RFC 9110 §7.6.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::Version;
use http::header::{
    CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use penstock_types::header;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The host that a request is for: the target's authority where it has one (HTTP/2, absolute
/// form), else the Host header.
pub fn host(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => head.headers.get(HOST).cloned(),
    }
}

/// Whether a request lacks the Host that HTTP/1.1 demands, or has several (RFC 9112 §3.2).
pub fn has_bad_host(head: &Parts) -> bool {
    let mut lines = head.headers.get_all(HOST).iter();
    let first = lines.next();
    lines.next().is_some() || (head.version == Version::HTTP_11 && first.is_none())
}

/// Whether a comma list in any line of `name` has `token`, ignoring case.
pub fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The protocol that a message wants to change to. `h2c` is not one: it is declined.
pub fn upgrade_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE)?;
    let declined = wanted.as_bytes().eq_ignore_ascii_case(b"h2c");
    (!declined && lists(headers, &CONNECTION, "upgrade")).then(|| wanted.clone())
}

/// Takes out what concerns one connection only: `Connection` and all that it names.
///
/// `Trailer` stays, since trailers are forwarded; so does `TE: trailers`.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|item| item.trim().parse().ok())
            .collect();
        for name in named {
            // RFC 9110 §7.6.1: a sender must not name what is meant for the whole way.
            if name != TE && name != http::header::TRAILER {
                headers.remove(name);
            }
        }
        headers.remove(CONNECTION);
    }
    let trailers_wanted = headers.contains_key(TE) && lists(headers, &TE, "trailers");
    for name in [
        PROXY_CONNECTION,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if trailers_wanted {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Makes one line of the lines that HTTP/2 may have split `Cookie` into (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Takes out the headers that only route a request to its revision.
pub fn remove_routing(headers: &mut HeaderMap) {
    headers.remove(header::SERVING_REVISION);
    headers.remove(header::SERVING_NAMESPACE);
}

/// Appends the caller to `X-Forwarded-For`, all earlier lines joined into one.
pub fn append_forwarded_for(headers: &mut HeaderMap, caller: IpAddr) {
    let mut value = String::new();
    for line in headers.get_all(&X_FORWARDED_FOR) {
        if let Ok(line) = line.to_str() {
            value.push_str(line);
            value.push_str(", ");
        }
    }
    // Writing to a String does not fail.
    let _ = write!(value, "{}", caller.to_canonical());
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// Says again that the connection is to change to `protocol`.
pub fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    /// Sorted, since removing from a map changes its order.
    fn lines(map: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = map
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn case_101_hop_by_hop_headers_go_and_others_stay() {
        let mut map = headers(&[
            ("connection", "close"),
            ("proxy-connection", "x"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "x"),
            ("proxy-authorization", "x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("x-mine", "1"),
            ("k-proxy-request", "activator"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(
            lines(&map),
            [("k-proxy-request", "activator"), ("x-mine", "1")]
        );
    }

    #[test]
    fn case_102_named_headers_go_and_te_keeps_trailers_only() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Foo"),
            ("x-foo", "1"),
            ("te", "trailers, deflate"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(lines(&map), [("te", "trailers")]);
    }

    #[test]
    fn case_103_the_caller_is_appended_to_all_earlier_lines() {
        let mut map = headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "::1")]);
        append_forwarded_for(&mut map, [127, 0, 0, 1].into());
        assert_eq!(
            lines(&map),
            [("x-forwarded-for", "1.2.3.4, ::1, 127.0.0.1")]
        );
    }

    #[test]
    fn cookies_that_http2_has_split_are_one_line_again() {
        for (split, want) in [
            (
                &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")][..],
                "a=1; b=2; c=3",
            ),
            (&[("cookie", "a=1; b=2")], "a=1; b=2"),
        ] {
            let mut map = headers(split);
            join_cookies(&mut map);
            assert_eq!(lines(&map), [("cookie", want)]);
        }
    }

    #[test]
    fn an_upgrade_needs_both_headers_and_h2c_is_declined() {
        let table = [
            ("websocket", "keep-alive, Upgrade", Some("websocket")),
            ("websocket", "keep-alive", None),
            ("h2c", "Upgrade, HTTP2-Settings", None),
        ];
        for (upgrade, connection, want) in table {
            let map = headers(&[("upgrade", upgrade), ("connection", connection)]);
            let got = upgrade_type(&map);
            assert_eq!(got.as_ref().and_then(|v| v.to_str().ok()), want);
        }
    }
}
