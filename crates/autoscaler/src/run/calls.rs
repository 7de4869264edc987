//! Calls to the cluster: how they begin, and what follows from their ends.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use penstock_cluster::{ScaleError, Wish};
use penstock_types::RevisionId;
use tokio::time::sleep;

use super::Run;
use crate::watched::Retry;

/// A call that came to an end.
pub(crate) struct Ended {
    pub(super) revision: RevisionId,
    pub(super) birth: u64,
    pub(super) what: What,
}

/// What it was.
pub(super) enum What {
    Call {
        pods: u32,
        result: Result<(), ScaleError>,
    },
    Wait,
    Settled {
        wish: Wish,
        result: Result<(), ScaleError>,
    },
    SettleWait,
    /// The activator was asked for its word.
    Asked {
        confirmed: bool,
    },
}

impl Run {
    /// Asks the cluster for `pods`. The call begins here, before anything else is done; only
    /// what the cluster cannot answer at once goes on in a task.
    pub(super) fn call(&mut self, id: &RevisionId, pods: u32) {
        let Some(birth) = self.revisions.get(id).map(|tracked| tracked.birth) else {
            return;
        };
        let (cluster, revision) = (Arc::clone(&self.cluster), id.clone());
        let mut call = Box::pin(async move {
            let result = cluster.scale(&revision, pods).await;
            Ended {
                revision,
                birth,
                what: What::Call { pods, result },
            }
        });
        // The task polls it again first thing, with a waker that wakes.
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => self.ended(ended),
            Poll::Pending => {
                self.calls.spawn(call);
            }
        }
    }

    /// Takes the end of a call, or of the wait after one that failed.
    pub(crate) fn ended(&mut self, ended: Ended) {
        let now = self.clock.now();
        let id = ended.revision;
        let Some(tracked) = self.revisions.get_mut(&id) else {
            return;
        };
        if tracked.birth != ended.birth {
            return;
        }
        let watched = &mut tracked.watched;
        match ended.what {
            What::Call {
                pods,
                result: Ok(()),
            } => {
                let failures = watched.taken(pods, now);
                if failures > 0 {
                    tracing::info!(revision = %id, pods, failures, "the cluster scales {id} again");
                }
            }
            What::Call {
                pods,
                result: Err(error),
            } => {
                let retry = watched.failed(now);
                if retry.first {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        revision = %id,
                        pods,
                        error,
                        "{id} was not scaled to {pods}, trying again until it is: {error}"
                    );
                }
                return self.wait(id, ended.birth, &retry, What::Wait);
            }
            What::Wait => watched.waited(),
            What::Settled {
                wish,
                result: Ok(()),
            } => {
                let settling = watched.settling();
                let failures = settling.map_or(0, |settling| settling.taken(wish, now));
                if failures > 0 {
                    tracing::info!(revision = %id, failures, "the cluster arranges {id} again");
                }
            }
            What::Settled {
                result: Err(error), ..
            } => {
                let Some(retry) = watched.settling().map(|it| it.failed(now)) else {
                    return;
                };
                if retry.first {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        revision = %id,
                        error,
                        "the path of {id} was not arranged, trying again until it is: {error}"
                    );
                }
                return self.wait(id, ended.birth, &retry, What::SettleWait);
            }
            What::SettleWait => {
                if let Some(settling) = watched.settling() {
                    settling.waited();
                }
            }
            What::Asked { confirmed } => {
                if watched.answered(confirmed, now) {
                    self.decide(&id, now);
                }
                return;
            }
        }
        // The number may have changed while the call was under way.
        if let Some(pods) = watched.ask() {
            self.call(&id, pods);
        }
        self.arrange(&id, now);
    }

    /// Comes back with `what` after the wait that a failure brings.
    fn wait(&mut self, revision: RevisionId, birth: u64, retry: &Retry, what: What) {
        let after = retry.after;
        self.calls.spawn(async move {
            sleep(after).await;
            Ended {
                revision,
                birth,
                what,
            }
        });
    }
}
