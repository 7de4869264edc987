//! The parameters of one revision: the cluster's defaults under what its annotations say.
//!
//! Source: spec/autoscaler.md §3.

use std::time::Duration;

use penstock_types::annotation::Annotations;
use penstock_types::{Reachability, Slots};

use crate::annotation as key;
use crate::config::{BurstCapacity, Config, burst_capacity, limit, stable_window};
use crate::literal::{count, duration, number};

/// What is measured and aimed at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Requests in flight.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
}

/// How the figures of a window become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// All seconds count alike.
    #[default]
    Linear,
    /// Recent seconds count more.
    Weighted,
}

/// All parameters of one revision.
///
/// Loads (`total`, `target`, `burst_capacity`) are in units of `metric`: requests in flight, or
/// requests per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What is measured.
    pub metric: Metric,
    /// Load that one pod can take.
    pub total: f64,
    /// Load that is aimed at per pod, at least 0.01.
    pub target: f64,
    /// How the windows are averaged.
    pub aggregation: Aggregation,
    /// Time over which the stable average is taken.
    pub stable_window: Duration,
    /// Time over which the panic average is taken.
    pub panic_window: Duration,
    /// Demand as a multiple of capacity from which there is panic.
    pub panic_threshold: f64,
    /// Most pods after one decision, as a multiple of the ready ones.
    pub max_scale_up_rate: f64,
    /// Fewest pods after one decision, as a divisor of the ready ones.
    pub max_scale_down_rate: f64,
    /// Room that takes the activator out of the path.
    pub burst_capacity: BurstCapacity,
    /// Load that one activator can hold.
    pub activator_capacity: f64,
    /// Fewest pods as soon as there is any load.
    pub activation_scale: Option<u32>,
    /// Time for which demand has to be low before pods go.
    pub scale_down_delay: Duration,
    /// Whether traffic can reach the revision.
    pub reachability: Reachability,
    /// Pods to begin with.
    pub initial_scale: u32,
    /// Fewest pods; 0 while the revision is unreachable.
    pub min_scale: u32,
    /// Most pods.
    pub max_scale: Option<u32>,
    /// Whether the last pod may go.
    pub scale_to_zero: bool,
    /// Time between taking the last pod out of the path and removing it.
    pub grace: Duration,
    /// Time for which the last pod stays at least; zero while the revision is unreachable.
    pub retention: Duration,
    /// Time in which a first pod has to come up.
    pub progress_deadline: Duration,
    /// Whether the original's observed mistakes are kept; see [`Config::compatible`].
    pub compatible: bool,
}

impl Spec {
    /// Derives the parameters. An annotation that does not parse counts as absent: to refuse
    /// it is the business of [`validate`](crate::annotation::validate).
    pub fn derive(
        config: &Config,
        annotations: &Annotations,
        slots: Slots,
        reachability: Reachability,
    ) -> Self {
        let metric = match key::METRIC.find(annotations) {
            Some((_, "rps")) => Metric::Rps,
            _ => Metric::Concurrency,
        };
        let (total, target) = capacity(config, annotations, slots, metric);
        let stable_window = key::STABLE_WINDOW
            .read(annotations, stable_window)
            .unwrap_or(config.stable_window);
        let reachable = reachability != Reachability::Unreachable;
        let percent = |key: key::Key, default| key.read(annotations, number).unwrap_or(default);
        Self {
            metric,
            total,
            target,
            aggregation: match key::AGGREGATION.find(annotations) {
                Some((_, "weighted-exponential" | "weightedExponential")) => Aggregation::Weighted,
                _ => Aggregation::Linear,
            },
            stable_window,
            panic_window: panic_window(
                stable_window,
                percent(key::PANIC_WINDOW, config.panic_window_percentage),
            ),
            panic_threshold: percent(key::PANIC_THRESHOLD, config.panic_threshold_percentage)
                / 100.0,
            max_scale_up_rate: config.max_scale_up_rate,
            max_scale_down_rate: config.max_scale_down_rate,
            burst_capacity: key::TARGET_BURST_CAPACITY
                .read(annotations, burst_capacity)
                .unwrap_or(config.burst_capacity),
            activator_capacity: config.activator_capacity,
            activation_scale: key::ACTIVATION_SCALE
                .read(annotations, count)
                .filter(|&pods| pods > 1),
            scale_down_delay: key::SCALE_DOWN_DELAY
                .read(annotations, duration)
                .unwrap_or(config.scale_down_delay),
            reachability,
            initial_scale: key::INITIAL_SCALE
                .read(annotations, count)
                .filter(|&pods| pods > 0 || config.allow_zero_initial_scale)
                .unwrap_or(config.initial_scale),
            min_scale: if reachable {
                key::MIN_SCALE
                    .read(annotations, count)
                    .unwrap_or(config.min_scale)
            } else {
                0
            },
            max_scale: key::MAX_SCALE
                .read(annotations, limit)
                .unwrap_or(config.max_scale),
            scale_to_zero: config.scale_to_zero,
            grace: config.grace,
            retention: if reachable {
                key::RETENTION
                    .read(annotations, duration)
                    .unwrap_or(config.retention)
            } else {
                Duration::ZERO
            },
            progress_deadline: key::PROGRESS_DEADLINE
                .read(annotations, duration)
                .unwrap_or(config.progress_deadline),
            compatible: config.compatible,
        }
    }

    /// Whether anybody can reach the revision, as far as is known.
    pub fn is_reachable(&self) -> bool {
        self.reachability != Reachability::Unreachable
    }

    /// Whether the pods' own figures are collected. They are not where the activator is always
    /// in the path, for it has counted every request already.
    pub fn is_scraped(&self) -> bool {
        self.burst_capacity != BurstCapacity::Unlimited
    }
}

/// What one pod can take, and what of it is aimed at.
fn capacity(
    config: &Config,
    annotations: &Annotations,
    slots: Slots,
    metric: Metric,
) -> (f64, f64) {
    let written = key::TARGET.read(annotations, number);
    let (total, fraction) = match (metric, slots) {
        (Metric::Rps, _) => (written.unwrap_or(config.rps_target), 0.7),
        (Metric::Concurrency, Slots::Unlimited) => (
            written.unwrap_or(config.concurrency_target),
            config.target_fraction,
        ),
        (Metric::Concurrency, Slots::Limited(slots)) => {
            let slots = f64::from(slots.get());
            (
                written.map_or(slots, |written| written.min(slots)),
                config.target_fraction,
            )
        }
    };
    let fraction = key::TARGET_UTILIZATION
        .read(annotations, number)
        .map_or(fraction, |percent| percent / 100.0);
    (total, (total * fraction).max(0.01))
}

/// A part of the stable window, to the nearest second; at least one, at most all of it.
fn panic_window(stable: Duration, percentage: f64) -> Duration {
    let nanos = stable.as_nanos() as f64 * percentage / 100.0;
    let seconds = (nanos as u64).saturating_add(500_000_000) / 1_000_000_000;
    Duration::from_secs(seconds.clamp(1, stable.as_secs().max(1)))
}

#[cfg(test)]
mod tests;
