//! The spans of one request:
//!
//! ```text
//! POST                  the request as it came, with the revision it is for
//! ├ throttler_try       until it had a slot, or was refused
//! └ activator_proxy     from its slot on
//!   └ POST /path        the exchange with the pod, which hears of this one
//! ```
//!
//! They are told when they have ended, in the order of their ends: the first, the last, and then
//! outwards. What is measured of a request ends with the last byte of its answer, and so do these.
//! A trace that nobody is told of only has its numbers.
//!
//! Source: spec/activator.md §8.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use penstock_relay::serve::Caller;
use penstock_runtime::metrics::{HTTP_SCOPE, Peer, Scheme, address_and_port, version_name};
use penstock_runtime::trace::{
    Attributes, Context, Kind, Span, Tracer, Value, add_address, as_it_came,
};
use tokio::time::Instant;

use crate::metrics::SCOPE;
use crate::revision::Entry;

/// What a method that is not one of the known ones is called.
const OTHER: &str = "_OTHER";

/// The spans of a request that is on its way.
#[derive(Debug)]
pub(crate) struct Traced {
    tracer: Arc<Tracer>,
    came_with: Option<Context>,
    server: Context,
    /// Of the exchange with the pod, which is told of it before there is one.
    client: Context,
    /// What is told of the request as it came.
    told: Attributes,
    path: String,
    entered: Option<Instant>,
    sent: Option<(SocketAddr, Instant)>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) method: &'static str,
    pub(crate) version: Version,
    /// What the caller was answered; `None` if it left before.
    pub(crate) status: Option<StatusCode>,
    /// Whether the answer broke off.
    pub(crate) broken: bool,
    pub(crate) revision: Option<&'a Entry>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) arrived: Instant,
    pub(crate) ended: Instant,
}

impl Traced {
    /// A request that has arrived, for `host`.
    pub(crate) fn start(
        tracer: &Arc<Tracer>,
        head: &Parts,
        caller: &Caller,
        host: &Option<HeaderValue>,
    ) -> Box<Self> {
        let came_with = Context::of(&head.headers);
        let server = tracer.begin(came_with.as_ref());
        let mut traced = Box::new(Self {
            tracer: Arc::clone(tracer),
            came_with,
            client: server.child(),
            server,
            told: Attributes::new(),
            path: String::new(),
            entered: None,
            sent: None,
        });
        if server.is_sampled() {
            let scheme = caller.tls().map_or(Scheme::Http, |_| Scheme::Https);
            traced.told = as_it_came(head, caller.addr(), scheme, host.as_ref());
            head.uri.path().clone_into(&mut traced.path);
        }
        traced
    }

    /// Makes the request, as it goes on, say which span it is a part of.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        self.client.put(headers, self.came_with.is_some());
    }

    /// It has its slot; if it needed several, the first.
    pub(crate) fn enters(&mut self, now: Instant) {
        self.entered.get_or_insert(now);
    }

    /// It goes to a pod; if to several, all of it is one exchange with the last.
    pub(crate) fn sent(&mut self, to: SocketAddr, now: Instant) {
        let (_, since) = self.sent.unwrap_or((to, now));
        self.sent = Some((to, since));
    }

    /// Tells all spans, which have ended.
    pub(crate) fn tell(mut self, outcome: &Outcome<'_>) {
        if !self.server.is_sampled() {
            return;
        }
        let clock = SystemTime::now();
        // A clock that was never set may show less than the time that has passed.
        let at = |moment| {
            let ago = outcome.ended.duration_since(moment);
            clock.checked_sub(ago).unwrap_or(clock)
        };
        let arrived = at(outcome.arrived);
        let span = |name: Cow<'static, str>, context, parent, begun| Span {
            name,
            kind: Kind::Internal,
            scope: SCOPE.name,
            context,
            parent,
            from_afar: false,
            begun,
            ended: clock,
            attributes: Attributes::new(),
            failed: false,
        };
        let server = Some(self.server);
        if outcome.revision.is_some() {
            self.tracer.tell(Span {
                ended: self.entered.map_or(clock, at),
                failed: self.entered.is_none(),
                ..span("throttler_try".into(), self.server.child(), server, arrived)
            });
        }
        if let Some(entered) = self.entered {
            let proxy = self.server.child();
            if let Some((to, since)) = self.sent {
                let name = format!("{} {}", known(outcome.method), self.path);
                self.tracer.tell(Span {
                    kind: Kind::Client,
                    scope: HTTP_SCOPE.name,
                    failed: outcome.of_client_failed(),
                    attributes: outcome.of_client(to, &self.path),
                    ..span(name.into(), self.client, Some(proxy), at(since))
                });
            }
            let name = "activator_proxy".into();
            self.tracer.tell(span(name, proxy, server, at(entered)));
        }
        self.tracer.tell(Span {
            kind: Kind::Server,
            scope: HTTP_SCOPE.name,
            from_afar: self.came_with.is_some(),
            failed: outcome.of_server_failed(),
            attributes: outcome.of_server(std::mem::take(&mut self.told)),
            ..span(
                known(outcome.method).into(),
                self.server,
                self.came_with,
                arrived,
            )
        });
    }
}

/// A method that is not one of the known ones is the caller's to choose, and so is none.
fn known(method: &'static str) -> &'static str {
    if method == OTHER { "HTTP" } else { method }
}

impl Outcome<'_> {
    fn of_server(&self, mut attributes: Attributes) -> Attributes {
        attributes.push(("http.request.method", self.method.into()));
        let version = version_name(self.version);
        attributes.push(("network.protocol.version", version.into()));
        if let Some(entry) = self.revision {
            let labels = [
                ("kn.service.name", &*entry.service),
                ("kn.configuration.name", &*entry.configuration),
                ("kn.revision.name", entry.id.name()),
                ("k8s.namespace.name", entry.id.namespace()),
            ];
            attributes.extend(labels.map(|(name, value)| (name, value.to_owned().into())));
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

    fn of_client(&self, to: SocketAddr, path: &str) -> Attributes {
        let url = format!("http://{to}{path}");
        let mut attributes = vec![
            ("http.request.method", self.method.into()),
            ("url.full", Value::of_others(url.as_bytes())),
        ];
        let address = address_and_port(Peer::Addr(to), Scheme::Http);
        add_address(&mut attributes, address);
        match self.status {
            None => attributes.push(("error.type", "canceled".into())),
            Some(_) => self.add_status(&mut attributes),
        }
        attributes
    }

    fn add_status(&self, attributes: &mut Attributes) {
        if let Some(status) = self.status {
            attributes.push(("http.response.status_code", status.as_u16().into()));
        }
    }

    /// What is the caller's fault is the client's, but not the server's.
    fn of_server_failed(&self) -> bool {
        self.broken || self.status.is_some_and(|status| status.as_u16() >= 500)
    }

    fn of_client_failed(&self) -> bool {
        self.broken || self.status.is_none_or(|status| status.as_u16() >= 400)
    }
}
