use http::{StatusCode, Version};
use penstock_runtime::metrics::Gather;

use super::filed::Tag;
use super::*;

const REQUEST: Labels<'static> = Labels {
    method: Some("GET"),
    version: Version::HTTP_11,
    status: StatusCode::OK,
    failed: None,
    host: "shop.example",
    tag: Tag::Disabled,
    container: Some(SocketAddr::V4(std::net::SocketAddrV4::new(
        std::net::Ipv4Addr::LOCALHOST,
        8080,
    ))),
    probe: false,
    broken: false,
    tls: false,
};

/// A second inside, of which half a second more in line; 7 bytes to, 20,000 from the container.
const SECOND: Seen = Seen {
    whole: Duration::from_millis(1500),
    inside: Duration::from_millis(1000),
    request_bytes: 7,
    response_bytes: 20_000,
};

struct World {
    metrics: Metrics,
    gather: Gather,
}

/// What one scrape showed.
struct Scrape(String);

fn world(names: Names, constant: &[(&str, &str)]) -> World {
    let registry = Registry::new();
    let metrics = Metrics::register_as(&registry, names, constant).unwrap();
    let gather = Gather::default();
    gather.add(registry);
    World { metrics, gather }
}

impl World {
    fn scrape(&self) -> Scrape {
        Scrape(self.gather.text())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.scrape().lines(name)
    }

    fn value(&self, name: &str, parts: &[&str]) -> Option<f64> {
        self.scrape().value(name, parts)
    }
}

impl Scrape {
    /// The lines that begin with `name`, without it.
    fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::to_owned).collect()
    }

    /// The value of the one series whose line has all of these in it.
    fn value(&self, name: &str, parts: &[&str]) -> Option<f64> {
        let mut lines = self.lines(name);
        lines.retain(|line| parts.iter().all(|part| line.contains(part)));
        assert!(lines.len() < 2, "{lines:?}");
        lines.first()?.rsplit(' ').next()?.parse().ok()
    }
}

const RUN: &str = "kn_serving_invocation_duration_seconds";

#[test]
fn cases_46_and_47_a_run_is_one_sample_also_if_it_breaks_off() {
    let broken = Labels {
        broken: true,
        ..REQUEST
    };
    for (labels, status) in [(REQUEST, "\"200\""), (broken, "\"500\"")] {
        let world = world(Names::Current, &[]);
        world.metrics.tell_depth(1);
        world.metrics.count(&labels, SECOND);
        assert_eq!(world.value("kn_serving_queue_depth{", &[]), Some(1.0));
        let of = |name: &str, part| world.value(&format!("{RUN}_{name}{{"), &[status, part]);
        assert_eq!(of("count", ""), Some(1.0));
        assert_eq!(of("sum", ""), Some(1.0));
        assert_eq!(of("bucket", "le=\"0.75\""), Some(0.0));
        assert_eq!(of("bucket", "le=\"1\""), Some(1.0));
    }
}

#[test]
fn waiting_counts_at_the_door_and_not_in_the_container() {
    let world = world(Names::Current, &[]);
    world.metrics.count(&REQUEST, SECOND);
    let server = "http_server_request_duration_seconds_sum{";
    let client = "http_client_request_duration_seconds_sum{";
    assert_eq!(world.value(server, &[]), Some(1.5));
    assert_eq!(world.value(client, &[]), Some(1.0));
}

#[test]
fn each_kind_of_request_is_told_where_it_belongs() {
    let probe = Labels {
        probe: true,
        ..REQUEST
    };
    let broken = Labels {
        broken: true,
        ..REQUEST
    };
    let refused = Labels {
        container: None,
        status: StatusCode::SERVICE_UNAVAILABLE,
        failed: Some("connection_limit_reached"),
        ..REQUEST
    };
    let lost = Labels {
        status: StatusCode::BAD_GATEWAY,
        failed: Some("connection_refused"),
        ..REQUEST
    };
    let table = [
        // what, at the door, run, exchange with the container
        ("a request", REQUEST, Some("\"200\""), true, Some("\"200\"")),
        ("a probe", probe, None, false, Some("\"200\"")),
        (
            "an answer that broke off",
            broken,
            None,
            true,
            Some("\"200\""),
        ),
        (
            "a refusal at the line",
            refused,
            Some("\"503\""),
            false,
            None,
        ),
        (
            "a failure",
            lost,
            Some("\"502\""),
            true,
            Some("error_type=\"connection_refused\""),
        ),
    ];
    for (what, labels, server, run, client) in table {
        let world = world(Names::Current, &[]);
        world.metrics.count(&labels, SECOND);
        for (name, label) in [("server", server), ("client", client)] {
            let lines = world.lines(&format!("http_{name}_request_duration_seconds_count{{"));
            assert_eq!(lines.len(), usize::from(label.is_some()), "{what}");
            for line in lines {
                assert!(line.contains(label.unwrap()), "{what}: {line}");
            }
        }
        let runs = world.lines(&format!("{RUN}_count{{"));
        assert_eq!(runs.len(), usize::from(run), "{what}");
    }
}

#[test]
fn a_flood_of_hosts_leaves_the_containers_series_as_they_are() {
    let world = world(Names::Current, &[]);
    let hosts: Vec<String> = (0..2 * MAX_LABEL_SETS).map(|n| format!("h{n}")).collect();
    for host in &hosts {
        world.metrics.count(&Labels { host, ..REQUEST }, SECOND);
    }
    let server = "http_server_request_duration_seconds_count{";
    let scrape = world.scrape();
    assert_eq!(scrape.lines(server).len(), MAX_LABEL_SETS);
    let rest = scrape.value(server, &["otel_metric_overflow=\"true\""]);
    assert_eq!(rest, Some(2001.0));
    let client = scrape.value("http_client_request_duration_seconds_count{", &["\"GET\""]);
    assert_eq!(client, Some(4000.0));
    assert_eq!(scrape.value(&format!("{RUN}_count{{"), &[]), Some(4000.0));
}

#[test]
fn a_flood_of_tags_is_one_series_on_both_sides() {
    let world = world(Names::Current, &[]);
    for n in 0..2 * MAX_LABEL_SETS {
        let tag = format!("t{n}");
        let tag = Tag::Named(tag.as_str());
        world.metrics.count(&Labels { tag, ..REQUEST }, SECOND);
    }
    let scrape = world.scrape();
    for side in ["server", "client"] {
        let name = format!("http_{side}_request_duration_seconds_count{{");
        assert_eq!(scrape.lines(&name).len(), MAX_LABEL_SETS);
        let rest = scrape.value(&name, &["otel_metric_overflow=\"true\""]);
        assert_eq!(rest, Some(2001.0), "{side}");
    }
}

#[test]
fn a_container_that_is_gone_leaves_only_what_does_not_name_it() {
    let world = world(Names::Current, &[]);
    let other: SocketAddr = ([127, 0, 0, 1], 9090).into();
    let second = Labels {
        container: Some(other),
        ..REQUEST
    };
    for labels in [REQUEST, second, second] {
        world.metrics.count(&labels, SECOND);
    }
    world.metrics.forget(other);
    let client = "http_client_request_duration_seconds_count{";
    assert_eq!(world.lines(client).len(), 1);
    assert_eq!(world.value(client, &["\"8080\""]), Some(1.0));
    for name in [RUN, "http_server_request_duration_seconds"] {
        assert_eq!(world.value(&format!("{name}_count{{"), &[]), Some(3.0));
    }
    // And what comes later is added to it.
    world.metrics.count(&second, SECOND);
    assert_eq!(world.value(&format!("{RUN}_count{{"), &[]), Some(4.0));
    assert_eq!(world.lines(client).len(), 2);
}

#[test]
fn classic_names_have_their_labels_and_whole_milliseconds() {
    let constant = [
        ("namespace_name", "default"),
        ("service_name", ""),
        ("configuration_name", "c"),
        ("revision_name", "r"),
        ("pod_name", "p"),
    ];
    let world = world(Names::Classic, &constant);
    world.metrics.tell_depth(3);
    let seen = Seen {
        whole: Duration::from_micros(100_900),
        inside: Duration::from_micros(5_999),
        ..SECOND
    };
    let tagged = Labels {
        tag: Tag::Named("blue"),
        host: "other.example",
        ..REQUEST
    };
    let refused = Labels {
        container: None,
        status: StatusCode::SERVICE_UNAVAILABLE,
        ..REQUEST
    };
    let probe = Labels {
        probe: true,
        ..REQUEST
    };
    for labels in [REQUEST, tagged, refused, probe] {
        world.metrics.count(&labels, seen);
    }
    let set = |own: &str, tag: &str| {
        format!(
            "{{configuration_name=\"c\",container_name=\"queue-proxy\",\
             namespace_name=\"default\",pod_name=\"p\",{own}revision_name=\"r\",{tag}\
             service_name=\"unknown\"}}"
        )
    };
    let codes = |code: u16| {
        format!(
            "response_code=\"{code}\",response_code_class=\"{}xx\",",
            code / 100
        )
    };
    let tag = |tag: &str| format!("route_tag=\"{tag}\",");
    assert_eq!(
        world.lines("revision_request_count"),
        [
            set(&codes(200), &tag("DISABLED")) + " 1",
            set(&codes(200), &tag("blue")) + " 1",
            set(&codes(503), &tag("DISABLED")) + " 1",
        ]
    );
    assert_eq!(
        world.lines("revision_app_request_count"),
        [set(&codes(200), "") + " 2"]
    );
    assert_eq!(world.lines("revision_queue_depth"), [set("", "") + " 3"]);
    let sums = world.lines("revision_request_latencies_sum");
    assert_eq!(sums.len(), 3);
    assert!(sums.iter().all(|line| line.ends_with(" 100")), "{sums:?}");
    let inside = |le: &str| {
        let le = format!("le=\"{le}\"");
        world.value("revision_app_request_latencies_bucket", &[&le])
    };
    assert_eq!((inside("5"), inside("10")), (Some(2.0), Some(2.0)));
    assert_eq!(inside("100000"), Some(2.0));
    let text = world.gather.text();
    assert!(text.contains("# TYPE revision_request_count counter\n"));
    assert!(!text.contains("otel_scope"));
    assert_eq!(text.matches("# TYPE").count(), 5);
}
