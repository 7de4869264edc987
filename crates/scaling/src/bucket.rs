//! Buckets: which of several autoscalers looks after a revision.
//!
//! Every key belongs to one bucket, and every bucket to the autoscaler that holds its lease. The
//! same choice picks the activators of a revision. It has to come out alike in every process, and
//! in Knative's: so it is a matter of hashes alone.
//!
//! Source: spec/autoscaler.md §4.5.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use penstock_types::choice::choose;
pub use penstock_types::choice::subset;

/// Most buckets that `config-leader-election` may ask for.
pub const MOST: u32 = 10;
/// Begins the name of every bucket, and of the host that leads to its holder.
pub const PREFIX: &str = "autoscaler-bucket";

/// Name of bucket `ordinal` (from 0) of `total`: of its lease and of its Service.
pub fn name(ordinal: u32, total: u32) -> String {
    format!("{PREFIX}-{ordinal:02}-of-{total:02}")
}

/// The buckets there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    names: Vec<String>,
}

impl Buckets {
    /// So many buckets; none is an empty set, and nobody owns anything.
    pub fn new(total: u32) -> Self {
        Self {
            names: (0..total).map(|ordinal| name(ordinal, total)).collect(),
        }
    }

    /// Buckets with names of their own.
    pub fn named(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            names: names.into_iter().collect(),
        }
    }

    /// Their names, by ordinal.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Ordinal of the bucket that `key` (`namespace/name`) belongs to; `None` if there is none.
    pub fn owner(&self, key: &str) -> Option<usize> {
        match self.names.len() {
            0 => None,
            1 => Some(0),
            _ => choose(&self.names, 1, key).into_iter().next(),
        }
    }
}

/// A pod of a StatefulSet, of which each holds the bucket of its ordinal: without leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordinal {
    /// Name of the set.
    pub set: String,
    /// Which of its pods, from 0.
    pub ordinal: u32,
}

impl FromStr for Ordinal {
    type Err = BadOrdinal;

    /// Reads the pod's name, `SET-ORDINAL`; the set's own name may have more of `-`.
    fn from_str(text: &str) -> Result<Self, BadOrdinal> {
        let parts = text.rsplit_once('-').filter(|(set, _)| !set.is_empty());
        let ordinal = parts.and_then(|(set, ordinal)| {
            // No sign, which a number may have and a name's end has not.
            let digits = ordinal.bytes().all(|byte| byte.is_ascii_digit());
            let ordinal = ordinal.parse().ok().filter(|_| digits)?;
            Some(Self {
                set: set.to_owned(),
                ordinal,
            })
        });
        ordinal.ok_or_else(|| BadOrdinal(text.to_owned()))
    }
}

/// A name that no pod of a StatefulSet has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOrdinal(pub String);

impl fmt::Display for BadOrdinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a StatefulSet's name, - and a number",
            self.0
        )
    }
}

impl std::error::Error for BadOrdinal {}

/// Who holds a lease, as it is written there: `POD_IP`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Name of the pod.
    pub pod: String,
    /// Its address.
    pub ip: IpAddr,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.pod, self.ip)
    }
}

/// A holder that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadIdentity(pub String);

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a pod's name, _ and its address", self.0)
    }
}

impl std::error::Error for BadIdentity {}

impl FromStr for Identity {
    type Err = BadIdentity;

    /// Reads `POD_IP`; a name has no `_`, so that the first one parts the two.
    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let parts = text.split_once('_').filter(|(pod, _)| !pod.is_empty());
        let identity = parts.and_then(|(pod, ip)| {
            let (pod, ip) = (pod.to_owned(), ip.parse().ok()?);
            Some(Self { pod, ip })
        });
        identity.ok_or_else(|| BadIdentity(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_105_names_have_two_digits_and_no_bucket_is_an_empty_set() {
        assert_eq!(name(0, 10), "autoscaler-bucket-00-of-10");
        assert_eq!(name(10, 1), "autoscaler-bucket-10-of-01");
        assert_eq!(Buckets::new(0).owner("ns/rev"), None);
        assert_eq!(Buckets::new(1).owner("ns/rev"), Some(0));
        assert_eq!(Buckets::new(3).names().len(), 3);
    }

    #[test]
    fn case_106_an_identity_is_a_pod_and_its_address() {
        let identity: Identity = "as_1.2.3.4".parse().unwrap();
        assert_eq!(identity.pod, "as");
        assert_eq!(identity.to_string(), "as_1.2.3.4");
        assert!("as_fd00::1".parse::<Identity>().is_ok());
        for wrong in ["1.2.3.4", "_1.2.3.4", "as_", "as_b_1.2.3.4", ""] {
            assert!(wrong.parse::<Identity>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_ordinal_is_what_follows_the_last_dash() {
        let ordinal: Ordinal = "as-blue-7".parse().unwrap();
        assert_eq!((&*ordinal.set, ordinal.ordinal), ("as-blue", 7));
        for wrong in [
            "autoscaler",
            "7",
            "-7",
            "as-",
            "as-x",
            "as-+1",
            "as-99999999999",
            "",
        ] {
            assert!(wrong.parse::<Ordinal>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_choice_of_the_contract() {
        let ips = ["10.0.0.4", "10.0.0.1", "10.0.0.2", "10.0.0.5", "10.0.0.3"];
        assert_eq!(subset(&ips, 2, "rev"), ["10.0.0.2", "10.0.0.3"]);
        assert_eq!(
            subset(&ips, 3, "target"),
            ["10.0.0.1", "10.0.0.4", "10.0.0.5"]
        );
        assert_eq!(subset(&ips, 9, "rev").len(), 5);
        let buckets = Buckets::new(3);
        let keys = ["default/hello-00001", "ns/rev", "knative-serving/succulent"];
        assert_eq!(keys.map(|key| buckets.owner(key)), [0, 2, 1].map(Some));
    }

    #[test]
    fn more_names_than_points_end() {
        let names: Vec<String> = (0..3000).map(|n| format!("n{n}")).collect();
        assert_eq!(subset(&names, 2500, "x").len(), 2048);
    }
}
