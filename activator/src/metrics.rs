//! What an activator exports (spec/activator.md §8).

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use penstock_cluster::Revision;
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_runtime::metrics::{
    Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, Outcome, Peer, Scheme, Scope, Side,
};
use penstock_types::RevisionId;
use prometheus::{Gauge, GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;

use crate::cold_start::ColdStarts;
use crate::request::Shared;
use crate::revision::Entry;

const SCOPE: Scope<'static> = Scope {
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

/// The series of one activator. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) server: HttpSeries,
    pub(crate) client: HttpSeries,
    concurrency: GaugeVec,
    queued: IntGaugeVec,
    active: IntGaugeVec,
    pub(crate) cold: ColdStarts,
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
        let opts = |name: &str, help: &str| Opts::new(name, help).const_labels(SCOPE.labels());
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
        registry.register(Box::new(concurrency.clone()))?;
        registry.register(Box::new(queued.clone()))?;
        registry.register(Box::new(active.clone()))?;
        Ok(Self {
            server: HttpSeries::register(registry, HTTP_SCOPE, Side::Server, &[])?,
            client: HttpSeries::register(registry, HTTP_SCOPE, Side::Client, &[])?,
            concurrency,
            queued,
            active,
            cold: ColdStarts::register(registry)?,
        })
    }

    pub(crate) fn of_revision(&self, revision: &Revision) -> RevisionGauges {
        let labels = [
            revision.service.to_string(),
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

    /// Removes the series of a revision that is gone.
    pub(crate) fn forget(&self, gauges: &RevisionGauges) {
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
        self.server.forget(|_, further| of_gone_revision(further));
        self.client
            .forget(|addr, further| addr.is_some_and(&pod_is_gone) || of_gone_revision(further));
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
}

/// The request at one pod.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    to: SocketAddr,
    since: Instant,
    outcome: Outcome,
}

impl Measured {
    pub(crate) fn start(shared: &Arc<Shared>, head: &Parts, body: &Incoming) -> Self {
        Self {
            shared: Arc::clone(shared),
            method: head.method.clone(),
            version: head.version,
            host: headers::host(head),
            arrived: Instant::now(),
            request_bytes: body.size_hint().exact().unwrap_or(0),
            revision: None,
            status: None,
            attempt: None,
            response_bytes: 0,
        }
    }

    /// Whom the request is for, in the caller's words.
    pub(crate) fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    pub(crate) fn is_for(&mut self, revision: &Arc<Entry>) {
        self.revision = Some(Arc::clone(revision));
    }

    /// It goes to a pod now; an attempt before this one is over.
    pub(crate) fn sent(&mut self, to: SocketAddr) {
        self.attempt_is_over();
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
        let labels = self.labels(attempt.outcome, peer, further);
        let client = &self.shared.metrics.client;
        client.observe(labels, self.seen(attempt.since));
    }

    fn labels<'a>(
        &'a self,
        outcome: Outcome,
        peer: Peer<'a>,
        further: &'a [(&'static str, &'a str)],
    ) -> HttpLabels<'a> {
        HttpLabels {
            method: &self.method,
            outcome,
            version: self.version,
            scheme: Scheme::Http,
            peer,
            further,
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
        let outcome = Outcome::Status(self.status.unwrap_or(gone));
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        // Whoever asks for what does not exist chooses the host: all of these are one.
        let known = host
            .filter(|_| self.revision.is_some())
            .unwrap_or("unknown");
        let server = self.labels(outcome, Peer::Host(known), further);
        self.shared
            .metrics
            .server
            .observe(server, self.seen(self.arrived));
    }
}
