//! What the annotations of a workload ask of its queue-proxy.

use penstock_types::Timeouts;
use penstock_types::workload::{concurrency, port, timeout};

use super::Mistake;
use super::document::Value;

/// All of them, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `penstock.dev/port`: where the container serves.
    pub(super) port: Option<u16>,
    /// `penstock.dev/container-concurrency`: requests inside at once; 0 is no limit.
    pub(super) concurrency: u32,
    /// `penstock.dev/timeout`: seconds for a whole request, the last one perhaps not whole.
    pub(super) timeout: u64,
}

impl Settings {
    /// Reads the annotations of `workload`; what is wrong goes to `mistakes`.
    pub(super) fn read(workload: &Value, mistakes: &mut Vec<Mistake>) -> Self {
        let limit = setting(workload, "timeout", timeout, mistakes);
        let limit = limit.unwrap_or_else(|| Timeouts::default().whole);
        Self {
            port: setting(workload, "port", port, mistakes),
            concurrency: setting(workload, "container-concurrency", concurrency, mistakes)
                .unwrap_or(0),
            timeout: limit.as_secs() + u64::from(limit.subsec_nanos() > 0),
        }
    }
}

fn setting<T>(
    workload: &Value,
    key: &str,
    read: fn(&str) -> Result<T, &'static str>,
    mistakes: &mut Vec<Mistake>,
) -> Option<T> {
    let key = format!("penstock.dev/{key}");
    let value = workload.at(&["metadata", "annotations", &key])?;
    let place = format!("metadata.annotations[{key}]");
    // Kubernetes takes texts only; a bare number would be refused there.
    let Some(text) = value.as_str() else {
        let fault = format!("{} is not in quotes", shown(value));
        mistakes.push(Mistake::at(place, fault));
        return None;
    };
    match read(text.trim()) {
        Ok(setting) => Some(setting),
        Err(right) => {
            mistakes.push(Mistake::at(place, format!("{text:?} is not {right}")));
            None
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
