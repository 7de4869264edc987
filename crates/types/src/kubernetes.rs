//! The version of a Kubernetes API server.

use std::fmt;

/// Such as `v1.34.0`. What a distribution appends (`-eks-1`, `+k3s1`, `-rc.0`) does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl KubernetesVersion {
    /// The oldest for which a Knative install is released, unless `KUBERNETES_MIN_VERSION` says
    /// otherwise (spec/activator.md §1.1).
    pub const OF_KNATIVE: Self = Self {
        major: 1,
        minor: 34,
        patch: 0,
    };

    /// The version that a text says, with or without the `v`, and without a patch level as well.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let numbers: Option<Vec<u32>> = plain.split('.').map(|part| part.parse().ok()).collect();
        let (major, minor, patch) = match *numbers? {
            [major, minor] => (major, minor, 0),
            [major, minor, patch] => (major, minor, patch),
            _ => return None,
        };
        Some(Self {
            major,
            minor,
            patch,
        })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered_by_their_numbers_alone() {
        let read = KubernetesVersion::read;
        let table = [
            ("v1.34.0", "v1.34.0"),
            ("1.34", "v1.34.0"),
            ("v1.33.5-eks-3025e55", "v1.33.5"),
            ("v1.35.0+k3s1", "v1.35.0"),
            ("v1.36.0-rc.0", "v1.36.0"),
        ];
        for (text, want) in table {
            assert_eq!(read(text).unwrap().to_string(), want, "{text}");
        }
        for text in ["", "v", "v1", "1.x", "1.2.3.4", "new"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read("v1.9.20").unwrap() < read("v1.10.0").unwrap());
        assert!(read("v1.34.0-alpha.1").unwrap() >= KubernetesVersion::OF_KNATIVE);
    }
}
