//! The picture that an activator has of a Knative install: Revisions, their endpoints and private
//! Services in; revisions out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_cluster::{Phase, Pod, Readiness, Revision, Snapshot};
use penstock_types::Protocol;
use tokio::time::Instant;

use super::name;
use super::places::{Place, Places, PortName, Side};
use crate::Key;
use crate::object::SeenRevision;
use crate::picture::Painter;
use crate::position::Positions;
use crate::reflect;

/// What happened.
pub(crate) enum Change {
    Revision(reflect::Change<SeenRevision>),
    Places(reflect::Change<Places>),
    Service(reflect::Change<Private>),
}

/// A private Service: the address that stands for all pods of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Private {
    pub(crate) key: Key,
    pub(crate) ip: IpAddr,
    /// Its ports that count.
    pub(crate) ports: Vec<(String, u16)>,
}

/// What it is painted from.
pub(crate) struct Picture {
    positions: Positions,
    revisions: HashMap<Key, SeenRevision>,
    /// By object, and whose it is.
    places: HashMap<Key, Places>,
    by_revision: HashMap<Key, HashSet<Key>>,
    services: HashMap<Key, Private>,
    /// When a pod was seen first, and when it was first seen ready.
    pods: HashMap<Key, BTreeMap<SocketAddr, Seen>>,
    changed: HashSet<Key>,
    complete: (bool, bool, bool),
}

#[derive(Clone, Copy)]
struct Seen {
    at: Instant,
    ready: Option<Instant>,
}

impl Picture {
    pub(crate) fn new(positions: Positions) -> Self {
        Self {
            positions,
            revisions: HashMap::new(),
            places: HashMap::new(),
            by_revision: HashMap::new(),
            services: HashMap::new(),
            pods: HashMap::new(),
            changed: HashSet::new(),
            complete: (false, false, false),
        }
    }

    fn revision(&mut self, change: reflect::Change<SeenRevision>) {
        match change {
            reflect::Change::Is(revision) => {
                let key = revision.key.clone();
                let before = self.revisions.insert(key.clone(), revision);
                if before.as_ref() != self.revisions.get(&key) {
                    self.stand(&key);
                    self.changed.insert(key);
                }
            }
            reflect::Change::Gone(key) => {
                self.revisions.remove(&key);
                self.pods.remove(&key);
                self.positions.forget(&key);
                self.changed.insert(key);
            }
            reflect::Change::Complete => self.complete.0 = true,
        }
    }

    fn places(&mut self, change: reflect::Change<Places>) {
        match change {
            reflect::Change::Is(places) => {
                let revision = places.revision.clone();
                let before = self.places.get(&places.source);
                if before == Some(&places) {
                    return;
                }
                let side = places.side;
                let of = self.by_revision.entry(revision.clone()).or_default();
                of.insert(places.source.clone());
                self.places.insert(places.source.clone(), places);
                match side {
                    Side::Private => {
                        self.changed.insert(revision);
                    }
                    Side::Public => self.stand(&revision),
                }
            }
            reflect::Change::Gone(source) => {
                let Some(places) = self.places.remove(&source) else {
                    return;
                };
                if let Some(of) = self.by_revision.get_mut(&places.revision) {
                    of.remove(&source);
                    if of.is_empty() {
                        self.by_revision.remove(&places.revision);
                    }
                }
                // Without its public endpoints a position stays as it was (§3.7).
                if places.side == Side::Private {
                    self.changed.insert(places.revision);
                }
            }
            reflect::Change::Complete => self.complete.1 = true,
        }
    }

    fn service(&mut self, change: reflect::Change<Private>) {
        match change {
            reflect::Change::Is(service) => {
                let before = self.services.insert(service.key.clone(), service.clone());
                if before.as_ref() != Some(&service) {
                    self.served_by(&service.key);
                }
            }
            reflect::Change::Gone(key) => {
                self.services.remove(&key);
                self.served_by(&key);
            }
            reflect::Change::Complete => self.complete.2 = true,
        }
    }

    /// Marks the revision whose private Service has this name.
    fn served_by(&mut self, service: &Key) {
        let revision = service.name.strip_suffix("-private");
        let revision = revision.map(|name| Key::new(Arc::clone(&service.namespace), name));
        match revision.filter(|key| self.revisions.contains_key(key)) {
            Some(key) => {
                self.changed.insert(key);
            }
            None => {
                // A long name: it has to be made of each.
                let long = self.revisions.keys().filter(|key| {
                    key.namespace == service.namespace && name::private(&key.name) == *service.name
                });
                self.changed.extend(long.cloned().collect::<Vec<_>>());
            }
        }
    }

    /// What is told of a revision by objects of one side, under the port of its protocol.
    fn told<'a>(
        &'a self,
        revision: &'a SeenRevision,
        side: Side,
    ) -> impl Iterator<Item = &'a Place> {
        let port = port_name(revision.protocol);
        let sources = self.by_revision.get(&revision.key).into_iter().flatten();
        sources
            .filter_map(|source| self.places.get(source))
            .filter(move |places| places.side == side)
            .flat_map(|places| &places.places)
            .filter(move |place| place.port_name == port)
    }

    /// Looks for this activator among the public endpoints.
    fn stand(&mut self, key: &Key) {
        let Some(revision) = self.revisions.get(key) else {
            return;
        };
        let public = self.told(revision, Side::Public);
        let ready: Vec<IpAddr> = public
            .filter(|place| place.ready)
            .map(|place| place.ip)
            .collect();
        if self.positions.see(key, ready) {
            self.changed.insert(key.clone());
        }
    }

    fn pods(&mut self, key: &Key) -> Option<Arc<[Pod]>> {
        let now = Instant::now();
        let revision = self.revisions.get(key)?;
        // A pod that is in two slices for a moment is one pod.
        let mut places: BTreeMap<SocketAddr, (Arc<str>, bool)> = BTreeMap::new();
        for place in self.told(revision, Side::Private) {
            let addr = (place.ip, place.port).into();
            let known = places
                .entry(addr)
                .or_insert_with(|| (Arc::clone(&place.name), place.ready));
            known.1 |= place.ready;
        }
        let seen = self.pods.entry(key.clone()).or_default();
        seen.retain(|addr, _| places.contains_key(addr));
        let pods: Vec<Pod> = places
            .into_iter()
            .map(|(addr, (name, is_ready))| {
                let seen = seen.entry(addr).or_insert(Seen {
                    at: now,
                    ready: None,
                });
                seen.ready = is_ready.then(|| seen.ready.unwrap_or(now));
                Pod {
                    name,
                    addr,
                    phase: if is_ready {
                        Phase::Ready
                    } else {
                        Phase::Starting
                    },
                    asked: seen.at.into_std(),
                    // That it has an address is all that is known of its start.
                    started: Some(seen.at.into_std()),
                    ready: seen.ready.map(Instant::into_std),
                }
            })
            .collect();
        if pods.is_empty() {
            self.pods.remove(key);
        }
        Some(pods.into())
    }

    fn paint_one(&mut self, key: &Key) -> Option<Revision> {
        let pods = self.pods(key)?;
        let revision = self.revisions.get(key)?;
        let private = Key::new(Arc::clone(&key.namespace), name::private(&key.name));
        let service = self.services.get(&private).and_then(|service| {
            let wanted = port_name(revision.protocol).as_str();
            let port = service.ports.iter().find(|(name, _)| name == wanted)?;
            Some((service.ip, port.1).into())
        });
        Some(Revision {
            id: key.revision(),
            service: revision.service.as_str().into(),
            configuration: revision.configuration.as_str().into(),
            annotations: Arc::new(revision.annotations.clone()),
            slots: revision.slots,
            timeouts: revision.timeouts,
            protocol: revision.protocol,
            reachability: revision.reachability,
            // Nobody tells an activator how many were asked for.
            wanted: u32::try_from(pods.len()).unwrap_or(u32::MAX),
            pods,
            unplaced: 0,
            position: self.positions.of(key),
            readiness: Readiness::Probed {
                early: revision.early,
                service,
            },
            queue_proxy: true,
            standing: None,
            trouble: None,
        })
    }
}

fn port_name(protocol: Protocol) -> PortName {
    match protocol {
        Protocol::Http1 => PortName::Http,
        Protocol::H2c => PortName::Http2,
    }
}

impl Painter for Picture {
    type Change = Change;

    fn take(&mut self, change: Change) {
        match change {
            Change::Revision(change) => self.revision(change),
            Change::Places(change) => self.places(change),
            Change::Service(change) => self.service(change),
        }
    }

    fn is_complete(&self) -> bool {
        self.complete == (true, true, true)
    }

    fn paint(&mut self, snapshot: &mut Snapshot) -> bool {
        let changed = std::mem::take(&mut self.changed);
        for key in &changed {
            match self.paint_one(key) {
                Some(revision) => {
                    let id = revision.id.clone();
                    snapshot.revisions.insert(id, Arc::new(revision));
                }
                None => {
                    snapshot.revisions.remove(&key.revision());
                }
            }
        }
        !changed.is_empty()
    }
}
