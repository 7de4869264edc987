//! Heads as they go out.

use bytes::{BufMut as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use super::outbox::Encoder;
use crate::date;

/// What an answer says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It goes on, as is usual.
    Usual,
    /// It goes on, which an HTTP/1.0 caller has to be told.
    Kept,
    /// It ends.
    Closes,
}

/// One header line.
pub(super) fn line(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// The line before the data of a chunk.
pub(super) fn chunk_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut rest = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn length(out: &mut BytesMut, length: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line(out, "content-length", &digits[at..]);
}

fn framing(out: &mut BytesMut, encoder: Encoder) {
    match encoder {
        Encoder::Length(size) => length(out, size),
        Encoder::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Encoder::ToTheEnd => {}
    }
}

/// The head of a request to an upstream. `body`: how it is framed, `None` if there is none.
pub(crate) fn request(
    out: &mut BytesMut,
    method: &Method,
    uri: &Uri,
    host: &HeaderValue,
    headers: &HeaderMap,
    body: Option<Encoder>,
) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let target = match (method, uri.path_and_query(), uri.authority()) {
        (&Method::CONNECT, None, Some(authority)) => authority.as_str(),
        (_, Some(path), _) => path.as_str(),
        _ => "/",
    };
    // A query without a path.
    if target.starts_with('?') {
        out.extend_from_slice(b"/");
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    line(out, "host", host.as_bytes());
    for (name, value) in headers {
        if !(name == HOST || name == CONTENT_LENGTH || name == TRANSFER_ENCODING) {
            line(out, name.as_str(), value.as_bytes());
        }
    }
    match body {
        Some(encoder) => framing(out, encoder),
        // It was said that there is none.
        None if headers.contains_key(CONTENT_LENGTH) => length(out, 0),
        None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// The head of an answer to a caller. `body`: how it is framed, `None` if there is none whatever
/// the headers say.
pub(super) fn answer(
    out: &mut BytesMut,
    version: Version,
    head: &Parts,
    body: Option<Encoder>,
    persistence: Persistence,
) {
    let Parts {
        status, headers, ..
    } = head;
    let status = *status;
    status_line(out, version, status);
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    // 304, and what answers HEAD, tell the length that the body would have.
    let tells_length = body.is_none() && !switches && status != StatusCode::NO_CONTENT;
    for (name, value) in headers {
        let is_ours = (name == CONTENT_LENGTH && !tells_length)
            || name == TRANSFER_ENCODING
            || (name == CONNECTION && !switches);
        if !is_ours {
            line(out, name.as_str(), value.as_bytes());
        }
    }
    if let Some(encoder) = body {
        framing(out, encoder);
    }
    match persistence {
        Persistence::Usual => {}
        Persistence::Kept => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persistence::Closes => out.extend_from_slice(b"connection: close\r\n"),
    }
    if !switches
        && !headers.contains_key(DATE)
        && let Some(date) = date::now()
    {
        line(out, "date", date.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// A whole interim answer.
pub(crate) fn interim(out: &mut BytesMut, status: StatusCode, headers: &HeaderMap) {
    status_line(out, Version::HTTP_11, status);
    for (name, value) in headers {
        line(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut BytesMut, version: Version, status: StatusCode) {
    out.extend_from_slice(if version == Version::HTTP_10 {
        b"HTTP/1.0 "
    } else {
        b"HTTP/1.1 "
    });
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let reason = status.canonical_reason().unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}
