use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::object::DeploymentObject;

/// A Deployment with these annotations, and these containers as JSON.
fn workload(annotations: &[(&str, &str)], containers: &str) -> Workload {
    let annotations: Annotations = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let annotations = serde_json::to_string(&annotations).unwrap();
    let text = format!(
        r#"{{"metadata":{{"namespace":"shop","name":"cart","annotations":{annotations}}},
            "spec":{{"selector":{{"matchLabels":{{"app":"cart"}}}},
                     "template":{{"spec":{{"containers":{containers}}}}}}}}}"#
    );
    let object: DeploymentObject = serde_json::from_str(&text).unwrap();
    object.seen().unwrap()
}

const ONE: &str = r#"[{"name":"web","ports":[{"containerPort":8080}]}]"#;

#[test]
fn without_annotations_the_only_port_and_the_defaults_count() {
    let (settings, rejected) = read(&workload(&[], ONE));
    assert_eq!(rejected, []);
    assert_eq!((settings.port, settings.queue_proxy), (Some(8080), false));
    assert_eq!(settings.slots, Slots::Unlimited);
    assert_eq!(settings.timeouts, Timeouts::default());
    assert_eq!(settings.service, "cart");
    assert!(settings.hosts.is_empty());
}

#[test]
fn every_annotation_is_read() {
    let (settings, rejected) = read(&workload(
        &[
            (
                "penstock.dev/host",
                "cart.example.com, Www.Cart.example.com,cart.example.com",
            ),
            ("penstock.dev/port", "81"),
            ("penstock.dev/container-concurrency", "7"),
            ("penstock.dev/timeout", "1m30s"),
            ("penstock.dev/service", "cart-front"),
        ],
        ONE,
    ));
    assert_eq!(rejected, []);
    assert_eq!(settings.hosts, ["cart.example.com", "www.cart.example.com"]);
    assert_eq!(settings.port, Some(81));
    assert_eq!(settings.slots.as_concurrency(), 7);
    assert_eq!(settings.timeouts.whole, Duration::from_secs(90));
    assert_eq!(settings.service, "cart-front");
}

#[test]
fn every_annotation_wrong_in_turn_is_named_with_its_value_and_what_would_be_right() {
    let table = [
        ("penstock.dev/host", "cart.example.com:80", "without a port"),
        ("penstock.dev/host", "", "is not a host"),
        ("penstock.dev/host", "a..b", "is not a host"),
        ("penstock.dev/port", "0", "a port from 1 to 65535"),
        ("penstock.dev/port", "http", "a port from 1 to 65535"),
        ("penstock.dev/container-concurrency", "-1", "a count from 0"),
        ("penstock.dev/container-concurrency", "1001", "to 1000"),
        ("penstock.dev/timeout", "0", "a number of seconds"),
        ("penstock.dev/timeout", "25h", "up to 24h"),
        ("penstock.dev/timeout", "5 minutes", "such as 1m30s"),
        ("penstock.dev/service", "1cart", "a name for a Service"),
        ("penstock.dev/service", "cart.front", "a name for a Service"),
    ];
    for (key, value, right) in table {
        let (_, rejected) = read(&workload(&[(key, value)], ONE));
        let [one] = rejected.as_slice() else {
            panic!("{key}={value}: {rejected:?}");
        };
        assert_eq!(one.keys, [key]);
        assert!(one.reason.contains(value), "{}", one.reason);
        assert!(one.reason.contains(right), "{}", one.reason);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let all = [
        ("penstock.dev/host", "a b, c d"),
        ("penstock.dev/port", "x"),
        ("penstock.dev/container-concurrency", "x"),
        ("penstock.dev/timeout", "x"),
        ("penstock.dev/service", "X"),
    ];
    let (settings, rejected) = read(&workload(&all, ONE));
    assert_eq!(rejected.len(), 6, "two of them are hosts: {rejected:?}");
    assert_eq!(settings.port, Some(8080), "what is wrong counts as absent");
}

#[test]
fn a_port_is_chosen_by_name_or_asked_for() {
    let several = r#"[{"name":"a","ports":[{"name":"metrics","containerPort":9},{"name":"h2c","containerPort":7}]}]"#;
    let (settings, rejected) = read(&workload(&[], several));
    assert_eq!(rejected, []);
    assert_eq!((settings.port, settings.protocol), (Some(7), Protocol::H2c));
    let unnamed = r#"[{"name":"a","ports":[{"containerPort":9},{"containerPort":7}]}]"#;
    let (settings, rejected) = read(&workload(&[], unnamed));
    assert_eq!(settings.port, None);
    assert_eq!(
        rejected[0].reason,
        "is needed: there are several ports, 9, 7"
    );
    let (settings, rejected) = read(&workload(&[], r#"[{"name":"a"}]"#));
    assert_eq!((settings.port, rejected.len()), (None, 1));
}

#[test]
fn with_a_queue_proxy_its_ports_count() {
    let with = |name: &str| {
        format!(
            r#"[{{"name":"web","ports":[{{"name":"{name}","containerPort":8080}}]}},
                {{"name":"queue-proxy","ports":[{{"containerPort":8012}},{{"containerPort":9090}}]}}]"#
        )
    };
    let (settings, rejected) = read(&workload(&[], &with("http1")));
    assert_eq!(rejected, []);
    assert_eq!((settings.port, settings.queue_proxy), (Some(8012), true));
    let (settings, _) = read(&workload(&[], &with("h2c")));
    assert_eq!(
        (settings.port, settings.protocol),
        (Some(8013), Protocol::H2c)
    );
}

proptest! {
    #[test]
    fn a_service_can_be_made_for_every_name_of_a_workload(
        name in "[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?",
    ) {
        let service = service_of(&name);
        prop_assert!(is_service(&service), "{name}: {service}");
    }

    #[test]
    fn a_timeout_is_what_its_parts_add_up_to(h in 0..20_u64, m in 0..90_u64, s in 1..90_u64, ms in 0..2000_u64) {
        let whole = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
        let text = format!("{h}h{m}m{s}s{ms}ms");
        let (settings, rejected) = read(&workload(&[("penstock.dev/timeout", &text)], ONE));
        prop_assert!(rejected.is_empty(), "{:?}", rejected);
        prop_assert_eq!(settings.timeouts.whole, whole);
    }

    #[test]
    fn no_text_is_more_than_rejected(text in ".{0,80}") {
        for key in ["host", "port", "container-concurrency", "timeout", "service"] {
            let key = format!("penstock.dev/{key}");
            let (settings, rejected) = read(&workload(&[(&key, &text)], ONE));
            prop_assert!(rejected.iter().all(|one| one.keys == [key.as_str()]));
            prop_assert!(settings.timeouts.whole <= Duration::from_secs(24 * 3600) && settings.port.is_some());
        }
    }
}
