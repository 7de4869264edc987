use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The map as it is shipped.
const SHIPPED: &[(&str, &str)] = &[
    ("container-concurrency-target-percentage", "70"),
    ("container-concurrency-target-default", "100"),
    ("requests-per-second-target-default", "200"),
    ("target-burst-capacity", "211"),
    ("stable-window", "60s"),
    ("panic-window-percentage", "10.0"),
    ("panic-threshold-percentage", "200.0"),
    ("max-scale-up-rate", "1000.0"),
    ("max-scale-down-rate", "2.0"),
    ("enable-scale-to-zero", "true"),
    ("scale-to-zero-grace-period", "30s"),
    ("scale-to-zero-pod-retention-period", "0s"),
    ("scale-down-delay", "0s"),
    ("pod-autoscaler-class", "kpa.autoscaling.knative.dev"),
    ("activator-capacity", "100.0"),
    ("allow-zero-initial-scale", "false"),
    ("initial-scale", "1"),
    ("min-scale", "0"),
    ("max-scale", "0"),
    ("max-scale-limit", "0"),
];

#[test]
fn the_empty_map_the_shipped_one_and_the_example_are_the_defaults() {
    for entries in [
        &[],
        SHIPPED,
        &[("_example", "stable-window: 1s"), ("tick-interval", "x")],
    ] {
        assert_eq!(Config::from_map(&map(entries)), Ok(Config::default()));
    }
}

#[test]
fn values_are_accepted_up_to_their_limits() {
    let accepted: &[&[(&str, &str)]] = &[
        &[("max-scale-up-rate", "1.001")],
        &[("stable-window", "5m")],
        &[("scale-down-delay", "15m")],
        &[("target-burst-capacity", "-1")],
        &[("target-burst-capacity", "0")],
        &[("activator-capacity", "1")],
        &[("enable-scale-to-zero", "TRUE")],
        &[("initial-scale", "0"), ("allow-zero-initial-scale", "true")],
        &[("max-scale", "10"), ("max-scale-limit", "11")],
        &[("min-scale", "4")],
        &[("panic-threshold-percentage", "-5")],
        &[("max-scale-down-rate", "NaN")],
        &[("panic-window-percentage", "nan")],
        &[("scale-to-zero-grace-period", "1ns")],
    ];
    for entries in accepted {
        let read = Config::from_map(&map(entries));
        assert!(read.is_ok(), "{entries:?}: {read:?}");
    }
}

#[test]
fn values_are_rejected_beyond_their_limits() {
    let rejected: &[&[(&str, &str)]] = &[
        &[("container-concurrency-target-percentage", "142.4")],
        &[("container-concurrency-target-percentage", "-42")],
        &[
            ("container-concurrency-target-default", "0.001"),
            ("container-concurrency-target-percentage", "1"),
        ],
        &[("max-scale-up-rate", "1")],
        &[("max-scale-down-rate", "1")],
        &[("max-scale-down-rate", "-55")],
        &[("max-scale-up-rate", "not a float")],
        &[("stable-window", "1s")],
        &[("stable-window", "1h1s")],
        &[("stable-window", "61984ms")],
        &[("stable-window", "not a duration")],
        &[("scale-down-delay", "-1m23s")],
        &[("scale-down-delay", "61984ms")],
        &[("target-burst-capacity", "-11")],
        &[("activator-capacity", "0.95")],
        &[("panic-window-percentage", "0.1")],
        &[("panic-window-percentage", "110")],
        &[("scale-to-zero-grace-period", "0s")],
        &[("scale-to-zero-pod-retention-period", "-4m11s")],
        &[("initial-scale", "0")],
        &[("initial-scale", "-1")],
        &[("initial-scale", "text")],
        &[("max-scale", "10"), ("max-scale-limit", "9")],
        &[("max-scale", "0"), ("max-scale-limit", "11")],
        &[("max-scale-limit", "-9")],
        &[("min-scale", "4"), ("max-scale", "3")],
    ];
    for entries in rejected {
        let bad = Config::from_map(&map(entries)).expect_err(&format!("{entries:?}"));
        assert_eq!(bad.len(), 1, "{entries:?}: {bad:?}");
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        assert!(keys.contains(&bad[0].key), "{entries:?}: {bad:?}");
    }
}

#[test]
fn a_percentage_up_to_1_is_a_fraction() {
    for (text, want) in [("0.71", 0.71), ("55", 0.55), ("1", 1.0), ("100", 1.0)] {
        let config = Config::from_map(&map(&[("container-concurrency-target-percentage", text)]));
        assert_eq!(config.unwrap().target_fraction, want, "{text}");
    }
}

#[test]
fn zero_says_no_limit_and_minus_one_says_always() {
    let config = Config::from_map(&map(&[("max-scale", "0"), ("target-burst-capacity", "-1")]));
    let config = config.unwrap();
    assert_eq!(config.max_scale, None);
    assert_eq!(config.burst_capacity, BurstCapacity::Unlimited);
    assert_eq!(config.burst_capacity.as_contract(), -1.0);
}

#[test]
fn all_mistakes_are_named_at_once_with_what_would_be_right() {
    let bad = Config::from_map(&map(&[
        ("stable-window", "5s"),
        ("max-scale-up-rate", "ten"),
        ("enable-scale-to-zero", "yes"),
        ("min-scale", "4"),
        ("max-scale", "3"),
    ]))
    .unwrap_err();
    let mut lines: Vec<String> = bad.iter().map(ToString::to_string).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            r#"enable-scale-to-zero: "yes" is not true or false"#,
            r#"max-scale-up-rate: "ten" is not a number above 1"#,
            r#"min-scale: "4" is not at most max-scale (3)"#,
            r#"stable-window: "5s" is not a duration from 6s to 1h in whole seconds"#,
        ]
    );
}
