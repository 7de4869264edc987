//! Hosts, and the revisions that their requests are split over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_types::RevisionId;

/// All routed hosts.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Host without port, in lower case, to its route.
    pub hosts: HashMap<String, Arc<Route>>,
}

/// Where the requests of one host go.
#[derive(Debug)]
pub struct Route {
    /// Traffic tag whose host this is; empty for the main host.
    pub tag: String,
    /// How they are split; `None` while no revision is there to take them.
    pub split: Option<Split>,
}

/// One share of a host's traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who gets it.
    pub revision: RevisionId,
    /// How much of it, in hundredths.
    pub percent: u8,
}

/// Splits requests by percent: exactly, and spread evenly, over any hundred in a row.
#[derive(Debug)]
pub struct Split {
    targets: Vec<Target>,
    /// Index into `targets` for each of a hundred requests.
    turns: Box<[u8]>,
    next: AtomicU64,
}

impl Split {
    /// Splits over `targets`; shares are taken as weights, so they need not add up to 100.
    /// `None` if no target has a share.
    pub fn new(targets: Vec<Target>) -> Option<Self> {
        let targets: Vec<Target> = targets.into_iter().filter(|t| t.percent > 0).collect();
        let total: i32 = targets.iter().map(|t| i32::from(t.percent)).sum();
        if total == 0 {
            return None;
        }
        // Smooth weighted round robin: each turn everyone gains its weight, the richest is
        // taken and pays the total. After `total` turns each was taken `weight` times.
        let mut credit = vec![0_i32; targets.len()];
        let turns = (0..total)
            .map(|_| {
                let mut best = 0;
                for (index, target) in targets.iter().enumerate() {
                    credit[index] += i32::from(target.percent);
                    if credit[index] > credit[best] {
                        best = index;
                    }
                }
                credit[best] -= total;
                u8::try_from(best).unwrap_or(u8::MAX)
            })
            .collect();
        Some(Self {
            targets,
            turns,
            next: AtomicU64::new(0),
        })
    }

    /// Who gets the next request.
    pub fn pick(&self) -> &RevisionId {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.turns.len() as u64;
        &self.targets[usize::from(self.turns[turn as usize])].revision
    }

    /// The shares.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(&str, u8)]) -> Option<Split> {
        let target = |&(name, percent): &(&str, u8)| Target {
            revision: RevisionId::new("default", name),
            percent,
        };
        Split::new(shares.iter().map(target).collect())
    }

    #[test]
    fn any_hundred_requests_in_a_row_are_split_exactly() {
        let split = split(&[("a", 80), ("b", 19), ("c", 1)]).unwrap();
        let picked: Vec<&str> = (0..300).map(|_| split.pick().name()).collect();
        for hundred in picked.windows(100) {
            let count = |name| hundred.iter().filter(|picked| **picked == name).count();
            assert_eq!((count("a"), count("b"), count("c")), (80, 19, 1));
        }
    }

    #[test]
    fn a_small_share_is_spread_out() {
        let split = split(&[("a", 50), ("b", 50)]).unwrap();
        let picked: Vec<&str> = (0..4).map(|_| split.pick().name()).collect();
        assert_eq!(picked, ["a", "b", "a", "b"]);
    }

    #[test]
    fn no_share_is_no_split() {
        assert!(split(&[]).is_none());
        assert!(split(&[("a", 0)]).is_none());
    }
}
