//! §5, step by step, and §6's initial status.

use std::collections::BTreeMap;
use std::time::Duration;

use penstock_scaling::config::{BurstCapacity, Config};
use penstock_scaling::knative::Decider;
use penstock_scaling::load::Averages;
use penstock_scaling::spec::Spec;
use penstock_types::{Reachability, Slots};
use proptest::prelude::*;

/// What a decider remembers.
struct Model {
    panic_time: Option<f64>,
    peak: f64,
    /// Index and value of all that was recorded, if there is a delay window; its length in indices.
    delay: Option<(Vec<(u64, f64)>, u64)>,
}

impl Model {
    fn new(spec: &Spec, ready: u32, now: f64) -> Self {
        let delay = spec.scale_down_delay.as_secs_f64();
        Self {
            panic_time: (ready > 1).then_some(now),
            peak: f64::from(ready),
            delay: (delay > 0.0).then(|| (Vec::new(), (delay / 2.0).ceil() as u64)),
        }
    }

    /// Desired pods and excess burst capacity.
    fn tick(&mut self, spec: &Spec, s: f64, p: f64, ready: u32, now: f64) -> (f64, f64) {
        let reachable = spec.reachability != Reachability::Unreachable;
        let r0 = f64::from(ready);
        let r = r0.max(1.0);
        let up = (spec.max_scale_up_rate * r).ceil();
        let down = match reachable {
            true => (r / spec.max_scale_down_rate).floor(),
            false => 0.0,
        };
        let ds = (s / spec.target).ceil();
        let dp = (p / spec.target).ceil();
        let mut a = ds.max(down).min(up).trunc();
        let mut b = dp.max(down).min(up).trunc();
        if let Some(activation) = spec.activation_scale.map(f64::from) {
            if ds > 0.0 {
                a = a.max(activation);
            }
            if dp > 0.0 {
                b = b.max(activation);
            }
        }
        let over = dp / r >= spec.panic_threshold;
        if over {
            self.panic_time = Some(now);
        } else if let Some(since) = self.panic_time
            && since + spec.stable_window.as_secs_f64() < now
        {
            self.panic_time = None;
            self.peak = 0.0;
        }
        let mut desired = a;
        if self.panic_time.is_some() {
            self.peak = self.peak.max(a).max(b);
            desired = self.peak;
        }
        if reachable && let Some((recorded, n)) = &mut self.delay {
            let newest = now as u64 / 2;
            recorded.push((newest, desired));
            let remembered = recorded.iter().filter(|(index, _)| index + *n > newest);
            desired = remembered.map(|(_, value)| *value).fold(0.0, f64::max);
        }
        let ebc = match spec.burst_capacity {
            BurstCapacity::Of(0.0) => 0.0,
            BurstCapacity::Of(tbc) => (r0 * spec.total - tbc - p).floor(),
            BurstCapacity::Unlimited => -1.0,
        };
        (desired, ebc)
    }
}

prop_compose! {
    fn specs()(
        target in prop_oneof![Just(0.01), Just(1.0), Just(10.0), 0.01..300.0_f64],
        over_target in 1.0..3.0_f64,
        up in prop_oneof![Just(1.001), Just(1000.0), Just(1.1), 1.01..20.0_f64],
        down in prop_oneof![Just(1.0001), Just(2.0), 1.01..20.0_f64],
        tbc in prop_oneof![Just(-1.0), Just(0.0), Just(0.5), Just(1e6), 0.0..500.0_f64],
        threshold in prop_oneof![Just(2.0), Just(1.1), Just(10.0), Just(0.0), Just(-0.05)],
        window in prop_oneof![Just(6_u64), Just(60), 6..600_u64],
        delay in prop_oneof![2 => Just(0_u64), 1 => Just(1), 2 => 1..300_u64],
        reachable in prop::bool::weighted(0.85),
        activation in prop_oneof![3 => Just(None), 1 => (2..9_u32).prop_map(Some)],
    ) -> Spec {
        let derived = Spec::derive(
            &Config::default(),
            &BTreeMap::new(),
            Slots::Unlimited,
            if reachable { Reachability::Unknown } else { Reachability::Unreachable },
        );
        Spec {
            total: target * over_target,
            target,
            max_scale_up_rate: up,
            max_scale_down_rate: down,
            burst_capacity: BurstCapacity::from_contract(tbc),
            panic_threshold: threshold,
            stable_window: Duration::from_secs(window),
            scale_down_delay: Duration::from_secs(delay),
            activation_scale: activation,
            ..derived
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Milliseconds later, both averages, ready pods.
    Tick(u64, f64, f64, u32),
    Update(Box<Spec>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let load = || {
        prop_oneof![
            3 => Just(0.0),
            1 => -40.0..0.0_f64,
            4 => 0.0..100.0_f64,
            2 => 0.0..5000.0_f64,
            // So that quotients are whole.
            2 => (0..50_u32).prop_map(|n| f64::from(n) * 10.0),
            1 => Just(1e308),
        ]
    };
    let later = prop_oneof![5 => Just(2_000_u64), 1 => 0..200_u64, 1 => 1_000..700_000_u64];
    let ready = prop_oneof![3 => 0..4_u32, 2 => 0..60_u32, 1 => Just(1000)];
    let tick = (later, load(), load(), ready).prop_map(|(t, s, p, r)| Op::Tick(t, s, p, r));
    let op = prop_oneof![20 => tick, 1 => specs().prop_map(|spec| Op::Update(Box::new(spec)))];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn decisions_are_those_of_the_contract(spec in specs(), created in 0..5_u32, ops in ops()) {
        // A whole number of seconds, so that both sides count alike.
        let mut millis = 946_684_800_000_u64;
        let mut spec = spec;
        let mut model = Model::new(&spec, created, millis as f64 / 1e3);
        let mut real = Decider::new(spec.clone(), created, Duration::from_millis(millis));
        for op in ops {
            match op {
                Op::Update(new) => {
                    spec = *new;
                    real.update(spec.clone());
                }
                Op::Tick(later, stable, panic, ready) => {
                    millis += later;
                    let now = Duration::from_millis(millis);
                    let (desired, ebc) =
                        model.tick(&spec, stable, panic, ready, millis as f64 / 1e3);
                    let got = real.decide(Averages { stable, panic }, ready, now);
                    prop_assert_eq!(f64::from(got.desired), desired);
                    prop_assert_eq!(got.excess_burst_capacity, ebc as i32);
                    prop_assert_eq!(real.is_panicking(), model.panic_time.is_some());
                    prop_assert_eq!(f64::from(real.peak()), model.peak);
                }
            }
        }
    }
}
