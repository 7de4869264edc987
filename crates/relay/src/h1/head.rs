//! Heads of requests and answers as they come in (RFC 9112).
//!
//! The values of the headers are parts of one piece of memory; nothing is copied for a header. What two
//! recipients could read in two ways is refused, with two exceptions that are made to mean one
//! thing: a bare line feed ends a line (RFC 9112 §2.2), and of chunked and a length chunked wins
//! and the connection then ends (§6.3). What goes out again has neither.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use memchr::memchr_iter;

use crate::headers::MOST_NAMES;

/// Most bytes of a head (spec/queue-proxy.md §2).
pub(crate) const MOST: usize = 1 << 20;
/// A head up to this size is copied, so that the buffer is free for others at once.
const SHORT: usize = 1024;
/// Lines of an ordinary head; more cost an allocation.
const LINES: usize = 64;

/// Why something is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It does not end.
    #[error("the head is longer than 1 MiB, or has too many lines")]
    TooLong,
    /// It is not written as one.
    #[error("the head is malformed: {0}")]
    Malformed(#[from] httparse::Error),
    /// It is not of this protocol.
    #[error("the version is not supported")]
    Version,
    /// What is asked for has no form that the method knows.
    #[error("the target is malformed")]
    Target,
    /// Several that differ, or none that is a number.
    #[error("the content length is not one number")]
    Length,
    /// Not chunked and only chunked.
    #[error("the transfer coding is not chunked alone")]
    Coding,
    /// A coding that may exist, but is not known here.
    #[error("the transfer coding is not supported")]
    UnknownCoding,
}

impl BadHead {
    /// How a request with it is answered.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Malformed(_) | Self::Target | Self::Length | Self::Coding => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Where its chunks say so.
    Chunked,
    /// Where the connection does.
    ToTheEnd,
}

/// A request without its body, and what its head says about the connection.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) request: Request<()>,
    pub(crate) framing: Framing,
    /// Another request may follow.
    pub(crate) keep: bool,
    /// Its body comes once it was asked for.
    pub(crate) expects: bool,
}

/// An answer without its body.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) answer: Response<()>,
    pub(crate) framing: Framing,
    /// The connection may be used for another request.
    pub(crate) keep: bool,
}

/// Finds where a head ends. Remembers how far it has looked, so that one that comes in small
/// pieces costs no more than another.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
}

impl Scan {
    /// Takes a head out of `buffer` if it is there as a whole.
    ///
    /// # Errors
    ///
    /// [`BadHead::TooLong`].
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, BadHead> {
        if self.seen == 0 {
            // Empty lines before a message mean nothing (RFC 9112 §2.2).
            while let Some(b'\r' | b'\n') = buffer.first() {
                if buffer[0] == b'\r' && buffer.get(1) != Some(&b'\n') {
                    break;
                }
                buffer.advance(1);
            }
        }
        for at in memchr_iter(b'\n', &buffer[self.seen..]) {
            let next = self.seen + at + 1;
            let length = match buffer[next..] {
                [b'\n', ..] => next + 1,
                [b'\r', b'\n', ..] => next + 2,
                _ => continue,
            };
            self.seen = 0;
            if length > MOST {
                return Err(BadHead::TooLong);
            }
            if length > SHORT {
                return Ok(Some(buffer.split_to(length).freeze()));
            }
            let head = Bytes::copy_from_slice(&buffer[..length]);
            buffer.advance(length);
            return Ok(Some(head));
        }
        if buffer.len() > MOST {
            return Err(BadHead::TooLong);
        }
        // The end may have begun.
        self.seen = buffer.len().saturating_sub(2);
        Ok(None)
    }
}

/// What the headers say about body and connection, gathered as they pass.
#[derive(Debug, Default)]
struct Marks {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

/// Reads the head of a request, as a [`Scan`] has found it.
///
/// # Errors
///
/// [`BadHead`]: nothing that follows on the connection can be understood.
pub(crate) fn request(head: Bytes) -> Result<RequestHead, BadHead> {
    let head = as_known_version(head)?;
    let mut few = [const { MaybeUninit::uninit() }; LINES];
    let mut many;
    let config = httparse::ParserConfig::default();
    let mut parsed = httparse::Request::new(&mut []);
    let mut status = config.parse_request_with_uninit_headers(&mut parsed, &head, &mut few);
    if status == Err(httparse::Error::TooManyHeaders) {
        many = vec![MaybeUninit::uninit(); memchr_iter(b'\n', &head).count()];
        parsed = httparse::Request::new(&mut []);
        status = config.parse_request_with_uninit_headers(&mut parsed, &head, &mut many);
    }
    // The whole of it is there, so it cannot be a part.
    let (Ok(httparse::Status::Complete(_)), Some(method), Some(target)) =
        (status, parsed.method, parsed.path)
    else {
        return Err(BadHead::Malformed(
            status.err().unwrap_or(httparse::Error::NewLine),
        ));
    };
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| httparse::Error::Token)?;
    *request.uri_mut() = target_of(request.method(), head.slice_ref(target.as_bytes()))?;
    let old = parsed.version == Some(0);
    *request.version_mut() = version(old);
    let mut headers =
        HeaderMap::try_with_capacity(parsed.headers.len()).map_err(|_| BadHead::TooLong)?;
    let marks = gather(&head, parsed.headers, &mut headers)?;
    if marks.chunked {
        if old {
            return Err(BadHead::Coding);
        }
        headers.remove(CONTENT_LENGTH);
    }
    *request.headers_mut() = headers;
    Ok(RequestHead {
        framing: if marks.chunked {
            Framing::Chunked
        } else {
            Framing::Length(marks.length.unwrap_or(0))
        },
        keep: stays(old, &marks),
        expects: marks.expects && !old,
        request,
    })
}

/// Reads the head of the answer to a request with `asked`, as a [`Scan`] has found it.
///
/// # Errors
///
/// [`BadHead`]: nothing that follows on the connection can be understood.
pub(crate) fn answer(head: &Bytes, asked: &Method) -> Result<AnswerHead, BadHead> {
    let mut few = [const { MaybeUninit::uninit() }; LINES];
    let mut many;
    let config = httparse::ParserConfig::default();
    let mut parsed = httparse::Response::new(&mut []);
    let mut status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut few);
    if status == Err(httparse::Error::TooManyHeaders) {
        many = vec![MaybeUninit::uninit(); memchr_iter(b'\n', head).count()];
        parsed = httparse::Response::new(&mut []);
        status = config.parse_response_with_uninit_headers(&mut parsed, head, &mut many);
    }
    let (Ok(httparse::Status::Complete(_)), Some(code)) = (status, parsed.code) else {
        return Err(BadHead::Malformed(
            status.err().unwrap_or(httparse::Error::NewLine),
        ));
    };
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(code).map_err(|_| httparse::Error::Status)?;
    let old = parsed.version == Some(0);
    *answer.version_mut() = version(old);
    let mut headers =
        HeaderMap::try_with_capacity(parsed.headers.len()).map_err(|_| BadHead::TooLong)?;
    let marks = gather(head, parsed.headers, &mut headers)?;
    if marks.chunked {
        if old {
            return Err(BadHead::Coding);
        }
        headers.remove(CONTENT_LENGTH);
    }
    *answer.headers_mut() = headers;
    let status = answer.status();
    let bare = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *asked == Method::HEAD
        || (*asked == Method::CONNECT && status.is_success());
    let framing = match marks.length {
        _ if bare => Framing::Length(0),
        _ if marks.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::ToTheEnd,
    };
    Ok(AnswerHead {
        framing,
        keep: stays(old, &marks) && framing != Framing::ToTheEnd && *asked != Method::CONNECT,
        answer,
    })
}

fn version(old: bool) -> Version {
    if old {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    }
}

fn stays(old: bool, marks: &Marks) -> bool {
    // Both a length and chunked: whoever is in between may have understood it otherwise.
    let ambiguous = marks.chunked && marks.length.is_some();
    !marks.close && !ambiguous && (!old || marks.keep_alive)
}

/// Later versions of HTTP/1 are understood as 1.1 (RFC 9110 §2.5), others are not.
fn as_known_version(head: Bytes) -> Result<Bytes, BadHead> {
    let end = memchr::memchr(b'\n', &head).unwrap_or(head.len());
    let line = head[..end].trim_ascii_end();
    let version = &line[line.len().saturating_sub(8)..];
    match *version {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => {
            if minor <= b'1' {
                return Ok(head);
            }
            let at = line.len() - 1;
            let mut head = BytesMut::from(head);
            head[at] = b'1';
            Ok(head.freeze())
        }
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(BadHead::Version)
        }
        _ => Ok(head),
    }
}

/// RFC 9112 §3.2: a path, the whole of a URI, `*` for OPTIONS, an authority for CONNECT.
fn target_of(method: &Method, target: Bytes) -> Result<Uri, BadHead> {
    let is_path = target.starts_with(b"/");
    let uri = Uri::from_maybe_shared(target).map_err(|_| BadHead::Target)?;
    let known = is_path
        || (uri.scheme().is_some() && uri.authority().is_some())
        || (*method == Method::OPTIONS && uri.path() == "*")
        || (*method == Method::CONNECT && uri.authority().is_some());
    if known { Ok(uri) } else { Err(BadHead::Target) }
}

/// Moves the lines of `head` to `headers`, with the lengths made one.
fn gather(
    head: &Bytes,
    lines: &[httparse::Header<'_>],
    headers: &mut HeaderMap,
) -> Result<Marks, BadHead> {
    let mut marks = Marks::default();
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| httparse::Error::HeaderName)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| httparse::Error::HeaderValue)?;
        if name == CONTENT_LENGTH {
            let length = number(line.value).ok_or(BadHead::Length)?;
            match marks.length.replace(length) {
                None => {}
                Some(earlier) if earlier == length => continue,
                Some(_) => return Err(BadHead::Length),
            }
        } else if name == TRANSFER_ENCODING {
            coding(line.value, marks.chunked)?;
            marks.chunked = true;
        } else if name == CONNECTION {
            for item in line.value.split(|byte| *byte == b',') {
                let item = item.trim_ascii();
                marks.close |= item.eq_ignore_ascii_case(b"close");
                marks.keep_alive |= item.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if name == EXPECT {
            marks.expects |= line.value.eq_ignore_ascii_case(b"100-continue");
        }
        headers
            .try_append(name, value)
            .map_err(|_| BadHead::TooLong)?;
    }
    if headers.keys_len() > MOST_NAMES {
        return Err(BadHead::TooLong);
    }
    Ok(marks)
}

/// Digits and nothing else: no sign, no list, no overflow.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// One `chunked` in all lines together.
fn coding(value: &[u8], again: bool) -> Result<(), BadHead> {
    if value.eq_ignore_ascii_case(b"chunked") && !again {
        return Ok(());
    }
    let last = value.rsplit(|byte| *byte == b',').next();
    let ends_chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    let has_others = value.split(|byte| *byte == b',').any(|item| {
        !item.trim_ascii().is_empty() && !item.trim_ascii().eq_ignore_ascii_case(b"chunked")
    });
    // Where the body ends is known only if chunked comes last, and once.
    if ends_chunked && has_others && !again {
        Err(BadHead::UnknownCoding)
    } else {
        Err(BadHead::Coding)
    }
}
