//! The spans of one request, each a part of the one above it:
//!
//! ```text
//! GET                      the request as it came; not of a probe
//! └ kn.queueproxy.proxy    all of it that is ours; not of a kubelet's probe
//!   └ kn.queueproxy.wait   in line; only where there is a limit
//!     └ HTTP GET           the exchange with the container, which hears of this one
//! ```
//!
//! Which there are is known before the request goes on; what they tell, when it has ended. A trace
//! that nobody is told of only has its numbers.
//!
//! Source: spec/queue-proxy.md §3.7, §7.3. What is measured of a request ends with the last byte of
//! its answer, and so do these.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use penstock_relay::serve::Caller;
use penstock_runtime::metrics::{HTTP_SCOPE, Peer, Scheme, address_and_port, version_name};
use penstock_runtime::trace::{
    Attributes, Context, Kind, Span, Tracer, Value, add_address, as_it_came,
};
use penstock_types::Slots;
use tokio::time::Instant;

use crate::metrics::Tag;

/// Who tells what only a queue-proxy does.
const OWN_SCOPE: &str = "knative.dev/serving/pkg/queue";

/// The spans of a request that is on its way.
#[derive(Debug)]
pub(crate) struct Traced {
    tracer: Arc<Tracer>,
    came_with: Option<Context>,
    /// From the outermost to the innermost.
    steps: Vec<Step>,
    /// What is told of the request as it came, and as it goes on; nothing of one that is not.
    server: Attributes,
    client: Attributes,
    /// When it no longer was in line.
    entered: Option<Instant>,
}

#[derive(Debug)]
struct Step {
    what: What,
    context: Context,
    parent: Option<Context>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Server,
    Proxy,
    Wait,
    Client,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) method: &'static str,
    pub(crate) version: Version,
    pub(crate) tag: Tag<&'a str>,
    /// What the caller was answered; `None` if it left before.
    pub(crate) status: Option<StatusCode>,
    /// Why the container did not answer, if it did not.
    pub(crate) failed: Option<&'static str>,
    /// Whether the answer broke off.
    pub(crate) broken: bool,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) arrived: Instant,
    pub(crate) ended: Instant,
}

impl Traced {
    /// A request that has arrived, for `host`. A `probe` begins a trace of its own, whatever it
    /// says, and is told only from where it goes on.
    pub(crate) fn start(
        tracer: &Arc<Tracer>,
        head: &Parts,
        caller: &Caller,
        host: &Option<HeaderValue>,
        probe: bool,
    ) -> Box<Self> {
        let mut traced = Box::new(Self {
            tracer: Arc::clone(tracer),
            came_with: None,
            steps: Vec::with_capacity(4),
            server: Attributes::new(),
            client: Attributes::new(),
            entered: None,
        });
        if !probe {
            traced.came_with = Context::of(&head.headers);
            if traced.step(What::Server).is_sampled() {
                let scheme = caller.tls().map_or(Scheme::Http, |_| Scheme::Https);
                traced.server = as_it_came(head, caller.addr(), scheme, host.as_ref());
            }
        }
        traced
    }

    /// It goes on to the `container`, which hears of the innermost span.
    pub(crate) fn goes_on(
        &mut self,
        head: &mut Parts,
        container: SocketAddr,
        slots: Slots,
        bypass: bool,
    ) {
        if !bypass {
            self.step(What::Proxy);
            if slots != Slots::Unlimited {
                self.step(What::Wait);
            }
        }
        let context = self.step(What::Client);
        context.put(&mut head.headers, self.came_with.is_some());
        if context.is_sampled() {
            let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
            let url = format!("http://{container}{path}");
            self.client = vec![("url.full", Value::of_others(url.as_bytes()))];
            let address = address_and_port(Peer::Addr(container), Scheme::Http);
            add_address(&mut self.client, address);
        }
    }

    /// The next span, a part of the last one.
    fn step(&mut self, what: What) -> Context {
        let parent = self.steps.last().map(|step| step.context);
        let context = match &parent {
            Some(parent) => parent.child(),
            None => self.tracer.begin(self.came_with.as_ref()),
        };
        let parent = parent.or(self.came_with);
        self.steps.push(Step {
            what,
            context,
            parent,
        });
        context
    }

    /// It is no longer in line.
    pub(crate) fn enters(&mut self, now: Instant) {
        self.entered = Some(now);
    }

    /// Tells all spans, which have ended.
    pub(crate) fn tell(mut self, outcome: &Outcome<'_>) {
        let sampled = |step: &Step| step.context.is_sampled();
        if !self.steps.first().is_some_and(sampled) {
            return;
        }
        let clock = SystemTime::now();
        // A clock that was never set may show less than the time that has passed.
        let at = |moment| {
            let ago = outcome.ended.duration_since(moment);
            clock.checked_sub(ago).unwrap_or(clock)
        };
        let arrived = at(outcome.arrived);
        let entered = self.entered.map(at);
        for step in std::mem::take(&mut self.steps) {
            let what = step.what;
            let (begun, ended) = match what {
                What::Server | What::Proxy => (arrived, clock),
                What::Wait => (arrived, entered.unwrap_or(clock)),
                What::Client => match entered {
                    Some(entered) => (entered, clock),
                    None => continue, // it never got there
                },
            };
            self.tracer.tell(Span {
                name: what.name(outcome.method),
                kind: what.kind(),
                scope: what.scope(),
                context: step.context,
                from_afar: step.parent.is_some() && step.parent == self.came_with,
                parent: step.parent,
                begun,
                ended,
                failed: what.failed(outcome),
                attributes: match what {
                    What::Server => outcome.of_server(std::mem::take(&mut self.server)),
                    What::Client => outcome.of_client(std::mem::take(&mut self.client)),
                    What::Proxy | What::Wait => Attributes::new(),
                },
            });
        }
    }
}

impl What {
    /// A method that is not one of the known ones is the caller's to choose, and so is none.
    fn name(self, method: &'static str) -> Cow<'static, str> {
        let known = method != OTHER;
        match self {
            Self::Server if known => Cow::Borrowed(method),
            Self::Client if known => Cow::Owned(format!("HTTP {method}")),
            Self::Server | Self::Client => Cow::Borrowed("HTTP"),
            Self::Proxy => Cow::Borrowed("kn.queueproxy.proxy"),
            Self::Wait => Cow::Borrowed("kn.queueproxy.wait"),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Server => Kind::Server,
            Self::Client => Kind::Client,
            Self::Proxy | Self::Wait => Kind::Internal,
        }
    }

    fn scope(self) -> &'static str {
        match self {
            Self::Server | Self::Client => HTTP_SCOPE.name,
            Self::Proxy | Self::Wait => OWN_SCOPE,
        }
    }

    /// What is the caller's fault is the client's, but not the server's.
    fn failed(self, outcome: &Outcome<'_>) -> bool {
        let status = |from| outcome.status.is_some_and(|status| status.as_u16() >= from);
        match self {
            Self::Server => outcome.broken || status(500),
            Self::Client => outcome.broken || outcome.status.is_none() || status(400),
            Self::Proxy | Self::Wait => false,
        }
    }
}

/// What the known methods are not.
const OTHER: &str = "_OTHER";

impl Outcome<'_> {
    fn of_server(&self, mut attributes: Attributes) -> Attributes {
        attributes.push(("http.request.method", self.method.into()));
        let version = version_name(self.version);
        attributes.push(("network.protocol.version", version.into()));
        if let Some(tag) = self.tag.name() {
            attributes.push(("kn.route.tag", Value::of_others(tag.as_bytes())));
        }
        let sizes = [
            ("http.request.body.size", self.request_bytes),
            ("http.response.body.size", self.response_bytes),
        ];
        for (name, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
            attributes.push((name, size.into()));
        }
        self.add_status(&mut attributes);
        attributes
    }

    fn of_client(&self, mut attributes: Attributes) -> Attributes {
        attributes.push(("http.request.method", self.method.into()));
        match (self.failed, self.status) {
            // The status is not the container's then.
            (Some(why), _) => attributes.push(("error.type", why.into())),
            (None, None) => attributes.push(("error.type", "canceled".into())),
            (None, Some(_)) => self.add_status(&mut attributes),
        }
        attributes
    }

    fn add_status(&self, attributes: &mut Attributes) {
        if let Some(status) = self.status {
            attributes.push(("http.response.status_code", status.as_u16().into()));
        }
    }
}
