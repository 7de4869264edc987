//! What the requests to a server share: its objects, its script, and what it remembers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::call::Call;
use super::faults::{Fault, Faults};
use super::real::Real;
use super::refusal::Refusal;
use super::rules::Rules;
use super::store::Store;
use super::write;

/// All of it.
#[derive(Debug)]
pub(super) struct Shared {
    store: Mutex<Store>,
    /// The newest version.
    pub(super) versions: watch::Sender<u64>,
    pub(super) faults: Mutex<Faults>,
    pub(super) calls: watch::Sender<Vec<Call>>,
    pub(super) rules: Mutex<HashMap<String, Rules>>,
    /// Counted up to make every watch tell a bookmark.
    pub(super) bookmark: watch::Sender<u64>,
    /// Counted up to cut every watch.
    pub(super) cut: watch::Sender<u64>,
    /// Watches tell nothing.
    pub(super) silent: watch::Sender<bool>,
    pub(super) open_watches: watch::Sender<usize>,
    /// Whose the objects are, if they are not the store's.
    pub(super) real: Option<Arc<Real>>,
    /// Groups that are not served.
    pub(super) forgotten: Mutex<Vec<String>>,
}

impl Shared {
    pub(super) fn new(real: Option<Real>) -> Self {
        let mut store = Store::new();
        for namespace in ["default", "kube-system", "knative-serving"] {
            write::ensure_namespace(&mut store, namespace);
        }
        super::crds::install(&mut store);
        Self {
            versions: watch::Sender::new(store.version()),
            store: Mutex::new(store),
            faults: Mutex::default(),
            calls: watch::Sender::default(),
            rules: Mutex::default(),
            bookmark: watch::Sender::default(),
            cut: watch::Sender::default(),
            silent: watch::Sender::default(),
            open_watches: watch::Sender::default(),
            real: real.map(Arc::new),
            forgotten: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        unpoisoned(&self.store)
    }

    /// Does something to the objects, and tells the watches.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        let mut store = self.store();
        let done = act(&mut store);
        self.versions.send_if_modified(|version| {
            std::mem::replace(version, store.version()) != store.version()
        });
        done
    }

    pub(super) fn record(&self, call: &Call) {
        self.calls.send_modify(|calls| calls.push(call.clone()));
    }

    pub(super) fn fault_for(&self, call: &Call) -> Option<Fault> {
        unpoisoned(&self.faults).take(call)
    }

    /// The rules for the sender of a call; `None` if it may do everything.
    pub(super) fn rules_of(&self, call: &Call) -> Option<Rules> {
        let rules = unpoisoned(&self.rules);
        rules.get(&call.token).or_else(|| rules.get("")).cloned()
    }

    pub(super) fn authorize(&self, call: &Call) -> Result<(), Refusal> {
        match self.rules_of(call) {
            Some(rules) if !rules.allow(call) => Err(forbidden(call)),
            _ => Ok(()),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        *self.silent.borrow()
    }
}

pub(super) fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked with the lock has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forbidden(call: &Call) -> Refusal {
    let user = "system:serviceaccount:default:default";
    if call.resource.is_empty() {
        let message = format!(
            "forbidden: User \"{user}\" cannot {} path \"{}\"",
            call.verb, call.path
        );
        return Refusal::new(403, "Forbidden", message);
    }
    let resource = match call.group.as_str() {
        "" => call.resource.clone(),
        group => format!("{}.{group}", call.resource),
    };
    let named = match call.name.as_str() {
        "" => String::new(),
        name => format!(" \"{name}\""),
    };
    let place = match call.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let message = format!(
        "{resource}{named} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
        call.verb,
        call.resource_path(),
        call.group,
    );
    Refusal::new(403, "Forbidden", message)
}
