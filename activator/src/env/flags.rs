//! The flags of the original, in Go's spelling: `-name value`, `-name=value`, with one dash or two.
//!
//! Source: spec/activator.md §1.1.

use std::fmt;

/// What `-server` is looked up as.
pub(super) const SERVER: &str = "-server";
/// What `-cluster` is looked up as.
pub(super) const CLUSTER: &str = "-cluster";

/// Flags, and the variable that each wins over.
const KNOWN: [(&str, &str); 5] = [
    ("kubeconfig", "KUBECONFIG"),
    ("server", SERVER),
    ("cluster", CLUSTER),
    ("kube-api-qps", "KUBE_API_QPS"),
    ("kube-api-burst", "KUBE_API_BURST"),
];

/// Flags that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(Vec<(&'static str, String)>);

/// Arguments that are no flags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadFlags(Vec<String>);

impl fmt::Display for BadFlags {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Flags {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    ///
    /// All arguments that are not known, or lack their value.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, BadFlags> {
        let mut arguments = arguments.into_iter();
        let (mut given, mut bad) = (Vec::new(), Vec::new());
        while let Some(argument) = arguments.next() {
            let flag = argument.strip_prefix("--").or(argument.strip_prefix('-'));
            let (name, value) = match flag.and_then(|flag| flag.split_once('=')) {
                Some((name, value)) => (Some(name), Some(value.to_owned())),
                None => (flag, None),
            };
            match KNOWN.iter().find(|(known, _)| Some(*known) == name) {
                None => bad.push(format!(
                    "{argument:?} is not a flag; there are -kubeconfig, -server, -cluster, \
                     -kube-api-qps and -kube-api-burst"
                )),
                Some((_, variable)) => match value.or_else(|| arguments.next()) {
                    Some(value) => given.push((*variable, value)),
                    None => bad.push(format!("{argument} has no value behind it")),
                },
            }
        }
        if bad.is_empty() {
            Ok(Self(given))
        } else {
            Err(BadFlags(bad))
        }
    }

    /// What was given in place of a variable; the last one counts.
    pub(super) fn of(&self, variable: &str) -> Option<String> {
        let given = self.0.iter().rev();
        let found = given.into_iter().find(|(name, _)| *name == variable);
        found.map(|(_, value)| value.clone())
    }
}
