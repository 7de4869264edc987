//! What a queue-proxy exports (spec/queue-proxy.md §7.1).

use std::net::SocketAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body::Body as _;
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_runtime::metrics::{
    DURATION_BUCKETS, Exchange, HTTP_SCOPE, HttpLabels, HttpSeries, Outcome, Peer, Scheme, Scope,
    Side,
};
use penstock_types::header;
use prometheus::{HistogramOpts, HistogramVec, IntGauge, Opts, Registry};
use tokio::time::Instant;

use crate::gate_probe::is_unmeasured;
use crate::request::Shared;

const SCOPE: Scope<'static> = Scope {
    name: "knative.dev/serving/pkg/queue",
    version: env!("CARGO_PKG_VERSION"),
    schema_url: "",
};

/// The series of one container, or of all containers of one revision. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) server: HttpSeries,
    pub(crate) client: HttpSeries,
    invocation: HistogramVec,
    pub(crate) depth: IntGauge,
}

impl Metrics {
    /// Registers the series; `constant` labels are on each of them.
    ///
    /// # Errors
    ///
    /// A label is not valid, or the registry has these series already.
    pub fn register(registry: &Registry, constant: &[(&str, &str)]) -> prometheus::Result<Self> {
        let mut labels = SCOPE.labels();
        for &(name, value) in constant {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let invocation = HistogramVec::new(
            HistogramOpts::new(
                "kn_serving_invocation_duration_seconds",
                "The duration of task execution",
            )
            .const_labels(labels.clone())
            .buckets(DURATION_BUCKETS.to_vec()),
            &["http_response_status_code"],
        )?;
        let depth = IntGauge::with_opts(
            Opts::new(
                "kn_serving_queue_depth",
                "Number of current requests in the queue",
            )
            .const_labels(labels),
        )?;
        registry.register(Box::new(invocation.clone()))?;
        registry.register(Box::new(depth.clone()))?;
        Ok(Self {
            server: HttpSeries::register(registry, HTTP_SCOPE, Side::Server, constant)?,
            client: HttpSeries::register(registry, HTTP_SCOPE, Side::Client, constant)?,
            invocation,
            depth,
        })
    }

    /// Counts one run of the container, waiting excluded.
    pub(crate) fn invoked(&self, status: StatusCode, took: Duration) {
        self.invocation
            .with_label_values(&[status.as_str()])
            .observe(took.as_secs_f64());
    }
}

/// One request on its way, counted when this is dropped: an answer may end by its last byte, by
/// breaking off, or because its caller is gone.
#[derive(Debug)]
pub(crate) struct Measured {
    metrics: Metrics,
    user_addr: SocketAddr,
    /// Whether it is left out, being a probe; the exchange with the container is not.
    probe: bool,
    method: Method,
    version: Version,
    host: Option<HeaderValue>,
    tag: RouteTag,
    arrived: Instant,
    request_bytes: u64,
    /// What the caller was answered; `None` if it left before.
    status: Option<StatusCode>,
    /// Why the container did not answer, if it did not.
    failed: Option<&'static str>,
    /// Since when the container had it; `None` if it never got there.
    invoked: Option<Instant>,
    pub(crate) response_bytes: u64,
    pub(crate) broken: bool,
}

/// The host that the caller had sent. An activator puts the pod's address in its place, which
/// would make series of their own for each pod.
fn host_asked_for(head: &Parts) -> Option<HeaderValue> {
    let original = head.headers.get(header::ORIGINAL_HOST);
    original
        .filter(|host| !host.is_empty())
        .cloned()
        .or_else(|| headers::host(head))
}

impl Measured {
    pub(crate) fn start(shared: &Shared, head: &Parts, body: &Incoming, arrived: Instant) -> Self {
        Self {
            metrics: shared.metrics.clone(),
            user_addr: shared.user_addr,
            probe: is_unmeasured(&head.headers),
            method: head.method.clone(),
            version: head.version,
            host: host_asked_for(head),
            tag: RouteTag::of(&head.headers),
            arrived,
            // Of a body without a length nobody counts the bytes.
            request_bytes: body.size_hint().exact().unwrap_or(0),
            status: None,
            failed: None,
            invoked: None,
            response_bytes: 0,
            broken: false,
        }
    }

    /// It has its slot, and goes to the container.
    pub(crate) fn enters(&mut self, now: Instant) {
        self.invoked = Some(now);
    }

    /// The container's answer begins.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// It is answered in the container's place.
    pub(crate) fn refused(&mut self, status: StatusCode, reason: &'static str) {
        self.status = Some(status);
        self.failed = Some(reason);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        // A caller who left before there was an answer: 499 by custom, never seen outside.
        let gone = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        let status = self.status.unwrap_or(gone);
        let tag = [("kn_route_tag", self.tag.as_str())];
        let further = if self.probe { &[][..] } else { &tag[..] };
        let labels = |outcome, peer| HttpLabels {
            method: &self.method,
            outcome,
            version: self.version,
            scheme: Scheme::Http,
            peer,
            further,
        };
        let host = self.host.as_ref().and_then(|host| host.to_str().ok());
        if let Some(invoked) = self.invoked {
            let took = invoked.elapsed();
            let seen = Exchange {
                duration: took,
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
            };
            let to = Peer::Addr(self.user_addr);
            let outcome = match (self.failed, self.status) {
                (Some(reason), _) => Outcome::Error(reason),
                (None, Some(status)) => Outcome::Status(status),
                (None, None) => Outcome::Error("canceled"),
            };
            let client = labels(outcome, to);
            self.metrics.client.observe(client, seen);
            if !self.probe {
                let status = if self.broken {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    status
                };
                self.metrics.invoked(status, took);
            }
        }
        if !self.probe && !self.broken {
            let seen = Exchange {
                duration: self.arrived.elapsed(),
                request_bytes: self.request_bytes,
                response_bytes: self.response_bytes,
            };
            let server = labels(Outcome::Status(status), Peer::Host(host.unwrap_or("")));
            self.metrics.server.observe(server, seen);
        }
    }
}

/// `kn.route.tag` (spec/queue-proxy.md §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
enum RouteTag {
    Disabled,
    Default,
    Undefined,
    Tag(HeaderValue),
}

impl RouteTag {
    fn of(headers: &HeaderMap) -> Self {
        let get = |name| headers.get(name).filter(|value| !value.is_empty());
        let by_default = get(header::SERVING_DEFAULT_ROUTE);
        match (get(header::SERVING_TAG), by_default) {
            (None, None) => Self::Disabled,
            (None, Some(_)) => Self::Default,
            (Some(_), Some(by_default)) if by_default == "true" => Self::Undefined,
            (Some(tag), _) => Self::Tag(tag.clone()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Disabled => "kn:disabled",
            Self::Default => "kn:default",
            Self::Undefined => "kn:undefined",
            Self::Tag(tag) => tag.to_str().unwrap_or("kn:undefined"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_49_and_50_route_tags() {
        let table = [
            ("", "", "kn:disabled"),
            ("", "true", "kn:default"),
            ("", "false", "kn:default"),
            ("test-tag", "", "test-tag"),
            ("test-tag", "true", "kn:undefined"),
            ("x", "false", "x"),
        ];
        for (tag, by_default, want) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::SERVING_TAG, HeaderValue::from_static(tag));
            let by_default = HeaderValue::from_static(by_default);
            headers.insert(header::SERVING_DEFAULT_ROUTE, by_default);
            assert_eq!(RouteTag::of(&headers).as_str(), want);
        }
    }
}
