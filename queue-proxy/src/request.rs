//! LIFE OF A REQUEST at the container, top to bottom:
//!
//! ```text
//! probe? OPTIONS *? ── answered at the gate, never forwarded
//!   │ no
//! Forwarded ── Host restored ── wait for a slot (first in, first out) ── forward ── 504 if a
//!                                      503 if the line is full              502     limit passes
//!   the answer holds the slot, the clocks and the counts to its last byte
//! ```
//!
//! Source: spec/queue-proxy.md §3; the numbers are those of its stages.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use penstock_gate::{Gate, Slot};
use penstock_relay::body::{Body, BodyError, Guard, Late, Relayed};
use penstock_relay::deadline::Limits;
use penstock_relay::forward::{Outgoing, Relay};
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::request_body::RequestBody;
use penstock_relay::serve::{Answer, Caller};
use penstock_runtime::seldom::Seldom;
use penstock_runtime::trace::Tracer;
use penstock_types::{Slots, Timeouts, header};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bind::WAITING_PER_SLOT;
use crate::drain::Drain;
use crate::kubelet::Kubelet;
use crate::metrics::{Measured, Metrics};
use crate::readiness::Readiness;
use crate::refusal::{self, PassedLimit, RequestError};
use crate::request_log::RequestLines;
use crate::signs::Signs;
use crate::stats::{Cell, Counted, Kind, Stats, Through};
use crate::{forwarded, gate_probe};

/// What all workers of one queue-proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) user_addr: SocketAddr,
    pub(crate) slots: Slots,
    pub(crate) timeouts: Timeouts,
    pub(crate) gate: Arc<Gate<()>>,
    /// Told whenever somebody in line has got a slot.
    pub(crate) room: Notify,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Metrics,
    pub(crate) stats: Stats,
    /// Whose probes need no slot.
    pub(crate) kubelet: Kubelet,
    /// Whether callers are told what exactly went wrong.
    pub(crate) detail: bool,
    pub(crate) late: Late,
    /// Lines about requests, if there are to be any.
    pub(crate) lines: Option<Arc<RequestLines>>,
    /// What requests are traced by, if they are.
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// Failed requests, as they are told.
    pub(crate) failures: Seldom,
    pub(crate) drain: Drain,
}

/// One worker's side of it.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) relay: Relay,
    pub(crate) cell: Arc<Cell>,
}

impl Answer for App {
    type Guard = Inside;

    const NAME: &'static str = refusal::OURS;

    async fn room(self: Arc<Self>) {
        self.shared.room.notified().await;
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> Response<Body<Inside>> {
        let shared = &self.shared;
        if request.method() == Method::OPTIONS && request.uri().path() == "*" {
            return Response::new(Body::text("")); // asks this server, not the container (§2)
        }
        let signs = Signs::of(request.headers());
        if let Some(probe) = gate_probe::probe_of(request.headers(), signs) {
            let lines = shared.lines.as_ref();
            let logged = lines.and_then(|lines| lines.remember_probe(request, &caller)); // 2
            let draining = shared.drain.has_begun();
            let answer = gate_probe::answer(probe, draining, &shared.readiness).await;
            let answer = refusal::own(answer); // 3
            if let Some(logged) = logged {
                logged.answered(&answer);
            }
            return answer;
        }
        shared.drain.request_came();
        if shared.drain.has_begun() {
            // It is served, and the next one goes to a pod that stays.
            caller.dismiss();
        }
        let limits = Limits::start(shared.timeouts).ending(shared.late); // 7
        let (mut head, body) = request.into_parts();
        let bypass = signs.platform && shared.kubelet.probes(&mut head.headers, caller.addr().ip());
        let mut measured = Measured::start(shared, &head, &body, &caller, limits.arrived()); // 1, 2
        let way = Way { signs, bypass };
        let served = self.serve(head, body, way, limits, &caller, &mut measured);
        match served.await {
            Ok(Served {
                answer,
                slot,
                mut counted,
            }) => {
                measured.answered(answer.status());
                if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                    counted.upgraded();
                }
                let inside = Inside {
                    app: Arc::clone(&self),
                    measured,
                    _slot: slot,
                    _counted: counted,
                };
                self.relay.hand_on(answer, &limits, inside)
            }
            Err(error) => {
                let (status, reason) = error.verdict();
                self.tell(&error);
                if matches!(error, RequestError::Full(_)) {
                    caller.turn_away();
                }
                let answer = error.answer(shared.detail);
                let size = answer.body().size_hint().exact();
                measured.refused(status, reason, size.unwrap_or(0));
                answer
            }
        }
    }
}

/// What is known of a request that goes on.
#[derive(Clone, Copy)]
struct Way {
    signs: Signs,
    /// It is a probe of the kubelet, which needs no slot (§3.5).
    bypass: bool,
}

/// An answer of the container, and the right to be inside it.
struct Served {
    answer: Response<Relayed>,
    slot: Option<Slot<()>>,
    counted: Counted,
}

impl App {
    async fn serve(
        &self,
        mut head: Parts,
        body: Incoming,
        way: Way,
        limits: Limits,
        caller: &Arc<Caller>,
        measured: &mut Measured,
    ) -> Result<Served, RequestError> {
        let Way { signs, bypass } = way;
        if headers::has_bad_host(&head) {
            return Err(RequestError::NoHost); // 400
        }
        if signs.forwarded {
            forwarded::add(&mut head.headers); // 8
        }
        let kind = Kind {
            told: !bypass,
            proxied: signs.platform && is_proxied(&head),
            awaited: awaited(head.version, caller),
        };
        let counted = self.cell.enter(kind, limits.arrived()); // 9
        if limits.answer_due() <= limits.arrived() {
            // A limit of 0: even the quickest answer is too late.
            return Err(self.too_late()); // 504
        }
        let host = host(&mut head, signs.platform && !bypass, self.shared.user_addr);
        measured.has_headers(&head.headers);
        if signs.platform {
            headers::remove_routing(&mut head.headers);
        }
        measured.goes_on(&mut head, self.shared.slots, bypass);
        let outgoing = Outgoing::prepare(head, caller);
        let inside = pin!(async {
            let slot = if bypass {
                None
            } else {
                Some(self.admit(!body.is_end_stream(), caller, measured).await?) // 503 the line is full
            };
            measured.enters();
            let body = RequestBody::once(body);
            let relay = &self.relay;
            let mut answer = relay
                .forward(self.shared.user_addr, &host, &outgoing, body, caller)
                .await?; // 502
            disown(answer.headers_mut());
            Ok((answer, slot))
        });
        let (answer, slot) = limits
            .answer_within(inside)
            .await
            .unwrap_or_else(|_late| Err(self.too_late()))?; // 504
        Ok(Served {
            answer,
            slot,
            counted,
        })
    }

    fn too_late(&self) -> RequestError {
        RequestError::TimedOut(PassedLimit::before_the_answer(self.shared.timeouts))
    }

    /// A slot, in order of arrival. `has_body`: of a caller whose body nobody reads yet it is
    /// watched whether it leaves the line.
    async fn admit(
        &self,
        has_body: bool,
        caller: &Caller,
        measured: &mut Measured,
    ) -> Result<Slot<()>, RequestError> {
        let gate = &self.shared.gate;
        let slot = match gate.try_admit() {
            Some(slot) => slot,
            None => {
                self.tell_depth(1);
                let _noticing = has_body.then(|| caller.notice_leaving());
                let slot = gate.admit().await?;
                // The line is one shorter.
                self.shared.room.notify_one();
                measured.waited(Instant::now());
                slot
            }
        };
        self.tell_depth(0);
        Ok(slot)
    }

    /// Sets the gauge of requests inside and in line, which `more` are about to join.
    fn tell_depth(&self, more: usize) {
        let Shared {
            gate,
            slots,
            metrics,
            ..
        } = &*self.shared;
        if let Slots::Limited(limit) = slots
            && metrics.are_kept()
        {
            let most = (limit.get() as usize).saturating_mul(1 + WAITING_PER_SLOT);
            let depth = (gate.waiting() + gate.in_flight() + more).min(most);
            metrics.tell_depth(depth);
        }
    }
}

/// Takes out what another proxy of ours has said of another exchange, if the container hands it
/// on: the activator would take it for this one's word.
fn disown(answer: &mut HeaderMap) {
    let ours = |value: &HeaderValue| value.as_bytes().starts_with(b"penstock-");
    // One look at each name is cheaper than asking for this one, and nearly always enough.
    if answer.keys().any(|name| name == header::PROXY_STATUS)
        && answer.get_all(header::PROXY_STATUS).iter().any(ours)
    {
        answer.remove(header::PROXY_STATUS);
    }
}

/// The listener whose drain waits for it without limit: streams without TLS have one.
fn awaited(version: Version, caller: &Caller) -> Option<Through> {
    match caller.tls() {
        Some(_) => Some(Through::Tls),
        None => (version < Version::HTTP_2).then_some(Through::Plain),
    }
}

/// Whether an activator has forwarded it, and has counted it, too.
fn is_proxied(head: &Parts) -> bool {
    let by = head.headers.get(header::PROXY_REQUEST);
    by.is_some_and(|by| by == "activator")
}

/// The host that the caller had sent, where it may be that an activator has changed it.
fn host(head: &mut Parts, changed: bool, user_addr: SocketAddr) -> HeaderValue {
    let original = changed.then(|| head.headers.remove(header::ORIGINAL_HOST));
    original
        .flatten()
        .filter(|host| !host.is_empty())
        .or_else(|| headers::host(head))
        .or_else(|| HeaderValue::try_from(user_addr.to_string()).ok())
        .unwrap_or(HeaderValue::from_static("localhost"))
}

impl App {
    /// What the container did wrong goes to the log, not once for each request; the caller reads
    /// only that it did.
    fn tell(&self, error: &RequestError) {
        match error {
            RequestError::Upstream(why) => {
                if let Some(unsaid) = self.shared.failures.may_say() {
                    tracing::error!(unsaid, "a request got no answer: {why}");
                }
            }
            RequestError::TimedOut(passed) => self.warn_of(*passed),
            RequestError::Full(_) | RequestError::NoHost => tracing::debug!("{error}"),
        }
    }

    fn warn_of(&self, passed: PassedLimit) {
        if let Some(unsaid) = self.shared.failures.may_say() {
            tracing::warn!(unsaid, "{passed}");
        }
    }
}

/// A request that the container has answered, to the last byte of the answer.
#[derive(Debug)]
pub(crate) struct Inside {
    app: Arc<App>,
    measured: Measured,
    _slot: Option<Slot<()>>,
    _counted: Counted,
}

impl Guard for Inside {
    fn passed(&mut self, bytes: usize) {
        self.measured.response_bytes += bytes as u64;
    }

    fn broke(&mut self, error: &BodyError) {
        self.measured.broken = true;
        self.cut_short(error);
    }

    fn cut_short(&mut self, error: &BodyError) {
        let Timeouts { whole, idle, .. } = self.app.shared.timeouts;
        let passed = match error {
            BodyError::Whole => Some(PassedLimit::Whole(whole)),
            BodyError::Idle => idle.map(PassedLimit::Idle),
            BodyError::Upstream(_) => None,
        };
        match passed {
            Some(passed) => self.app.warn_of(passed),
            None => tracing::debug!("an answer broke off: {error}"),
        }
    }
}
