//! - `single.rs`: variables that stand for themselves
//! - `observed.rs`: `OBSERVABILITY_CONFIG`, and what is laid over it
//! - `older.rs`: what installations before 1.19 set in its place

mod observed;
mod older;
mod single;

use std::collections::BTreeMap;

use super::*;

/// The least that a controller sets.
const REQUIRED: [(&str, &str); 12] = [
    ("CONTAINER_CONCURRENCY", "10"),
    ("QUEUE_SERVING_PORT", "8012"),
    ("QUEUE_SERVING_TLS_PORT", "8112"),
    ("USER_PORT", "8080"),
    ("REVISION_TIMEOUT_SECONDS", "300"),
    ("SERVING_NAMESPACE", "ns"),
    ("SERVING_CONFIGURATION", ""),
    ("SERVING_REVISION", "rev"),
    ("SERVING_POD", "pod"),
    ("SERVING_POD_IP", "10.1.2.3"),
    ("SERVING_LOGGING_CONFIG", ""),
    ("SERVING_LOGGING_LEVEL", ""),
];

/// Reads what is required, with `changed` laid over it; `None` takes a variable away.
fn with(changed: &[(&str, Option<&str>)]) -> Result<Setup, BadVars> {
    let mut vars: BTreeMap<&str, &str> = REQUIRED.into();
    for &(name, value) in changed {
        match value {
            Some(value) => vars.insert(name, value),
            None => vars.remove(name),
        };
    }
    let get = |name: &str| vars.get(name).map(|value| (*value).to_owned());
    read(get, |_| false)
}

fn set(changed: &[(&str, &str)]) -> Setup {
    let changed: Vec<_> = changed.iter().map(|&(n, v)| (n, Some(v))).collect();
    with(&changed).unwrap()
}

fn mistakes(changed: &[(&str, Option<&str>)]) -> String {
    with(changed).unwrap_err().to_string()
}

const PORT: &str = "a port from 0 to 65535";
