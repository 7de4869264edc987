//! What is remembered of a request until its line is written (spec/queue-proxy.md §7.4).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use penstock_relay::body::{Body, Guard};
use penstock_relay::headers;
use penstock_relay::incoming::Incoming;
use penstock_relay::serve::Caller;
use penstock_runtime::request_log::{
    self as log, Entry, Lines, RequestLog, Revision, STOCK_TEMPLATE,
};
use tokio::time::Instant;

use crate::env::{self, Identity};
use crate::metrics::is_probe;

/// Lines about requests.
#[derive(Clone, Debug)]
pub struct RequestLines {
    /// What writes them.
    pub log: Arc<RequestLog>,
    /// Whether probes get lines, too.
    pub probes: bool,
    /// Whose pod this is.
    pub identity: Identity,
}

/// A request that will get its line.
#[derive(Debug)]
pub(crate) struct Logged {
    lines: Arc<RequestLines>,
    request: log::Request,
    arrived: Instant,
}

impl RequestLines {
    /// Lines as the environment asks for them. A template that cannot be compiled is told in the
    /// log, and there are no lines then.
    pub fn to(lines: Lines, config: &env::RequestLog, identity: &Identity) -> Option<Self> {
        let template = config.template.as_deref().unwrap_or(STOCK_TEMPLATE);
        if template.is_empty() {
            return None;
        }
        match RequestLog::compile(template, lines) {
            Ok(log) => Some(Self {
                log: Arc::new(log),
                probes: config.probes,
                identity: identity.clone(),
            }),
            Err(error) => {
                tracing::error!(%error, "requests are not logged");
                None
            }
        }
    }

    /// Remembers a request; `None` if it gets no line. `probe`: whether metrics leave it out.
    pub(crate) fn remember(
        self: &Arc<Self>,
        head: &Parts,
        body: &Incoming,
        caller: &Caller,
        arrived: Instant,
        probe: bool,
    ) -> Option<Box<Logged>> {
        if !self.log.is_on() || (probe && !self.probes) {
            return None;
        }
        Some(Box::new(Logged {
            lines: Arc::clone(self),
            request: log::Request {
                method: head.method.clone(),
                uri: head.uri.clone(),
                version: head.version,
                headers: head.headers.clone(),
                host: headers::host(head),
                content_length: body.size_hint().exact(),
                remote: caller.addr(),
                tls: caller.tls().map(|agreed| log::Tls {
                    version: agreed.version,
                    cipher_suite: agreed.cipher_suite,
                    protocol: agreed.protocol.clone(),
                    server_name: agreed.server_name.clone(),
                }),
            },
            arrived,
        }))
    }

    /// Remembers a request that is answered at the gate.
    pub(crate) fn remember_probe(
        self: &Arc<Self>,
        request: Request<Incoming>,
        caller: &Caller,
    ) -> Option<Box<Logged>> {
        let (head, body) = request.into_parts();
        let probe = is_probe(&head.headers);
        self.remember(&head, &body, caller, Instant::now(), probe)
    }
}

impl Logged {
    /// From here on the headers are these.
    pub(crate) fn has_headers(&mut self, headers: &HeaderMap) {
        self.request.headers = headers.clone();
    }

    /// Writes the line of a request that was answered at the gate.
    pub(crate) fn answered<G: Guard>(&self, answer: &Response<Body<G>>) {
        let size = answer.body().size_hint().exact().unwrap_or(0);
        self.write(answer.status().as_u16(), size, Instant::now());
    }

    /// Writes the line.
    pub(crate) fn write(&self, code: u16, size: u64, now: Instant) {
        let identity = &self.lines.identity;
        self.lines.log.write(&Entry {
            request: &self.request,
            response: log::Response {
                code,
                size,
                latency: now.duration_since(self.arrived),
            },
            revision: Revision {
                name: &identity.revision,
                namespace: &identity.namespace,
                service: &identity.service,
                configuration: &identity.configuration,
                pod_name: &identity.pod,
                pod_ip: &identity.pod_ip,
            },
        });
    }
}
