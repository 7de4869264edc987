//! What a line tells of: a request, its response, and the revision it was for.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Uri, Version};

/// One request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What was asked.
    pub request: &'a Request,
    /// What came of it.
    pub response: Response,
    /// For whom it was.
    pub revision: Revision<'a>,
}

/// `.Request`: what is remembered of a request until its line is written.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its version.
    pub version: Version,
    /// Its headers, with what this process has changed in them.
    pub headers: HeaderMap,
    /// As the caller named the host.
    pub host: Option<HeaderValue>,
    /// Bytes of its body; `None` if that is not known in advance.
    pub content_length: Option<u64>,
    /// Who sent it.
    pub remote: SocketAddr,
    /// How it is encrypted, if it is.
    pub tls: Option<Tls>,
}

/// `.Request.TLS`, of what Go tells.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Version as on the wire: 0x0304 is 1.3.
    pub version: u16,
    /// Cipher suite as on the wire.
    pub cipher_suite: u16,
    /// Protocol that ALPN agreed on; may be empty.
    pub protocol: String,
    /// Name that the caller asked for; may be empty.
    pub server_name: String,
}

/// `.Response`.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// Status.
    pub code: u16,
    /// Bytes of its body.
    pub size: u64,
    /// First byte of the request to last byte of the response.
    pub latency: Duration,
}

/// `.Revision`; what is not known is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Revision<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The service that it belongs to.
    pub service: &'a str,
    /// The configuration that it belongs to.
    pub configuration: &'a str,
    /// The pod that writes this.
    pub pod_name: &'a str,
    /// The address of that pod.
    pub pod_ip: &'a str,
}

impl Request {
    /// The first value of a header, or nothing.
    pub(super) fn header(&self, name: &str) -> &[u8] {
        self.headers.get(name).map_or(b"", HeaderValue::as_bytes)
    }

    /// The target as it came.
    pub(super) fn target(&self) -> String {
        let path_only = self.version == Version::HTTP_2 && self.method != Method::CONNECT;
        match self.uri.path_and_query() {
            Some(path) if path_only => path.to_string(),
            _ => self.uri.to_string(),
        }
    }

    /// The id of the trace that the caller says this is part of; may be empty.
    pub(super) fn trace_id(&self) -> &[u8] {
        let parent = self.header("traceparent");
        let id = parent.split(|byte| *byte == b'-').nth(1);
        id.unwrap_or_else(|| self.header("x-b3-traceid"))
    }

    /// `.Proto` and its numbers.
    pub(super) fn proto(&self) -> (&'static str, i64, i64) {
        match self.version {
            Version::HTTP_10 => ("HTTP/1.0", 1, 0),
            Version::HTTP_2 => ("HTTP/2.0", 2, 0),
            Version::HTTP_3 => ("HTTP/3.0", 3, 0),
            _ => ("HTTP/1.1", 1, 1),
        }
    }

    /// Whether the connection ends behind it.
    pub(super) fn closes(&self) -> bool {
        let says = |word: &str| {
            let lines = self.headers.get_all("connection").iter();
            let mut words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
            words.any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        says("close") || (self.version == Version::HTTP_10 && !says("keep-alive"))
    }
}
