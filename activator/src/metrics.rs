//! What an activator exports (spec/activator.md §8); `classic.rs`: under the names of old.

mod classic;

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use penstock_cluster::Revision;
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::serve::Caller;
use penstock_runtime::metrics::{
    Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, Outcome, Peer, Scheme, Scope, Side, known_method,
};
use penstock_types::RevisionId;
use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;

use crate::cold_start::ColdStarts;
use crate::request::Shared;
use crate::request_log::Logged;
use crate::revision::Entry;
use crate::trace::{Outcome as Told, Traced};
use classic::Classic;

pub(crate) const SCOPE: Scope<'static> = Scope {
    name: "knative.dev/serving/pkg/activator",
    version: env!("CARGO_PKG_VERSION"),
    schema_url: "",
};

/// Labels of series that belong to a revision, in the contract's order.
const OF_REVISION: [&str; 4] = [
    "kn_service_name",
    "kn_configuration_name",
    "kn_revision_name",
    "k8s_namespace_name",
];

/// Under which names the figures are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those of OpenTelemetry (spec/activator.md §8).
    #[default]
    Current,
    /// `activator_*`, in milliseconds, as before OpenTelemetry.
    Classic,
}

/// The series of one activator. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    http: Http,
    concurrency: GaugeVec,
    queued: IntGaugeVec,
    active: IntGaugeVec,
    pub(crate) cold: ColdStarts,
}

/// What is counted of requests.
#[derive(Clone, Debug)]
enum Http {
    Current {
        server: HttpSeries,
        client: HttpSeries,
    },
    Classic(Classic),
}

/// The gauges of one revision, resolved once.
#[derive(Debug)]
pub(crate) struct RevisionGauges {
    labels: [String; 4],
    pub(crate) concurrency: Gauge,
    pub(crate) queued: IntGauge,
    pub(crate) active: IntGauge,
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    ///
    /// The registry has these series already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Self::register_as(registry, Names::Current, "")
    }

    /// Registers the series under these names; classic ones say that they are of `pod`.
    ///
    /// # Errors
    ///
    /// The registry has these series already.
    pub fn register_as(registry: &Registry, names: Names, pod: &str) -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_labels(SCOPE.labels());
        // Those that the names do not have are kept all the same, where nobody scrapes them.
        let (unseen, current) = (Registry::new(), names == Names::Current);
        let shown = if current { registry } else { &unseen };
        let concurrency = GaugeVec::new(
            opts(
                "kn_revision_request_concurrency",
                "Concurrent requests that are routed to the activator, mean of the last second",
            ),
            &OF_REVISION,
        )?;
        let of_key = &OF_REVISION[2..];
        let queued = IntGaugeVec::new(
            opts(
                "kn_revision_request_queued",
                "Requests that wait for a slot",
            ),
            of_key,
        )?;
        let active = IntGaugeVec::new(
            opts("kn_revision_request_active", "Requests inside a pod"),
            of_key,
        )?;
        shown.register(Box::new(queued.clone()))?;
        shown.register(Box::new(active.clone()))?;
        let (http, concurrency) = if current {
            registry.register(Box::new(concurrency.clone()))?;
            let http = Http::Current {
                server: HttpSeries::register(registry, HTTP_SCOPE, Side::Server, &[])?,
                client: HttpSeries::register(registry, HTTP_SCOPE, Side::Client, &[])?,
            };
            (http, concurrency)
        } else {
            let classic = Classic::register(registry, pod)?;
            let concurrency = classic.concurrency().clone();
            (Http::Classic(classic), concurrency)
        };
        Ok(Self {
            http,
            concurrency,
            queued,
            active,
            cold: ColdStarts::register(registry)?,
        })
    }

    pub(crate) fn of_revision(&self, revision: &Revision) -> RevisionGauges {
        let labels = [
            match self.http {
                Http::Classic(_) => classic::service(&revision.service).to_owned(),
                Http::Current { .. } => revision.service.to_string(),
            },
            revision.configuration.to_string(),
            revision.id.name().to_owned(),
            revision.id.namespace().to_owned(),
        ];
        RevisionGauges {
            concurrency: self.concurrency.with_label_values(&labels),
            queued: self.queued.with_label_values(&labels[2..]),
            active: self.active.with_label_values(&labels[2..]),
            labels,
        }
    }

    pub(crate) fn observe_server(&self, labels: HttpLabels<'_>, seen: Exchange) {
        if let Http::Current { server, .. } = &self.http {
            server.observe(labels, seen);
        }
    }

    pub(crate) fn observe_client(&self, labels: HttpLabels<'_>, seen: Exchange) {
        if let Http::Current { client, .. } = &self.http {
            client.observe(labels, seen);
        }
    }

    /// Removes the series of a revision that is gone.
    pub(crate) fn forget(&self, gauges: &RevisionGauges) {
        if let Http::Classic(classic) = &self.http {
            classic.forget(&gauges.labels);
        }
        // Errors only say that a series was gone before.
        let _ = self.concurrency.remove_label_values(&gauges.labels);
        let _ = self.queued.remove_label_values(&gauges.labels[2..]);
        let _ = self.active.remove_label_values(&gauges.labels[2..]);
    }

    /// Removes the HTTP series of pods and revisions that are gone.
    pub(crate) fn forget_http(
        &self,
        pod_is_gone: impl Fn(SocketAddr) -> bool,
        revision_is_gone: impl Fn(RevisionId) -> bool,
    ) {
        let of_gone_revision = |further: &[(&str, Box<str>)]| {
            let value = |label| {
                let found = further.iter().find(|(name, _)| *name == label);
                found.map(|(_, value)| &**value)
            };
            let [_, _, name, namespace] = OF_REVISION;
            match (value(namespace), value(name)) {
                (Some(namespace), Some(name)) => revision_is_gone(RevisionId::new(namespace, name)),
                _ => false,
            }
        };
        let Http::Current { server, client } = &self.http else {
            return; // it has no addresses, and its revisions went at once
        };
        server.forget(|_, further| of_gone_revision(further));
        client.forget(|addr, further| addr.is_some_and(&pod_is_gone) || of_gone_revision(further));
    }
}

/// Adds one to a gauge while it is held.
#[derive(Debug)]
pub(crate) struct Counted(IntGauge);

impl Counted {
    pub(crate) fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One request on its way, counted when this is dropped: an answer may end by its last byte, by
/// breaking off, or because its caller is gone.
#[derive(Debug)]
pub(crate) struct Measured {
    shared: Arc<Shared>,
    method: Method,
    version: Version,
    host: Option<HeaderValue>,
    arrived: Instant,
    request_bytes: u64,
    revision: Option<Arc<Entry>>,
    status: Option<StatusCode>,
    attempt: Option<Attempt>,
    pub(crate) response_bytes: u64,
    /// The answer broke off.
    broken: bool,
    tls: bool,
    logged: Option<Box<Logged>>,
    traced: Option<Box<Traced>>,
}

/// The request at one pod.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    to: SocketAddr,
    since: Instant,
    outcome: Outcome,
}

impl Measured {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        head: &Parts,
        body: &Incoming,
        caller: &Caller,
    ) -> Self {
        let host = headers::host(head);
        let tracer = shared.tracer.as_ref();
        let lines = shared.lines.as_ref();
        Self {
            logged: lines.and_then(|lines| lines.remember(head, body, caller, &host)),
            traced: tracer.map(|tracer| Traced::start(tracer, head, caller, &host)),
            shared: Arc::clone(shared),
            method: head.method.clone(),
            version: head.version,
            host,
            arrived: Instant::now(),
            request_bytes: body.size_hint().exact().unwrap_or(0),
            revision: None,
            status: None,
            attempt: None,
            response_bytes: 0,
            broken: false,
            tls: caller.tls().is_some(),
        }
    }

    /// Whom the request is for, in the caller's words.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    pub(crate) fn is_for(&mut self, revision: &Arc<Entry>) {
        self.revision = Some(Arc::clone(revision));
    }

    /// Makes the request, as it goes on, say which span it is a part of.
    pub(crate) fn goes_on(&self, headers: &mut HeaderMap) {
        if let Some(traced) = &self.traced {
            traced.put(headers);
        }
    }

    /// It has its slot.
    pub(crate) fn enters(&mut self) {
        if let Some(traced) = &mut self.traced {
            traced.enters(Instant::now());
        }
    }

    /// The answer broke off.
    pub(crate) fn breaks(&mut self) {
        self.broken = true;
    }

    /// It goes to a pod now; an attempt before this one is over.
    pub(crate) fn sent(&mut self, to: SocketAddr) {
        self.attempt_is_over();
        if let Some(traced) = &mut self.traced {
            traced.sent(to, Instant::now());
        }
        self.attempt = Some(Attempt {
            to,
            since: Instant::now(),
            // Unless it is said otherwise before this is dropped.
            outcome: Outcome::Error("canceled"),
        });
    }

    /// The pod answered, or there is a word for why it did not.
    pub(crate) fn attempt_ends_with(&mut self, outcome: Outcome) {
        if let Some(attempt) = &mut self.attempt {
            attempt.outcome = outcome;
        }
    }

    /// Counts the attempt now, since no answer of it will be handed on.
    pub(crate) fn attempt_is_over(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            let labels = self.of_revision();
            self.count_attempt(attempt, further(&labels));
        }
    }

    /// What the caller gets.
    pub(crate) fn ends_with(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    fn of_revision(&self) -> Option<[(&'static str, &str); 4]> {
        self.revision.as_ref().map(|entry| {
            let values = [
                &*entry.service,
                &*entry.configuration,
                entry.id.name(),
                entry.id.namespace(),
            ];
            [0, 1, 2, 3].map(|index| (OF_REVISION[index], values[index]))
        })
    }

    fn count_attempt(&self, attempt: Attempt, further: &[(&'static str, &str)]) {
        let peer = Peer::Addr(attempt.to);
        let secured = self.shared.pods.is_some();
        let scheme = if secured { Scheme::Https } else { Scheme::Http };
        let labels = self.labels(attempt.outcome, peer, scheme, further);
        let metrics = &self.shared.metrics;
        metrics.observe_client(labels, self.seen(attempt.since));
    }

    fn labels<'a>(
        &'a self,
        outcome: Outcome,
        peer: Peer<'a>,
        scheme: Scheme,
        further: &'a [(&'static str, &'a str)],
    ) -> HttpLabels<'a> {
        HttpLabels {
            method: &self.method,
            outcome,
            version: self.version,
            scheme,
            peer,
            further,
        }
    }

    /// An answer that breaks off is one that went wrong, whatever it began with (§2.8, §8).
    fn status_in_the_end(&self, status: StatusCode) -> StatusCode {
        match self.broken {
            true => StatusCode::INTERNAL_SERVER_ERROR,
            false => status,
        }
    }

    fn seen(&self, since: Instant) -> Exchange {
        Exchange {
            duration: since.elapsed(),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        }
    }
}

fn further<'a, 'b>(
    labels: &'b Option<[(&'static str, &'a str); 4]>,
) -> &'b [(&'static str, &'a str)] {
    labels.as_ref().map_or(&[], |labels| &labels[..])
}

impl Drop for Measured {
    fn drop(&mut self) {
        let labels = self.of_revision();
        let further = further(&labels);
        if let Some(attempt) = self.attempt {
            self.count_attempt(attempt, further);
        }
        // A caller who left before there was an answer: 499 by custom, never seen outside.
        let gone = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(gone);
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        // Whoever asks for what does not exist chooses the host: all of these are one.
        let known = host
            .filter(|_| self.revision.is_some())
            .unwrap_or("unknown");
        let scheme = if self.tls {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let outcome = Outcome::Status(status);
        let labels = self.labels(outcome, Peer::Host(known), scheme, further);
        let metrics = &self.shared.metrics;
        metrics.observe_server(labels, self.seen(self.arrived));
        if let (Http::Classic(classic), Some(entry)) = (&metrics.http, &self.revision) {
            let status = self.status_in_the_end(status);
            classic.count(&entry.gauges.labels, status, self.arrived.elapsed());
        }
        let revision = self.revision.as_deref();
        if let Some(logged) = self.logged.take() {
            let status = self.status_in_the_end(status);
            let bytes = if self.broken { 0 } else { self.response_bytes };
            logged.write(status, bytes, revision, self.arrived);
        }
        if let Some(traced) = self.traced.take() {
            traced.tell(&Told {
                method: known_method(&self.method),
                version: self.version,
                status: self.status,
                broken: self.broken,
                revision,
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
                arrived: self.arrived,
                ended: Instant::now(),
            });
        }
    }
}
