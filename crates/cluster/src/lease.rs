//! Who of several autoscalers looks after which revisions: one lease for each bucket.
//!
//! To take part in the elections, to renew, and to make a bucket's Service is the cluster's
//! business. What comes out of it is a `watch` channel of [`Leases`], like the snapshots.
//!
//! Source: spec/autoscaler.md §4.5.

use std::net::SocketAddr;
use std::sync::Arc;

/// Who holds a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Here,
    /// Another one, which takes statistics at this address.
    At(SocketAddr),
    /// Another one, which takes statistics where the bucket's name leads to ([`Leases::named`]).
    ByName,
    /// Nobody, or nobody yet.
    Nobody,
}

/// All buckets at one moment, by ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// Who holds each of them.
    pub holders: Vec<Holder>,
    /// Names of the buckets, where they are not those of leases but addresses: `http://HOST:PORT`.
    pub names: Option<Arc<[String]>>,
}

impl Leases {
    /// One bucket, held here: there is no other autoscaler.
    pub fn alone() -> Self {
        Self::elected(vec![Holder::Here])
    }

    /// As the leases of that name in the system namespace say.
    pub fn elected(holders: Vec<Holder>) -> Self {
        Self {
            holders,
            names: None,
        }
    }

    /// Each bucket belongs for ever to the process that its name leads to; `here` is the ordinal
    /// of this one's.
    pub fn named(names: impl Into<Arc<[String]>>, here: usize) -> Self {
        let names = names.into();
        let holder = |ordinal| match ordinal == here {
            true => Holder::Here,
            false => Holder::ByName,
        };
        Self {
            holders: (0..names.len()).map(holder).collect(),
            names: Some(names),
        }
    }
}
