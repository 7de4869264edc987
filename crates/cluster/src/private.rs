//! The name of the Service that stands for a revision's pods themselves, in an install of Knative.

use md5::{Digest as _, Md5};
use penstock_types::RevisionId;

/// What is appended to the revision's name.
const SUFFIX: &str = "-private";
/// Longest name of a Service (RFC 1123).
const LONGEST: usize = 63;
/// What is kept of a name that is too long: the rest is its hash, in 32 digits.
const KEPT: usize = LONGEST - SUFFIX.len() - 32;

/// Name of the private Service of a revision (spec/activator.md §1.4).
pub fn private_service(revision: &str) -> String {
    if revision.len() + SUFFIX.len() <= LONGEST {
        return format!("{revision}{SUFFIX}");
    }
    let kept: String = revision.chars().take(KEPT).collect();
    let hash: String = Md5::digest(revision)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{kept}{hash}{SUFFIX}")
}

/// The Host by which a service mesh takes a request to one pod of a revision (spec/activator.md §7).
pub fn private_host(revision: &RevisionId) -> String {
    format!(
        "{}.{}",
        private_service(revision.name()),
        revision.namespace()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_ends_in_its_hash() {
        let long = "a".repeat(63);
        let table = [
            ("hello-00001", "hello-00001-private"),
            (&long[..55], &*format!("{}-private", "a".repeat(55))),
            (
                &long,
                "aaaaaaaaaaaaaaaaaaaaaaab06521f39153d618550606be297466d5-private",
            ),
        ];
        for (revision, want) in table {
            assert_eq!(private_service(revision), want);
            assert!(want.len() <= LONGEST);
        }
        assert_eq!(private_service(&long[..56]).len(), LONGEST);
    }

    #[test]
    fn the_host_has_the_namespace() {
        let revision = RevisionId::new("real-namespace", "real-name");
        assert_eq!(private_host(&revision), "real-name-private.real-namespace");
    }
}
