//! LIFE OF A REQUEST, top to bottom:
//!
//! ```text
//! probe? ── answered here
//!   │ no
//! who is it for ── demand counts it ── wait at the gate for a pod's free slot ── forward ──┐
//!   404                  │                503 no room to wait, 504 a limit passed          │
//!                        └── the first one urges the autoscaler                            │
//!     the pod took nothing of it, or cut it off and it may be repeated: back to the gate ◄──┤
//!     502 it gave no answer                                                                │
//!   the answer holds slot, demand and counts to its last byte ◄────────────────────────────┘
//! ```
//!
//! The wait itself is in `request/wait.rs`.
//!
//! Source: spec/activator.md §2, §3.3, §7.

mod wait;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response};
use penstock_gate::Slot;
use penstock_relay::body::{Body, BodyError, Guard, Relayed};
use penstock_relay::deadline::{Limits, TooLate};
use penstock_relay::forward::{ForwardError, Outgoing, Relay};
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::request_body::Replay;
use penstock_relay::serve::{Answer, Caller};
use penstock_relay::tls::name_in;
use penstock_runtime::metrics::Outcome;
use penstock_runtime::seldom::Seldom;
use penstock_runtime::trace::Tracer;
use penstock_types::{Protocol, header};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::aside::{self, Fault};
use crate::bind::{Overflow, ToPods};
use crate::budget::{self, Budget};
use crate::demand::{Open, Reporter, Tracker};
use crate::discovery::Scout;
use crate::metrics::{Counted, Measured, Metrics};
use crate::own_limit::{grpc_type, own_limit};
use crate::probe::{self, Health};
use crate::refusal::{RequestError, is_cut_off, is_unreached};
use crate::request_log::RequestLines;
use crate::revision::{Entry, Place};
use crate::route::Rules;
use crate::server_timing::Marks;
use crate::table::{Row, Table, Terms};
use crate::waiting::{Told, Waiting};
use wait::Moment;

/// Most of a request's body that is kept to send it to another pod.
const REPLAY_LIMIT: usize = 64 * 1024;

/// Beside what the workload itself says there.
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What all workers of one activator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: Table,
    pub(crate) rules: Rules,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    /// Asks pods whether they take requests.
    pub(crate) scout: Scout,
    /// Lines about requests, if there may be any.
    pub(crate) lines: Option<RequestLines>,
    /// What requests are traced by, if they are.
    pub(crate) tracer: Option<Arc<Tracer>>,
    /// TLS with pods, if they speak it.
    pub(crate) pods: Option<ToPods>,
    /// What those hold who wait.
    pub(crate) budget: Arc<Budget>,
    pub(crate) overflow: Overflow,
    /// Whether those who wait for a revision that is removed hear why they are let go.
    pub(crate) explains_removal: bool,
    /// Where a caller may limit its own time.
    pub(crate) limit_header: Option<HeaderName>,
    /// Whether who waited is told where the time went.
    pub(crate) server_timing: bool,
    /// How long a browser waits before it is shown a page, unless its revision says.
    pub(crate) waiting_page: Option<Duration>,
    /// How shortly after it was sent a request has to be cut off to be sent once more.
    pub(crate) repeat_within: Duration,
    /// Failed requests, as they are told.
    pub(crate) failures: Seldom,
    /// What probes of the kubelet are told.
    pub(crate) health: Health,
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

    const TAKES_LEAVE: bool = true;

    /// No `async fn`, and the head in a box: whatever a future is given it holds once more where it
    /// uses it, and all of that for as long as the request waits.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> impl Future<Output = Response<Body<Inside>>> + Send {
        let (head, body) = request.into_parts();
        self.answer_parts(Box::new(head), body, caller)
    }
}

impl App {
    async fn answer_parts(
        self: Arc<Self>,
        mut head: Box<Parts>,
        body: Incoming,
        caller: Arc<Caller>,
    ) -> Response<Body<Inside>> {
        let health = || self.shared.health.at(head.uri.path());
        if let Some(answer) = probe::answer(&mut head.headers, health) {
            return answer;
        }
        let grpc = grpc_type(&head.headers).cloned();
        let mut measured = Measured::start(&self.shared, &head, &body, &caller);
        match self
            .serve(head, body, &caller, grpc.is_some(), &mut measured)
            .await
        {
            Ok(Reply::Waits(waiting)) => self.tell_wait(*waiting, measured),
            Ok(Reply::Pod(Served {
                answer,
                limits,
                held,
            })) => {
                measured.ends_with(answer.status());
                let inside = Inside {
                    measured,
                    held: Some(held),
                    shared: Arc::clone(&self.shared),
                };
                self.relay.hand_on(answer, &limits, inside)
            }
            Err(error) => {
                let answer = error.answer(grpc);
                measured.attempt_ends_with(Outcome::Error(error.verdict().1));
                measured.ends_with(answer.status());
                if let RequestError::Upstream(source) = &error
                    && let Some(unsaid) = self.shared.failures.may_say()
                {
                    tracing::warn!(unsaid, "a request got no answer: {source}");
                }
                answer
            }
        }
    }
}

/// What a caller gets, unless it is refused.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are answers, and none of them is to cost an allocation"
)]
enum Reply {
    Pod(Served),
    /// Word that it waits.
    Waits(Box<Waiting>),
}

/// An answer of a pod, and what goes on until its last byte.
struct Served {
    answer: Response<Relayed>,
    limits: Limits,
    held: Held,
}

/// A request that is to be sent to a pod.
struct Sent<'a> {
    outgoing: &'a Outgoing,
    /// Its own host, where nobody behind the pod's address puts it back.
    host: Option<&'a HeaderValue>,
    /// Whether it had to wait.
    waited: bool,
}

/// A request as the line knows it.
struct Asking<'a> {
    revision: &'a Arc<Entry>,
    replay: &'a Replay,
    caller: &'a Arc<Caller>,
    limits: &'a Limits,
    /// Whether its caller wants word about the wait.
    tells: bool,
}

/// Whether a request has to wait at first.
enum Turn {
    Now(Slot<Place>),
    /// It holds so many bytes while it waits.
    Later(u64),
}

/// What a request occupies.
#[derive(Debug)]
struct Held {
    active: Active,
    demand: Open,
}

/// A slot in a pod, and that it is counted as one that is used.
#[derive(Debug)]
struct Active {
    slot: Slot<Place>,
    _counted: Counted,
}

impl App {
    async fn serve(
        &self,
        head: Box<Parts>,
        body: Incoming,
        caller: &Arc<Caller>,
        is_grpc: bool,
        measured: &mut Measured,
    ) -> Result<Reply, RequestError> {
        if headers::has_bad_host(&head) {
            return Err(RequestError::BadHost); // 400
        }
        let shared = &*self.shared;
        let (row, is_gateway) = shared.table.look(|known| {
            let is_gateway = !known.snapshot.routes.hosts.is_empty();
            let id = shared.rules.find(&head, measured.host(), &known.snapshot)?; // 404
            let row = known.revisions.get(&*id).cloned();
            let found = row.map(|row| (row, is_gateway));
            found.ok_or_else(|| RequestError::UnknownRevision(id.into_owned())) // 404
        })?;
        let Row {
            entry: revision,
            terms,
        } = row;
        measured.is_for(&revision);
        let mut timeouts = terms.timeouts;
        let own = own_limit(&head.headers, is_grpc, shared.limit_header.as_ref());
        timeouts.whole = timeouts.whole.min(own.unwrap_or(timeouts.whole));
        let limits = Limits::start(timeouts);
        let (mut demand, first) = Tracker::enter(&revision);
        if first {
            self.urge(&revision, true);
        }
        let mut turn = match revision.gate.try_admit() {
            Some(slot) => Turn::Now(slot),
            None => Turn::Later(budget::held_by(&head, &body)),
        };
        let told = match turn {
            Turn::Now(_) => None,
            Turn::Later(_) => Told::of(&head, &revision.choices, shared.waiting_page),
        };
        if let (Turn::Later(bytes), Some(told @ (Told::Page(_) | Told::Events))) = (&turn, told) {
            let wait = self.wait_a_moment(told, &revision, *bytes, limits, demand);
            match Box::pin(wait).await? {
                Moment::Slot(slot, same) => {
                    turn = Turn::Now(slot);
                    demand = same;
                }
                Moment::Waits(waiting) => return Ok(Reply::Waits(waiting)),
            }
        }
        let replay = Replay::new(body, REPLAY_LIMIT);
        let asking = Asking {
            revision: &revision,
            replay: &replay,
            caller,
            limits: &limits,
            tells: told == Some(Told::Interim),
        };
        let waited = matches!(turn, Turn::Later(_));
        let active = match turn {
            Turn::Now(slot) => Active::new(slot, &revision),
            Turn::Later(bytes) => {
                let wait = pin!(self.wait_in_line(&asking, bytes));
                limits.answer_within(wait).await?? // 503, 504
            }
        };
        let mut outgoing = prepare(*head, measured.host(), caller, terms);
        if shared.scout.how().passthrough {
            let passes = HeaderValue::from_static(header::PASSTHROUGH);
            let headers = &mut outgoing.head().headers;
            headers.append(header::PASSTHROUGH_LB, passes);
        }
        measured.goes_on(&mut outgoing.head().headers);
        if is_gateway {
            // As an ingress does; behind one, it goes on as it came (§7).
            match terms.protocol {
                Protocol::H2c => outgoing.use_http2(),
                Protocol::Http1 => outgoing.use_http1(),
            }
        }
        let host = measured.host().filter(|_| !terms.queue_proxy).cloned();
        let request = Sent {
            outgoing: &outgoing,
            host: host.as_ref(),
            waited,
        };
        // Boxed: those who wait in line would carry the room.
        let mut exchange = Box::pin(self.exchange(&asking, request, active, measured));
        let (answer, active) = limits.answer_within(exchange.as_mut()).await??; // 504, 503, 502
        demand.may_idle();
        let held = Held { active, demand };
        Ok(Reply::Pod(Served {
            answer,
            limits,
            held,
        }))
    }

    /// Forwards, and waits for a slot elsewhere while nothing was sent to anybody.
    async fn exchange(
        &self,
        asking: &Asking<'_>,
        request: Sent<'_>,
        mut active: Active,
        measured: &mut Measured,
    ) -> Result<(Response<Relayed>, Active), RequestError> {
        let Asking {
            revision,
            replay,
            caller,
            limits,
            ..
        } = *asking;
        let Sent {
            outgoing,
            host,
            waited,
        } = request;
        let tells_timing = self.shared.server_timing && waited;
        measured.enters();
        let mut repeated = false;
        loop {
            let place = active.slot.place().clone();
            let body = replay.attempt().ok_or_else(too_long_to_repeat)?;
            let sent = Instant::now();
            if sent >= limits.answer_due() {
                return Err(TooLate.into()); // nobody waits for it any more
            }
            let addr = place.dest(self.shared.pods.as_ref());
            measured.sent(addr);
            let secured = self.shared.pods.is_some();
            let secured = secured.then(|| self.relay.named(&name_in(revision.id.namespace())));
            let relay = secured.as_ref().unwrap_or(&self.relay);
            let result = relay
                .forward(addr, host.unwrap_or(place.host()), outgoing, body, caller)
                .await;
            measured.attempt_ends_with(match &result {
                Ok(answer) => Outcome::Status(answer.status()),
                Err(error) => Outcome::Error(error.proxy_error()),
            });
            let Some(fault) = fault_of(&result) else {
                let mut answer = result?; // 502
                self.first_byte(&place, *limits);
                if !answer.status().is_server_error() {
                    active.slot.answers_well();
                }
                if tells_timing {
                    let arrived = limits.arrived().into_std();
                    let marks = Marks {
                        arrived,
                        pod: place.came_up_since(arrived),
                        sent: sent.into_std(),
                        first_byte: Instant::now().into_std(),
                    };
                    if let Some(timing) = marks.header() {
                        answer.headers_mut().append(SERVER_TIMING, timing);
                    }
                }
                return Ok((answer, active));
            };
            aside::hold_against(&self.shared, &revision.gate, &place, fault);
            let again = match fault {
                Fault::Refused => true,
                Fault::CutOff => {
                    let may = outgoing.is_repeatable() && !repeated;
                    let soon = sent.elapsed() < self.shared.repeat_within;
                    repeated = may && soon && revision.gate.has_another(&place);
                    repeated
                }
            };
            if !again || replay.attempt().is_none() {
                return Ok((result?, active)); // 502
            }
            tracing::debug!("{} failed a request: {fault:?}", place.name());
            // Its connection is not needed while the request waits.
            drop(result);
            measured.attempt_is_over();
            let admit = active.slot.elsewhere();
            active = self.wait(asking, admit).await?;
        }
    }

    /// The pod has begun to answer.
    fn first_byte(&self, place: &Place, limits: Limits) {
        let arrived = limits.arrived().into_std();
        if let Some(pod) = place.served(arrived) {
            let first_byte = Instant::now().into_std();
            self.shared.metrics.cold.observe(arrived, pod, first_byte);
        }
    }

    /// Reports out of turn. Without the first word it is enough if another request does.
    fn urge(&self, revision: &Arc<Entry>, first: bool) {
        let own = revision.demand.begin_urging();
        if first || own {
            let reporter = self.shared.reporter.clone();
            self.shared
                .beside(reporter.urge(Arc::clone(revision), first, own));
        }
    }
}

impl Shared {
    /// Runs `task` beside the requests, to the end of the process at most.
    pub(crate) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.aside.spawn(async move {
            cut.run_until_cancelled(task).await;
        });
    }
}

impl Active {
    fn new(slot: Slot<Place>, revision: &Entry) -> Self {
        Self {
            slot,
            _counted: Counted::new(&revision.gauges.active),
        }
    }
}

/// The request as every pod gets it (spec/activator.md §7).
fn prepare(mut head: Parts, host: Option<&HeaderValue>, caller: &Caller, terms: Terms) -> Outgoing {
    headers::remove_routing(&mut head.headers);
    let mut outgoing = Outgoing::prepare(head, caller);
    // Last, so that no caller can name them in `Connection` and have them taken out.
    let headers = &mut outgoing.head().headers;
    if terms.queue_proxy
        && let Some(host) = host
        && !headers.contains_key(header::ORIGINAL_HOST)
    {
        headers.insert(header::ORIGINAL_HOST, host.clone());
    }
    let by = HeaderValue::from_static(header::PROBE_ACTIVATOR);
    headers.insert(header::PROXY_REQUEST, by);
    outgoing
}

/// What a pod did wrong that says something of the pod, not just of this request.
fn fault_of(result: &Result<Response<Relayed>, ForwardError>) -> Option<Fault> {
    match result {
        Ok(answer) if is_unreached(answer) => Some(Fault::Refused),
        Ok(answer) if is_cut_off(answer) => Some(Fault::CutOff),
        Err(error) if error.nothing_sent() => Some(Fault::Refused),
        Err(ForwardError::Closed { .. }) => Some(Fault::CutOff),
        Ok(_) | Err(_) => None,
    }
}

/// A request whose body is too long to be kept, and whose first pod could not be reached.
fn too_long_to_repeat() -> RequestError {
    RequestError::Upstream(ForwardError::NotRepeatable)
}

/// A request that a pod has answered, to the last byte of the answer.
#[derive(Debug)]
pub(crate) struct Inside {
    measured: Measured,
    /// Nothing if it only waits.
    held: Option<Held>,
    shared: Arc<Shared>,
}

impl Guard for Inside {
    fn passed(&mut self, bytes: usize) {
        self.measured.response_bytes += bytes as u64;
        self.tunnelled(bytes);
    }

    fn tunnelled(&mut self, _bytes: usize) {
        if let Some(held) = &self.held {
            held.demand.goes_on();
        }
    }

    fn broke(&mut self, error: &BodyError) {
        if let (BodyError::Upstream(_), Some(held)) = (error, &self.held) {
            let gate = &held.demand.entry().gate;
            let place = held.active.slot.place();
            aside::hold_against(&self.shared, gate, place, Fault::CutOff);
        }
        self.measured.breaks();
        tracing::debug!("an answer broke off: {error}");
    }
}
