//! §3: what follows from a ConfigMap, annotations, a limit and reachability; §6: the first status;
//! §7, step 5: activators.

use std::collections::BTreeMap;

use penstock_scaling::bounds::activators;
use penstock_scaling::config::Config;
use penstock_scaling::knative::Status;
use penstock_scaling::spec::{Metric, Spec};
use penstock_types::{Reachability, Slots};
use proptest::option::weighted as perhaps;
use proptest::prelude::*;

use crate::near;

type Strings = BTreeMap<String, String>;

/// One value that both a key of the map and an annotation may have.
#[derive(Clone, Debug)]
struct Both<T> {
    map: Option<T>,
    /// `Err` is what nobody can read.
    annotation: Option<Result<T, &'static str>>,
}

impl<T: Copy> Both<T> {
    fn or(&self, default: T) -> T {
        let read = self.annotation.and_then(Result::ok);
        read.or(self.map).unwrap_or(default)
    }
}

fn both<T: Clone + std::fmt::Debug>(
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Both<T>> {
    let unreadable = prop::sample::select(vec!["", "x", "1 ", " 1", "1.5.1", "--1", "0x", "1h "]);
    let annotation = prop_oneof![
        5 => value.clone().prop_map(Ok),
        1 => unreadable.prop_map(Err),
    ];
    (perhaps(0.4, value), perhaps(0.4, annotation))
        .prop_map(|(map, annotation)| Both { map, annotation })
}

#[derive(Clone, Debug)]
struct Given {
    fraction: Option<f64>,
    concurrency_default: Option<f64>,
    rps_default: Option<f64>,
    rps: bool,
    target: Option<f64>,
    utilization: Option<f64>,
    limit: u32,
    window: Both<u64>,
    panic_window: Both<f64>,
    threshold: Both<f64>,
    tbc: Both<f64>,
    min: Both<u32>,
    max: Both<u32>,
    initial: Both<u32>,
    allow_zero: bool,
    retention: Both<u64>,
    delay: Both<u64>,
    activation: Option<u32>,
    capacity: Option<f64>,
    deadline: Option<u64>,
    reachability: Reachability,
}

prop_compose! {
    fn given()(
        (fraction, concurrency_default, rps_default) in (
            perhaps(0.5, prop_oneof![Just(1.0), Just(70.0), 0.01..1.0_f64, 1.1..100.0_f64]),
            perhaps(0.5, 1.0..500.0_f64),
            perhaps(0.5, 0.02..500.0_f64),
        ),
        (rps, limit, allow_zero) in (any::<bool>(), prop_oneof![Just(0_u32), 1..200_u32], any::<bool>()),
        target in perhaps(0.5, prop_oneof![Just(0.01), 0.01..900.0_f64]),
        utilization in perhaps(0.4, 1.0..100.0_f64),
        window in both(prop_oneof![Just(6_u64), Just(3600), Just(61), 6..3600_u64]),
        panic_window in both(prop_oneof![Just(1.0), Just(100.0), Just(51.0), 1.0..100.0_f64]),
        threshold in both(110.0..1000.0_f64),
        tbc in both(prop_oneof![Just(-1.0), Just(0.0), 0.0..900.0_f64]),
        min in both(0..5_u32),
        max in both(prop_oneof![Just(0_u32), 5..40_u32]),
        initial in both(0..9_u32),
        (retention, delay) in (both(0..3600_u64), both(0..3600_u64)),
        (activation, capacity, deadline) in (
            perhaps(0.3, 2..9_u32),
            perhaps(0.3, 1.0..900.0_f64),
            perhaps(0.3, 1..900_u64),
        ),
        reachability in prop::sample::select(vec![
            Reachability::Unknown,
            Reachability::Reachable,
            Reachability::Unreachable,
        ]),
    ) -> Given {
        Given {
            fraction, concurrency_default, rps_default, rps, target, utilization, limit, window,
            panic_window, threshold, tbc, min, max, initial, allow_zero, retention, delay,
            activation, capacity, deadline, reachability,
        }
    }
}

impl Given {
    fn strings(&self) -> (Strings, Strings) {
        let (mut map, mut annotations) = (Strings::new(), Strings::new());
        let mut put = |key: &str, annotation: &str, both: (Option<String>, Option<String>)| {
            if let Some(value) = both.0 {
                map.insert(key.to_owned(), value);
            }
            if let Some(value) = both.1 {
                annotations.insert(format!("autoscaling.knative.dev/{annotation}"), value);
            }
        };
        fn texts<T>(
            both: &Both<T>,
            text: impl Fn(&T) -> String,
        ) -> (Option<String>, Option<String>) {
            let annotation = both.annotation.as_ref().map(|it| match it {
                Ok(value) => text(value),
                Err(unreadable) => (*unreadable).to_owned(),
            });
            (both.map.as_ref().map(&text), annotation)
        }
        let seconds = |seconds: &u64| format!("{}m{}s", seconds / 60, seconds % 60);
        let text = |value: &Option<f64>| value.map(|value| value.to_string());
        put(
            "container-concurrency-target-percentage",
            "",
            (text(&self.fraction), None),
        );
        put(
            "container-concurrency-target-default",
            "",
            (text(&self.concurrency_default), None),
        );
        put(
            "requests-per-second-target-default",
            "",
            (text(&self.rps_default), None),
        );
        put("activator-capacity", "", (text(&self.capacity), None));
        put(
            "allow-zero-initial-scale",
            "",
            (Some(self.allow_zero.to_string()), None),
        );
        put("", "target", (None, text(&self.target)));
        put(
            "",
            "target-utilization-percentage",
            (None, text(&self.utilization)),
        );
        put(
            "",
            "activation-scale",
            (None, self.activation.map(|it| it.to_string())),
        );
        put("stable-window", "window", texts(&self.window, seconds));
        put(
            "panic-window-percentage",
            "panicWindowPercentage",
            texts(&self.panic_window, f64::to_string),
        );
        put(
            "panic-threshold-percentage",
            "panic-threshold-percentage",
            texts(&self.threshold, f64::to_string),
        );
        put(
            "target-burst-capacity",
            "targetBurstCapacity",
            texts(&self.tbc, |it| format!("{it:e}")),
        );
        put("min-scale", "minScale", texts(&self.min, u32::to_string));
        put("max-scale", "max-scale", texts(&self.max, u32::to_string));
        put(
            "initial-scale",
            "initial-scale",
            texts(&self.initial, u32::to_string),
        );
        put(
            "scale-to-zero-pod-retention-period",
            "scaleToZeroPodRetentionPeriod",
            texts(&self.retention, seconds),
        );
        put(
            "scale-down-delay",
            "scale-down-delay",
            texts(&self.delay, seconds),
        );
        if self.rps {
            put("", "metric", (None, Some("rps".to_owned())));
        }
        if let Some(deadline) = self.deadline {
            let key = "serving.knative.dev/progress-deadline".to_owned();
            annotations.insert(key, format!("{deadline}s"));
        }
        (map, annotations)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn parameters_are_those_of_the_contract(given in given()) {
        let (map, annotations) = given.strings();
        // A cluster may not begin with what it does not allow.
        let wrong_initial = given.initial.map == Some(0) && !given.allow_zero;
        let config = Config::from_map(&map);
        prop_assert_eq!(config.is_err(), wrong_initial, "{:?}", config);
        let Ok(config) = config else { return Ok(()) };
        let got = Spec::derive(
            &config,
            &annotations,
            Slots::from_concurrency(given.limit),
            given.reachability,
        );
        let reachable = given.reachability != Reachability::Unreachable;

        let percent = given.fraction.unwrap_or(70.0);
        let fraction = if percent > 1.0 { percent / 100.0 } else { percent };
        let limit = f64::from(given.limit);
        let mut total = match (given.rps, given.limit) {
            (true, _) => given.rps_default.unwrap_or(200.0),
            (false, 0) => given.concurrency_default.unwrap_or(100.0),
            (false, _) => limit,
        };
        if let Some(target) = given.target {
            total = match given.rps || given.limit == 0 {
                true => target,
                false => target.min(limit),
            };
        }
        let utilisation = match given.utilization {
            Some(percent) => percent / 100.0,
            None if given.rps => 0.7,
            None => fraction,
        };
        prop_assert_eq!(got.metric == Metric::Rps, given.rps);
        prop_assert!(near(got.total, total), "{} {}", got.total, total);
        let target = (total * utilisation).max(0.01);
        prop_assert!(near(got.target, target), "{} {}", got.target, target);

        let window = given.window.or(60);
        prop_assert_eq!(got.stable_window.as_secs(), window);
        let share = (window as f64 * given.panic_window.or(10.0) / 100.0 + 0.5).floor().max(1.0);
        prop_assert!((got.panic_window.as_secs_f64() - share).abs() < 1e-9);
        prop_assert!(near(got.panic_threshold, given.threshold.or(200.0) / 100.0));

        let tbc = given.tbc.or(211.0);
        prop_assert!(near(got.burst_capacity.as_contract(), tbc));
        prop_assert_eq!(got.is_scraped(), tbc != -1.0);
        let initial = match given.initial.annotation {
            Some(Ok(pods)) if pods > 0 || given.allow_zero => pods,
            _ => given.initial.map.unwrap_or(1),
        };
        prop_assert_eq!(got.initial_scale, initial);
        prop_assert_eq!(got.min_scale, if reachable { given.min.or(0) } else { 0 });
        prop_assert_eq!(got.max_scale.unwrap_or(0), given.max.or(0));
        prop_assert_eq!(got.activation_scale, given.activation);
        let retention = if reachable { given.retention.or(0) } else { 0 };
        prop_assert_eq!(got.retention.as_secs(), retention);
        prop_assert_eq!(got.scale_down_delay.as_secs(), given.delay.or(0));
        prop_assert_eq!(got.progress_deadline.as_secs(), given.deadline.unwrap_or(600));

        let status = Status::initial(&got);
        prop_assert_eq!(status.desired, None);
        let ebc = match tbc {
            -1.0 | 0.0 => tbc as i32,
            tbc => (f64::from(initial) * got.total - tbc).trunc() as i32,
        };
        prop_assert_eq!(status.excess_burst_capacity, ebc);
        for ready in [0_u32, 1, 2, 15, 1000] {
            let load = f64::from(ready) * got.total + if tbc > 0.0 { tbc } else { 0.0 };
            let want = match tbc {
                0.0 => 2.0,
                _ => (load / given.capacity.unwrap_or(100.0)).ceil().max(2.0),
            };
            prop_assert_eq!(f64::from(activators(&got, ready)), want);
        }
    }
}
