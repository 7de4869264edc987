use super::*;

/// Annotations, without their prefix.
type Entries = &'static [(&'static str, &'static str)];

fn derive(config: &Config, entries: &[(&str, &str)], slots: u32) -> Spec {
    reached(config, entries, slots, Reachability::Reachable)
}

fn reached(
    config: &Config,
    entries: &[(&str, &str)],
    slots: u32,
    reachability: Reachability,
) -> Spec {
    let annotations: Annotations = entries
        .iter()
        .map(|&(key, value)| (format!("autoscaling.knative.dev/{key}"), value.to_owned()))
        .collect();
    Spec::derive(
        config,
        &annotations,
        Slots::from_concurrency(slots),
        reachability,
    )
}

fn fraction(target_fraction: f64) -> Config {
    Config {
        target_fraction,
        ..Config::default()
    }
}

#[test]
fn target_and_total_come_from_limit_annotation_and_utilisation() {
    let table: &[(Config, Entries, u32, f64, f64)] = &[
        // cluster, annotations, slots, target, total
        (Config::default(), &[], 0, 70.0, 100.0),
        (
            fraction(0.8),
            &[("target-utilization-percentage", "75")],
            12,
            9.0,
            12.0,
        ),
        (fraction(0.001), &[("target", "1")], 0, 0.01, 1.0),
        (fraction(1.0), &[("target", "10")], 1, 1.0, 1.0),
        (fraction(1.0), &[("target", "1")], 10, 1.0, 1.0),
        (fraction(1.0), &[("target", "500")], 0, 500.0, 500.0),
        (fraction(1.0), &[("target", "nonsense")], 10, 10.0, 10.0),
        (fraction(1.0), &[("metric", "rps")], 0, 140.0, 200.0),
        (fraction(1.0), &[("metric", "rps")], 7, 140.0, 200.0),
        (
            fraction(1.0),
            &[("metric", "rps"), ("target", "300")],
            7,
            210.0,
            300.0,
        ),
        (
            fraction(1.0),
            &[("metric", "rps"), ("targetUtilizationPercentage", "75")],
            0,
            150.0,
            200.0,
        ),
    ];
    for (config, entries, slots, target, total) in table {
        let spec = derive(config, entries, *slots);
        let near = |got: f64, want: f64| (got - want).abs() < 1e-9;
        assert!(
            near(spec.target, *target),
            "{entries:?}: target {}",
            spec.target
        );
        assert!(
            near(spec.total, *total),
            "{entries:?}: total {}",
            spec.total
        );
    }
}

#[test]
fn the_panic_window_is_rounded_to_whole_seconds() {
    let table: &[(Entries, u64)] = &[
        (&[("window", "10s")], 1),
        (&[("window", "6s"), ("panic-window-percentage", "1")], 1),
        (&[("window", "10m")], 60),
        (&[("window", "60s"), ("panic-window-percentage", "51")], 31),
        (&[("window", "15s"), ("panicWindowPercentage", "10")], 2),
    ];
    for (entries, seconds) in table {
        let spec = derive(&Config::default(), entries, 0);
        assert_eq!(
            spec.panic_window,
            Duration::from_secs(*seconds),
            "{entries:?}"
        );
    }
}

#[test]
fn windows_that_nobody_should_have_let_through_do_no_harm() {
    let minute = Duration::from_secs(60);
    for window in ["0s", "-1s", "1ms", "100000h"] {
        let spec = derive(&Config::default(), &[("window", window)], 0);
        assert_eq!(spec.stable_window, minute, "{window}");
    }
    for (percentage, seconds) in [("1e300", 60), ("-5", 1), ("nan", 1), ("inf", 60)] {
        let entries = [("panic-window-percentage", percentage)];
        let spec = derive(&Config::default(), &entries, 0);
        assert_eq!(
            spec.panic_window,
            Duration::from_secs(seconds),
            "{percentage}"
        );
    }
}

#[test]
fn an_initial_scale_of_zero_has_to_be_allowed() {
    let entries = [("initial-scale", "0")];
    for (allow_zero_initial_scale, want) in [(true, 0), (false, 3)] {
        let config = Config {
            allow_zero_initial_scale,
            initial_scale: 3,
            ..Config::default()
        };
        assert_eq!(derive(&config, &entries, 0).initial_scale, want);
    }
}

#[test]
fn the_newer_spelling_wins_and_hides_the_older_one() {
    let entries = [
        ("min-scale", "2"),
        ("minScale", "9"),
        ("max-scale", "x"),
        ("maxScale", "5"),
    ];
    let spec = derive(&Config::default(), &entries, 0);
    assert_eq!((spec.min_scale, spec.max_scale), (2, None));
}

#[test]
fn malformed_bounds_are_none() {
    let entries = [("min-scale", "-3"), ("max-scale", "lots")];
    let spec = derive(&Config::default(), &entries, 0);
    assert_eq!((spec.min_scale, spec.max_scale), (0, None));
}

#[test]
fn an_unreachable_revision_has_no_lower_bound_and_no_retention() {
    let entries = [
        ("min-scale", "2"),
        ("max-scale", "5"),
        ("scale-to-zero-pod-retention-period", "1m"),
    ];
    let minute = Duration::from_secs(60);
    for (reachability, min, retention) in [
        (Reachability::Reachable, 2, minute),
        (Reachability::Unknown, 2, minute),
        (Reachability::Unreachable, 0, Duration::ZERO),
    ] {
        let spec = reached(&Config::default(), &entries, 0, reachability);
        assert_eq!(spec.min_scale, min, "{reachability:?}");
        assert_eq!(spec.retention, retention, "{reachability:?}");
        assert_eq!(spec.max_scale, Some(5), "{reachability:?}");
    }
}

#[test]
fn pods_are_scraped_unless_the_activator_sees_everything() {
    for (burst, scraped) in [("-1", false), ("0", true), ("70", true)] {
        let spec = derive(&Config::default(), &[("target-burst-capacity", burst)], 0);
        assert_eq!(spec.is_scraped(), scraped, "{burst}");
    }
}
