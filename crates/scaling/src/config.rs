//! The cluster's defaults: the ConfigMap `config-autoscaler`, typed.
//!
//! Source: spec/autoscaler.md §1.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::literal::{
    boolean, count, duration, number, number_unless, number_within, whole_seconds,
};

/// Class of the revisions that this autoscaler scales.
pub const KPA: &str = "kpa.autoscaling.knative.dev";
/// Class of the revisions that Kubernetes' own autoscaler scales.
pub const HPA: &str = "hpa.autoscaling.knative.dev";

/// How much room above the load keeps the activator out of the path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BurstCapacity {
    /// No room is enough: the activator is always in the path, and no pod is scraped. Written -1.
    Unlimited,
    /// So many more requests (of the revision's metric) must fit; 0 takes the activator out
    /// whenever there is a pod.
    Of(f64),
}

impl BurstCapacity {
    /// Reads the contract's number, where -1 says "no room is enough".
    pub fn from_contract(value: f64) -> Self {
        if value >= 0.0 {
            Self::Of(value)
        } else {
            Self::Unlimited
        }
    }

    /// The contract's number.
    pub fn as_contract(self) -> f64 {
        match self {
            Self::Unlimited => -1.0,
            Self::Of(room) => room,
        }
    }
}

/// Defaults for every revision. Annotations of a revision override most of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Class of a revision that names none.
    pub class: String,
    /// Part of a pod's concurrency that is aimed at, above 0 and up to 1.
    pub target_fraction: f64,
    /// Requests in flight that a pod without a limit can take.
    pub concurrency_target: f64,
    /// Requests per second that a pod can take.
    pub rps_target: f64,
    /// Room that takes the activator out of the path.
    pub burst_capacity: BurstCapacity,
    /// Time over which the stable average is taken, in whole seconds.
    pub stable_window: Duration,
    /// Length of the panic window, in percent of the stable one.
    pub panic_window_percentage: f64,
    /// Demand over capacity, in percent, from which there is panic.
    pub panic_threshold_percentage: f64,
    /// Most pods after one decision, as a multiple of the ready ones.
    pub max_scale_up_rate: f64,
    /// Fewest pods after one decision, as a divisor of the ready ones.
    pub max_scale_down_rate: f64,
    /// Whether the last pod may go.
    pub scale_to_zero: bool,
    /// Time between taking the last pod out of the path and removing it.
    pub grace: Duration,
    /// Time for which the last pod stays at least.
    pub retention: Duration,
    /// Time for which demand has to be low before pods go, in whole seconds.
    pub scale_down_delay: Duration,
    /// Requests that one activator can hold.
    pub activator_capacity: f64,
    /// Whether a revision may begin without a pod.
    pub allow_zero_initial_scale: bool,
    /// Pods that a revision begins with.
    pub initial_scale: u32,
    /// Fewest pods.
    pub min_scale: u32,
    /// Most pods.
    pub max_scale: Option<u32>,
    /// Most pods that an annotation may allow.
    pub max_scale_limit: Option<u32>,
    /// Time in which a first pod has to come up. It stands in another ConfigMap
    /// (`config-deployment`), so [`Config::from_map`] leaves it at its default.
    pub progress_deadline: Duration,
    /// Whether what the original was observed to get wrong is kept as it is: a window that is resized
    /// before it is full ([`Window::compatible`](crate::window::Window::compatible)). No ConfigMap
    /// has it, so [`Config::from_map`] leaves it off.
    pub compatible: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            class: KPA.to_owned(),
            target_fraction: 0.7,
            concurrency_target: 100.0,
            rps_target: 200.0,
            burst_capacity: BurstCapacity::Of(211.0),
            stable_window: Duration::from_secs(60),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            scale_to_zero: true,
            grace: Duration::from_secs(30),
            retention: Duration::ZERO,
            scale_down_delay: Duration::ZERO,
            activator_capacity: 100.0,
            allow_zero_initial_scale: false,
            initial_scale: 1,
            min_scale: 0,
            max_scale: None,
            max_scale_limit: None,
            progress_deadline: Duration::from_secs(600),
            compatible: false,
        }
    }
}

impl Config {
    /// Reads the data of the ConfigMap. A key that is absent keeps its default, a key that is
    /// not known (`_example` among them) is passed over.
    ///
    /// # Errors
    ///
    /// Every value that is wrong, together, so that one edit mends them all.
    pub fn from_map(data: &BTreeMap<String, String>) -> Result<Self, Vec<BadValue>> {
        let default = Self::default();
        let mut map = Map {
            data,
            bad: Vec::new(),
        };
        let a_count = "a whole number from 0 to 2147483647";
        let a_bool = "true or false";
        let allow_zero_initial_scale = map.read("allow-zero-initial-scale", false, a_bool, boolean);
        let target_fraction = map.read(
            "container-concurrency-target-percentage",
            default.target_fraction,
            "a percentage above 0 and up to 100 (numbers up to 1 are fractions)",
            fraction,
        );
        let config = Self {
            class: map.read("pod-autoscaler-class", default.class, "a class", |text| {
                Some(text.trim().to_owned())
            }),
            target_fraction,
            concurrency_target: map.read(
                "container-concurrency-target-default",
                default.concurrency_target,
                "a number of which the target percentage is at least 0.01",
                |text| number_unless(text, |value| target_fraction * value < 0.01),
            ),
            rps_target: map.read(
                "requests-per-second-target-default",
                default.rps_target,
                "a number from 0.01",
                |text| number_unless(text, |value| value < 0.01),
            ),
            burst_capacity: map.read(
                "target-burst-capacity",
                default.burst_capacity,
                "a number from 0, or -1 for no limit",
                burst_capacity,
            ),
            stable_window: map.read(
                "stable-window",
                default.stable_window,
                WINDOW,
                stable_window,
            ),
            panic_window_percentage: map.read(
                "panic-window-percentage",
                default.panic_window_percentage,
                "a percentage from 1 to 100",
                |text| number_within(text, 1.0..=100.0),
            ),
            panic_threshold_percentage: map.read(
                "panic-threshold-percentage",
                default.panic_threshold_percentage,
                "a number",
                number,
            ),
            max_scale_up_rate: map.read(
                "max-scale-up-rate",
                default.max_scale_up_rate,
                "a number above 1",
                |text| number_unless(text, |value| value <= 1.0),
            ),
            max_scale_down_rate: map.read(
                "max-scale-down-rate",
                default.max_scale_down_rate,
                "a number above 1",
                |text| number_unless(text, |value| value <= 1.0),
            ),
            scale_to_zero: map.read("enable-scale-to-zero", true, a_bool, boolean),
            grace: map.read(
                "scale-to-zero-grace-period",
                default.grace,
                "a duration above 0s, such as 30s",
                |text| duration(text).filter(|grace| !grace.is_zero()),
            ),
            retention: map.read(
                "scale-to-zero-pod-retention-period",
                default.retention,
                "a duration from 0s, such as 1m5s",
                duration,
            ),
            scale_down_delay: map.read(
                "scale-down-delay",
                default.scale_down_delay,
                "a duration from 0s in whole seconds, such as 15m",
                whole_seconds,
            ),
            activator_capacity: map.read(
                "activator-capacity",
                default.activator_capacity,
                "a number from 1",
                |text| number_unless(text, |value| value < 1.0),
            ),
            allow_zero_initial_scale,
            initial_scale: if allow_zero_initial_scale {
                map.read("initial-scale", default.initial_scale, a_count, count)
            } else {
                map.read(
                    "initial-scale",
                    default.initial_scale,
                    "a whole number from 1 to 2147483647 (0 needs allow-zero-initial-scale)",
                    |text| count(text).filter(|&pods| pods > 0),
                )
            },
            min_scale: map.read("min-scale", default.min_scale, a_count, count),
            max_scale: map.read(
                "max-scale",
                None,
                "a whole number from 0 to 2147483647, 0 for no limit",
                limit,
            ),
            max_scale_limit: map.read(
                "max-scale-limit",
                None,
                "a whole number from 0 to 2147483647, 0 for no limit",
                limit,
            ),
            progress_deadline: default.progress_deadline,
            compatible: default.compatible,
        };
        map.check_bounds(&config);
        if map.bad.is_empty() {
            Ok(config)
        } else {
            Err(map.bad)
        }
    }
}

/// What a stable window has to be.
pub(crate) const WINDOW: &str = "a duration from 6s to 1h in whole seconds";

/// Reads a stable window.
pub(crate) fn stable_window(text: &str) -> Option<Duration> {
    let range = Duration::from_secs(6)..=Duration::from_secs(3600);
    whole_seconds(text).filter(|window| range.contains(window))
}

/// Reads a target burst capacity: anything from 0, or exactly -1.
pub(crate) fn burst_capacity(text: &str) -> Option<BurstCapacity> {
    number_unless(text, |value| value < 0.0 && value != -1.0).map(BurstCapacity::from_contract)
}

/// Reads a number of pods, where 0 says "no limit".
pub(crate) fn limit(text: &str) -> Option<Option<u32>> {
    count(text).map(|pods| (pods > 0).then_some(pods))
}

/// Reads a percentage; a number up to 1 is a fraction already.
fn fraction(text: &str) -> Option<f64> {
    let value = number(text)?;
    let value = if value > 1.0 { value / 100.0 } else { value };
    let wrong = value <= 0.0 || value > 1.0;
    (!wrong).then_some(value)
}

/// The map that is read, and what was wrong in it so far.
struct Map<'a> {
    data: &'a BTreeMap<String, String>,
    bad: Vec<BadValue>,
}

impl Map<'_> {
    /// The value of `key`, or `default` if it is absent or wrong.
    fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        right: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.data.get(key) else {
            return default;
        };
        parse(text).unwrap_or_else(|| {
            self.reject(key, right.to_owned());
            default
        })
    }

    fn reject(&mut self, key: &'static str, right: String) {
        let value = self.data.get(key).cloned().unwrap_or_default();
        self.bad.push(BadValue { key, value, right });
    }

    /// Bounds against each other, unless one of them was wrong already.
    fn check_bounds(&mut self, config: &Config) {
        let bounds = ["min-scale", "max-scale", "max-scale-limit"];
        if self.bad.iter().any(|bad| bounds.contains(&bad.key)) {
            return;
        }
        if let Some(max) = config.max_scale
            && config.min_scale > max
        {
            self.reject("min-scale", format!("at most max-scale ({max})"));
        }
        if let Some(limit) = config.max_scale_limit
            && config.max_scale.is_none_or(|max| max > limit)
        {
            self.reject("max-scale", format!("from 1 to max-scale-limit ({limit})"));
        }
    }
}

/// One value of the ConfigMap that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// Its key.
    pub key: &'static str,
    /// The value, as written; empty if it is absent.
    pub value: String,
    /// What would be right: a phrase that goes after "is not".
    pub right: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?} is not {}", self.key, self.value, self.right)
    }
}

impl std::error::Error for BadValue {}

#[cfg(test)]
mod tests;
