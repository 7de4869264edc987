//! §1 and §2: which texts are right, at and around every limit of the tables.

#![expect(
    clippy::manual_range_contains,
    reason = "so the tables say it, and a NaN that is in no range passes each comparison"
)]

use std::collections::BTreeMap;

use penstock_scaling::annotation::validate;
use penstock_scaling::config::Config;
use proptest::prelude::*;

/// Numbers as the contract may write them, with what they are; `None` is none.
fn numbers() -> Vec<(String, Option<f64>)> {
    let edges = [
        -5.0, -1.0, -0.5, -1e-9, 0.0, 0.009, 0.01, 0.02, 0.5, 0.99, 0.999, 1.0, 1.001, 1.5, 2.0,
        6.0, 55.0, 99.9, 100.0, 100.5, 109.9, 110.0, 142.4, 1000.0, 1000.1, 1e6, 1e300,
    ];
    let mut all = Vec::new();
    for edge in edges {
        all.push((format!("{edge}"), Some(edge)));
        all.push((format!("{edge:e}"), Some(edge)));
        all.push((format!("{edge:E}"), Some(edge)));
        if edge >= 0.0 {
            all.push((format!("+{edge}"), Some(edge)));
            all.push((format!("000{edge}"), Some(edge)));
        }
        all.push((format!(" {edge}"), None));
        all.push((format!("{edge}%"), None));
        all.push((format!("{edge}_"), None));
    }
    let words = [
        ("inf", Some(f64::INFINITY)),
        ("+Infinity", Some(f64::INFINITY)),
        ("-inf", Some(f64::NEG_INFINITY)),
        ("nan", Some(f64::NAN)),
        ("NaN", Some(f64::NAN)),
        ("-nan", None),
        ("0x1p1", Some(2.0)),
        ("0x.8p1", Some(1.0)),
        ("0X1.9p6", Some(100.0)),
        ("0x_6_4p0", Some(100.0)),
        ("0x10", None),
        ("1_0", Some(10.0)),
        ("1_0.5", Some(10.5)),
        ("1__0", None),
        ("1e", None),
        ("1e+", None),
        (".5", Some(0.5)),
        ("5.", Some(5.0)),
        (".", None),
        ("", None),
        ("1e999", None),
        ("1,5", None),
        ("\u{661}", None),
        ("infinit", None),
    ];
    all.extend(words.map(|(text, value)| (text.to_owned(), value)));
    all
}

/// Durations with their nanoseconds.
fn durations() -> Vec<(String, Option<i128>)> {
    const S: i128 = 1_000_000_000;
    let written = [
        ("0", 0),
        ("-0", 0),
        ("0s", 0),
        ("1ns", 1),
        ("-1ns", -1),
        ("100ms", S / 10),
        ("999ms", 999 * S / 1000),
        ("1s", S),
        ("5s", 5 * S),
        ("5999ms", 5999 * S / 1000),
        ("6s", 6 * S),
        ("6000ms", 6 * S),
        ("6000000us", 6 * S),
        ("6000000\u{b5}s", 6 * S),
        ("6.5s", 13 * S / 2),
        ("6500ms", 13 * S / 2),
        (".1m", 6 * S),
        ("0.1m", 6 * S),
        ("1.m", 60 * S),
        ("60m", 3600 * S),
        ("1h", 3600 * S),
        ("59m60s", 3600 * S),
        ("30m30m", 3600 * S),
        ("1h1s", 3601 * S),
        ("1h0.5s", 3600 * S + S / 2),
        ("3600.000000001s", 3600 * S + 1),
        ("365h", 365 * 3600 * S),
        ("-42s", -42 * S),
        ("+42s", 42 * S),
        ("-1m23s", -83 * S),
    ];
    let wrong = [
        "",
        "s",
        "90",
        "1 s",
        " 1s",
        "1s ",
        "1d",
        "1S",
        "1h-5m",
        "--1s",
        "1.2.3s",
        ".s",
        "-",
        "1e3s",
        "1s1",
        "9223372036854775807s",
    ];
    let written = written.map(|(text, nanos)| (text.to_owned(), Some(nanos)));
    let wrong = wrong.map(|text| (text.to_owned(), None));
    written.into_iter().chain(wrong).collect()
}

/// 32-bit numbers in base 10.
fn integers() -> Vec<(String, Option<i64>)> {
    let written = [
        -2147483648_i64,
        -1,
        0,
        1,
        2,
        3,
        9,
        10,
        11,
        2147483647,
        2147483648,
        4294967296,
    ];
    let mut all: Vec<_> = written
        .into_iter()
        .map(|value| {
            let fits = i32::try_from(value).is_ok();
            (value.to_string(), fits.then_some(value))
        })
        .collect();
    let words = [
        ("+5", Some(5)),
        ("-0", Some(0)),
        ("007", Some(7)),
        ("1_0", None),
        ("0x5", None),
        ("1.0", None),
        ("1e1", None),
        (" 5", None),
        ("5 ", None),
        ("", None),
        ("+", None),
        ("five", None),
    ];
    all.extend(words.map(|(text, value)| (text.to_owned(), value)));
    all
}

fn accepts(key: &str, text: &str) -> bool {
    let map = BTreeMap::from([(key.to_owned(), text.to_owned())]);
    match Config::from_map(&map) {
        Ok(_) => true,
        Err(bad) => {
            let keys: Vec<_> = bad.iter().map(|bad| bad.key).collect();
            assert_eq!(keys, [key], "{text:?}");
            false
        }
    }
}

fn admits(key: &str, text: &str) -> bool {
    let key = format!("autoscaling.knative.dev/{key}");
    let annotations = BTreeMap::from([(key.clone(), text.to_owned())]);
    let rejected = validate(&annotations, &Config::default());
    let keys: Vec<_> = rejected.into_iter().flat_map(|one| one.keys).collect();
    assert!(keys.is_empty() || keys == [key], "{text:?}: {keys:?}");
    keys.is_empty()
}

/// A column "rejected when" of §1 or §2, as it stands there: NaN passes each comparison.
type Rejected = fn(f64) -> bool;
/// The same of a number of nanoseconds.
type WrongTime = fn(i128) -> bool;
/// The same of a count.
type WrongCount = fn(i64) -> bool;

#[test]
fn numbers_of_a_config_map_are_right_exactly_where_the_contract_says() {
    let fraction = |x: f64| if x > 1.0 { x / 100.0 } else { x };
    let percentage: Rejected = |x| {
        let x = if x > 1.0 { x / 100.0 } else { x };
        // The product with the default target, too.
        x <= 0.0 || x > 1.0 || x * 100.0 < 0.01
    };
    let keys: [(&str, Rejected); 9] = [
        ("container-concurrency-target-percentage", percentage),
        ("container-concurrency-target-default", |x| 0.7 * x < 0.01),
        ("requests-per-second-target-default", |x| x < 0.01),
        ("target-burst-capacity", |x| x < 0.0 && x != -1.0),
        ("panic-window-percentage", |x| x < 1.0 || x > 100.0),
        ("panic-threshold-percentage", |_| false),
        ("max-scale-up-rate", |x| x <= 1.0),
        ("max-scale-down-rate", |x| x <= 1.0),
        ("activator-capacity", |x| x < 1.0),
    ];
    for (key, rejected) in keys {
        for (text, value) in numbers() {
            let want = value.is_some_and(|value| !rejected(value));
            assert_eq!(accepts(key, &text), want, "{key}: {text:?}");
        }
    }
    for (text, value) in numbers() {
        let map = BTreeMap::from([(
            "container-concurrency-target-percentage".to_owned(),
            text.clone(),
        )]);
        if let (Ok(config), Some(value)) = (Config::from_map(&map), value) {
            let want = fraction(value);
            let same = config.target_fraction == want || want.is_nan();
            assert!(same, "{text:?}: {}", config.target_fraction);
        }
    }
}

#[test]
fn durations_of_a_config_map_are_right_exactly_where_the_contract_says() {
    const S: i128 = 1_000_000_000;
    let keys: [(&str, WrongTime); 4] = [
        ("stable-window", |ns| {
            ns < 6 * S || ns > 3600 * S || ns % S != 0
        }),
        ("scale-to-zero-grace-period", |ns| ns <= 0),
        ("scale-to-zero-pod-retention-period", |ns| ns < 0),
        ("scale-down-delay", |ns| ns < 0 || ns % S != 0),
    ];
    for (key, rejected) in keys {
        for (text, nanos) in durations() {
            let want = nanos.is_some_and(|nanos| !rejected(nanos));
            assert_eq!(accepts(key, &text), want, "{key}: {text:?}");
        }
    }
}

#[test]
fn counts_of_a_config_map_are_right_exactly_where_the_contract_says() {
    let keys: [(&str, WrongCount); 4] = [
        ("initial-scale", |n| n < 1),
        ("min-scale", |n| n < 0),
        ("max-scale", |n| n < 0),
        // Any limit wants a maximum.
        ("max-scale-limit", |n| n < 0),
    ];
    for (key, rejected) in keys {
        for (text, value) in integers() {
            let want = value.is_some_and(|value| !rejected(value));
            if key == "max-scale-limit" && value.is_some_and(|value| value > 0) {
                let map = BTreeMap::from([(key.to_owned(), text.clone())]);
                let keys: Vec<_> = Config::from_map(&map)
                    .unwrap_err()
                    .iter()
                    .map(|bad| bad.key)
                    .collect();
                assert_eq!(keys, ["max-scale"], "{text:?}");
                continue;
            }
            assert_eq!(accepts(key, &text), want, "{key}: {text:?}");
        }
    }
}

#[test]
fn annotations_are_right_exactly_where_the_contract_says() {
    const S: i128 = 1_000_000_000;
    let numeric: [(&str, Rejected); 10] = [
        ("target", |x| x < 0.01),
        ("target-utilization-percentage", |x| x < 1.0 || x > 100.0),
        ("targetUtilizationPercentage", |x| x < 1.0 || x > 100.0),
        ("target-burst-capacity", |x| x < 0.0 && x != -1.0),
        ("targetBurstCapacity", |x| x < 0.0 && x != -1.0),
        ("panic-window-percentage", |x| x < 1.0 || x > 100.0),
        ("panicWindowPercentage", |x| x < 1.0 || x > 100.0),
        ("panic-threshold-percentage", |x| x < 110.0 || x > 1000.0),
        ("panicThresholdPercentage", |x| x < 110.0 || x > 1000.0),
        ("unknown-key", |_| false),
    ];
    for (key, rejected) in numeric {
        for (text, value) in numbers() {
            let want = value.is_some_and(|value| !rejected(value)) || key == "unknown-key";
            assert_eq!(admits(key, &text), want, "{key}: {text:?}");
        }
    }
    let timed: [(&str, WrongTime); 5] = [
        ("window", |ns| ns < 6 * S || ns > 3600 * S || ns % S != 0),
        ("scale-down-delay", |ns| {
            ns < 0 || ns > 3600 * S || ns % S != 0
        }),
        ("scaleDownDelay", |ns| {
            ns < 0 || ns > 3600 * S || ns % S != 0
        }),
        ("scale-to-zero-pod-retention-period", |ns| {
            ns < 0 || ns > 3600 * S
        }),
        ("scaleToZeroPodRetentionPeriod", |ns| {
            ns < 0 || ns > 3600 * S
        }),
    ];
    for (key, rejected) in timed {
        for (text, nanos) in durations() {
            let want = nanos.is_some_and(|nanos| !rejected(nanos));
            assert_eq!(admits(key, &text), want, "{key}: {text:?}");
        }
    }
    let counted: [(&str, WrongCount); 5] = [
        ("min-scale", |n| n < 0),
        ("minScale", |n| n < 0),
        ("max-scale", |n| n < 0),
        ("maxScale", |n| n < 0),
        ("activation-scale", |n| n < 2),
    ];
    for (key, rejected) in counted {
        for (text, value) in integers() {
            let want = value.is_some_and(|value| !rejected(value));
            assert_eq!(admits(key, &text), want, "{key}: {text:?}");
        }
    }
    // With 64 bits.
    for (text, want) in [
        ("99999999999", true),
        ("9223372036854775808", false),
        ("0", false),
    ] {
        assert_eq!(admits("initial-scale", text), want, "{text}");
        assert_eq!(admits("initialScale", text), want, "{text}");
    }
}

/// §2's rules for scales, one by one; which keys they name, sorted.
fn offending(
    [min, max, activation, initial]: [&Option<String>; 4],
    limit: u32,
    allow_zero: bool,
) -> Vec<&'static str> {
    let int32 = |text: &String| text.parse::<i32>().ok();
    let ge0 = |text: &Option<String>| text.as_ref().and_then(int32).filter(|n| *n >= 0);
    let mut keys = Vec::new();
    if min.is_some() && ge0(min).is_none() {
        keys.push("min-scale");
    }
    if max.is_some() && ge0(max).is_none() {
        keys.push("max-scale");
    }
    let (least, most) = (ge0(min).unwrap_or(0), ge0(max).unwrap_or(0));
    if most != 0 && most < least {
        keys.extend(["max-scale", "min-scale"]);
    }
    if max.is_some() && limit > 0 && (most == 0 || most.unsigned_abs() > limit) {
        keys.push("max-scale");
    }
    if let Some(text) = activation {
        let wrong = |n: i32| n < least || (most != 0 && n > most) || n < 2;
        if int32(text).is_none_or(wrong) {
            keys.push("activation-scale");
        }
    }
    if let Some(text) = initial {
        let wrong = |n: i64| n < 0 || (n == 0 && !allow_zero);
        if text.parse::<i64>().ok().is_none_or(wrong) {
            keys.push("initial-scale");
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn scale() -> impl Strategy<Value = Option<String>> {
    let known = [
        "-1",
        "0",
        "1",
        "2",
        "3",
        "5",
        "9",
        "11",
        "12",
        "2147483648",
        "99999999999",
        "x",
        "2.5",
        "",
    ];
    prop::option::of(prop::sample::select(known.to_vec()).prop_map(str::to_owned))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn scales_are_checked_against_each_other(
        min in scale(),
        max in scale(),
        activation in scale(),
        initial in scale(),
        limit in prop::sample::select(vec![0_u32, 3, 10]),
        allow_zero in any::<bool>(),
    ) {
        let config = Config {
            allow_zero_initial_scale: allow_zero,
            max_scale_limit: (limit > 0).then_some(limit),
            ..Config::default()
        };
        let keys = ["min-scale", "max-scale", "activation-scale", "initial-scale"];
        let values = [&min, &max, &activation, &initial];
        let annotations = keys
            .iter()
            .zip(values)
            .filter_map(|(key, text)| {
                Some((format!("autoscaling.knative.dev/{key}"), text.clone()?))
            })
            .collect();
        let rejected = validate(&annotations, &config);
        let mut got: Vec<_> = rejected.into_iter().flat_map(|one| one.keys).collect();
        got.sort();
        got.dedup();
        let want: Vec<_> = offending(values, limit, allow_zero)
            .into_iter()
            .map(|key| format!("autoscaling.knative.dev/{key}"))
            .collect();
        prop_assert_eq!(got, want);
    }
}
