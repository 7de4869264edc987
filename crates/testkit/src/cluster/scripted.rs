//! A cluster that does what a test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use penstock_cluster::{BoxFuture, Cluster, Pod, Revision, Routes, ScaleError, Snapshot, Wish};
use penstock_types::RevisionId;
use tokio::sync::{mpsc, watch};

use super::build::{pod, route_to};

/// A [`Cluster`] whose picture is set by hand, and which tells what it was asked for.
///
/// It takes every wish for a revision that it has and starts nothing, unless it was made with
/// [`ScriptedCluster::obedient`].
pub struct ScriptedCluster {
    snapshot: watch::Sender<Arc<Snapshot>>,
    asked: mpsc::UnboundedSender<(RevisionId, u32)>,
    questions: tokio::sync::Mutex<mpsc::UnboundedReceiver<(RevisionId, u32)>>,
    arranged: mpsc::UnboundedSender<(RevisionId, Wish)>,
    wishes: tokio::sync::Mutex<mpsc::UnboundedReceiver<(RevisionId, Wish)>>,
    refusals: Mutex<VecDeque<String>>,
    /// Addresses for the pods of an obedient cluster.
    addrs: Option<Vec<SocketAddr>>,
}

impl ScriptedCluster {
    /// A cluster with these revisions, which starts no pods by itself.
    pub fn new(revisions: impl IntoIterator<Item = Revision>) -> Arc<Self> {
        Self::make(revisions, None)
    }

    /// A cluster that has as many ready pods as it is asked for, at once, at these addresses.
    pub fn obedient(
        revisions: impl IntoIterator<Item = Revision>,
        addrs: impl IntoIterator<Item = SocketAddr>,
    ) -> Arc<Self> {
        Self::make(revisions, Some(addrs.into_iter().collect()))
    }

    fn make(
        revisions: impl IntoIterator<Item = Revision>,
        addrs: Option<Vec<SocketAddr>>,
    ) -> Arc<Self> {
        let (asked, questions) = mpsc::unbounded_channel();
        let (arranged, wishes) = mpsc::unbounded_channel();
        let revisions = revisions.into_iter();
        Arc::new(Self {
            snapshot: watch::Sender::new(Arc::new(Snapshot {
                revisions: revisions.map(|r| (r.id.clone(), Arc::new(r))).collect(),
                routes: Arc::default(),
            })),
            asked,
            questions: tokio::sync::Mutex::new(questions),
            arranged,
            wishes: tokio::sync::Mutex::new(wishes),
            refusals: Mutex::default(),
            addrs,
        })
    }

    /// Changes the picture.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot
            .send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    /// Adds a revision, or replaces the one of the same key.
    pub fn put(&self, revision: Revision) {
        self.change(|snapshot| {
            let id = revision.id.clone();
            snapshot.revisions.insert(id, Arc::new(revision));
        });
    }

    /// Takes a revision away.
    pub fn remove(&self, revision: &RevisionId) {
        self.change(|snapshot| {
            snapshot.revisions.remove(revision);
        });
    }

    /// Changes one revision.
    ///
    /// # Panics
    ///
    /// If the cluster does not have it.
    pub fn change_revision(&self, id: &RevisionId, change: impl FnOnce(&mut Revision)) {
        self.change(|snapshot| {
            let revision = snapshot.revisions.get_mut(id);
            change(Arc::make_mut(revision.expect("the test put this revision")));
        });
    }

    /// Replaces the pods of one revision.
    ///
    /// # Panics
    ///
    /// If the cluster does not have the revision.
    pub fn set_pods(&self, id: &RevisionId, pods: impl IntoIterator<Item = Pod>) {
        let mut pods: Vec<Pod> = pods.into_iter().collect();
        pods.sort_by_key(|pod| pod.addr);
        self.change_revision(id, |revision| revision.pods = pods.into());
    }

    /// Adds a ready pod at `addr`.
    ///
    /// # Panics
    ///
    /// If the cluster does not have the revision.
    pub fn start_pod(&self, id: &RevisionId, addr: SocketAddr) {
        let pods = self.revision(id).pods.to_vec();
        self.set_pods(id, pods.into_iter().chain([pod(addr)]));
    }

    /// Takes away the pod at `addr`.
    ///
    /// # Panics
    ///
    /// If the cluster does not have the revision.
    pub fn stop_pod(&self, id: &RevisionId, addr: SocketAddr) {
        let pods = self.revision(id).pods.to_vec();
        self.set_pods(id, pods.into_iter().filter(|pod| pod.addr != addr));
    }

    /// Routes all requests for `host` to `revision`.
    pub fn route(&self, host: &str, revision: &RevisionId) {
        self.change(|snapshot| {
            let mut hosts = snapshot.routes.hosts.clone();
            hosts.insert(host.to_owned(), route_to(revision));
            snapshot.routes = Arc::new(Routes { hosts });
        });
    }

    /// The revision as it is now.
    ///
    /// # Panics
    ///
    /// If the cluster does not have it.
    pub fn revision(&self, id: &RevisionId) -> Arc<Revision> {
        let snapshot = self.snapshot.borrow();
        let revision = snapshot.revisions.get(id);
        Arc::clone(revision.expect("the test put this revision"))
    }

    /// Refuses the next wish with `reason`; called again, also the one after it.
    pub fn refuse_next(&self, reason: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.push_back(reason.to_owned());
    }

    /// Waits for a wish for pods, and says for whom and how many. Wishes come in the order in
    /// which they were made, also the refused ones.
    pub async fn next_scale(&self) -> (RevisionId, u32) {
        let asked = self.questions.lock().await.recv().await;
        asked.expect("the cluster itself holds the sending end")
    }

    /// The next wish, if it was made already.
    ///
    /// # Panics
    ///
    /// If another task waits for a wish.
    pub fn scaled(&self) -> Option<(RevisionId, u32)> {
        let mut questions = self.questions.try_lock().expect("one reader of the wishes");
        questions.try_recv().ok()
    }

    /// Waits for a wish beside pods, and says for whom and what. Its revision remembers it already,
    /// if it remembers anything.
    pub async fn next_wish(&self) -> (RevisionId, Wish) {
        let arranged = self.wishes.lock().await.recv().await;
        arranged.expect("the cluster itself holds the sending end")
    }

    /// The next wish beside pods, if it was made already.
    ///
    /// # Panics
    ///
    /// If another task waits for a wish.
    pub fn wished(&self) -> Option<(RevisionId, Wish)> {
        let mut wishes = self.wishes.try_lock().expect("one reader of the wishes");
        wishes.try_recv().ok()
    }

    /// What a revision is doing and who is in its path; since when, is the script's to say.
    fn remember(&self, id: &RevisionId, wish: Wish) -> Result<(), ScaleError> {
        if !self.snapshot.borrow().revisions.contains_key(id) {
            return Err(ScaleError::UnknownRevision(id.clone()));
        }
        self.change_revision(id, |revision| {
            if let Some(standing) = &mut revision.standing {
                let standing = Arc::make_mut(standing);
                standing.activity = wish.activity;
                standing.initialized = wish.initialized;
                if let Some(way) = &mut standing.way {
                    way.proxied = wish.proxied;
                }
            }
        });
        // The cluster owns both ends of the channel.
        let _ = self.arranged.send((id.clone(), wish));
        Ok(())
    }

    fn take(&self, id: &RevisionId, pods: u32) -> Result<(), ScaleError> {
        // The cluster owns both ends of the channel.
        let _ = self.asked.send((id.clone(), pods));
        if !self.snapshot.borrow().revisions.contains_key(id) {
            return Err(ScaleError::UnknownRevision(id.clone()));
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = refusals.pop_front() {
            return Err(ScaleError::Refused {
                revision: id.clone(),
                reason,
            });
        }
        self.change_revision(id, |revision| {
            revision.wanted = pods;
            if let Some(addrs) = &self.addrs {
                obey(revision, addrs, pods as usize);
            }
        });
        Ok(())
    }
}

/// Keeps the first pods and adds what is missing at addresses that are free.
fn obey(revision: &mut Revision, addrs: &[SocketAddr], pods: usize) {
    let mut now: Vec<Pod> = revision.pods.iter().take(pods).cloned().collect();
    let free: Vec<SocketAddr> = addrs
        .iter()
        .filter(|addr| now.iter().all(|pod| pod.addr != **addr))
        .take(pods - now.len())
        .copied()
        .collect();
    now.extend(free.into_iter().map(pod));
    assert_eq!(now.len(), pods, "the script has {} addresses", addrs.len());
    now.sort_by_key(|pod| pod.addr);
    revision.pods = now.into();
}

impl Cluster for ScriptedCluster {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    fn scale<'a>(
        &'a self,
        revision: &'a RevisionId,
        pods: u32,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move { self.take(revision, pods) })
    }
    fn settle<'a>(
        &'a self,
        revision: &'a RevisionId,
        wish: Wish,
    ) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move { self.remember(revision, wish) })
    }
}
