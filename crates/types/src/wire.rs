//! A frame from an activator to an autoscaler: Knative's message, and what we add to it.
//!
//! Without the additions a frame is byte for byte a `WireStatMessages`. The additions are fields
//! that Knative's messages do not have. They are written only where the other side said in the
//! handshake that it knows them ([`DEMAND_EXTENSION`](crate::header::DEMAND_EXTENSION)).
//!
//! Source: spec/autoscaler.md §4.3; the additions are ours.

use prost::Message;

use crate::RevisionId;
use crate::demand::Demand;
use crate::stat::Stat;

/// True numbers at the moment of a report.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Present {
    /// Requests waiting for a slot.
    #[prost(uint32, tag = "1")]
    pub waiting: u32,
    /// Requests inside a pod.
    #[prost(uint32, tag = "2")]
    pub in_flight: u32,
    /// Whether it is the first word of a revision that was not tracked.
    #[prost(bool, tag = "3")]
    pub first: bool,
}

/// What is told of one revision.
#[derive(Clone, PartialEq, Message)]
pub struct FrameMessage {
    /// Namespace of the revision.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Name of the revision.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The figures; a message without them is skipped.
    #[prost(message, optional, tag = "3")]
    pub stat: Option<Stat>,
    /// Ours: the numbers of now.
    #[prost(message, optional, tag = "15")]
    pub present: Option<Present>,
}

/// One binary frame of the WebSocket.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// All that is told at once.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<FrameMessage>,
    /// Ours: whether it is all that the sender has, so that who is not in it has no requests there.
    #[prost(bool, tag = "15")]
    pub whole: bool,
}

impl Frame {
    /// The frame of `reports` from `pod_name`; with `additions` only to those who know them.
    pub fn of(reports: &[Demand], pod_name: &str, additions: bool) -> Self {
        let whole = reports.is_empty() || reports.iter().any(|report| !report.first);
        let messages = reports.iter().map(|report| FrameMessage {
            namespace: report.revision.namespace().to_owned(),
            name: report.revision.name().to_owned(),
            stat: Some(Stat {
                pod_name: pod_name.to_owned(),
                average_concurrent_requests: report.average_concurrency,
                average_proxied_concurrent_requests: report.average_proxied_concurrency,
                request_count: report.request_count,
                proxied_request_count: report.proxied_request_count,
                process_uptime: 0.0,
                timestamp: 0,
            }),
            present: additions.then_some(Present {
                waiting: report.waiting,
                in_flight: report.in_flight,
                first: report.first,
            }),
        });
        Self {
            messages: messages.collect(),
            whole: additions && whole,
        }
    }
}

impl FrameMessage {
    /// Whom it is about.
    pub fn revision(&self) -> RevisionId {
        RevisionId::new(self.namespace.as_str(), self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::WireStatMessages;

    fn report(average: f64, count: f64) -> Demand {
        Demand {
            revision: RevisionId::new("ns", "rev"),
            average_concurrency: average,
            average_proxied_concurrency: 0.0,
            request_count: count,
            proxied_request_count: 0.0,
            waiting: 200,
            in_flight: 3,
            first: true,
        }
    }

    #[test]
    fn without_additions_the_bytes_are_those_of_the_contract() {
        let table = [
            (
                report(1.0, 1.0),
                "0a220a026e7312037265761a170a0361637411000000000000f03f21000000000000f03f",
            ),
            (report(0.0, 0.0), "0a100a026e7312037265761a050a03616374"),
            (
                report(0.0, -1.0),
                "0a190a026e7312037265761a0e0a0361637421000000000000f0bf",
            ),
        ];
        for (report, want) in table {
            let bytes = Frame::of(&[report], "act", false).encode_to_vec();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, want);
        }
    }

    #[test]
    fn additions_are_skipped_by_those_who_do_not_know_them() {
        let frame = Frame::of(&[report(1.0, 1.0)], "act", true);
        let bytes = frame.encode_to_vec();
        assert_eq!(Frame::decode(&bytes[..]), Ok(frame));
        let plain = WireStatMessages::decode(&bytes[..]).unwrap();
        let wanted = Frame::of(&[report(1.0, 1.0)], "act", false).encode_to_vec();
        assert_eq!(plain.encode_to_vec(), wanted);
    }

    #[test]
    fn an_empty_table_is_whole_and_a_first_word_is_none() {
        assert!(Frame::of(&[], "act", true).whole);
        assert!(!Frame::of(&[report(1.0, 1.0)], "act", true).whole);
        assert!(Frame::of(&[], "act", false).encode_to_vec().is_empty());
    }
}
