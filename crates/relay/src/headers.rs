//! What a proxy takes out of a message, puts in, and leaves alone.
//!
//! Source: spec/queue-proxy.md §3.7, §3.9; spec/activator.md §7; RFC 9110 §7.6.

use bytes::Bytes;
use http::Version;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use penstock_types::header;

/// Most different names in a head. A [`HeaderMap`] has room for 24,576 and panics beyond, so that
/// there would be none for those that are added here.
pub(crate) const MOST_NAMES: usize = 16 * 1024;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The host that a request is for: the target's authority where it has one (HTTP/2, absolute
/// form), else the Host header.
pub fn host(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => head.headers.get(HOST).cloned(),
    }
}

/// Whether a request lacks the Host that HTTP/1.1 demands, has several, or one that is none
/// (RFC 9112 §3.2); or an authority that is no host, with a user before it for one (RFC 9110
/// §4.2.4, RFC 9113 §8.3.1).
pub fn has_bad_host(head: &Parts) -> bool {
    let authority = head
        .uri
        .authority()
        .map_or("", |authority| authority.as_str());
    if !authority.as_bytes().iter().all(is_of_a_host) {
        return true;
    }
    let mut lines = head.headers.get_all(HOST).iter();
    match lines.next() {
        None => head.version == Version::HTTP_11,
        Some(first) => lines.next().is_some() || !first.as_bytes().iter().all(is_of_a_host),
    }
}

/// RFC 3986 §3.2.2, §3.2.3: what a host and a port may be written with.
fn is_of_a_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte)
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
    // One look at each name is cheaper than asking for all of these, and mostly enough.
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
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
            if name != TE && name != TRAILER {
                headers.remove(name);
            }
        }
    }
    let trailers_wanted = headers.contains_key(TE) && lists(headers, &TE, "trailers");
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers_wanted {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What frames a message, routes it or speaks for its caller is never a trailer
/// (RFC 9110 §6.5.1).
const NO_TRAILERS: [HeaderName; 9] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether there may be a trailer of that name.
pub(crate) fn may_trail(name: &HeaderName) -> bool {
    !NO_TRAILERS.contains(name)
}

/// Takes out what may not be a trailer.
pub(crate) fn remove_no_trailers(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    for name in NO_TRAILERS {
        trailers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
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
pub(crate) fn append_forwarded_for(headers: &mut HeaderMap, caller: &HeaderValue) {
    let mut earlier = headers.get_all(&X_FORWARDED_FOR).iter().peekable();
    if earlier.peek().is_none() {
        headers.insert(X_FORWARDED_FOR, caller.clone());
        return;
    }
    let mut value = Vec::new();
    for line in earlier.filter(|line| line.to_str().is_ok()) {
        value.extend_from_slice(line.as_bytes());
        value.extend_from_slice(b", ");
    }
    value.extend_from_slice(caller.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
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
        append_forwarded_for(&mut map, &HeaderValue::from_static("127.0.0.1"));
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
