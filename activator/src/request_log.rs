//! What is remembered of a request until its line is written (spec/activator.md §2.8).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body::Body as _;
use penstock_relay::incoming::Incoming;
use penstock_relay::serve::Caller;
use penstock_runtime::request_log::{self as log, RequestLog, Revision};
use tokio::time::Instant;

use crate::revision::Entry;

/// Lines about requests. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct RequestLines(Arc<RequestLog>);

/// A request that will get its line.
#[derive(Debug)]
pub(crate) struct Logged {
    log: Arc<RequestLog>,
    request: log::Request,
}

impl RequestLines {
    /// Lines of `log`, whose template may be replaced at any time.
    pub fn to(log: Arc<RequestLog>) -> Self {
        Self(log)
    }

    /// Remembers a request; `None` while there are no lines.
    pub(crate) fn remember(
        &self,
        head: &Parts,
        body: &Incoming,
        caller: &Caller,
        host: &Option<HeaderValue>,
    ) -> Option<Box<Logged>> {
        if !self.0.is_on() {
            return None;
        }
        Some(Box::new(Logged {
            log: Arc::clone(&self.0),
            request: log::Request {
                method: head.method.clone(),
                uri: head.uri.clone(),
                version: head.version,
                headers: head.headers.clone(),
                host: host.clone(),
                content_length: body.size_hint().exact(),
                remote: caller.addr(),
                tls: caller.tls().map(|agreed| log::Tls {
                    version: agreed.version,
                    cipher_suite: agreed.cipher_suite,
                    protocol: agreed.protocol.clone(),
                    server_name: agreed.server_name.clone(),
                }),
            },
        }))
    }
}

impl Logged {
    /// Writes the line. Which pod it was is not told: there may have been several.
    pub(crate) fn write(
        &self,
        status: StatusCode,
        size: u64,
        revision: Option<&Entry>,
        arrived: Instant,
    ) {
        self.log.write(&log::Entry {
            request: &self.request,
            response: log::Response {
                code: status.as_u16(),
                size,
                latency: arrived.elapsed(),
            },
            revision: revision.map_or_else(Revision::default, |entry| Revision {
                name: entry.id.name(),
                namespace: entry.id.namespace(),
                service: &entry.service,
                configuration: &entry.configuration,
                ..Revision::default()
            }),
        });
    }
}
