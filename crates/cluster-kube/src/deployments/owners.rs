//! Whose a pod is: the workload whose selector matches its labels.
//!
//! Every pod of the cluster is asked about, and only those of our workloads are kept; thousands of
//! workloads may be in one namespace. So each is filed under one label that it requires.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::core::{Expression, Selector, SelectorExt};

use crate::Key;

/// Workloads and their selectors.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    namespaces: HashMap<Arc<str>, Namespace>,
}

#[derive(Debug, Default)]
struct Namespace {
    /// By a label that has to be there with this value.
    by_label: HashMap<(String, String), Vec<Owner>>,
    /// Those that require no value of any label.
    others: Vec<Owner>,
    /// Where each is filed; `None` is among the others.
    filed: HashMap<Arc<str>, Option<(String, String)>>,
}

#[derive(Debug)]
struct Owner {
    name: Arc<str>,
    selector: Selector,
}

impl Owners {
    /// Files a workload, in place of what was filed of it before.
    pub(crate) fn put(&mut self, key: &Key, selector: &Selector) {
        self.remove(key);
        let namespace = self.namespaces.entry(Arc::clone(&key.namespace));
        let namespace = namespace.or_default();
        let owner = Owner {
            name: Arc::clone(&key.name),
            selector: selector.clone(),
        };
        let required = selector.clone().into_iter().filter_map(|one| match one {
            Expression::Equal(label, value) => Some((label, value)),
            Expression::In(label, mut values) if values.len() == 1 => {
                Some((label, values.pop_first()?))
            }
            _ => None,
        });
        // Under the rarest of them, so that few have to be looked through.
        let rarest = required.min_by_key(|label| namespace.by_label.get(label).map_or(0, Vec::len));
        namespace
            .filed
            .insert(Arc::clone(&key.name), rarest.clone());
        match rarest {
            Some(label) => namespace.by_label.entry(label).or_default().push(owner),
            None => namespace.others.push(owner),
        }
    }

    /// Forgets a workload.
    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        match namespace.filed.remove(&key.name) {
            Some(Some(label)) => {
                if let Some(owners) = namespace.by_label.get_mut(&label) {
                    owners.retain(|owner| owner.name != key.name);
                    if owners.is_empty() {
                        namespace.by_label.remove(&label);
                    }
                }
            }
            Some(None) => namespace.others.retain(|owner| owner.name != key.name),
            None => {}
        }
        if namespace.filed.is_empty() {
            self.namespaces.remove(&key.namespace);
        }
    }

    /// The name of the workload that a pod of `namespace` with these labels is of. If several match,
    /// which is a mistake that Kubernetes allows, the first by name.
    pub(crate) fn of(
        &self,
        namespace: &str,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Option<Key> {
        let (namespace, all) = self.namespaces.get_key_value(namespace)?;
        let labels = labels?;
        let filed = labels.iter().filter_map(|(label, value)| {
            // The map is asked by owned texts; they are short, and most pods are asked about once.
            all.by_label.get(&(label.clone(), value.clone()))
        });
        let owners = filed.flatten().chain(&all.others);
        let matching = owners.filter(|owner| owner.selector.matches(labels));
        let name = matching.map(|owner| &owner.name).min()?;
        Some(Key::new(Arc::clone(namespace), Arc::clone(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = all.iter();
        all.map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn equal(all: &[(&str, &str)]) -> Selector {
        labels(all).into_iter().collect()
    }

    #[test]
    fn a_pod_is_of_the_workload_whose_selector_matches() {
        let mut owners = Owners::default();
        for n in 0..100 {
            let name = format!("w{n}");
            let selector = equal(&[("tier", "web"), ("app", &name)]);
            owners.put(&Key::new("default", name), &selector);
        }
        let filed = &owners.namespaces["default"].by_label;
        assert!(filed.values().all(|owners| owners.len() <= 2), "{filed:?}");
        let of = |pairs: &[(&str, &str)]| {
            let owner = owners.of("default", Some(&labels(pairs)));
            owner.map(|key| key.name.to_string())
        };
        assert_eq!(
            of(&[("app", "w42"), ("tier", "web"), ("x", "y")]).as_deref(),
            Some("w42")
        );
        assert_eq!(of(&[("app", "w42")]), None, "one label is missing");
        assert_eq!(of(&[("app", "w100"), ("tier", "web")]), None);
        assert_eq!(owners.of("other", Some(&labels(&[("app", "w1")]))), None);
        assert_eq!(owners.of("default", None), None);
    }

    #[test]
    fn an_expression_is_a_selector_too_and_what_is_removed_owns_nothing() {
        let mut owners = Owners::default();
        let key = Key::new("default", "a");
        owners.put(&key, &Expression::Exists("app".into()).into());
        let pod = labels(&[("app", "anything")]);
        assert_eq!(owners.of("default", Some(&pod)), Some(key.clone()));
        owners.put(&key, &equal(&[("app", "b")]));
        assert_eq!(owners.of("default", Some(&pod)), None, "it was replaced");
        owners.remove(&key);
        assert!(owners.namespaces.is_empty());
    }
}
