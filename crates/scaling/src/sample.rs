//! Reading some pods instead of all: how many are enough, and what they say about the rest.
//!
//! Source: spec/autoscaler.md §4.6.

use penstock_types::request_stats::Report;

/// Pods to read out of so many, to be 95% sure of a mean that is good enough: all of up to
/// three, most of a few, and never more than 16.
pub fn sample_size(pods: u32) -> u32 {
    /// (z-score of 95%)² × the variance that is assumed / (the margin)².
    const SUFFICIENT: f64 = 1.96 * 1.96 * 100.0 / 25.0;
    if pods <= 3 {
        return pods;
    }
    let pods = f64::from(pods);
    (pods * SUFFICIENT / (pods + SUFFICIENT - 1.0)).ceil() as u32
}

/// What all `pods` together report, if each is like the mean of the `sampled` ones. Nothing
/// if none was sampled.
pub fn extrapolate(sampled: &[Report], pods: u32) -> Report {
    if sampled.is_empty() {
        return Report::default();
    }
    let (read, pods) = (sampled.len() as f64, f64::from(pods));
    let all = |field: fn(&Report) -> f64| sampled.iter().map(field).sum::<f64>() / read * pods;
    Report {
        average_concurrency: all(|report| report.average_concurrency),
        average_proxied_concurrency: all(|report| report.average_proxied_concurrency),
        request_count: all(|report| report.request_count),
        proxied_request_count: all(|report| report.proxied_request_count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pods_are_read_all_and_many_are_sampled() {
        for (pods, want) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (5, 4),
            (10, 7),
            (100, 14),
            (1000, 16),
        ] {
            assert_eq!(sample_size(pods), want, "{pods}");
        }
    }

    #[test]
    fn the_mean_of_the_sample_stands_for_all() {
        let concurrency = |average_concurrency| Report {
            average_concurrency,
            ..Report::default()
        };
        let three = [3.0, 5.0, 3.0].map(concurrency);
        assert_eq!(extrapolate(&three, 3), concurrency(11.0));
        let four = [2.0, 4.0, 6.0, 8.0].map(concurrency);
        assert_eq!(extrapolate(&four, 5), concurrency(25.0));
        assert_eq!(extrapolate(&[], 5), Report::default());
    }
}
