//! What a revision's annotations may say to the autoscaler, and the check of it.
//!
//! Source: spec/autoscaler.md §2. A key may have an older spelling; the first one wins if
//! both are there.

use std::time::Duration;

use penstock_types::annotation::{Annotations, Rejected};

use crate::config::{Config, HPA, KPA, WINDOW, burst_capacity, stable_window};
use crate::literal::{count, duration, number_unless, number_within, whole_seconds};

/// One annotation: its name, and its older spelling if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    name: &'static str,
    alias: Option<&'static str>,
}

/// Defines the keys under the autoscaler's prefix.
macro_rules! keys {
    ($($key:ident = $name:literal $(, $alias:literal)?;)*) => {$(
        pub(crate) const $key: Key = Key {
            name: concat!("autoscaling.knative.dev/", $name),
            alias: keys!(@alias $($alias)?),
        };
    )*
        /// All keys under the prefix.
        const KEYS: &[Key] = &[$($key),*];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some(concat!("autoscaling.knative.dev/", $alias)) };
}

keys! {
    CLASS = "class";
    METRIC = "metric";
    MIN_SCALE = "min-scale", "minScale";
    MAX_SCALE = "max-scale", "maxScale";
    INITIAL_SCALE = "initial-scale", "initialScale";
    ACTIVATION_SCALE = "activation-scale";
    SCALE_DOWN_DELAY = "scale-down-delay", "scaleDownDelay";
    RETENTION = "scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod";
    TARGET = "target";
    TARGET_UTILIZATION = "target-utilization-percentage", "targetUtilizationPercentage";
    TARGET_BURST_CAPACITY = "target-burst-capacity", "targetBurstCapacity";
    STABLE_WINDOW = "window";
    PANIC_WINDOW = "panic-window-percentage", "panicWindowPercentage";
    PANIC_THRESHOLD = "panic-threshold-percentage", "panicThresholdPercentage";
    AGGREGATION = "metric-aggregation-algorithm", "metricAggregationAlgorithm";
}

/// The one key of another prefix that the autoscaler reads.
pub(crate) const PROGRESS_DEADLINE: Key = Key {
    name: "serving.knative.dev/progress-deadline",
    alias: None,
};

impl Key {
    /// The annotation as it was written: key and value.
    pub(crate) fn find(self, annotations: &Annotations) -> Option<(&str, &str)> {
        [Some(self.name), self.alias]
            .into_iter()
            .flatten()
            .find_map(|key| annotations.get_key_value(key))
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What the annotation says, if it is there and makes sense.
    pub(crate) fn read<T>(
        self,
        annotations: &Annotations,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.find(annotations).and_then(|(_, value)| parse(value))
    }
}

/// The names of all annotations that the autoscaler reads, in their present spelling.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .map(|key| key.name)
        .chain([PROGRESS_DEADLINE.name])
}

/// Every spelling of them that is under the autoscaler's prefix.
pub fn spellings() -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .flat_map(|key| [Some(key.name), key.alias])
        .flatten()
}

/// Checks every annotation that the autoscaler reads, and returns all that are wrong.
///
/// Annotations that are not the autoscaler's are passed over.
pub fn validate(annotations: &Annotations, config: &Config) -> Vec<Rejected> {
    let mut check = Check {
        annotations,
        rejected: Vec::new(),
    };
    check.class_and_metric(config);
    check.scales(config);
    check.times();
    check.numbers();
    check.rejected
}

/// As [`validate`], where there is no controller but this autoscaler: a class that another one would
/// scale is nobody's, and whoever asks for it (to be scaled by processor, say) has to hear that.
pub fn validate_alone(annotations: &Annotations, config: &Config) -> Vec<Rejected> {
    let mut rejected = validate(annotations, config);
    let (key, class, whose) = match CLASS.find(annotations) {
        Some((key, class)) => (key, class, ""),
        None => (
            CLASS.name,
            config.class.as_str(),
            ", which is the cluster's pod-autoscaler-class,",
        ),
    };
    let is_told = |one: &Rejected| one.keys.iter().any(|told| told == key);
    if class != KPA && !rejected.iter().any(is_told) {
        rejected.push(Rejected {
            keys: vec![key.to_owned()],
            reason: format!(
                "{class:?}{whose} is not {KPA}, the only class that is scaled here: by requests in \
                 flight or per second, not by processor or memory"
            ),
        });
    }
    rejected
}

/// The longest delay and the longest retention.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// The annotations that are checked, and what was wrong with them so far.
struct Check<'a> {
    annotations: &'a Annotations,
    rejected: Vec<Rejected>,
}

impl Check<'_> {
    fn class_and_metric(&mut self, config: &Config) {
        let written = CLASS.find(self.annotations).map(|(_, class)| class);
        self.expect(
            CLASS,
            "kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev or a class of another domain",
            |class| (!class.ends_with(".knative.dev") || [KPA, HPA].contains(&class)).then_some(()),
        );
        match written.unwrap_or(&config.class) {
            KPA => self.expect(METRIC, "concurrency or rps", |metric| {
                ["concurrency", "rps"].contains(&metric).then_some(())
            }),
            HPA => self.expect(METRIC, "cpu, memory or the name of a metric", |metric| {
                (!metric.is_empty()).then_some(())
            }),
            _ => None,
        };
        if written == Some(KPA) {
            self.expect(AGGREGATION, "linear or weighted-exponential", |algorithm| {
                ["", "linear", "weighted-exponential", "weightedExponential"]
                    .contains(&algorithm)
                    .then_some(())
            });
        }
    }

    fn scales(&mut self, config: &Config) {
        let a_count = "a whole number from 0 to 2147483647";
        let min = self.expect(MIN_SCALE, a_count, count).unwrap_or(0);
        match config.max_scale_limit {
            None => self.expect(MAX_SCALE, a_count, count),
            Some(limit) => {
                let right = format!("a whole number from 1 to max-scale-limit ({limit})");
                self.expect(MAX_SCALE, &right, |text| {
                    count(text).filter(|max| (1..=limit).contains(max))
                })
            }
        };
        // One beyond the limit is a maximum for the others all the same.
        let max = MAX_SCALE.read(self.annotations, count);
        let max = max.filter(|&max| max > 0);
        if let Some(max) = max
            && max < min
        {
            self.rejected.push(Rejected {
                keys: vec![MAX_SCALE.name.to_owned(), MIN_SCALE.name.to_owned()],
                reason: format!(
                    "a maximum of {max} is below the minimum of {min}; it has to be 0 (no limit) or at least {min}"
                ),
            });
        }

        // Read with 64 bits: so many pods pass here, though the limit at run time is lower.
        let (least, right) = if config.allow_zero_initial_scale {
            (0, "a whole number from 0")
        } else {
            (
                1,
                "a whole number from 1 (0 needs allow-zero-initial-scale)",
            )
        };
        self.expect(INITIAL_SCALE, right, |text| {
            text.parse::<i64>().ok().filter(|&pods| pods >= least)
        });

        let least = min.max(2);
        let most = max.unwrap_or(i32::MAX.unsigned_abs());
        let right =
            format!("a whole number from 2, within min-scale ({min}) and max-scale ({most})");
        self.expect(ACTIVATION_SCALE, &right, |text| {
            count(text).filter(|&pods| pods >= least && pods <= most)
        });
    }

    fn times(&mut self) {
        self.expect(
            SCALE_DOWN_DELAY,
            "a duration from 0s to 1h in whole seconds",
            |text| whole_seconds(text).filter(|&delay| delay <= AN_HOUR),
        );
        self.expect(RETENTION, "a duration from 0s to 1h", |text| {
            duration(text).filter(|&retention| retention <= AN_HOUR)
        });
        self.expect(STABLE_WINDOW, WINDOW, stable_window);
        self.expect(
            PROGRESS_DEADLINE,
            "a duration from 1s in whole seconds",
            |text| whole_seconds(text).filter(|deadline| !deadline.is_zero()),
        );
    }

    fn numbers(&mut self) {
        self.expect(TARGET, "a number from 0.01", |text| {
            number_unless(text, |value| value < 0.01)
        });
        self.expect(
            TARGET_BURST_CAPACITY,
            "a number from 0, or -1 for no limit",
            burst_capacity,
        );
        for (key, range) in [
            (TARGET_UTILIZATION, 1.0..=100.0),
            (PANIC_WINDOW, 1.0..=100.0),
            (PANIC_THRESHOLD, 110.0..=1000.0),
        ] {
            let right = format!("a percentage from {} to {}", range.start(), range.end());
            self.expect(key, &right, |text| number_within(text, range));
        }
    }

    /// The value of `key`, if it is there and right; if it is wrong it is rejected.
    fn expect<T>(
        &mut self,
        key: Key,
        right: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let (key, value) = key.find(self.annotations)?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.rejected.push(Rejected {
                keys: vec![key.to_owned()],
                reason: format!("{value:?} is not {right}"),
            });
        }
        parsed
    }
}

#[cfg(test)]
mod tests;
