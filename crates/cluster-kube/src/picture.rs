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
/// Shortest time between two pictures.
const APART: Duration = Duration::from_millis(2);
/// Time between two pictures where changes come in swarms: readers go through thousands of
/// revisions for each.
const PACE: Duration = Duration::from_millis(10);
/// How far pictures may be ahead of that pace: what one cold start changes is seen at once.
const AHEAD: Duration = Duration::from_millis(80);

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
    // When the next picture is due at the pace.
    let mut paced = next;
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
        let now = Instant::now();
        paced = paced.max(now) + PACE;
        next = (now + APART).max(paced.checked_sub(AHEAD).unwrap_or(now));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every change is another picture; told is how many of them the last one shows.
    struct Counting {
        taken: u32,
        told: watch::Sender<u32>,
    }

    impl Painter for Counting {
        type Change = ();

        fn take(&mut self, (): ()) {
            self.taken += 1;
        }

        fn is_complete(&self) -> bool {
            true
        }

        fn paint(&mut self, _: &mut Snapshot) -> bool {
            self.told.send_replace(self.taken);
            true
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_changes_are_shown_at_once_and_swarms_at_a_pace() {
        let (changes, taken) = mpsc::channel(BACKLOG);
        let (sender, mut pictures) = watch::channel(Arc::new(Snapshot::default()));
        let (complete, _) = watch::channel(false);
        let (told, shows) = watch::channel(0);
        let counting = Counting { taken: 0, told };
        tokio::spawn(keep(counting, taken, sender, complete));
        let started = Instant::now();
        for _ in 0..5 {
            changes.send(()).await.unwrap();
            pictures.changed().await.unwrap();
        }
        let few = started.elapsed();
        assert!(few <= 5 * APART + Duration::from_millis(5), "{few:?}");

        let swarm = tokio::spawn(async move {
            for _ in 0..1000 {
                changes.send(()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let mut shown = 0;
        while pictures.changed().await.is_ok() {
            shown += 1;
        }
        swarm.await.unwrap();
        assert!((50..=125).contains(&shown), "{shown} pictures in a second");
        assert_eq!(*shows.borrow(), 1005, "the last change is shown");
    }
}
