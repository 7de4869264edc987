//! The life of one candidate for one lease.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use penstock_cluster::{Holder, Leases};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{Candidate, address, service};
use crate::reflect::{Backoff, chance};

/// Longest time between two attempts to take a lease while the API server does not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Longest time that one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A lease as it was last seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    lease: Lease,
    /// When it was seen to change.
    at: Instant,
}

impl Seen {
    pub(super) fn of(lease: Lease) -> Self {
        Self {
            lease,
            at: Instant::now(),
        }
    }

    fn spec(&self) -> Option<&LeaseSpec> {
        self.lease.spec.as_ref()
    }

    /// Who holds it; `None` if nobody does.
    fn holder(&self) -> Option<&str> {
        let holder = self.spec()?.holder_identity.as_deref();
        holder.filter(|holder| !holder.is_empty())
    }

    /// When it is free unless it is renewed.
    fn expires(&self) -> Instant {
        let seconds = self.spec().and_then(|spec| spec.lease_duration_seconds);
        let seconds = u64::try_from(seconds.unwrap_or(0)).unwrap_or(0);
        self.at + Duration::from_secs(seconds)
    }

    /// Takes what was seen later; the same content does not count as a change.
    fn update(&mut self, later: Self) {
        if later.lease.spec != self.lease.spec {
            *self = later;
        } else {
            self.lease = later.lease;
        }
    }
}

/// A candidate for one bucket.
pub(super) struct Campaign {
    pub(super) client: Client,
    pub(super) api: Api<Lease>,
    pub(super) ordinal: usize,
    pub(super) candidate: Arc<Candidate>,
    pub(super) seen: watch::Receiver<Option<Seen>>,
    pub(super) holders: watch::Sender<Arc<Leases>>,
    pub(super) stop: CancellationToken,
}

/// What an attempt to take the lease came to.
enum Attempt {
    /// It is ours, as it is now.
    Won(Box<Lease>),
    /// Somebody else's, or somebody else was quicker.
    Lost(Option<Box<Seen>>),
}

impl Campaign {
    /// Takes part until told to stop; then gives back what is held.
    pub(super) async fn run(mut self) {
        let mut known = None;
        let mut backoff = Backoff::new(LONGEST_WAIT);
        while let Some(lease) = self.candidacy(&mut known, &mut backoff).await {
            let bucket = self.bucket();
            tracing::info!(bucket, "this autoscaler holds {bucket}");
            self.declare(Holder::Here);
            tokio::spawn(service::publish(
                self.client.clone(),
                Arc::clone(&self.candidate),
                self.ordinal,
            ));
            known = self.term(lease).await;
            self.declare(Holder::Nobody);
            tracing::info!(bucket = self.bucket(), "it is held here no longer");
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    fn bucket(&self) -> &str {
        &self.candidate.buckets[self.ordinal]
    }

    fn declare(&self, holder: Holder) {
        self.holders.send_if_modified(|leases| {
            let changed = leases.holders[self.ordinal] != holder;
            if changed {
                Arc::make_mut(leases).holders[self.ordinal] = holder;
            }
            changed
        });
    }

    /// Waits until the lease is free, and takes it. `None` when told to stop.
    async fn candidacy(
        &mut self,
        known: &mut Option<Seen>,
        backoff: &mut Backoff,
    ) -> Option<Lease> {
        self.look(known);
        loop {
            let theirs = known.as_ref().filter(|seen| {
                seen.holder()
                    .is_some_and(|it| it != self.candidate.identity)
            });
            let holder = theirs.and_then(Seen::holder);
            let port = self.candidate.port;
            let at = holder.and_then(|holder| address(holder, port));
            self.declare(at.map_or(Holder::Nobody, Holder::At));
            // A moment later, so that its holder's last renewal is not overtaken.
            let free = theirs.map(|seen| seen.expires() + Duration::from_millis(100));
            if let Some(free) = free.filter(|free| Instant::now() < *free) {
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    changed = self.seen.changed() => {
                        changed.ok()?;
                        self.look(known);
                    }
                    () = sleep_until(free) => {}
                }
                continue;
            }
            let attempt = tokio::select! {
                () = self.stop.cancelled() => return None,
                attempt = self.attempt(known) => attempt,
            };
            match attempt {
                Ok(Attempt::Won(lease)) => {
                    backoff.reset();
                    return Some(*lease);
                }
                Ok(Attempt::Lost(Some(now))) => match known {
                    Some(seen) => seen.update(*now),
                    None => *known = Some(*now),
                },
                Ok(Attempt::Lost(None)) => *known = None,
                Err(error) => {
                    tracing::debug!(bucket = self.bucket(), %error, "the lease is not to be had");
                }
            }
            // Several that lose at the same time come apart.
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(backoff.next(None)) => {}
                changed = self.seen.changed() => {
                    changed.ok()?;
                    self.look(known);
                }
            }
        }
    }

    /// Takes over what the watch has seen.
    fn look(&mut self, known: &mut Option<Seen>) {
        match (self.seen.borrow_and_update().clone(), known) {
            (Some(now), Some(seen)) => seen.update(now),
            (now, known) => *known = now,
        }
    }

    /// Takes the lease if it is free as it is now.
    async fn attempt(&self, known: &Option<Seen>) -> kube::Result<Attempt> {
        let bucket = self.bucket();
        let Some(lease) = limited(self.api.get_opt(bucket)).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(bucket.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return match limited(self.api.create(&PostParams::default(), &lease)).await {
                Ok(lease) => Ok(Attempt::Won(Box::new(lease))),
                Err(error) if is_conflict(&error) => Ok(Attempt::Lost(None)),
                Err(error) => Err(error),
            };
        };
        let now = Seen::of(lease);
        let is_known = known
            .as_ref()
            .is_some_and(|seen| seen.lease.spec == now.lease.spec);
        let expired = is_known
            && known
                .as_ref()
                .is_some_and(|seen| seen.expires() <= Instant::now());
        let free = now
            .holder()
            .is_none_or(|holder| holder == self.candidate.identity);
        if !free && !expired {
            return Ok(Attempt::Lost(Some(Box::new(now))));
        }
        let mut lease = now.lease;
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        match self.replace(&lease).await {
            Ok(lease) => Ok(Attempt::Won(Box::new(lease))),
            Err(error) if is_conflict(&error) => Ok(Attempt::Lost(None)),
            Err(error) => Err(error),
        }
    }

    /// Holds the lease, from when it was taken until it is lost or given back. Returns what is known
    /// of it then.
    async fn term(&mut self, mut lease: Lease) -> Option<Seen> {
        let terms = self.candidate.terms;
        let mut renewed = Instant::now();
        let mut next = renewed + self.pause();
        loop {
            let deadline = renewed + terms.renew;
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.declare(Holder::Nobody);
                    self.release(lease).await;
                    return None;
                }
                () = sleep_until(deadline) => {
                    tracing::warn!(
                        bucket = self.bucket(),
                        "the lease could not be renewed for {:?}, somebody else may take it",
                        terms.renew
                    );
                    return None;
                }
                changed = self.seen.changed() => {
                    changed.ok()?;
                    let seen = self.seen.borrow_and_update().clone();
                    // Only somebody else's name says that it is lost: an old picture may come late.
                    let theirs = seen.filter(|seen| {
                        seen.holder().is_some_and(|holder| holder != self.candidate.identity)
                            && seen.lease.spec.as_ref().map(|it| &it.acquire_time)
                                > lease.spec.as_ref().map(|it| &it.acquire_time)
                    });
                    if theirs.is_some() {
                        return theirs;
                    }
                }
                () = sleep_until(next) => {
                    let begun = Instant::now();
                    match self.renew(&lease).await {
                        Ok(Some(now)) => {
                            lease = now;
                            renewed = begun;
                            next = begun + self.pause();
                        }
                        Ok(None) => return None,
                        Err(error) => {
                            tracing::debug!(bucket = self.bucket(), %error, "not renewed");
                            next = Instant::now() + self.pause() / 8;
                        }
                    }
                }
            }
        }
    }

    /// Time until the next renewal: never quite the same, so that thousands of leases that began
    /// together come apart.
    fn pause(&self) -> Duration {
        let retry = self.candidate.terms.retry;
        retry.mul_f64(0.75 + chance() / 4.0)
    }

    /// Renews the lease; `None` if it is somebody else's by now.
    async fn renew(&self, lease: &Lease) -> kube::Result<Option<Lease>> {
        let mut next = lease.clone();
        next.spec = Some(self.spec(lease.spec.as_ref()));
        match self.replace(&next).await {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if is_conflict(&error) => {
                // Somebody wrote a label, or took it.
                let Some(mut now) = limited(self.api.get_opt(self.bucket())).await? else {
                    return Ok(None);
                };
                let spec = now.spec.as_ref();
                if spec.and_then(|spec| spec.holder_identity.as_ref())
                    != Some(&self.candidate.identity)
                {
                    return Ok(None);
                }
                now.spec = Some(self.spec(now.spec.as_ref()));
                self.replace(&now).await.map(Some)
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives it back: as others do, with a name that is empty and a term that is over.
    async fn release(&self, mut lease: Lease) {
        let now = MicroTime(Timestamp::now());
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(now.clone());
            spec.acquire_time = Some(now);
        }
        if let Err(error) = self.replace(&lease).await {
            tracing::warn!(bucket = self.bucket(), %error, "the lease was not given back");
        }
    }

    async fn replace(&self, lease: &Lease) -> kube::Result<Lease> {
        limited(
            self.api
                .replace(self.bucket(), &PostParams::default(), lease),
        )
        .await
    }

    /// What is written when this candidate takes or renews what was `before`.
    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let identity = &self.candidate.identity;
        let renews = before.is_some_and(|spec| spec.holder_identity.as_ref() == Some(identity));
        let transitions = before.and_then(|spec| spec.lease_transitions);
        let acquired = before.and_then(|spec| spec.acquire_time.clone());
        let seconds = self.candidate.terms.lease.as_secs().max(1);
        LeaseSpec {
            holder_identity: Some(identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: acquired.filter(|_| renews).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: match (before, renews) {
                (None, _) => Some(0),
                (Some(_), true) => transitions,
                (Some(_), false) => Some(transitions.unwrap_or(0).saturating_add(1)),
            },
            ..LeaseSpec::default()
        }
    }
}

/// Ends a request that takes too long.
async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match timeout(LIMIT, request).await {
        Ok(result) => result,
        Err(late) => Err(kube::Error::Service(Box::new(late))),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
