//! How changes become pictures: one task takes them in order and shows what has become of them.

use std::sync::Arc;
use std::time::Duration;

use penstock_cluster::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Changes that may wait to be taken. Beyond that the watches wait.
pub(crate) const BACKLOG: usize = 1024;
/// Shortest time between two pictures. Readers go through thousands of revisions for each, and
/// changes come in swarms.
const APART: Duration = Duration::from_millis(2);

/// Something that is painted from changes.
pub(crate) trait Painter: Send + 'static {
    /// What changes.
    type Change: Send + 'static;

    /// Takes a change.
    fn take(&mut self, change: Self::Change);

    /// Whether enough was seen for a first picture.
    fn is_complete(&self) -> bool;

    /// Brings the snapshot up to date: only what has changed since the last time. Returns whether
    /// anything did.
    fn paint(&mut self, snapshot: &mut Snapshot) -> bool;
}

/// Whether a first picture is there, for who has to wait for it.
pub(crate) type Complete = watch::Receiver<bool>;

/// Paints until nobody sends changes any more.
pub(crate) async fn keep<P: Painter>(
    mut painter: P,
    mut changes: mpsc::Receiver<P::Change>,
    pictures: watch::Sender<Arc<Snapshot>>,
    complete: watch::Sender<bool>,
) {
    let mut batch = Vec::new();
    let mut next = Instant::now();
    while changes.recv_many(&mut batch, BACKLOG).await > 0 {
        for change in batch.drain(..) {
            painter.take(change);
        }
        if !painter.is_complete() {
            continue;
        }
        if Instant::now() < next {
            sleep_until(next).await;
            while let Ok(change) = changes.try_recv() {
                painter.take(change);
            }
        }
        pictures.send_if_modified(|snapshot| painter.paint(Arc::make_mut(snapshot)));
        complete.send_if_modified(|complete| !std::mem::replace(complete, true));
        next = Instant::now() + APART;
    }
}

/// The tasks of one cluster. They end when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `task` until it ends or the cluster is dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
