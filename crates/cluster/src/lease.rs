//! Who of several autoscalers looks after which revisions: one lease for each bucket.
//!
//! To take part in the elections, to renew, and to make a bucket's Service is the cluster's
//! business. What comes out of it is a `watch` channel of [`Leases`], like the snapshots.
//!
//! Source: spec/autoscaler.md §4.5.

use std::net::SocketAddr;

/// Who holds a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This process.
    Here,
    /// Another one, which takes statistics at this address.
    At(SocketAddr),
    /// Nobody, or nobody yet.
    Nobody,
}

/// All buckets at one moment, by ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// Who holds each of them.
    pub holders: Vec<Holder>,
}

impl Leases {
    /// One bucket, held here: there is no other autoscaler.
    pub fn alone() -> Self {
        Self {
            holders: vec![Holder::Here],
        }
    }
}
