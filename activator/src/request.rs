//! LIFE OF A REQUEST, top to bottom:
//!
//! ```text
//! probe? ── answered here
//!   │ no
//! who is it for ── demand counts it ── wait at the gate for a pod's free slot ── forward ──┐
//!   404                  │                503 the line is full, 504 a limit passed         │
//!                        └── the first one urges the autoscaler                            │
//!              the pod cannot be reached, and nothing was sent: back to the gate ◄─────────┤
//!              502 it gave no answer                                                       │
//!   the answer holds slot, demand and counts to its last byte ◄────────────────────────────┘
//! ```
//!
//! Source: spec/activator.md §2, §3.3, §7.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use penstock_gate::Slot;
use penstock_relay::body::{Body, BodyError, Guard, Relayed};
use penstock_relay::deadline::Limits;
use penstock_relay::forward::{ForwardError, Outgoing, Relay};
use penstock_relay::headers;
use penstock_relay::request_body::Replay;
use penstock_relay::serve::{Answer, Caller};
use penstock_types::header;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::demand::{Open, Reporter, Tracker};
use crate::metrics::{Counted, Measured, Metrics};
use crate::probe;
use crate::refusal::{RequestError, is_unreached};
use crate::revision::{Entry, Place};
use crate::route::Rules;
use crate::table::Table;

/// Most of a request's body that is kept to send it to another pod.
const REPLAY_LIMIT: usize = 64 * 1024;
/// How long a pod that could not be reached gets no request, unless the cluster says before
/// that it is well again.
const ASIDE: Duration = Duration::from_millis(250);

/// What all workers of one activator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: Table,
    pub(crate) rules: Rules,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    /// Cancelled when this process was told to stop: probes then fail.
    pub(crate) stopping: CancellationToken,
    /// Short tasks beside requests; ended by `cut`.
    pub(crate) aside: TaskTracker,
    pub(crate) cut: CancellationToken,
}

/// One worker's side of it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) relay: Relay,
}

impl Answer for App {
    type Guard = Inside;

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> Response<Body<Inside>> {
        let (mut head, body) = request.into_parts();
        let healthy = !self.shared.stopping.is_cancelled();
        if let Some(answer) = probe::answer(&mut head.headers, healthy) {
            return answer;
        }
        let upgrade = head.extensions.remove::<OnUpgrade>();
        let mut measured = Measured::start(&self.shared.metrics, &head, &body);
        match self.serve(head, body, &caller, &mut measured).await {
            Ok(Served {
                mut answer,
                limits,
                held,
            }) => {
                measured.ends_with(answer.status());
                let inside = Inside {
                    measured,
                    _held: held,
                };
                if let Some(caller) = upgrade
                    && answer.status() == StatusCode::SWITCHING_PROTOCOLS
                {
                    let until = Some(limits.of_answer());
                    self.relay.tunnel(caller, &mut answer, until, inside);
                    return answer.map(|_| Body::text(""));
                }
                answer.map(|relayed| {
                    Body::relayed(relayed)
                        .until(limits.of_answer())
                        .holding(inside)
                })
            }
            Err(error) => {
                let answer = error.answer();
                measured.ends_with(answer.status());
                if let RequestError::Upstream(source) = &error {
                    tracing::warn!("a request got no answer: {source}");
                }
                answer
            }
        }
    }
}

/// An answer of a pod, and what goes on until its last byte.
struct Served {
    answer: Response<Relayed>,
    limits: Limits,
    held: Held,
}

/// What a request occupies.
#[derive(Debug)]
struct Held {
    _slot: Slot<Place>,
    _active: Counted,
    _demand: Open,
}

impl App {
    async fn serve(
        &self,
        head: Parts,
        body: Incoming,
        caller: &Arc<Caller>,
        measured: &mut Measured,
    ) -> Result<Served, RequestError> {
        if headers::has_bad_host(&head) {
            return Err(RequestError::BadHost); // 400
        }
        let known = self.shared.table.known();
        let id = self.shared.rules.find(&head, &known.snapshot)?; // 404
        let revision = match known.revisions.get(&id) {
            Some(revision) => Arc::clone(revision),
            None => return Err(RequestError::UnknownRevision(id)), // 404
        };
        drop(known);
        measured.is_for(&revision);
        let limits = Limits::start(revision.timeouts);
        let (demand, first) = Tracker::enter(&revision);
        if first {
            self.urge(&revision, true);
        }
        let outgoing = prepare(head, caller);
        let replay = Replay::new(body, REPLAY_LIMIT);
        let exchange = self.exchange(&revision, &outgoing, &replay, caller, limits, measured);
        let (answer, slot) = limits.answer_within(exchange).await??; // 504, 503, 502
        let held = Held {
            _slot: slot,
            _active: Counted::new(&revision.gauges.active),
            _demand: demand,
        };
        Ok(Served {
            answer,
            limits,
            held,
        })
    }

    /// Waits for a slot and forwards, again and again while nothing was sent to anybody.
    async fn exchange(
        &self,
        revision: &Arc<Entry>,
        outgoing: &Outgoing,
        replay: &Replay,
        caller: &Arc<Caller>,
        limits: Limits,
        measured: &mut Measured,
    ) -> Result<(Response<Relayed>, Slot<Place>), RequestError> {
        let mut slot = match revision.gate.try_admit() {
            Some(slot) => slot,
            None => self.wait(revision, revision.gate.admit()).await?,
        };
        loop {
            let place = slot.place().clone();
            let body = replay.attempt().ok_or_else(too_long_to_repeat)?;
            measured.sent(place.addr(), Instant::now());
            let result = self
                .relay
                .forward(place.addr(), place.host(), outgoing, body, caller)
                .await;
            match result {
                Ok(answer) if !is_unreached(&answer) || replay.attempt().is_none() => {
                    if let Some(pod) = place.started_for(limits.arrived().into_std()) {
                        let cold = &self.shared.metrics.cold;
                        cold.observe(limits.arrived().into_std(), pod, Instant::now().into_std());
                    }
                    return Ok((answer, slot));
                }
                Ok(_) => tracing::debug!("{} cannot reach its container", place.name()),
                Err(error) if error.nothing_sent() => {
                    tracing::debug!("{} cannot be reached: {error}", place.name());
                }
                Err(error) => return Err(error.into()), // 502
            }
            self.set_aside(revision, place);
            slot = self.wait(revision, slot.elsewhere()).await?;
        }
    }

    async fn wait(
        &self,
        revision: &Arc<Entry>,
        admit: impl Future<Output = Result<Slot<Place>, penstock_gate::Full>>,
    ) -> Result<Slot<Place>, RequestError> {
        let _waiting = Counted::new(&revision.gauges.queued);
        if revision.gate.places().is_empty() {
            self.urge(revision, false);
        }
        Ok(admit.await?)
    }

    fn urge(&self, revision: &Arc<Entry>, first: bool) {
        let urging = self
            .shared
            .reporter
            .clone()
            .urge(Arc::clone(revision), first);
        self.beside(urging);
    }

    fn set_aside(&self, revision: &Arc<Entry>, place: Place) {
        revision.gate.set_aside(&place);
        let gate = Arc::clone(&revision.gate);
        self.beside(async move {
            sleep(ASIDE).await;
            gate.bring_back(&place);
        });
    }

    fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.shared.cut.clone();
        self.shared.aside.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }
}

/// The request as every pod gets it (spec/activator.md §7).
fn prepare(mut head: Parts, caller: &Caller) -> Outgoing {
    let host = headers::host(&head);
    headers::remove_routing(&mut head.headers);
    if let Some(host) = host
        && !head.headers.contains_key(header::ORIGINAL_HOST)
    {
        head.headers.insert(header::ORIGINAL_HOST, host);
    }
    let by = HeaderValue::from_static(header::PROBE_ACTIVATOR);
    head.headers.insert(header::PROXY_REQUEST, by);
    Outgoing::prepare(head, caller)
}

/// A request whose body is too long to be kept, and whose first pod could not be reached.
fn too_long_to_repeat() -> RequestError {
    RequestError::Upstream(ForwardError::NotRepeatable)
}

/// A request that a pod has answered, to the last byte of the answer.
#[derive(Debug)]
pub(crate) struct Inside {
    measured: Measured,
    _held: Held,
}

impl Guard for Inside {
    fn passed(&mut self, bytes: usize) {
        self.measured.response_bytes += bytes as u64;
    }

    fn broke(&mut self, error: &BodyError) {
        tracing::debug!("an answer broke off: {error}");
    }
}
