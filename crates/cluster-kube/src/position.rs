//! Where this activator stands among those that serve a revision.
//!
//! The public endpoints of a revision list activators while they are in the path, and pods while
//! they are not. So a list without this activator says nothing, and what was known stays.
//!
//! Source: spec/activator.md §3.7.

use std::collections::HashMap;
use std::net::IpAddr;

use penstock_cluster::Position;

use crate::Key;

/// Positions by revision.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    own: Option<IpAddr>,
    known: HashMap<Key, Position>,
}

impl Positions {
    /// Of the activator at `own`; without that, it stands nowhere.
    pub(crate) fn new(own: Option<IpAddr>) -> Self {
        Self {
            own,
            known: HashMap::new(),
        }
    }

    /// Takes the ready addresses of the public endpoints of `revision`. Returns whether they have
    /// changed where this activator stands.
    pub(crate) fn see(&mut self, revision: &Key, ready: impl IntoIterator<Item = IpAddr>) -> bool {
        let Some(own) = self.own else {
            return false;
        };
        // Of a dual stack, the half that this activator is known by.
        let same = |ip: &IpAddr| ip.is_ipv4() == own.is_ipv4();
        let ready = ready.into_iter().filter(same);
        let mut texts: Vec<String> = ready.map(|ip| ip.to_string()).collect();
        // As text, so that all of them count alike.
        texts.sort_unstable();
        texts.dedup();
        let Ok(index) = texts.binary_search(&own.to_string()) else {
            return false;
        };
        let position = Position {
            index,
            activators: texts.len(),
        };
        self.known.insert(revision.clone(), position) != Some(position)
    }

    pub(crate) fn of(&self, revision: &Key) -> Option<Position> {
        self.known.get(revision).copied()
    }

    /// The revision is there no more.
    pub(crate) fn forget(&mut self, revision: &Key) {
        self.known.remove(revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(own: &str, ready: &[&str]) -> Option<(usize, usize)> {
        let mut positions = Positions::new(own.parse().ok());
        let key = Key::new("ns", "rev");
        positions.see(&key, ready.iter().map(|ip| ip.parse().unwrap()));
        let position = positions.of(&key)?;
        Some((position.index, position.activators))
    }

    #[test]
    fn case_58_index_of_an_activator() {
        assert_eq!(seen("10.0.0.1", &[]), None, "empty");
        assert_eq!(seen("10.0.0.1", &["10.0.0.2"]), None, "missing");
        let all = ["10.0.0.3", "10.0.0.1", "10.0.0.2"];
        assert_eq!(seen("10.0.0.1", &all), Some((0, 3)));
        assert_eq!(seen("10.0.0.2", &all), Some((1, 3)));
        assert_eq!(seen("10.0.0.3", &all), Some((2, 3)));
    }

    #[test]
    fn addresses_are_ordered_as_text_and_of_one_family() {
        let all = ["10.0.0.9", "10.0.0.10", "fd00::1", "fd00::2"];
        assert_eq!(seen("10.0.0.9", &all), Some((1, 2)), "10 comes before 9");
        assert_eq!(seen("fd00::2", &all), Some((1, 2)));
    }

    #[test]
    fn a_list_of_pods_leaves_the_position_as_it_was() {
        let mut positions = Positions::new("10.0.0.1".parse().ok());
        let key = Key::new("ns", "rev");
        let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>();
        assert!(positions.see(&key, ips(&["10.0.0.1", "10.0.0.2"])));
        assert!(!positions.see(&key, ips(&["10.0.0.1", "10.0.0.2"])));
        assert!(!positions.see(&key, ips(&["10.9.0.1"])));
        assert_eq!(positions.of(&key).map(|at| at.activators), Some(2));
        positions.forget(&key);
        assert_eq!(positions.of(&key), None);
    }
}
