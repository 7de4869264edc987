//! Golden vectors: statistics and wire messages against what Knative Serving was observed to do.
//!
//! The files lie in `tests/vectors` of the repository, or where `PENSTOCK_VECTORS` says; their
//! README tells what each part means.

#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::path::PathBuf;
use std::time::Duration;

use penstock_types::request_stats::RequestStats;
use penstock_types::stat::{Stat, WireStatMessage, WireStatMessages};
use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn read<T: DeserializeOwned>(file: &str) -> T {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests may have vectors of their own"
    )]
    let folder = std::env::var("PENSTOCK_VECTORS").map_or_else(
        |_| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[derive(Deserialize)]
struct Protobuf {
    stat: Vec<StatCase>,
    wire_stat_messages: Vec<WireCase>,
}

#[derive(Deserialize)]
struct StatCase {
    id: String,
    hex: String,
    #[serde(default)]
    canonical: bool,
    fields: Option<Fields>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
struct WireCase {
    id: String,
    hex: String,
    #[serde(default)]
    canonical: bool,
    messages: Option<Vec<OneMessage>>,
}

#[derive(Deserialize)]
struct OneMessage {
    namespace: String,
    name: String,
    stat: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    pod_name: String,
    average_concurrent_requests: f64,
    average_proxied_concurrent_requests: f64,
    request_count: f64,
    proxied_request_count: f64,
    process_uptime: f64,
    timestamp: i64,
}

impl From<Fields> for Stat {
    fn from(fields: Fields) -> Self {
        Self {
            pod_name: fields.pod_name,
            average_concurrent_requests: fields.average_concurrent_requests,
            average_proxied_concurrent_requests: fields.average_proxied_concurrent_requests,
            request_count: fields.request_count,
            proxied_request_count: fields.proxied_request_count,
            process_uptime: fields.process_uptime,
            timestamp: fields.timestamp,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn stats_are_read_and_written_byte_for_byte() {
    let cases = read::<Protobuf>("protobuf.json").stat;
    assert!(!cases.is_empty());
    for case in cases {
        let bytes = bytes(&case.hex);
        let read = Stat::decode(&bytes[..]);
        match case.fields.map(Stat::from) {
            None => assert!(read.is_err(), "{}", case.id),
            Some(_) if case.optional && read.is_err() => {}
            Some(want) => {
                assert_eq!(read.as_ref(), Ok(&want), "{}", case.id);
                if case.canonical {
                    assert_eq!(want.encode_to_vec(), bytes, "{}", case.id);
                }
            }
        }
    }
}

#[test]
fn frames_are_read_and_written_byte_for_byte() {
    let cases = read::<Protobuf>("protobuf.json").wire_stat_messages;
    assert!(!cases.is_empty());
    for case in cases {
        let bytes = bytes(&case.hex);
        let read = WireStatMessages::decode(&bytes[..]);
        let Some(messages) = case.messages else {
            assert!(read.is_err(), "{}", case.id);
            continue;
        };
        let messages = messages.into_iter().map(|message| WireStatMessage {
            namespace: message.namespace,
            name: message.name,
            stat: message.stat.map(Stat::from),
        });
        let want = WireStatMessages {
            messages: messages.collect(),
        };
        assert_eq!(read.as_ref(), Ok(&want), "{}", case.id);
        if case.canonical {
            assert_eq!(want.encode_to_vec(), bytes, "{}", case.id);
        }
    }
}

#[derive(Deserialize)]
struct Stats {
    request_stats: Vec<StatsCase>,
}

#[derive(Deserialize)]
struct StatsCase {
    id: String,
    ops: Vec<Vec<Value>>,
}

#[test]
fn cases_43_and_44_statistics_are_as_observed() {
    let cases = read::<Stats>("stats.json").request_stats;
    assert!(!cases.is_empty());
    for case in cases {
        // Some times lie before the tracker was made.
        let origin = Duration::from_secs(1);
        let mut stats = RequestStats::new(origin);
        for op in &case.ops {
            let number = |at: usize| op[at].as_f64().unwrap();
            let since = op[1].as_i64().unwrap();
            let by = Duration::from_micros(since.unsigned_abs());
            let now = if since < 0 { origin - by } else { origin + by };
            match op[0].as_str().unwrap() {
                "in" => stats.enter(now, false),
                "out" => stats.leave(now, false),
                "pin" => stats.enter(now, true),
                "pout" => stats.leave(now, true),
                "report" => {
                    let got = stats.report(now);
                    let got = [
                        got.average_concurrency,
                        got.average_proxied_concurrency,
                        got.request_count,
                        got.proxied_request_count,
                    ];
                    for (place, got) in got.into_iter().enumerate() {
                        let want = number(2 + place);
                        let near = 1e-9 * want.abs().max(1.0);
                        assert!((got - want).abs() <= near, "{}: {op:?} {got}", case.id);
                    }
                }
                other => panic!("{other:?} is not known"),
            }
        }
    }
}
