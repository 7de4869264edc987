//! The rule, one decision at a time: `up.rs` and `down.rs` what a load brings and takes, `known.rs`
//! what is made of silence, restarts, absurd words and new parameters.

mod down;
mod known;
mod up;

use std::collections::BTreeMap;

use penstock_types::Reachability;

use super::*;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::from_secs(1_700_000_000);

/// A configuration under which a revision begins without a pod.
fn config() -> Config {
    Config {
        allow_zero_initial_scale: true,
        initial_scale: 0,
        ..Config::default()
    }
}

/// Names without their prefix, and values.
type Annotations<'a> = &'a [(&'a str, &'a str)];

fn spec(slots: u32, annotations: Annotations) -> (Spec, Slots) {
    derive(&config(), slots, annotations, Reachability::Reachable)
}

fn derive(
    config: &Config,
    slots: u32,
    annotations: Annotations,
    reachability: Reachability,
) -> (Spec, Slots) {
    let annotations: BTreeMap<String, String> = annotations
        .iter()
        .map(|(key, value)| {
            (
                format!("autoscaling.knative.dev/{key}"),
                (*value).to_owned(),
            )
        })
        .collect();
    let slots = Slots::from_concurrency(slots);
    (
        Spec::derive(config, &annotations, slots, reachability),
        slots,
    )
}

fn begin((spec, slots): (Spec, Slots), pods: u32) -> Decider {
    Decider::new(spec, slots, pods, NOW)
}

fn at(second: u32) -> Duration {
    NOW + SECOND * second
}

fn first(waiting: u32) -> Load {
    Load {
        average: None,
        waiting,
        in_flight: 0,
    }
}

fn running(requests: u32) -> Load {
    Load {
        average: Some(f64::from(requests)),
        waiting: 0,
        in_flight: requests,
    }
}

const NOTHING: Load = Load {
    average: Some(0.0),
    waiting: 0,
    in_flight: 0,
};
