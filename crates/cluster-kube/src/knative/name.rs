//! Name of the private Service of a revision.

use md5::{Digest, Md5};

/// Longest name of a Service.
const LONGEST: usize = 63;
/// What is left of a longer name: with the digest and the suffix that is 63 again.
const HEAD: usize = 23;
const SUFFIX: &str = "-private";

/// `REVISION-private`; of a longer name the start, its digest, and the same suffix.
///
/// Source: spec/activator.md §1.4.
pub fn private(revision: &str) -> String {
    let name = format!("{revision}{SUFFIX}");
    if name.len() <= LONGEST {
        return name;
    }
    let digest = Md5::digest(revision.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let head: String = revision.chars().take(HEAD).collect();
    format!("{head}{hex}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_at_the_limit_is_cut_as_the_contract_says() {
        assert_eq!(private("hello-00001"), "hello-00001-private");
        assert_eq!(private(&"a".repeat(55)).len(), 63);
        assert_eq!(
            private(&"a".repeat(63)),
            "aaaaaaaaaaaaaaaaaaaaaaab06521f39153d618550606be297466d5-private"
        );
    }
}
