use std::thread;

use super::key::version_name;
use super::*;
use crate::metrics::Gather;

const SCOPE: Scope<'_> = Scope {
    name: "s",
    version: "1",
    schema_url: "",
};

fn series(side: Side, constant: &[(&str, &str)]) -> (HttpSeries, Gather) {
    let registry = Registry::new();
    let series = HttpSeries::register(&registry, SCOPE, side, constant).unwrap();
    let gather = Gather::default();
    gather.add(registry);
    (series, gather)
}

fn labels<'a>(host: &'a str, further: &'a [(&'static str, &'a str)]) -> HttpLabels<'a> {
    HttpLabels {
        method: &Method::GET,
        outcome: Outcome::Status(StatusCode::OK),
        version: Version::HTTP_11,
        scheme: Scheme::Http,
        peer: Peer::Host(host),
        further,
    }
}

const SEEN: Exchange = Exchange {
    duration: Duration::from_millis(30),
    request_bytes: 7,
    response_bytes: 20_000,
};

/// The lines that end a family's series: `_count` with its labels.
fn counts(gather: &Gather, name: &str) -> Vec<String> {
    let start = format!("{name}_count{{");
    let text = gather.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix(&start));
    lines.map(str::to_owned).collect()
}

const DURATION: &str = "http_server_request_duration_seconds";

#[test]
fn the_server_side_has_the_names_labels_and_buckets_of_the_contract() {
    let (series, gather) = series(Side::Server, &[("k8s_namespace_name", "default")]);
    let further = [("kn_route_tag", "kn:disabled")];
    series.observe(labels("hello.default.example.com:8080", &further), SEEN);
    let set = r#"http_request_method="GET",http_response_status_code="200",k8s_namespace_name="default",kn_route_tag="kn:disabled",network_protocol_name="http",network_protocol_version="1.1",otel_scope_name="s",otel_scope_schema_url="",otel_scope_version="1",server_address="hello.default.example.com",server_port="8080",url_scheme="http""#;
    let duration_bounds = [
        "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5",
        "7.5", "10", "+Inf",
    ];
    let size_bounds = [
        "0", "5", "10", "25", "50", "75", "100", "250", "500", "750", "1000", "2500", "5000",
        "7500", "10000", "+Inf",
    ];
    let families: [(&str, &str, &[&str], usize, &str); 3] = [
        (
            DURATION,
            "Duration of HTTP server requests.",
            &duration_bounds,
            3,
            "0.03",
        ),
        (
            "http_server_request_body_size_bytes",
            "Size of HTTP server request bodies.",
            &size_bounds,
            2,
            "7",
        ),
        (
            "http_server_response_body_size_bytes",
            "Size of HTTP server response bodies.",
            &size_bounds,
            15,
            "20000",
        ),
    ];
    let text = gather.text();
    for (name, help, bounds, first_full, sum) in families {
        let mut want = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (place, bound) in bounds.iter().enumerate() {
            let count = usize::from(place >= first_full);
            want += &format!("{name}_bucket{{{set},le=\"{bound}\"}} {count}\n");
        }
        want += &format!("{name}_sum{{{set}}} {sum}\n{name}_count{{{set}}} 1\n");
        assert!(text.contains(&want), "{want}\nis not in\n{text}");
    }
    assert_eq!(text.matches("# TYPE").count(), 3);
}

#[test]
fn the_client_side_has_no_response_size_and_an_error_in_place_of_a_status() {
    let (series, gather) = series(Side::Client, &[]);
    let failed = HttpLabels {
        outcome: Outcome::Error("connect"),
        version: Version::HTTP_2,
        peer: Peer::Addr(SocketAddr::from(([127, 0, 0, 1], 8080))),
        ..labels("", &[])
    };
    series.observe(failed, SEEN);
    assert_eq!(
        counts(&gather, "http_client_request_duration_seconds"),
        [
            r#"error_type="connect",http_request_method="GET",network_protocol_name="http",network_protocol_version="2.0",otel_scope_name="s",otel_scope_schema_url="",otel_scope_version="1",server_address="127.0.0.1",server_port="8080",url_scheme="http"} 1"#
        ]
    );
    assert_eq!(
        counts(&gather, "http_client_request_body_size_bytes").len(),
        1
    );
    assert_eq!(gather.text().matches("# TYPE").count(), 2);
}

#[test]
fn hosts_become_addresses_and_ports() {
    let table = [
        // host, scheme, address, port
        ("a.b", Scheme::Http, "a.b", None),
        ("a.b:80", Scheme::Http, "a.b", None),
        ("a.b:443", Scheme::Http, "a.b", Some("443")),
        ("a.b:443", Scheme::Https, "a.b", None),
        ("a.b:80", Scheme::Https, "a.b", Some("80")),
        ("a.b:", Scheme::Http, "a.b", None),
        ("a.b:x", Scheme::Http, "a.b", None),
        ("a.b:99999", Scheme::Http, "a.b", None),
        ("10.0.0.1:81", Scheme::Http, "10.0.0.1", Some("81")),
        ("[::1]:81", Scheme::Http, "::1", Some("81")),
        ("[::1]", Scheme::Http, "::1", None),
        ("fe80::1:2", Scheme::Http, "fe80::1:2", None),
        ("[broken:81", Scheme::Http, "[broken", Some("81")),
        ("", Scheme::Http, "", None),
    ];
    for (host, scheme, address, port) in table {
        let found = address_labels(Peer::Host(host), scheme);
        let mut want = vec![("server_address", address.to_owned())];
        want.extend(port.map(|port| ("server_port", port.to_owned())));
        assert_eq!(found, want, "{host:?}");
    }
}

#[test]
fn methods_and_versions_come_from_fixed_sets() {
    let table = [
        ("GET", "GET"),
        ("PATCH", "PATCH"),
        ("TRACE", "TRACE"),
        ("get", "_OTHER"),
        ("PROPFIND", "_OTHER"),
    ];
    for (sent, want) in table {
        let sent = Method::from_bytes(sent.as_bytes()).unwrap();
        assert_eq!(known_method(&sent), want);
    }
    assert_eq!(version_name(Version::HTTP_10), "1.0");
    assert_eq!(version_name(Version::HTTP_11), "1.1");
    assert_eq!(version_name(Version::HTTP_2), "2.0");
}

#[test]
fn what_is_the_same_address_is_one_series() {
    let (series, gather) = series(Side::Server, &[]);
    for host in ["10.0.0.1", "10.0.0.1:80", "[10.0.0.1]:80"] {
        series.observe(labels(host, &[]), SEEN);
    }
    let addr = Peer::Addr(SocketAddr::from(([10, 0, 0, 1], 80)));
    let by_number = HttpLabels {
        peer: addr,
        ..labels("", &[])
    };
    series.observe(by_number, SEEN);
    let counts = counts(&gather, DURATION);
    assert_eq!(counts.len(), 1);
    assert!(counts[0].ends_with("} 4"), "{counts:?}");
}

#[test]
fn each_part_of_a_label_set_makes_a_series() {
    let (series, gather) = series(Side::Server, &[]);
    let tag = [("kn_route_tag", "a")];
    let other_tag = [("kn_route_tag", "b")];
    let base = labels("a", &tag);
    let post = Method::POST;
    let sets = [
        base,
        HttpLabels {
            method: &post,
            ..base
        },
        HttpLabels {
            outcome: Outcome::Status(StatusCode::NOT_FOUND),
            ..base
        },
        HttpLabels {
            outcome: Outcome::Error("200"),
            ..base
        },
        HttpLabels {
            version: Version::HTTP_2,
            ..base
        },
        HttpLabels {
            scheme: Scheme::Https,
            ..base
        },
        labels("b", &tag),
        labels("a:1", &tag),
        labels("a", &other_tag),
        labels("a", &[]),
    ];
    for set in sets.iter().chain(&sets) {
        series.observe(*set, SEEN);
    }
    let counts = counts(&gather, DURATION);
    assert_eq!(counts.len(), sets.len());
    assert!(
        counts.iter().all(|line| line.ends_with("} 2")),
        "{counts:?}"
    );
}

#[test]
fn beyond_the_limit_requests_are_counted_in_one_overflow_series() {
    let (series, gather) = series(Side::Server, &[("k8s_namespace_name", "default")]);
    for n in 0..MAX_LABEL_SETS + 10 {
        series.observe(labels(&format!("host-{n}"), &[]), SEEN);
    }
    // One that was seen before the limit was reached keeps its series.
    series.observe(labels("host-0", &[]), SEEN);
    let counts = counts(&gather, DURATION);
    assert_eq!(counts.len(), MAX_LABEL_SETS);
    let overflow: Vec<&String> = counts
        .iter()
        .filter(|line| line.contains("overflow"))
        .collect();
    assert_eq!(
        overflow,
        [
            r#"k8s_namespace_name="default",otel_metric_overflow="true",otel_scope_name="s",otel_scope_schema_url="",otel_scope_version="1"} 11"#
        ]
    );
    let first = |line: &&String| line.contains(r#""host-0""#);
    assert!(counts.iter().find(first).unwrap().ends_with("} 2"));
}

#[test]
fn a_value_longer_than_any_host_name_is_overflow() {
    let (series, gather) = series(Side::Server, &[]);
    let long = "h".repeat(MAX_LABEL_VALUE + 1);
    series.observe(labels(&long, &[]), SEEN);
    series.observe(labels("a", &[("kn_route_tag", &long)]), SEEN);
    series.observe(labels(&long[1..], &[]), SEEN);
    let counts = counts(&gather, DURATION);
    assert_eq!(counts.len(), 2);
    assert!(
        counts
            .iter()
            .any(|line| line.contains("overflow") && line.ends_with("} 2"))
    );
    assert!(!gather.text().contains(&long));
}

#[test]
fn threads_that_meet_a_label_set_at_once_share_its_series() {
    let (series, gather) = series(Side::Server, &[]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    series.observe(labels(&format!("host-{}", n % 50), &[]), SEEN);
                }
            });
        }
    });
    let counts = counts(&gather, DURATION);
    assert_eq!(counts.len(), 50);
    assert!(
        counts.iter().all(|line| line.ends_with("} 40")),
        "{counts:?}"
    );
}

#[test]
fn a_registry_takes_each_side_once() {
    let registry = Registry::new();
    HttpSeries::register(&registry, HTTP_SCOPE, Side::Server, &[]).unwrap();
    HttpSeries::register(&registry, HTTP_SCOPE, Side::Client, &[]).unwrap();
    assert!(HttpSeries::register(&registry, HTTP_SCOPE, Side::Server, &[]).is_err());
    let bad = HttpSeries::register(&Registry::new(), HTTP_SCOPE, Side::Server, &[("a b", "c")]);
    assert!(bad.is_err());
}

#[test]
fn forgotten_series_make_room_and_begin_anew() {
    let (series, gather) = series(Side::Client, &[]);
    let name = "http_client_request_duration_seconds";
    let of = |revision| [("kn_revision_name", revision)];
    let (old, new) = (of("old"), of("new"));
    let at = |port, further| HttpLabels {
        peer: Peer::Addr(([10, 0, 0, 1], port).into()),
        ..labels("", further)
    };
    for port in 1..MAX_LABEL_SETS as u16 {
        let further = if port % 2 == 0 { &old } else { &new };
        series.observe(at(port, further), SEEN);
    }
    series.observe(at(5000, &new), SEEN);
    assert!(
        counts(&gather, name)
            .iter()
            .any(|set| set.contains("overflow"))
    );

    // One by its address, also where the port is the usual one; the others by a label.
    series.forget(|addr, _| addr == Some(([10, 0, 0, 1], 80).into()));
    series.forget(|_, further| further.iter().any(|(_, value)| &**value == "old"));
    series.forget(|_, _| false);
    assert_eq!(
        counts(&gather, name).len(),
        1000 + 1,
        "the odd ones and the overflow"
    );
    series.observe(at(80, &old), SEEN);
    series.observe(at(80, &old), SEEN);
    let sets = counts(&gather, name);
    let again: Vec<_> = sets.iter().filter(|set| set.contains("\"old\"")).collect();
    assert_eq!(again.len(), 1);
    assert!(again[0].ends_with(" 2"), "{again:?}");
}
