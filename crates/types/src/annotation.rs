//! Annotations as a manifest carries them.

use std::collections::BTreeMap;

/// Annotations of a revision: key to value, as written.
pub type Annotations = BTreeMap<String, String>;

/// Prefix of the autoscaler's annotations.
pub const AUTOSCALING: &str = "autoscaling.knative.dev/";

/// Prefix of our own annotations.
pub const OWN: &str = "penstock.dev/";

/// One rejected annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The keys at fault, as they were written.
    pub keys: Vec<String>,
    /// The value, what is wrong with it, what would be right: one sentence without its keys.
    pub reason: String,
}
