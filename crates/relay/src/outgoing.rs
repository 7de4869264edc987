//! A request on its way out: what came in without what concerned the incoming connection, kept
//! so that it can be sent more than once.

use http::header::{CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, Version};

use crate::caller::Caller;
use crate::headers;
use crate::request_body::RequestBody;

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
        headers::append_forwarded_for(&mut parts.headers, caller.addr().ip());
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

    pub(crate) fn has(&self, name: HeaderName) -> bool {
        self.parts.headers.contains_key(name)
    }

    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        self.upgrade.as_ref()
    }

    /// A copy of the head for one attempt by HTTP/2.
    pub(crate) fn stream_head(&self, host: &HeaderValue) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = self.parts.method.clone();
        *request.headers_mut() = self.parts.headers.clone();
        request.headers_mut().remove(HOST);
        *request.uri_mut() = absolute(&self.parts.uri, host);
        request
    }

    /// A copy of the head for one attempt by HTTP/1. The extensions are the connection's and stay
    /// behind.
    pub(crate) fn request(&self, body: RequestBody, host: &HeaderValue) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.headers_mut() = self.parts.headers.clone();
        if self.parts.method != Method::CONNECT {
            *request.uri_mut() = origin(&self.parts.uri);
        } else if let Some(authority) = self.parts.uri.authority() {
            *request.uri_mut() = Uri::from(authority.clone());
        }
        let chunked = !request.body().is_empty();
        let headers = request.headers_mut();
        headers.insert(HOST, host.clone());
        if chunked && !headers.contains_key(CONTENT_LENGTH) {
            // Without it hyper leaves the body of a GET out.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        request
    }
}

/// Origin form: the path and query exactly as they came.
fn origin(uri: &Uri) -> Uri {
    uri.path_and_query()
        .cloned()
        .map_or_else(Uri::default, Uri::from)
}

/// What HTTP/2 needs for its `:scheme`, `:authority` and `:path`.
fn absolute(uri: &Uri, host: &HeaderValue) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
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
