//! The `Forwarded` header (RFC 7239), made from the `X-Forwarded-*` ones.
//!
//! Source: spec/queue-proxy.md §3.4. Only the first line of each header counts.

use http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Longest `X-Forwarded-For` that one is made from, in bytes: far more than any chain of proxies
/// needs. Of commas alone, the result is six times as long.
const MOST: usize = 8 * 1024;

/// Adds `Forwarded`, unless it is there or there is nothing to make it from.
pub(crate) fn add(headers: &mut HeaderMap) {
    if headers
        .get(FORWARDED)
        .is_some_and(|value| !value.is_empty())
    {
        return;
    }
    let first = |name| {
        headers
            .get(HeaderName::from_static(name))
            .map_or("", |value| value.to_str().unwrap_or(""))
    };
    let value = forwarded(
        first("x-forwarded-for"),
        first("x-forwarded-host"),
        first("x-forwarded-proto"),
    );
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(FORWARDED, value);
    }
}

fn forwarded(nodes: &str, host: &str, proto: &str) -> Option<String> {
    if (nodes.is_empty() && host.is_empty() && proto.is_empty()) || nodes.len() > MOST {
        return None;
    }
    let mut nodes = nodes.split(',').map(str::trim).map(|node| {
        if node.contains(':') {
            format!("for=\"[{node}]\"")
        } else {
            format!("for={node}")
        }
    });
    let first = nodes.next().filter(|node| node != "for=");
    let mut rest: Vec<String> = nodes.collect();
    // A final comma opens no further node.
    if rest.last().is_some_and(|last| last == "for=") {
        rest.pop();
    }
    let had_nodes = first.is_some() || !rest.is_empty();
    let first = first.or_else(|| had_nodes.then(|| "for=".to_owned()));
    let named = |name: &str, value: &str| (!value.is_empty()).then(|| format!("{name}={value}"));
    let head: Vec<String> = [first, named("host", host), named("proto", proto)]
        .into_iter()
        .flatten()
        .collect();
    rest.insert(0, head.join(";"));
    Some(rest.join(", "))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_they_say_it_is_one_line_of_a_bounded_length(nodes in "[ -~]{0,200}", host in "[ -~]{0,20}", proto in "[ -~]{0,20}") {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-forwarded-for", &nodes), ("x-forwarded-host", &host), ("x-forwarded-proto", &proto)] {
                headers.insert(name, HeaderValue::try_from(value).unwrap());
            }
            add(&mut headers);
            let line = headers.get(FORWARDED);
            prop_assert_eq!(line.is_none(), nodes.is_empty() && host.is_empty() && proto.is_empty());
            let longest = 12 * (nodes.len() + 1) + host.len() + proto.len() + 12;
            prop_assert!(line.is_none_or(|line| line.len() <= longest));
        }

        #[test]
        fn every_address_of_a_chain_comes_back_in_its_place(chain in prop::collection::vec(any::<IpAddr>(), 1..6), host in "[a-z.]{0,10}") {
            let nodes: Vec<String> = chain.iter().map(ToString::to_string).collect();
            let made = forwarded(&nodes.join(", "), &host, "https").unwrap();
            // RFC 7239 §4: elements between commas, pairs between semicolons.
            let mut elements = made.split(", ").map(|element| element.split(';').collect::<Vec<_>>());
            let first = elements.next().unwrap();
            let named: &[&str] = if host.is_empty() { &["for", "proto"] } else { &["for", "host", "proto"] };
            let names: Vec<_> = first.iter().map(|pair| pair.split('=').next().unwrap()).collect();
            prop_assert_eq!(&names[..], named);
            let all = std::iter::once(first[0]).chain(elements.map(|element| element[0]));
            let node = |pair: &str| pair.trim_start_matches("for=").trim_matches(['"', '[', ']']).parse().unwrap();
            prop_assert_eq!(all.map(node).collect::<Vec<IpAddr>>(), chain);
        }
    }

    #[test]
    fn none_is_made_from_more_than_any_chain_of_proxies_needs() {
        assert!(forwarded(&",".repeat(MOST), "", "").is_some());
        assert_eq!(forwarded(&",".repeat(MOST + 1), "h", "p"), None);
    }

    #[test]
    fn cases_26_to_34_the_header_that_is_made() {
        let both = "127.0.0.1, ::1";
        let table = [
            (
                both,
                "h",
                "p",
                Some("for=127.0.0.1;host=h;proto=p, for=\"[::1]\""),
            ),
            ("127.0.0.1", "h", "p", Some("for=127.0.0.1;host=h;proto=p")),
            (both, "", "", Some("for=127.0.0.1, for=\"[::1]\"")),
            (both, "", "p", Some("for=127.0.0.1;proto=p, for=\"[::1]\"")),
            (both, "h", "", Some("for=127.0.0.1;host=h, for=\"[::1]\"")),
            ("", "h", "", Some("host=h")),
            ("", "", "p", Some("proto=p")),
            ("", "h", "p", Some("host=h;proto=p")),
            (",,,", "", "", Some("for=, for=, for=")),
            ("", "", "", None),
        ];
        for (nodes, host, proto, want) in table {
            let got = forwarded(nodes, host, proto);
            assert_eq!(got.as_deref(), want, "{nodes:?} {host:?} {proto:?}");
        }
    }

    #[test]
    fn cases_33_and_35_one_that_is_there_stays_and_an_empty_one_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED, HeaderValue::from_static("for=a, for=b"));
        headers.append("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        headers.append("x-forwarded-for", HeaderValue::from_static("::1"));
        add(&mut headers);
        assert_eq!(headers[FORWARDED], "for=a, for=b");
        headers.insert(FORWARDED, HeaderValue::from_static(""));
        add(&mut headers);
        assert_eq!(headers[FORWARDED], "for=1.2.3.4");
    }
}
