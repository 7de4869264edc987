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
}
