//! Whose a revision is: of the autoscaler that holds its bucket.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_cluster::{Holder, Leases};
use penstock_scaling::bucket::{self, Buckets};
use penstock_types::RevisionId;
use tokio::sync::watch;

/// Owners that are remembered: more than a cluster has revisions.
const REMEMBERED: usize = 65_536;

/// Finds the bucket of a revision, and who holds it.
#[derive(Debug)]
pub(crate) struct Route {
    leases: watch::Receiver<Arc<Leases>>,
    buckets: Buckets,
    remembered: HashMap<RevisionId, usize>,
}

impl Route {
    pub(crate) fn new(leases: watch::Receiver<Arc<Leases>>) -> Self {
        let buckets = buckets(&leases.borrow());
        Self {
            leases,
            buckets,
            remembered: HashMap::new(),
        }
    }

    /// Whether the leases are others than when this was last asked.
    pub(crate) fn has_changed(&mut self) -> bool {
        let changed = self.leases.has_changed().unwrap_or(false);
        self.leases.mark_unchanged();
        changed
    }

    /// Who holds the bucket of `revision`, and its ordinal.
    pub(crate) fn of(&mut self, revision: &RevisionId) -> (usize, Holder) {
        let leases = self.leases.borrow();
        // The number of buckets, and whether their names are others, is settled with the first lease.
        if leases.holders.len() != self.buckets.names().len() {
            self.buckets = buckets(&leases);
            self.remembered.clear();
        }
        let bucket = match leases.holders.len() {
            0 | 1 => 0,
            _ => match self.remembered.get(revision) {
                Some(bucket) => *bucket,
                None => {
                    let bucket = self.buckets.owner(&revision.to_string()).unwrap_or(0);
                    if self.remembered.len() >= REMEMBERED {
                        self.remembered.clear();
                    }
                    self.remembered.insert(revision.clone(), bucket);
                    bucket
                }
            },
        };
        let holder = leases.holders.get(bucket).copied();
        (bucket, holder.unwrap_or(Holder::Nobody))
    }
}

pub(super) fn buckets(leases: &Leases) -> Buckets {
    if let Some(names) = &leases.names {
        return Buckets::named(names.iter().cloned());
    }
    Buckets::new(u32::try_from(leases.holders.len()).unwrap_or(u32::MAX))
}

/// Whether a request to `host` is for this process: not if it names a bucket that is held
/// elsewhere. That a host names a bucket is a matter of its beginning alone.
pub(super) fn may_serve(host: &str, leases: &Leases) -> bool {
    if !host.starts_with(bucket::PREFIX) {
        return true;
    }
    let label = host.split(['.', ':']).next().unwrap_or(host);
    let buckets = buckets(leases);
    let names = buckets.names().iter().zip(&leases.holders);
    names
        .filter(|(_, holder)| **holder == Holder::Here)
        .any(|(name, _)| name == label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases() -> Leases {
        let peer = ([127, 0, 0, 1], 1).into();
        Leases::elected(vec![Holder::At(peer), Holder::Here, Holder::Nobody])
    }

    #[test]
    fn case_104_a_host_that_names_a_bucket_is_served_by_its_holder_alone() {
        let table = [
            ("autoscaler.knative-serving.svc.cluster.local:8080", true),
            ("10.0.0.1:8080", true),
            ("autoscaler-bucket-01-of-03.knative-serving.svc:8080", true),
            ("autoscaler-bucket-01-of-03", true),
            ("autoscaler-bucket-00-of-03.knative-serving.svc", false),
            ("autoscaler-bucket-02-of-03.knative-serving.svc", false),
            ("autoscaler-bucket-01-of-01.knative-serving.svc", false),
            ("autoscaler-buckets-are-fun.example.com", false),
        ];
        for (host, want) in table {
            assert_eq!(may_serve(host, &leases()), want, "{host}");
        }
    }

    #[test]
    fn a_revision_is_of_who_holds_its_bucket_now() {
        let (set, leases) = watch::channel(Arc::new(leases()));
        let mut route = Route::new(leases);
        let (one, two) = (
            RevisionId::new("knative-serving", "succulent"),
            RevisionId::new("ns", "rev"),
        );
        assert_eq!(route.of(&one), (1, Holder::Here));
        assert_eq!(route.of(&two), (2, Holder::Nobody));
        set.send_replace(Arc::new(Leases::alone()));
        assert_eq!(route.of(&two), (0, Holder::Here));
    }
}
