//! How long each stage of a cold start took: what no peer exports.
//!
//! demand seen → decided → started → ready → first byte, told once for each pod that was started
//! while a request waited for it, by the first request that it answered.

use std::time::{Duration, Instant};

use prometheus::{HistogramOpts, HistogramVec, Registry};

/// The stages, in their order.
const STAGES: [&str; 4] = ["decide", "start", "ready", "first_byte"];

/// Durations by stage.
#[derive(Clone, Debug)]
pub(crate) struct ColdStarts(HistogramVec);

impl ColdStarts {
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        // 0.25 ms to 131 s: our own part takes a millisecond, a container with its image minutes.
        let buckets = prometheus::exponential_buckets(0.000_25, 2.0, 20)?;
        let help = "Cold start by stage: decide (demand seen to pod asked for), start (to its \
                    container started), ready (to its probe passed), first_byte (to its answer), \
                    total";
        let opts = HistogramOpts::new("penstock_cold_start_duration_seconds", help);
        let histogram = HistogramVec::new(opts.buckets(buckets), &["stage"])?;
        for stage in STAGES.iter().chain(&["total"]) {
            let _ = histogram.with_label_values(&[*stage]);
        }
        registry.register(Box::new(histogram.clone()))?;
        Ok(Self(histogram))
    }

    /// Tells of one: when the demand was seen, the pod asked for, started and ready, and the
    /// first byte of its answer came. A stage that was over before the demand took no time.
    pub(crate) fn observe(&self, seen: Instant, pod: [Instant; 3], first_byte: Instant) {
        let [asked, started, ready] = pod;
        let marks = [seen, asked, started, ready, first_byte];
        for (stage, pair) in STAGES.iter().zip(marks.windows(2)) {
            let took = pair[1].saturating_duration_since(pair[0].max(seen));
            self.tell(stage, took);
        }
        self.tell("total", first_byte.saturating_duration_since(seen));
    }

    fn tell(&self, stage: &str, took: Duration) {
        self.0
            .with_label_values(&[stage])
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up_to_the_total_and_what_was_before_counts_nothing() {
        let registry = Registry::new();
        let cold = ColdStarts::register(&registry).unwrap();
        let t0 = Instant::now();
        let at = |millis| t0 + Duration::from_millis(millis);
        // Asked for at 0, before the demand at 10.
        cold.observe(at(10), [at(0), at(12), at(30)], at(33));
        let sum = |stage| cold.0.with_label_values(&[stage]).get_sample_sum();
        let millis = |stage| (sum(stage) * 1000.0).round();
        assert_eq!(
            STAGES.map(millis),
            [0.0, 2.0, 18.0, 3.0],
            "decide, start, ready, first byte"
        );
        assert_eq!(millis("total"), 23.0);
    }
}
