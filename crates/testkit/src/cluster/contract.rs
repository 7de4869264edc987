//! What every [`Cluster`] has to do, as checks that run against any of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::{Cluster, Phase, Pod, Revision, ScaleError, Snapshot};
use penstock_types::RevisionId;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// A check that takes longer has failed. It is far beyond what any machine needs, and only ends
/// a test that would hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A cluster to be checked.
pub struct Subject {
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// A revision of it: without pods, and able to have three that become ready.
    pub revision: RevisionId,
}

/// Runs every check against a new cluster made by `make`, one after the other.
///
/// # Panics
///
/// At the first check that fails; the message says which rule was broken.
pub async fn contract(mut make: impl AsyncFnMut() -> Subject) {
    a_revision_without_pods_is_in_the_picture(make().await).await;
    an_unknown_revision_is_said(make().await).await;
    pods_asked_for_become_ready_and_take_connections(make().await).await;
    the_last_of_two_wishes_wins(make().await).await;
    the_same_wish_again_changes_nothing(make().await).await;
    fewer_pods_are_some_of_those_there_were(make().await).await;
    zero_leaves_none_and_the_next_ones_are_new(make().await).await;
    a_late_reader_sees_the_picture_of_now(make().await).await;
}

/// The first picture has the revision, at zero.
pub async fn a_revision_without_pods_is_in_the_picture(subject: Subject) {
    let revision = subject.until("the revision is known", |_| true).await;
    assert_eq!(revision.id, subject.revision, "the key is not the id");
    assert_eq!((revision.wanted, revision.pods.len()), (0, 0));
}

/// A wish for a revision that does not exist is an error which names it.
pub async fn an_unknown_revision_is_said(subject: Subject) {
    let unknown = RevisionId::new("nowhere", "nothing-00001");
    match subject.cluster.scale(&unknown, 1).await {
        Err(ScaleError::UnknownRevision(named)) => assert_eq!(named, unknown),
        other => panic!("scaling an unknown revision: {other:?}"),
    }
}

/// The wish shows, then the pods, then that they are ready; and ready ones take connections.
pub async fn pods_asked_for_become_ready_and_take_connections(subject: Subject) {
    subject.scale(2).await;
    subject
        .until("2 pods are wanted", |revision| revision.wanted == 2)
        .await;
    let revision = subject.until_ready(2).await;
    let addrs: Vec<_> = revision.pods.iter().map(|pod| pod.addr).collect();
    assert!(addrs.is_sorted(), "pods out of order: {addrs:?}");
    assert_eq!(names(&revision).len(), 2, "two pods share a name");
    assert_eq!(HashSet::<_>::from_iter(&addrs).len(), 2, "{addrs:?}");
    for pod in revision.ready() {
        let connected = TcpStream::connect(pod.addr).await;
        assert!(connected.is_ok(), "{}: {connected:?}", pod.addr);
        assert!(
            pod.started.is_some_and(|started| started >= pod.asked),
            "started before it was asked for: {pod:?}"
        );
        assert!(pod.ready >= pod.started, "ready before it started: {pod:?}");
    }
}

/// Two wishes in a row: the second counts, whatever became of the first.
pub async fn the_last_of_two_wishes_wins(subject: Subject) {
    subject.scale(3).await;
    subject.scale(1).await;
    let revision = subject.until_ready(1).await;
    assert_eq!(revision.wanted, 1);
    subject.scale(0).await;
    subject.scale(2).await;
    let revision = subject.until_ready(2).await;
    assert_eq!(revision.wanted, 2);
}

/// A wish for what is there starts and stops nothing.
pub async fn the_same_wish_again_changes_nothing(subject: Subject) {
    subject.scale(2).await;
    let before = subject.until_ready(2).await;
    subject.scale(2).await;
    // A wish that is taken after it shows that the repeated one was handled.
    subject.scale(3).await;
    let after = subject.until_ready(3).await;
    assert!(
        names(&before).is_subset(&names(&after)),
        "a pod was replaced"
    );
}

/// Scaling down keeps pods that are there; it does not start others.
pub async fn fewer_pods_are_some_of_those_there_were(subject: Subject) {
    subject.scale(3).await;
    let before = subject.until_ready(3).await;
    subject.scale(1).await;
    let after = subject.until_ready(1).await;
    assert!(
        names(&after).is_subset(&names(&before)),
        "a pod was replaced"
    );
}

/// At zero no pod is left; those that come later are later ones.
pub async fn zero_leaves_none_and_the_next_ones_are_new(subject: Subject) {
    subject.scale(1).await;
    let before = subject.until_ready(1).await;
    subject.scale(0).await;
    let none = subject
        .until("no pod is left", |revision| revision.pods.is_empty())
        .await;
    assert_eq!(none.wanted, 0);
    subject.scale(1).await;
    let after = subject.until_ready(1).await;
    assert!(
        after.pods[0].asked >= before.pods[0].asked,
        "a pod of the past came back"
    );
}

/// A receiver made now has the picture of now, without waiting for a change.
pub async fn a_late_reader_sees_the_picture_of_now(subject: Subject) {
    subject.scale(1).await;
    let ready = subject.until_ready(1).await;
    let late = subject.cluster.snapshot();
    let seen = late.borrow().revisions[&subject.revision].pods.clone();
    assert_eq!(seen, ready.pods);
}

impl Subject {
    async fn scale(&self, pods: u32) {
        let scaled = self.cluster.scale(&self.revision, pods).await;
        assert!(scaled.is_ok(), "scale to {pods}: {scaled:?}");
    }

    /// Waits for exactly `pods` pods, all of them ready.
    async fn until_ready(&self, pods: usize) -> Arc<Revision> {
        let ready = |pod: &Pod| pod.phase == Phase::Ready;
        self.until(&format!("{pods} pods, all ready"), |revision| {
            revision.pods.len() == pods && revision.pods.iter().all(ready)
        })
        .await
    }

    /// Waits until the picture of the revision is as it should be.
    async fn until(&self, what: &str, is_so: impl Fn(&Revision) -> bool) -> Arc<Revision> {
        let mut pictures: watch::Receiver<Arc<Snapshot>> = self.cluster.snapshot();
        let is_so = |picture: &Arc<Snapshot>| {
            let revision = picture.revisions.get(&self.revision);
            revision.is_some_and(|revision| is_so(revision))
        };
        let waited = tokio::time::timeout(LIMIT, pictures.wait_for(is_so)).await;
        let picture = match waited {
            Ok(Ok(picture)) => Arc::clone(&picture),
            Ok(Err(_)) => panic!("{what}: the cluster went away"),
            Err(_) => {
                let last = self.cluster.snapshot().borrow().clone();
                panic!("{what}: not within {LIMIT:?}; the last picture is {last:?}")
            }
        };
        Arc::clone(&picture.revisions[&self.revision])
    }
}

fn names(revision: &Revision) -> HashSet<Arc<str>> {
    let pods = revision.pods.iter();
    pods.map(|pod| Arc::clone(&pod.name)).collect()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::cluster::{ScriptedCluster, revision};

    #[tokio::test]
    async fn the_scripted_cluster_keeps_the_contract_when_it_is_obedient() {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addrs = listeners.iter().map(|l| l.local_addr().unwrap());
        let addrs: Vec<_> = addrs.collect();
        contract(async || {
            let hello = revision("hello-00001").build();
            Subject {
                revision: hello.id.clone(),
                cluster: ScriptedCluster::obedient([hello], addrs.clone()),
            }
        })
        .await;
    }
}
