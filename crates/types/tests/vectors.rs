//! Golden vectors: statistics and wire messages against what Knative Serving was observed to do.
//!
//! The files lie in `tests/vectors` of the repository, or where `PENSTOCK_VECTORS` says; their
//! README tells what each part means.

#![expect(clippy::unwrap_used, reason = "what is not as expected fails the test")]

use std::fmt::Debug;
use std::time::Duration;

use penstock_testkit::vectors::{Number, Vectors, close, same};
use penstock_types::request_stats::RequestStats;
use penstock_types::stat::{Stat, WireStatMessage, WireStatMessages};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct StatCase {
    hex: String,
    #[serde(default)]
    canonical: bool,
    fields: Option<Fields>,
    #[serde(default)]
    optional: bool,
}

#[derive(Deserialize)]
struct WireCase {
    hex: String,
    #[serde(default)]
    canonical: bool,
    messages: Option<Vec<OneMessage>>,
    #[serde(default)]
    optional: bool,
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
    average_concurrent_requests: Number,
    average_proxied_concurrent_requests: Number,
    request_count: Number,
    proxied_request_count: Number,
    process_uptime: Number,
    timestamp: i64,
}

impl From<&Fields> for Stat {
    fn from(fields: &Fields) -> Self {
        Self {
            pod_name: fields.pod_name.clone(),
            average_concurrent_requests: fields.average_concurrent_requests.0,
            average_proxied_concurrent_requests: fields.average_proxied_concurrent_requests.0,
            request_count: fields.request_count.0,
            proxied_request_count: fields.proxied_request_count.0,
            process_uptime: fields.process_uptime.0,
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

/// Whether what was read is what was to be read, and is written as it was.
fn is_as_told<M: Message + Debug>(
    read: Result<M, prost::DecodeError>,
    want: &M,
    bytes: &[u8],
    canonical: bool,
) -> Result<(), String> {
    let read = read.map_err(|error| format!("cannot be decoded: {error}"))?;
    // Also what is no number is equal to itself here.
    same("the message", format!("{read:?}"), format!("{want:?}"))?;
    if canonical {
        same("its bytes", want.encode_to_vec(), bytes.to_vec())?;
    }
    Ok(())
}

#[test]
fn messages_are_read_and_written_byte_for_byte() {
    Vectors::open("protobuf.json")
        .part("stat", read_stat)
        .part("wire_stat_messages", read_frame)
        .end();
}

fn read_stat(case: &StatCase) -> Result<(), String> {
    let bytes = bytes(&case.hex);
    let read = Stat::decode(&bytes[..]);
    match &case.fields {
        _ if case.optional && read.is_err() => Ok(()),
        None => same("refused", read.is_err(), true),
        Some(want) => is_as_told(read, &want.into(), &bytes, case.canonical),
    }
}

fn read_frame(case: &WireCase) -> Result<(), String> {
    let bytes = bytes(&case.hex);
    let read = WireStatMessages::decode(&bytes[..]);
    if case.optional && read.is_err() {
        return Ok(());
    }
    let Some(messages) = &case.messages else {
        return same("refused", read.is_err(), true);
    };
    let messages = messages.iter().map(|message| WireStatMessage {
        namespace: message.namespace.clone(),
        name: message.name.clone(),
        stat: message.stat.as_ref().map(Stat::from),
    });
    let want = WireStatMessages {
        messages: messages.collect(),
    };
    is_as_told(read, &want, &bytes, case.canonical)
}

#[derive(Deserialize)]
struct StatsCase {
    ops: Vec<Vec<Value>>,
}

#[test]
fn cases_43_and_44_statistics_are_as_observed() {
    Vectors::open("stats.json request_stats")
        .part("request_stats", observed)
        .end();
}

fn observed(case: &StatsCase) -> Result<(), String> {
    // Some times lie before the tracker was made.
    let origin = Duration::from_secs(1);
    let mut stats = RequestStats::new(origin);
    for op in &case.ops {
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
                    let want = serde_json::from_value(op[2 + place].clone()).unwrap();
                    close(&format!("figure {place} of {op:?}"), got, want)?;
                }
            }
            other => panic!("{other:?} is not known"),
        }
    }
    Ok(())
}
