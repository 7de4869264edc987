//! Series with the names of OpenTelemetry (spec/queue-proxy.md §7.1).

use penstock_runtime::metrics::{
    self, DURATION_BUCKETS, FamilyOf, LabelSet, OVERFLOW, Outcome, Peer, SIZE_BUCKETS, Scheme,
    Scope, Tally, address_labels, bytes, exchange_labels,
};
use prometheus::core::Desc;
use prometheus::proto::{MetricFamily, MetricType};

use super::Seen;
use super::filed::Filed;

/// Scope of what only a queue-proxy has.
pub(super) const SCOPE: Scope<'static> = Scope {
    name: "knative.dev/serving/pkg/queue",
    version: env!("CARGO_PKG_VERSION"),
    schema_url: "",
};

/// What is kept of the requests of one row. The run of the container and the exchange with it are
/// the same time, so one tally is enough for both.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    whole: Tally<14>,
    inside: Tally<14>,
    request_bytes: Tally<15>,
    response_bytes: Tally<15>,
}

impl Figures {
    pub(super) fn count(&mut self, seen: Seen) {
        self.whole
            .observe(&DURATION_BUCKETS, seen.whole.as_secs_f64());
        self.inside
            .observe(&DURATION_BUCKETS, seen.inside.as_secs_f64());
        self.request_bytes
            .observe(&SIZE_BUCKETS, bytes(seen.request_bytes));
        self.response_bytes
            .observe(&SIZE_BUCKETS, bytes(seen.response_bytes));
    }
}

impl metrics::Figures for Figures {
    fn add(&mut self, other: &Self) {
        self.whole.add(&other.whole);
        self.inside.add(&other.inside);
        self.request_bytes.add(&other.request_bytes);
        self.response_bytes.add(&other.response_bytes);
    }
}

#[derive(Debug)]
pub(super) struct Families {
    invocation: FamilyOf,
    server_duration: FamilyOf,
    server_request: FamilyOf,
    server_response: FamilyOf,
    client_duration: FamilyOf,
    client_request: FamilyOf,
}

impl Families {
    /// `own`: labels of what only a queue-proxy has; `of_http`: of the HTTP series.
    pub(super) fn new(
        own: &[(String, String)],
        of_http: &[(String, String)],
    ) -> prometheus::Result<Self> {
        let http = |name, help| FamilyOf::new(name, help, MetricType::HISTOGRAM, of_http);
        Ok(Self {
            invocation: FamilyOf::new(
                "kn_serving_invocation_duration_seconds",
                "The duration of task execution",
                MetricType::HISTOGRAM,
                own,
            )?,
            server_duration: http(
                "http_server_request_duration_seconds",
                "Duration of HTTP server requests.",
            )?,
            server_request: http(
                "http_server_request_body_size_bytes",
                "Size of HTTP server request bodies.",
            )?,
            server_response: http(
                "http_server_response_body_size_bytes",
                "Size of HTTP server response bodies.",
            )?,
            client_duration: http(
                "http_client_request_duration_seconds",
                "Duration of HTTP client requests.",
            )?,
            client_request: http(
                "http_client_request_body_size_bytes",
                "Size of HTTP client request bodies.",
            )?,
        })
    }

    fn all(&self) -> [&FamilyOf; 6] {
        [
            &self.invocation,
            &self.server_duration,
            &self.server_request,
            &self.server_response,
            &self.client_duration,
            &self.client_request,
        ]
    }

    pub(super) fn desc(&self) -> Vec<&Desc> {
        self.all().map(FamilyOf::desc).into()
    }

    pub(super) fn collect(&self, rows: &[(Filed, Figures)]) -> Vec<MetricFamily> {
        let runs = rows.iter().filter_map(|(filed, figures)| {
            let status = filed.status_of_run().as_str().to_owned();
            let shown = filed.reached && !filed.probe;
            shown.then(|| (vec![("http_response_status_code", status)], &figures.inside))
        });
        let server = |tally: fn(&Figures) -> &Tally<15>| {
            rows.iter()
                .filter_map(move |(filed, figures)| Some((as_server(filed)?, tally(figures))))
        };
        let client = rows
            .iter()
            .filter_map(|(filed, figures)| Some((as_client(filed)?, figures)));
        vec![
            self.invocation.histograms(&DURATION_BUCKETS, runs),
            self.server_duration.histograms(
                &DURATION_BUCKETS,
                rows.iter()
                    .filter_map(|(filed, figures)| Some((as_server(filed)?, &figures.whole))),
            ),
            self.server_request
                .histograms(&SIZE_BUCKETS, server(|figures| &figures.request_bytes)),
            self.server_response
                .histograms(&SIZE_BUCKETS, server(|figures| &figures.response_bytes)),
            self.client_duration.histograms(
                &DURATION_BUCKETS,
                client
                    .clone()
                    .map(|(labels, figures)| (labels, &figures.inside)),
            ),
            self.client_request.histograms(
                &SIZE_BUCKETS,
                client.map(|(labels, figures)| (labels, &figures.request_bytes)),
            ),
        ]
    }
}

/// Labels of the request as it came; `None` if it is left out.
fn as_server(filed: &Filed) -> Option<LabelSet> {
    if filed.probe || filed.broken {
        return None;
    }
    let labels = || {
        let tag = filed.tag.name()?.to_owned();
        let outcome = Outcome::Status(filed.status);
        let scheme = if filed.tls {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let mut labels = address_labels(Peer::Host(filed.host.as_deref()?), scheme);
        labels.extend(exchange_labels(
            filed.method?,
            outcome,
            filed.version,
            scheme,
        ));
        labels.push(("kn_route_tag", tag));
        Some(labels)
    };
    Some(labels().unwrap_or_else(overflow))
}

/// Labels of the request as the container got it; `None` if it did not, or is gone.
fn as_client(filed: &Filed) -> Option<LabelSet> {
    let container = filed.container?;
    let labels = || {
        let mut labels = address_labels(Peer::Addr(container), Scheme::Http);
        labels.extend(exchange_labels(
            filed.method?,
            filed.outcome(),
            filed.version,
            Scheme::Http,
        ));
        if !filed.probe {
            labels.push(("kn_route_tag", filed.tag.name()?.to_owned()));
        }
        Some(labels)
    };
    Some(labels().unwrap_or_else(overflow))
}

fn overflow() -> LabelSet {
    OVERFLOW
        .map(|(name, value)| (name, value.to_owned()))
        .into()
}
