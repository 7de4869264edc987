//! What the annotations of a workload ask of its queue-proxy.

use super::Mistake;
use super::document::Value;

/// Prefix of our own annotations.
const OURS: &str = "penstock.dev/";
/// Longest time a request may be given, in seconds: Knative's own limit for a revision's
/// `timeoutSeconds` is configurable, a day is beyond any use.
const LONGEST: i64 = 86_400;
/// Time a request has where nobody says (spec/activator.md §1.4).
const TIMEOUT: i64 = 300;

/// All of them, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `penstock.dev/port`: where the container serves.
    pub(super) port: Option<u16>,
    /// `penstock.dev/container-concurrency`: requests inside at once; 0 is no limit.
    pub(super) concurrency: i64,
    /// `penstock.dev/timeout`: seconds for a whole request.
    pub(super) timeout: i64,
}

impl Settings {
    /// Reads the annotations of `workload`; what is wrong goes to `mistakes`.
    pub(super) fn read(workload: &Value, mistakes: &mut Vec<Mistake>) -> Self {
        let mut number = |key: &str, least: i64, most: i64, right: &str| {
            let key = format!("{OURS}{key}");
            let value = workload.at(&["metadata", "annotations"])?.get(&key)?;
            let number = value.as_str().and_then(|text| text.parse().ok());
            match number.filter(|number| (least..=most).contains(number)) {
                Some(number) => Some(number),
                None => {
                    let place = format!("metadata.annotations[{key}]");
                    let fault = format!("{} is not {right}", shown(value));
                    mistakes.push(Mistake::at(place, fault));
                    None
                }
            }
        };
        let port = number("port", 1, 65_535, "a port from 1 to 65535, in quotes");
        Self {
            port: port.and_then(|port| u16::try_from(port).ok()),
            concurrency: number(
                "container-concurrency",
                0,
                1000,
                "a number from 0 to 1000, in quotes",
            )
            .unwrap_or(0),
            timeout: number("timeout", 1, LONGEST, "seconds from 1 to 86400, in quotes")
                .unwrap_or(TIMEOUT),
        }
    }
}

/// A value as the file has it, more or less.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Int(number) => number.to_string(),
        Value::Large(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null => "null".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}
