//! What is known of the pods of one revision, and what follows from it: who takes requests, and
//! who has to be asked. No I/O; `mod.rs` does the asking.
//!
//! Source: spec/activator.md §4.3 to §4.5. Unlike the original each answer counts by itself as it
//! comes; a demotion counts once; and the address that stands for all pods is left again as soon
//! as one of them answers.

use std::mem;
use std::net::SocketAddr;

use penstock_cluster::Readiness;

use super::Mesh;

/// A pod as the cluster lists it.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    pub(crate) addr: SocketAddr,
    /// The cluster calls it ready.
    pub(crate) ready: bool,
    pub(crate) pod: T,
}

/// Somebody who is to be asked, in one of its lives: an answer says nothing of a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    life: u64,
}

/// What came of asking once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It takes requests.
    Passed,
    /// It does not, or there was no answer.
    Failed {
        /// There was an answer that no service mesh gives in place of a pod.
        not_mesh: bool,
    },
}

/// Who takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Used<T> {
    /// These pods, in the order of their addresses.
    Pods(Vec<T>),
    /// Whoever is behind the address that stands for all.
    Service {
        addr: SocketAddr,
        /// Pods that the cluster calls ready.
        ready: usize,
    },
}

impl<T> Default for Used<T> {
    fn default() -> Self {
        Self::Pods(Vec::new())
    }
}

/// What is known of the pods of one revision.
#[derive(Debug)]
pub(crate) struct Backends<T> {
    /// As the process was told, and as it is for a cluster that is asked.
    asked: Mesh,
    /// As it is for this revision.
    mesh: Mesh,
    /// The address that stands for all is not to be used.
    passthrough: bool,
    /// Who passes is used before the cluster calls it ready.
    early: bool,
    /// By address.
    pods: Vec<Known<T>>,
    service: Option<Known<()>>,
    by_service: bool,
    lives: u64,
}

#[derive(Debug)]
struct Known<T> {
    addr: SocketAddr,
    pod: T,
    ready: bool,
    /// The latest answer.
    heard: Option<Heard>,
    /// Somebody asks, until told that it is over.
    pursued: bool,
    life: u64,
}

impl<T> Known<T> {
    fn new(addr: SocketAddr, ready: bool, pod: T, lives: &mut u64) -> Self {
        *lives += 1;
        Self {
            addr,
            pod,
            ready,
            heard: None,
            pursued: false,
            life: *lives,
        }
    }

    fn is(&self, target: Target) -> bool {
        (self.addr, self.life) == (target.addr, target.life)
    }

    fn has_passed(&self) -> bool {
        self.heard == Some(Heard::Passed)
    }
}

impl<T: Clone + PartialEq> Backends<T> {
    /// No pods yet. Where they are asked, `mesh` and `passthrough` say how.
    pub(crate) fn new(mesh: Mesh, passthrough: bool) -> Self {
        Self {
            asked: mesh,
            mesh,
            passthrough,
            early: false,
            pods: Vec::new(),
            service: None,
            by_service: false,
            lives: 0,
        }
    }

    /// Takes the cluster's list, which is ordered by address. Says whether anything is new.
    pub(crate) fn list(&mut self, listed: Vec<Listed<T>>, readiness: Readiness) -> bool {
        let (mesh, early, service) = match readiness {
            Readiness::Trusted => (Mesh::Disabled, false, None),
            Readiness::Probed { early, service } => (self.asked, early, service),
        };
        let mut is_new = (self.mesh, self.early) != (mesh, early);
        (self.mesh, self.early) = (mesh, early);
        is_new |= self.replace(listed);
        if self.service.as_ref().map(|known| known.addr) != service {
            self.leave_service();
            self.service = service.map(|addr| Known::new(addr, true, (), &mut self.lives));
            is_new = true;
        }
        if self.pods.is_empty() || self.may_be_by_pods() {
            self.leave_service();
        }
        is_new
    }

    fn replace(&mut self, listed: Vec<Listed<T>>) -> bool {
        let mut is_new = false;
        let mut old = mem::take(&mut self.pods).into_iter().peekable();
        for Listed { addr, ready, pod } in listed {
            while old.next_if(|known| known.addr < addr).is_some() {
                is_new = true;
            }
            let same = old.next_if(|known| known.addr == addr && known.pod == pod);
            let mut known = match same {
                Some(known) => Known { pod, ..known },
                None => {
                    is_new = true;
                    Known::new(addr, ready, pod, &mut self.lives)
                }
            };
            if known.ready && !ready {
                // What it said before it was called unready counts no more.
                known = Known::new(addr, ready, known.pod, &mut self.lives);
                is_new = true;
            }
            is_new |= known.ready != ready;
            known.ready = ready;
            self.pods.push(known);
        }
        is_new | old.next().is_some()
    }

    /// Who is to be asked from now on, and is not yet.
    pub(crate) fn pursue(&mut self) -> Vec<Target> {
        let mut targets = Vec::new();
        for at in 0..self.pods.len() {
            if self.wants(&self.pods[at]) && !mem::replace(&mut self.pods[at].pursued, true) {
                let Known { addr, life, .. } = self.pods[at];
                targets.push(Target { addr, life });
            }
        }
        if self.wants_service()
            && let Some(service) = &mut self.service
            && !mem::replace(&mut service.pursued, true)
        {
            let Known { addr, life, .. } = *service;
            targets.push(Target { addr, life });
        }
        targets
    }

    /// Takes an answer. Whether to go on asking; if not, that is up to [`Backends::pursue`].
    pub(crate) fn heard(&mut self, target: Target, heard: Heard) -> bool {
        if let Some(at) = self.pods.iter().position(|known| known.is(target)) {
            self.pods[at].heard = Some(heard);
            if self.may_be_by_pods() {
                self.leave_service();
            }
            let goes_on = self.wants(&self.pods[at]);
            self.pods[at].pursued = goes_on;
            return goes_on;
        }
        let wanted = self.wants_service();
        let Some(service) = self.service.as_mut().filter(|known| known.is(target)) else {
            return false;
        };
        if heard == Heard::Passed && wanted {
            self.by_service = true;
        }
        service.pursued = wanted && !self.by_service;
        service.pursued
    }

    /// Who takes requests now.
    pub(crate) fn used(&self) -> Used<T> {
        match &self.service {
            Some(service) if self.by_service => Used::Service {
                addr: service.addr,
                ready: self.pods.iter().filter(|known| known.ready).count(),
            },
            _ => {
                let usable = self.pods.iter().filter(|known| self.is_usable(known));
                Used::Pods(usable.map(|known| known.pod.clone()).collect())
            }
        }
    }

    /// The pod that is asked; `None` if it is not listed any more, or no pod.
    pub(crate) fn pod(&self, target: Target) -> Option<&T> {
        let found = self.pods.iter().find(|known| known.is(target));
        found.map(|known| &known.pod)
    }

    /// Whether requests go to the address that stands for all pods.
    pub(crate) fn is_by_service(&self) -> bool {
        self.by_service
    }

    fn leave_service(&mut self) {
        self.by_service = false;
    }

    /// Whether it can come to be used.
    fn counts(&self, known: &Known<T>) -> bool {
        self.mesh != Mesh::Enabled && (known.ready || self.early)
    }

    fn is_usable(&self, known: &Known<T>) -> bool {
        let trusted = self.mesh == Mesh::Disabled && known.ready;
        self.counts(known) && (trusted || known.has_passed())
    }

    fn wants(&self, known: &Known<T>) -> bool {
        self.counts(known) && !self.is_usable(known)
    }

    fn may_be_by_pods(&self) -> bool {
        self.pods.iter().any(|known| self.is_usable(known))
    }

    /// Only where some pod is ready: behind the address there is nobody else. And, unless it is
    /// known that there is a mesh, once all pods have been asked, and none has said a word that
    /// must be its own.
    fn wants_service(&self) -> bool {
        let silent = |known: &Known<T>| known.heard == Some(Heard::Failed { not_mesh: false });
        !self.by_service
            && !self.passthrough
            && self.service.is_some()
            && self.pods.iter().any(|known| known.ready)
            && match self.mesh {
                Mesh::Disabled => false,
                Mesh::Enabled => true,
                Mesh::Auto => {
                    let mut asked = self.pods.iter().filter(|known| self.counts(known));
                    asked.all(silent)
                }
            }
    }
}
