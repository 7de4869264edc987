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
//! The wait itself is in `request/wait.rs`, what comes after it in `request/exchange.rs`.
//!
//! Source: spec/activator.md §2, §3.3, §7.

mod exchange;
mod wait;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderName, Request, Response};
use http_body::Body as _;
use penstock_gate::Slot;
use penstock_relay::body::{Body, BodyError, Guard, Relayed};
use penstock_relay::deadline::Limits;
use penstock_relay::forward::Relay;
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::serve::{Answer, Caller};
use penstock_runtime::metrics::Outcome;
use penstock_runtime::seldom::Seldom;
use penstock_runtime::trace::Tracer;
use penstock_types::Protocol;
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
use crate::refusal::RequestError;
use crate::request_log::RequestLines;
use crate::revision::{Entry, Place};
use crate::route::Rules;
use crate::table::{Row, Table};
use crate::waiting::{Told, Waiting};
use wait::Moment;

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

    const NAME: &'static str = "penstock-activator";

    const TAKES_LEAVE: bool = true;

    /// No `async fn`, and the request in a box: whatever a future is given it holds once more where
    /// it uses it, and all of that for as long as the request waits.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        caller: Arc<Caller>,
    ) -> impl Future<Output = Response<Body<Inside>>> + Send {
        let (head, body) = request.into_parts();
        self.answer_boxed(Box::new(Came { head, body }), caller)
    }
}

/// A request as it came.
struct Came {
    head: Parts,
    body: Incoming,
}

impl App {
    async fn answer_boxed(
        self: Arc<Self>,
        mut came: Box<Came>,
        caller: Arc<Caller>,
    ) -> Response<Body<Inside>> {
        let health = || self.shared.health.at(came.head.uri.path());
        if let Some(answer) = probe::answer(&mut came.head.headers, health) {
            return answer;
        }
        let grpc = grpc_type(&came.head.headers).cloned();
        let mut measured = Measured::start(&self.shared, &came.head, &came.body, &caller);
        match self
            .serve(came, &caller, grpc.is_some(), &mut measured)
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

/// Whom a request is for, and by what rules it is carried.
struct Found {
    revision: Arc<Entry>,
    limits: Limits,
    onward: Onward,
}

/// What is done to a request before it goes on.
#[derive(Clone, Copy)]
struct Onward {
    /// A queue-proxy behind the pod's address puts the caller's host back.
    queue_proxy: bool,
    /// Goes out by this protocol, as from an ingress; behind one, as it came (§7).
    protocol: Option<Protocol>,
}

/// A request as line and pods know it.
struct Asking<'a> {
    revision: &'a Arc<Entry>,
    caller: &'a Arc<Caller>,
    limits: &'a Limits,
    onward: Onward,
    has_body: bool,
    /// Whether it had to wait at first.
    waited: bool,
    /// Whether its caller wants word about the wait.
    tells: bool,
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
        came: Box<Came>,
        caller: &Arc<Caller>,
        is_grpc: bool,
        measured: &mut Measured,
    ) -> Result<Reply, RequestError> {
        let Found {
            revision,
            limits,
            onward,
        } = self.find(&came.head, is_grpc, measured)?; // 400, 404
        let (mut demand, first) = Tracker::enter(&revision);
        if first {
            self.urge(&revision, true);
        }
        let mut asking = Asking {
            revision: &revision,
            caller,
            limits: &limits,
            onward,
            has_body: !came.body.is_end_stream(),
            waited: false,
            tells: false,
        };
        let active = if let Some(slot) = revision.gate.try_admit() {
            Active::new(slot, &revision)
        } else {
            asking.waited = true;
            let bytes = budget::held_by(&came.head, &came.body);
            let told = Told::of(&came.head, &revision.choices, self.shared.waiting_page);
            if let Some(told @ (Told::Page(_) | Told::Events)) = told {
                let wait = self.wait_a_moment(told, &revision, bytes, limits, demand);
                match Box::pin(wait).await? {
                    Moment::Slot(slot, same) => {
                        demand = same;
                        Active::new(slot, &revision)
                    }
                    Moment::Waits(waiting) => return Ok(Reply::Waits(waiting)),
                }
            } else {
                asking.tells = told == Some(Told::Interim);
                let wait = pin!(self.wait_in_line(&asking, bytes));
                limits.answer_within(wait).await?? // 503, 504
            }
        };
        // Boxed: those who wait in line would carry the room.
        let mut exchange = Box::pin(self.exchange(&asking, came, active, measured));
        let (answer, active) = limits.answer_within(exchange.as_mut()).await??; // 504, 503, 502
        demand.may_idle();
        let held = Held { active, demand };
        Ok(Reply::Pod(Served {
            answer,
            limits,
            held,
        }))
    }

    /// Whom the request is for; its limits begin to count.
    fn find(
        &self,
        head: &Parts,
        is_grpc: bool,
        measured: &mut Measured,
    ) -> Result<Found, RequestError> {
        if headers::has_bad_host(head) {
            return Err(RequestError::BadHost); // 400
        }
        let shared = &*self.shared;
        let (row, is_gateway) = shared.table.look(|known| {
            let is_gateway = !known.snapshot.routes.hosts.is_empty();
            let id = shared.rules.find(head, measured.host(), &known.snapshot)?; // 404
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
        Ok(Found {
            revision,
            limits: Limits::start(timeouts),
            onward: Onward {
                queue_proxy: terms.queue_proxy,
                protocol: is_gateway.then_some(terms.protocol),
            },
        })
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
