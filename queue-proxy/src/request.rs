//! LIFE OF A REQUEST at the container, top to bottom:
//!
//! ```text
//! probe? ── answered at the gate, never forwarded
//!   │ no
//! Forwarded ── Host restored ── wait for a slot (first in, first out) ── forward ── 504 if a
//!                                      503 if the line is full              502     limit passes
//!   the answer holds the slot, the clocks and the counts to its last byte
//! ```
//!
//! Source: spec/queue-proxy.md §3; the numbers are those of its stages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::header::HeaderValue;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use penstock_gate::{Gate, Slot};
use penstock_relay::body::{Body, BodyError, Guard, Relayed};
use penstock_relay::deadline::Limits;
use penstock_relay::forward::{Outgoing, Relay};
use penstock_relay::headers;
use penstock_relay::request_body::RequestBody;
use penstock_relay::serve::{Answer, Caller};
use penstock_types::{Slots, Timeouts, header};
use tokio::time::Instant;

use crate::metrics::{Measured, Metrics};
use crate::readiness::Readiness;
use crate::refusal::RequestError;
use crate::{forwarded, gate_probe};

/// What all workers of one queue-proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) user_addr: SocketAddr,
    pub(crate) slots: Slots,
    pub(crate) timeouts: Timeouts,
    pub(crate) gate: Arc<Gate<()>>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Metrics,
    pub(crate) draining: AtomicBool,
    /// Requests that came while draining: each starts the quiet time anew.
    pub(crate) late: AtomicU64,
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
        let shared = &self.shared;
        if let Some(probe) = gate_probe::probe_of(request.headers()) {
            let draining = shared.draining.load(Ordering::Acquire);
            return gate_probe::answer(probe, draining, &shared.readiness).await; // 3
        }
        if shared.draining.load(Ordering::Relaxed) {
            shared.late.fetch_add(1, Ordering::AcqRel);
        }
        let limits = Limits::start(shared.timeouts); // 7
        let (mut head, body) = request.into_parts();
        let upgrade = head.extensions.remove::<OnUpgrade>();
        let mut measured = Measured::start(shared, &head, &body, limits.arrived()); // 1
        match self.serve(head, body, limits, &caller).await {
            Ok(Served { mut answer, slot }) => {
                measured.answered(answer.status(), slot.since);
                let inside = Inside {
                    measured,
                    _slot: slot.held,
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
                measured.refused(answer.status());
                log(&error);
                answer
            }
        }
    }
}

/// An answer of the container, and the right to be inside it.
struct Served {
    answer: Response<Relayed>,
    slot: Granted,
}

struct Granted {
    held: Option<Slot<()>>,
    since: Instant,
}

impl App {
    async fn serve(
        &self,
        mut head: Parts,
        body: Incoming,
        limits: Limits,
        caller: &Arc<Caller>,
    ) -> Result<Served, RequestError> {
        if headers::has_bad_host(&head) {
            return Err(RequestError::NoHost); // 400
        }
        forwarded::add(&mut head.headers); // 8
        let host = restore_host(&mut head, self.shared.user_addr); // 9
        headers::remove_routing(&mut head.headers);
        let bypass = is_kubelet_probe(&head);
        let outgoing = Outgoing::prepare(head, caller);
        let inside = async {
            let slot = self.admit(bypass).await?; // 503 the line is full
            let body = RequestBody::once(body);
            let relay = &self.relay;
            let answer = relay
                .forward(self.shared.user_addr, &host, &outgoing, body, caller)
                .await?; // 502
            Ok(Served { answer, slot })
        };
        limits
            .answer_within(inside)
            .await
            .unwrap_or(Err(RequestError::TimedOut)) // 504
    }

    /// A slot, in order of arrival. Probes of the kubelet need none (spec/queue-proxy.md §3.5).
    async fn admit(&self, bypass: bool) -> Result<Granted, RequestError> {
        let Shared {
            gate,
            slots,
            metrics,
            ..
        } = &*self.shared;
        let held = match gate.try_admit() {
            _ if bypass => None,
            Some(slot) => Some(slot),
            None => Some(gate.admit().await?),
        };
        if *slots != Slots::Unlimited {
            let depth = gate.waiting() + gate.in_flight();
            metrics.depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
        let since = Instant::now();
        Ok(Granted { held, since })
    }
}

fn is_kubelet_probe(head: &Parts) -> bool {
    head.headers
        .get(header::KUBELET_PROBE)
        .is_some_and(|value| !value.is_empty())
}

/// The host that the caller had sent, where an activator has changed it.
fn restore_host(head: &mut Parts, user_addr: SocketAddr) -> HeaderValue {
    let original = head.headers.remove(header::ORIGINAL_HOST);
    original
        .filter(|host| !host.is_empty())
        .or_else(|| headers::host(head))
        .or_else(|| HeaderValue::try_from(user_addr.to_string()).ok())
        .unwrap_or(HeaderValue::from_static("localhost"))
}

/// What the container did wrong goes to the log; the caller reads only that it did.
fn log(error: &RequestError) {
    match error {
        RequestError::Upstream(source) => tracing::warn!("the container did not answer: {source}"),
        RequestError::TimedOut => tracing::warn!("Request timeout"),
        RequestError::Full(_) | RequestError::NoHost => tracing::debug!("{error}"),
    }
}

/// A request that the container has answered, to the last byte of the answer.
#[derive(Debug)]
pub(crate) struct Inside {
    measured: Measured,
    _slot: Option<Slot<()>>,
}

impl Guard for Inside {
    fn passed(&mut self, bytes: usize) {
        self.measured.response_bytes += bytes as u64;
    }

    fn broke(&mut self, error: &BodyError) {
        self.measured.broken = true;
        tracing::debug!("an answer broke off: {error}");
    }
}
