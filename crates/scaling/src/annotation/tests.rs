use super::*;

/// Annotations, without their prefix.
type Entries = &'static [(&'static str, &'static str)];

fn annotations(entries: &[(&str, &str)]) -> Annotations {
    entries
        .iter()
        .map(|&(key, value)| (format!("autoscaling.knative.dev/{key}"), value.to_owned()))
        .collect()
}

fn limited() -> Config {
    Config {
        max_scale_limit: Some(10),
        ..Config::default()
    }
}

fn by_default(class: &str) -> Config {
    Config {
        class: class.to_owned(),
        ..Config::default()
    }
}

#[test]
fn what_is_right_passes() {
    let table: &[(Config, Entries)] = &[
        (Config::default(), &[]),
        (Config::default(), &[("class", "some.other.domain")]),
        (Config::default(), &[("max-scale", "0")]),
        (Config::default(), &[("min-scale", "0"), ("max-scale", "0")]),
        (limited(), &[("max-scale", "9")]),
        (limited(), &[]),
        (
            Config::default(),
            &[
                ("min-scale", "1"),
                ("activation-scale", "2"),
                ("max-scale", "3"),
            ],
        ),
        (
            Config::default(),
            &[
                ("class", "some.other.domain"),
                ("metric-aggregation-algorithm", "bogus"),
            ],
        ),
        (
            Config::default(),
            &[("class", KPA), ("metric-aggregation-algorithm", "")],
        ),
        (Config::default(), &[("panic-threshold-percentage", "210")]),
        (Config::default(), &[("window", "7s")]),
        (by_default(HPA), &[("window", "7s")]),
        (
            Config::default(),
            &[("scale-to-zero-pod-retention-period", "0")],
        ),
        (
            Config::default(),
            &[("scale-to-zero-pod-retention-period", "21m31s")],
        ),
        (Config::default(), &[("metric", "rps")]),
        (Config::default(), &[("metric", "concurrency")]),
        (by_default(HPA), &[("metric", "cpu")]),
        // Passes here, though it is ignored at run time.
        (Config::default(), &[("initial-scale", "99999999999")]),
        (
            Config::default(),
            &[("min-scale", "1"), ("minScale", "not read")],
        ),
    ];
    for (config, entries) in table {
        let rejected = validate(&annotations(entries), config);
        assert!(rejected.is_empty(), "{entries:?}: {rejected:?}");
    }
}

#[test]
fn what_is_wrong_is_rejected_by_the_key_that_was_read() {
    let table: &[(Config, Entries, &[&str])] = &[
        (
            Config::default(),
            &[("class", "unsupported.knative.dev")],
            &["class"],
        ),
        (Config::default(), &[("min-scale", "-1")], &["min-scale"]),
        (Config::default(), &[("min-scale", "foo")], &["min-scale"]),
        (Config::default(), &[("minScale", "foo")], &["minScale"]),
        (
            Config::default(),
            &[("max-scale", "2147483648")],
            &["max-scale"],
        ),
        (Config::default(), &[("max-scale", "-1")], &["max-scale"]),
        (Config::default(), &[("maxScale", "bar")], &["maxScale"]),
        (
            Config::default(),
            &[("minScale", "5"), ("max-scale", "2")],
            &["max-scale", "min-scale"],
        ),
        (limited(), &[("max-scale", "11")], &["max-scale"]),
        (limited(), &[("max-scale", "0")], &["max-scale"]),
        (
            Config::default(),
            &[("initial-scale", "0")],
            &["initial-scale"],
        ),
        (
            Config::default(),
            &[("activation-scale", "2"), ("min-scale", "3")],
            &["activation-scale"],
        ),
        (
            Config::default(),
            &[("activation-scale", "2"), ("max-scale", "1")],
            &["activation-scale"],
        ),
        (
            Config::default(),
            &[("class", KPA), ("metric-aggregation-algorithm", "bogus")],
            &["metric-aggregation-algorithm"],
        ),
        (
            Config::default(),
            &[("panic-window-percentage", "-1")],
            &["panic-window-percentage"],
        ),
        (
            Config::default(),
            &[("panic-window-percentage", "202")],
            &["panic-window-percentage"],
        ),
        (
            Config::default(),
            &[("panic-threshold-percentage", "109")],
            &["panic-threshold-percentage"],
        ),
        (
            Config::default(),
            &[("panic-threshold-percentage", "10009")],
            &["panic-threshold-percentage"],
        ),
        (Config::default(), &[("target", "-11")], &["target"]),
        (Config::default(), &[("target", "0")], &["target"]),
        (Config::default(), &[("target", "100x")], &["target"]),
        (
            Config::default(),
            &[("target-utilization-percentage", "0")],
            &["target-utilization-percentage"],
        ),
        (
            Config::default(),
            &[("targetUtilizationPercentage", "101")],
            &["targetUtilizationPercentage"],
        ),
        (
            Config::default(),
            &[("target-burst-capacity", "-11")],
            &["target-burst-capacity"],
        ),
        (by_default(HPA), &[("window", "1s")], &["window"]),
        (Config::default(), &[("window", "365h")], &["window"]),
        (Config::default(), &[("window", "1m9s82ms")], &["window"]),
        (
            Config::default(),
            &[("scale-to-zero-pod-retention-period", "311m")],
            &["scale-to-zero-pod-retention-period"],
        ),
        (
            Config::default(),
            &[("scale-to-zero-pod-retention-period", "-42s")],
            &["scale-to-zero-pod-retention-period"],
        ),
        (
            Config::default(),
            &[("scale-down-delay", "42.5s")],
            &["scale-down-delay"],
        ),
        (Config::default(), &[("metric", "cpu")], &["metric"]),
        (by_default(HPA), &[("metric", "")], &["metric"]),
    ];
    for (config, entries, want) in table {
        let rejected = validate(&annotations(entries), config);
        let want: Vec<_> = want
            .iter()
            .map(|key| format!("autoscaling.knative.dev/{key}"))
            .collect();
        assert_eq!(rejected.len(), 1, "{entries:?}: {rejected:?}");
        assert_eq!(rejected[0].keys, want, "{entries:?}");
    }
}

#[test]
fn all_mistakes_are_named_at_once_with_what_would_be_right() {
    let entries = [
        ("target", "0"),
        ("window", "1s"),
        ("min-scale", "5"),
        ("max-scale", "2"),
    ];
    let rejected = validate(&annotations(&entries), &Config::default());
    let reasons: Vec<_> = rejected.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "a maximum of 2 is below the minimum of 5; it has to be 0 (no limit) or at least 5",
            r#""1s" is not a duration from 6s to 1h in whole seconds"#,
            r#""0" is not a number from 0.01"#,
        ]
    );
}

#[test]
fn the_progress_deadline_is_whole_seconds() {
    for (text, right) in [
        ("90s", true),
        ("0s", false),
        ("1500ms", false),
        ("soon", false),
    ] {
        let key = "serving.knative.dev/progress-deadline".to_owned();
        let written = Annotations::from([(key, text.to_owned())]);
        let rejected = validate(&written, &Config::default());
        assert_eq!(rejected.is_empty(), right, "{text}");
    }
}

#[test]
fn a_maximum_beyond_the_limit_is_a_maximum_for_the_others_all_the_same() {
    let table: [(Entries, &[&str]); 2] = [
        (
            &[("maxScale", "11"), ("min-scale", "12")],
            &["max-scale", "maxScale", "min-scale"],
        ),
        (
            &[("max-scale", "11"), ("activation-scale", "12")],
            &["activation-scale", "max-scale"],
        ),
    ];
    for (entries, want) in table {
        let rejected = validate(&annotations(entries), &limited());
        let mut keys: Vec<_> = rejected.into_iter().flat_map(|one| one.keys).collect();
        keys.sort();
        let want: Vec<_> = want
            .iter()
            .map(|key| format!("autoscaling.knative.dev/{key}"))
            .collect();
        assert_eq!(keys, want, "{entries:?}");
    }
}

#[test]
fn alone_no_other_class_is_right() {
    fn alone(entries: &[(&str, &str)], config: &Config) -> Vec<Rejected> {
        validate_alone(&annotations(entries), config)
    }
    assert_eq!(alone(&[], &Config::default()), []);
    assert_eq!(alone(&[("class", KPA)], &by_default(HPA)), []);
    for class in [HPA, "custom.example.com", "unsupported.knative.dev"] {
        let rejected = alone(&[("class", class), ("metric", "cpu")], &Config::default());
        assert_eq!(rejected.len(), 1, "{rejected:?}");
        assert_eq!(rejected[0].keys, ["autoscaling.knative.dev/class"]);
        assert!(rejected[0].reason.contains(class), "{rejected:?}");
    }
    let rejected = alone(&[("class", HPA)], &Config::default());
    let want = "\"hpa.autoscaling.knative.dev\" is not kpa.autoscaling.knative.dev, the only class that \
                is scaled here: by requests in flight or per second, not by processor or memory";
    assert_eq!(rejected[0].reason, want);
    let rejected = alone(&[], &by_default(HPA));
    assert!(
        rejected[0].reason.contains("pod-autoscaler-class"),
        "{rejected:?}"
    );
}
