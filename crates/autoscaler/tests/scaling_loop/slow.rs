//! A cluster that takes its time: one call at a time, and the newest number wins.

use std::sync::Arc;

use penstock_autoscaler::PolicyKind;
use penstock_cluster::{BoxFuture, Cluster, ScaleError, Snapshot};
use penstock_testkit::cluster::revision;
use penstock_types::RevisionId;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use crate::bench::{Bench, first, report};
use crate::{from_zero, hello};

/// Answers a call only when it is let to.
struct Slow {
    snapshot: watch::Sender<Arc<Snapshot>>,
    asked: mpsc::UnboundedSender<u32>,
    questions: Mutex<mpsc::UnboundedReceiver<u32>>,
    may_answer: Semaphore,
}

impl Slow {
    fn new() -> Arc<Self> {
        let revision = revision("hello-00001").concurrency(10).build();
        let (asked, questions) = mpsc::unbounded_channel();
        Arc::new(Self {
            snapshot: watch::Sender::new(Arc::new(Snapshot {
                revisions: [(revision.id.clone(), Arc::new(revision))].into(),
                ..Snapshot::default()
            })),
            asked,
            questions: Mutex::new(questions),
            may_answer: Semaphore::new(0),
        })
    }

    async fn next_call(&self) -> u32 {
        self.questions.lock().await.recv().await.unwrap()
    }

    fn calls_waiting(&self) -> usize {
        self.questions.try_lock().unwrap().len()
    }
}

impl Cluster for Slow {
    fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.subscribe()
    }

    fn scale<'a>(&'a self, _: &'a RevisionId, pods: u32) -> BoxFuture<'a, Result<(), ScaleError>> {
        Box::pin(async move {
            self.asked.send(pods).unwrap();
            self.may_answer.acquire().await.unwrap().forget();
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_cluster_is_asked_once_at_a_time_and_then_for_the_newest_number() {
    let cluster = Slow::new();
    let bench = Bench::start(&cluster, from_zero(), PolicyKind::Demand).await;
    bench.send(vec![first(&hello(), 10)]).await;
    assert_eq!(cluster.next_call().await, 1);
    for waiting in [50, 120, 200] {
        bench.send(vec![report(&hello(), 0.0, waiting, 0)]).await;
        bench.settle().await;
    }
    let state = bench.state("default/hello-00001");
    assert_eq!(state.wanted, 20, "decisions do not wait for the cluster");
    assert_eq!(cluster.calls_waiting(), 0);
    cluster.may_answer.add_permits(1);
    assert_eq!(cluster.next_call().await, 20);
    cluster.may_answer.add_permits(1);
    bench.settle().await;
    assert_eq!(cluster.calls_waiting(), 0);
    bench.stop().await;
}
