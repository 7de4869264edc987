//! A request on its way out: what came in without what concerned the incoming connection, kept
//! so that it can be sent more than once.

use bytes::BytesMut;
use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};

use crate::caller::Caller;
use crate::h1::{Encoder, encode};
use crate::headers;

/// A request with its hop-by-hop headers gone, ready to be sent, more than once if need be.
#[derive(Debug)]
pub struct Outgoing {
    parts: Parts,
    upgrade: Option<HeaderValue>,
    /// An HTTP/1.0 caller does not know interim answers (RFC 9110 §15.2).
    hears_interim: bool,
}

impl Outgoing {
    /// Prepares what came in: removes what concerned the incoming connection and appends its
    /// peer to `X-Forwarded-For`.
    pub fn prepare(mut parts: Parts, caller: &Caller) -> Self {
        let upgrade = (parts.version == Version::HTTP_11)
            .then(|| headers::upgrade_type(&parts.headers))
            .flatten();
        headers::remove_hop_by_hop(&mut parts.headers);
        headers::append_forwarded_for(&mut parts.headers, caller.name());
        if let Some(protocol) = upgrade.clone() {
            headers::ask_upgrade(&mut parts.headers, protocol);
        }
        // An absolute-form target names the host, whatever Host says (RFC 9112 §3.2.2).
        if parts.version < Version::HTTP_2
            && let Some(authority) = parts.uri.authority()
            && let Ok(host) = HeaderValue::try_from(authority.as_str())
        {
            parts.headers.insert(HOST, host);
        }
        Self {
            hears_interim: parts.version >= Version::HTTP_11,
            parts,
            upgrade,
        }
    }

    /// The head, for further changes.
    pub fn head(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Whether it may be sent twice although the first may have had an effect: no body, and a
    /// method without effect or a key that makes it repeatable (spec/queue-proxy.md §3.8).
    pub fn is_repeatable(&self) -> bool {
        let headers = &self.parts.headers;
        let by_method = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE]
            .contains(&self.parts.method);
        by_method
            || headers.contains_key("idempotency-key")
            || headers.contains_key("x-idempotency-key")
    }

    /// Goes out as HTTP/2 whatever it came in as, unless it wants to change protocols, which
    /// HTTP/2 cannot.
    pub fn use_http2(&mut self) {
        if self.upgrade.is_none() {
            self.parts.version = Version::HTTP_2;
        }
    }

    /// Goes out as HTTP/1.1 whatever it came in as.
    pub fn use_http1(&mut self) {
        if self.parts.version == Version::HTTP_2 {
            self.parts.version = Version::HTTP_11;
            headers::join_cookies(&mut self.parts.headers);
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.parts.version
    }

    pub(crate) fn hears_interim(&self) -> bool {
        self.hears_interim
    }

    pub(crate) fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Whether its body waits until it is asked for.
    pub(crate) fn expects(&self) -> bool {
        self.parts.headers.contains_key(EXPECT)
    }

    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        self.upgrade.as_ref()
    }

    /// Writes the head for one attempt over HTTP/1.
    pub(crate) fn write(&self, out: &mut BytesMut, host: &HeaderValue, body: Option<Encoder>) {
        let Parts {
            method,
            uri,
            headers,
            ..
        } = &self.parts;
        encode::request(out, method, uri, host, headers, body);
    }

    /// A copy of the head for one attempt by HTTP/2. The extensions are the connection's and stay
    /// behind.
    pub(crate) fn stream_head(&self, scheme: Scheme, host: &HeaderValue) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = self.parts.method.clone();
        *request.headers_mut() = self.parts.headers.clone();
        request.headers_mut().remove(HOST);
        *request.uri_mut() = absolute(&self.parts.uri, scheme, host);
        request
    }
}

/// What HTTP/2 needs for its `:scheme`, `:authority` and `:path`.
fn absolute(uri: &Uri, scheme: Scheme, host: &HeaderValue) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Authority::try_from(host.as_bytes())
        .ok()
        .or_else(|| uri.authority().cloned())
        .or_else(|| Some(Authority::from_static("localhost")));
    parts.path_and_query = uri
        .path_and_query()
        .cloned()
        .or_else(|| Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}
