//! `.Request.URL`: the target of a request in its parts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::Version;

use super::entry::Request;
use super::value::{Text, Value};

/// A field, or a method without arguments.
pub(super) fn field<'a>(request: &'a Request, name: &str) -> Option<Value<'a>> {
    let uri = &request.uri;
    let (scheme, host) = origin(request);
    let bare = host
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'));
    Some(match name {
        "Scheme" => Value::text(scheme),
        "Host" => Value::text(host),
        "Hostname" => {
            let name = bare.map_or(host, |(name, _)| name);
            Value::text(name.trim_start_matches('[').trim_end_matches(']'))
        }
        "Port" => Value::text(bare.map_or("", |(_, port)| port)),
        "Path" => Value::Text(unescape(path(request).as_bytes(), false).into()),
        "RawPath" => {
            let raw = path(request);
            let plain = unescape(raw.as_bytes(), false);
            Value::text(if escape_path(&plain) == raw { "" } else { raw })
        }
        "EscapedPath" => Value::owned(escaped(path(request))),
        "RawQuery" => Value::text(uri.query().unwrap_or("")),
        "RequestURI" => {
            let query = uri.query().map(|query| format!("?{query}"));
            Value::owned(escaped(path(request)) + &query.unwrap_or_default())
        }
        "Query" => Value::Map(query(request)),
        "String" | "Redacted" => Value::owned(whole(request)),
        "Opaque" | "Fragment" | "RawFragment" => Value::text(""),
        "ForceQuery" => Value::Bool(uri.query() == Some("")),
        "OmitHost" => Value::Bool(false),
        "IsAbs" => Value::Bool(!scheme.is_empty()),
        "User" => Value::Nil,
        _ => return None,
    })
}

/// The whole of it as text.
pub(super) fn whole(request: &Request) -> String {
    let (scheme, host) = origin(request);
    let mut text = String::new();
    if !scheme.is_empty() {
        text.push_str(scheme);
        text.push(':');
    }
    if !scheme.is_empty() || !host.is_empty() {
        text.push_str("//");
        text.push_str(host);
    }
    text.push_str(&escaped(path(request)));
    if let Some(query) = request.uri.query() {
        text.push('?');
        text.push_str(query);
    }
    text
}

/// The query by key; what cannot be read is left out.
pub(super) fn query(request: &Request) -> BTreeMap<Vec<u8>, Vec<Text<'_>>> {
    let mut all: BTreeMap<Vec<u8>, Vec<Text<'_>>> = BTreeMap::new();
    let pairs = request.uri.query().unwrap_or("").split('&');
    for pair in pairs.filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if is_escaped(key) && is_escaped(value) {
            let values = all.entry(unescape(key.as_bytes(), true)).or_default();
            values.push(Cow::Owned(unescape(value.as_bytes(), true)));
        }
    }
    all
}

/// Scheme and host of a target in absolute form. That of HTTP/2 has them always, and means
/// nothing by it.
fn origin(request: &Request) -> (&str, &str) {
    if request.version == Version::HTTP_2 {
        return ("", "");
    }
    let host = request.uri.authority().map_or("", |host| host.as_str());
    (request.uri.scheme_str().unwrap_or(""), host)
}

fn path(request: &Request) -> &str {
    request.uri.path()
}

/// The path as it came if it is escaped as it has to be, else escaped anew.
fn escaped(raw: &str) -> String {
    let plain = |byte: u8| {
        is_plain(byte) || matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'%')
    };
    if raw.bytes().all(plain) {
        raw.to_owned()
    } else {
        escape_path(&unescape(raw.as_bytes(), false))
    }
}

/// Bytes that need no escape in a path.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

fn escape_path(path: &[u8]) -> String {
    let mut text = String::new();
    for &byte in path {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn is_escaped(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |place: usize| bytes.get(place).is_some_and(u8::is_ascii_hexdigit);
    let signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    signs
        .into_iter()
        .all(|(at, _)| digit(at + 1) && digit(at + 2))
}

/// Resolves escapes; what is none stays.
fn unescape(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    plain.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                    rest = after;
                }
                _ => plain.push(b'%'),
            },
            (b'+', _) if plus_is_space => plain.push(b' '),
            (other, _) => plain.push(*other),
        }
    }
    plain
}
