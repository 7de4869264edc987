//! Which host leads to which workload. Of two that claim the same one, the older has it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use penstock_cluster::{Route, Routes, Split, Target};
use penstock_types::RevisionId;

/// Who claims a host: the older first, and of two of one second the first by name.
type Claim = (Option<Timestamp>, RevisionId);

/// All claims.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    claims: HashMap<String, BTreeSet<Claim>>,
    by_revision: HashMap<RevisionId, (Option<Timestamp>, Vec<String>)>,
    changed: HashSet<String>,
}

/// A host that more than one claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contested {
    pub(crate) host: String,
    /// Who has it.
    pub(crate) owner: RevisionId,
    /// Who else wants it.
    pub(crate) others: Vec<RevisionId>,
}

impl Hosts {
    /// `revision`, made at `created`, claims these hosts and no others. Returns those of them that
    /// are contested now.
    pub(crate) fn claim(
        &mut self,
        revision: &RevisionId,
        created: Option<Timestamp>,
        hosts: Vec<String>,
    ) -> Vec<Contested> {
        let known = self.by_revision.get(revision);
        if known.is_some_and(|known| *known == (created, hosts.clone())) {
            return Vec::new();
        }
        self.release(revision);
        let mut contested = Vec::new();
        for host in &hosts {
            let claims = self.claims.entry(host.clone()).or_default();
            claims.insert((created, revision.clone()));
            self.changed.insert(host.clone());
            let mut claims = claims.iter().map(|(_, id)| id.clone());
            let Some(owner) = claims.next() else {
                continue;
            };
            let others: Vec<RevisionId> = claims.collect();
            if !others.is_empty() {
                contested.push(Contested {
                    host: host.clone(),
                    owner,
                    others,
                });
            }
        }
        self.by_revision.insert(revision.clone(), (created, hosts));
        contested
    }

    /// `revision` claims none any more.
    pub(crate) fn release(&mut self, revision: &RevisionId) {
        let Some((created, hosts)) = self.by_revision.remove(revision) else {
            return;
        };
        let claim = (created, revision.clone());
        for host in hosts {
            if let Some(claims) = self.claims.get_mut(&host) {
                claims.remove(&claim);
                if claims.is_empty() {
                    self.claims.remove(&host);
                }
            }
            self.changed.insert(host);
        }
    }

    /// Brings the routes up to date. Returns whether anything changed.
    pub(crate) fn paint(&mut self, routes: &mut Arc<Routes>) -> bool {
        if self.changed.is_empty() {
            return false;
        }
        let routes = Arc::make_mut(routes);
        for host in self.changed.drain() {
            match self.claims.get(&host).and_then(BTreeSet::first) {
                Some((_, owner)) => {
                    routes.hosts.insert(host, route(owner));
                }
                None => {
                    routes.hosts.remove(&host);
                }
            }
        }
        true
    }
}

fn route(revision: &RevisionId) -> Arc<Route> {
    let all = Target {
        revision: revision.clone(),
        percent: 100,
    };
    Arc::new(Route {
        tag: String::new(),
        split: Split::new(vec![all]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(routes: &Routes, host: &str) -> Option<String> {
        let route = routes.hosts.get(host)?;
        Some(route.split.as_ref()?.pick().to_string())
    }

    #[test]
    fn of_two_that_claim_a_host_the_older_has_it_until_it_goes() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let (old, young) = (RevisionId::new("a", "old"), RevisionId::new("a", "young"));
        let mut hosts = Hosts::default();
        let mut routes = Arc::new(Routes::default());
        let shop = || vec!["shop.example.com".to_owned()];
        let free = hosts.claim(&young, at("2024-01-02T00:00:00Z"), shop());
        assert_eq!(free, []);
        hosts.paint(&mut routes);
        assert_eq!(
            owner(&routes, "shop.example.com").as_deref(),
            Some("a/young")
        );
        let contested = hosts.claim(&old, at("2024-01-01T00:00:00Z"), shop());
        let [contested] = contested.as_slice() else {
            panic!("{contested:?}");
        };
        assert_eq!(contested.owner, old);
        assert_eq!(contested.others, std::slice::from_ref(&young));
        hosts.paint(&mut routes);
        assert_eq!(owner(&routes, "shop.example.com").as_deref(), Some("a/old"));
        let again = hosts.claim(&old, at("2024-01-01T00:00:00Z"), shop());
        assert_eq!(again, [], "nothing new is nothing to tell");
        assert!(!hosts.paint(&mut routes));
        hosts.release(&old);
        hosts.paint(&mut routes);
        assert_eq!(
            owner(&routes, "shop.example.com").as_deref(),
            Some("a/young")
        );
        hosts.claim(&young, at("2024-01-02T00:00:00Z"), Vec::new());
        hosts.paint(&mut routes);
        assert_eq!(owner(&routes, "shop.example.com"), None);
        assert!(hosts.claims.is_empty() && hosts.by_revision.len() == 1);
    }
}
