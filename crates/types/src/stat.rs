//! What queue-proxies and activators tell an autoscaler, byte for byte as Knative's know it.
//!
//! Source: spec/queue-proxy.md §6, spec/activator.md §5.4, spec/autoscaler.md §4.3 (proto3 package
//! `metrics`). Fields are written in ascending order; one that is zero is left out.

use prost::Message;

use crate::request_stats::Report;

/// The figures of one pod, or of one activator about one revision.
#[derive(Clone, PartialEq, Message)]
pub struct Stat {
    /// Who reports.
    #[prost(string, tag = "1")]
    pub pod_name: String,
    /// Mean number of requests in flight since the last report.
    #[prost(double, tag = "2")]
    pub average_concurrent_requests: f64,
    /// Of these, the mean number that an activator had forwarded and reports itself.
    #[prost(double, tag = "3")]
    pub average_proxied_concurrent_requests: f64,
    /// Requests that arrived, per second.
    #[prost(double, tag = "4")]
    pub request_count: f64,
    /// Of these, the ones that an activator had forwarded.
    #[prost(double, tag = "5")]
    pub proxied_request_count: f64,
    /// Seconds since the reporter was made.
    #[prost(double, tag = "6")]
    pub process_uptime: f64,
    /// Unix time in seconds; 0 if it is for the receiver to fill in.
    #[prost(int64, tag = "7")]
    pub timestamp: i64,
}

impl Stat {
    /// The figures of `report`, which covers `period` seconds. Counts are divided by the period;
    /// averages are not, having been formed over the time that really passed.
    pub fn of(pod_name: &str, report: Report, period: f64, uptime: f64) -> Self {
        Self {
            pod_name: pod_name.to_owned(),
            average_concurrent_requests: report.average_concurrency,
            average_proxied_concurrent_requests: report.average_proxied_concurrency,
            request_count: report.request_count / period,
            proxied_request_count: report.proxied_request_count / period,
            process_uptime: uptime,
            timestamp: 0,
        }
    }
}

/// A [`Stat`] and the revision that it is about, within one frame of the WebSocket.
#[derive(Clone, PartialEq, Message)]
pub struct WireStatMessage {
    /// Namespace of the revision.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Name of the revision.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The figures; a message without them is skipped.
    #[prost(message, optional, tag = "3")]
    pub stat: Option<Stat>,
}

/// One binary frame of the WebSocket to an autoscaler.
#[derive(Clone, PartialEq, Message)]
pub struct WireStatMessages {
    /// All that is told at once.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<WireStatMessage>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cases_37_to_39_counts_are_per_second_and_averages_as_they_are() {
        let report = Report {
            average_concurrency: 3.0,
            average_proxied_concurrency: 2.0,
            request_count: 39.0,
            proxied_request_count: 15.0,
        };
        // period in seconds, requests per second, proxied ones
        for (period, count, proxied) in [(1.0, 39.0, 15.0), (10.0, 3.9, 1.5), (2.0, 19.5, 7.5)] {
            let stat = Stat::of("pod-x", report, period, 5.5);
            let want = Stat {
                pod_name: "pod-x".to_owned(),
                average_concurrent_requests: 3.0,
                average_proxied_concurrent_requests: 2.0,
                request_count: count,
                proxied_request_count: proxied,
                process_uptime: 5.5,
                timestamp: 0,
            };
            assert_eq!(stat, want, "{period}");
        }
    }

    /// What a scraper reads of an answer at most (spec/queue-proxy.md §6).
    const SCRAPED: usize = 336;

    fn stats() -> impl Strategy<Value = Stat> {
        let figures =
            prop::array::uniform5(any::<f64>().prop_filter("no number", |it| !it.is_nan()));
        // No pod's name is longer.
        ("[a-z0-9.-]{0,253}", figures, any::<i64>()).prop_map(|(pod_name, figures, timestamp)| {
            let [average, proxied_average, count, proxied_count, uptime] = figures;
            Stat {
                pod_name,
                average_concurrent_requests: average,
                average_proxied_concurrent_requests: proxied_average,
                request_count: count,
                proxied_request_count: proxied_count,
                process_uptime: uptime,
                timestamp,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_back_and_fits_into_what_is_scraped(stat in stats()) {
            let bytes = stat.encode_to_vec();
            prop_assert!(bytes.len() <= SCRAPED, "{} bytes", bytes.len());
            prop_assert_eq!(Stat::decode(&*bytes), Ok(stat));
        }

        #[test]
        fn a_frame_is_read_back_and_no_part_of_it_is_taken_for_more(
            stats in prop::collection::vec(stats(), 1..4),
            cut: prop::sample::Index,
        ) {
            let message = |stat| WireStatMessage {
                namespace: "ns".to_owned(),
                name: "rev".to_owned(),
                stat: Some(stat),
            };
            let frame = WireStatMessages {
                messages: stats.into_iter().map(message).collect(),
            };
            let bytes = frame.encode_to_vec();
            if let Ok(part) = WireStatMessages::decode(&bytes[..cut.index(bytes.len())]) {
                // It ends between two messages then.
                let whole = part.messages.len();
                prop_assert_eq!(&part.messages[..], &frame.messages[..whole]);
                prop_assert!(whole < frame.messages.len());
            }
            prop_assert_eq!(WireStatMessages::decode(&*bytes), Ok(frame));
        }

        #[test]
        fn whatever_is_read_is_told_again_in_no_more_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(frame) = WireStatMessages::decode(&*bytes) {
                // Nothing grows out of what somebody sends; fields that are unknown are left out.
                prop_assert!(frame.encode_to_vec().len() <= bytes.len());
            }
        }
    }
}
