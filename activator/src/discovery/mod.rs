//! Finding out which pods take requests, by asking them: `GET /healthz` with
//! `K-Network-Probe: queue`, which a queue-proxy answers with `queue` once its container is ready.
//!
//! Only where the cluster's snapshot says so ([`Readiness::Probed`]); elsewhere the cluster's word
//! counts, through the same `backends.rs`, and nobody is asked.
//!
//! Each pod is asked by a task of its own, which ends with the answer `queue`: a hung pod delays
//! no other, and a revision all of whose pods have passed costs nothing. The pause between two
//! questions doubles from [`FIRST`] to `pause` while somebody waits for the revision, and to many
//! times that while nobody does. A pod that does not answer in time while somebody waits is asked
//! again at once: a queue-proxy holds the question until its container is ready.
//!
//! - `backends.rs`: what is known of the pods, and what follows
//! - `ask.rs`: one question
//!
//! Source: spec/activator.md §4.2 to §4.5. The original asks all pods of a revision together,
//! every 200 ms, and uses the answers once the last has come or its 300 ms are over.
//!
//! [`Readiness::Probed`]: penstock_cluster::Readiness::Probed

mod ask;
mod backends;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use penstock_relay::forward::{Keep, Relay};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::revision::Entry;
use ask::Answer;
pub(crate) use backends::{Backends, Heard, Listed, Target, Used};

/// From the first question to the second, if the first was answered or refused at once.
const FIRST: Duration = Duration::from_millis(5);
/// Pauses while nobody waits are up to so many times as long.
const IDLE: u32 = 16;
/// How often it is looked whether pods can be reached again each, while requests go to the
/// address that stands for all of them.
const SELDOM: Duration = Duration::from_secs(30);
/// Questions at one time; each holds a descriptor for as long as the time limit at most.
const AT_ONCE: usize = 1000;
/// A question opens a connection of its own: an old one says nothing of the pod.
const NONE_KEPT: Keep = Keep { total: 0, each: 0 };

/// How pods are asked, where they are.
#[derive(Clone, Copy, Debug)]
pub struct Discovery {
    /// Whether a service mesh may be between here and the pods.
    pub mesh: Mesh,
    /// The mesh lets pods be addressed each, if they are asked for by their Service's name
    /// (`enable-mesh-pod-addressability`).
    pub passthrough: bool,
    /// Time for an answer (`PROBE_TIMEOUT`).
    pub timeout: Duration,
    /// Longest pause between two questions while somebody waits (`PROBE_FREQUENCY`).
    pub pause: Duration,
}

impl Default for Discovery {
    /// As the contract has it (spec/activator.md §1.1, §1.3).
    fn default() -> Self {
        Self {
            mesh: Mesh::Auto,
            passthrough: false,
            timeout: Duration::from_millis(300),
            pause: Duration::from_millis(200),
        }
    }
}

/// `mesh-compatibility-mode`: whether pods can be addressed each (spec/activator.md §4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mesh {
    /// Found out: all pods have to pass; if none says a word of its own, the address that stands
    /// for all of them is asked.
    #[default]
    Auto,
    /// They can: those that the cluster calls ready are trusted.
    Disabled,
    /// They cannot: all requests go to the address that stands for them.
    Enabled,
}

/// Asks pods. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Scout(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    relay: Relay,
    how: Discovery,
    at_once: Semaphore,
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl Scout {
    /// Asks from `tasks`, until `cut`.
    pub(crate) fn new(how: Discovery, tasks: TaskTracker, cut: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            relay: Relay::new(NONE_KEPT),
            how,
            at_once: Semaphore::new(AT_ONCE),
            tasks,
            cut,
        }))
    }

    /// How pods are asked.
    pub(crate) fn how(&self) -> &Discovery {
        &self.0.how
    }

    /// Whether somebody at `addr` answers, a queue-proxy or not.
    pub(crate) async fn answers(&self, addr: SocketAddr, host: &HeaderValue) -> bool {
        ask::answers(&self.0.relay, &self.0.how, addr, host).await
    }

    /// Asks each of `targets` until it has passed, or is of no interest any more.
    pub(crate) fn pursue(&self, entry: &Arc<Entry>, targets: Vec<Target>) {
        for target in targets {
            let (scout, entry) = (self.clone(), Arc::clone(entry));
            self.0.tasks.spawn(async move {
                let cut = scout.0.cut.clone();
                cut.run_until_cancelled(scout.until_passed(&entry, target))
                    .await;
            });
        }
    }

    async fn until_passed(&self, entry: &Arc<Entry>, target: Target) {
        let how = &self.0.how;
        let host = entry.host_of(target.addr);
        let mut pause = FIRST;
        loop {
            let event = entry.stir.events();
            let answer = {
                // It is never closed.
                let _turn = self.0.at_once.acquire().await;
                ask::ask(&self.0.relay, how, target.addr, &host).await
            };
            if !entry.heard(target, answer.heard(), self) {
                return;
            }
            if answer == Answer::Silence && entry.gate.waiting() > 0 {
                pause = FIRST;
            }
            pause = self.rest(entry, event, pause).await;
        }
    }

    /// The time between two questions, which is up to `pause`. Says how long the next one may be.
    async fn rest(&self, entry: &Entry, event: u64, mut pause: Duration) -> Duration {
        let how = &self.0.how;
        let mut since = Instant::now();
        loop {
            let mut stirred = pin!(entry.stir.notified());
            // From here on none is missed.
            stirred.as_mut().enable();
            let is_idle = entry.gate.waiting() == 0;
            let is_by_service = entry.is_by_service();
            let is_new = entry.stir.events() != event;
            pause = match () {
                () if is_new => FIRST.min(how.pause),
                () if is_by_service => SELDOM,
                () if is_idle => pause.min(how.pause.saturating_mul(IDLE)),
                () => pause.min(how.pause),
            };
            tokio::select! {
                () = sleep_until(since + pause) => {}
                () = stirred => continue,
                _ = entry.gate.waiting_other_than(0), if is_idle => continue,
            }
            if is_by_service && !is_new && is_idle && entry.gate.in_flight() == 0 {
                since = Instant::now();
                continue;
            }
            return pause.saturating_mul(2);
        }
    }
}

/// Tells those who rest between two questions about one revision of news.
#[derive(Debug, Default)]
pub(crate) struct Stir {
    notify: Notify,
    events: AtomicU64,
}

impl Stir {
    /// The cluster says something new of the pods: they are asked at once.
    pub(crate) fn event(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
        self.notify.notify_waiters();
    }

    fn events(&self) -> u64 {
        self.events.load(Ordering::Acquire)
    }

    fn notified(&self) -> Notified<'_> {
        self.notify.notified()
    }
}
