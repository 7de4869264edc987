//! What a template works with, and how it looks as text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use http::HeaderMap;

use super::entry::{Entry, Request, Tls};
use super::escape::canonical;
use super::url;

/// A string, which need not be UTF-8.
pub(super) type Text<'a> = Cow<'a, [u8]>;

/// A value of a template.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// What a map does not have.
    Missing,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text<'a>),
    List(Vec<Text<'a>>),
    Map(BTreeMap<Vec<u8>, Vec<Text<'a>>>),
    /// `.`
    Entry(&'a Entry<'a>),
    Request(&'a Request),
    Response(&'a Entry<'a>),
    Revision(&'a Entry<'a>),
    Url(&'a Request),
    /// A map, made only if it is needed as one.
    Header(&'a HeaderMap),
    Tls(&'a Tls),
    /// Name and value.
    Cookie(Text<'a>, Text<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text.as_bytes()))
    }

    pub(super) fn bytes(bytes: &'a [u8]) -> Self {
        Self::Text(Cow::Borrowed(bytes))
    }

    pub(super) fn owned(text: String) -> Self {
        Self::Text(Cow::Owned(text.into_bytes()))
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// Its type in the words of Go, for messages and for `%T`.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]string",
            Self::Map(_) => "map[string][]string",
            Self::Header(_) => "http.Header",
            Self::Entry(_) => "entry",
            Self::Request(_) => "*http.Request",
            Self::Response(_) => "response",
            Self::Revision(_) => "revision",
            Self::Url(_) => "*url.URL",
            Self::Tls(_) => "*tls.ConnectionState",
            Self::Cookie(..) => "*http.Cookie",
        }
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Header(headers) => headers.keys().any(|name| is_shown(name.as_str())),
            _ => true,
        }
    }

    /// A field, or a method with its arguments.
    ///
    /// # Errors
    ///
    /// There is no such field, or the arguments are not its own.
    pub(super) fn field(&self, name: &str, args: &[Self]) -> Result<Self, String> {
        let found = match (self, args) {
            (Self::Entry(entry), []) => match name {
                "Request" => Self::Request(entry.request),
                "Response" => Self::Response(entry),
                "Revision" => Self::Revision(entry),
                "TraceID" => Self::bytes(entry.request.trace_id()),
                _ => return self.has_no(name),
            },
            (Self::Response(entry), []) => match name {
                "Code" => Self::Int(i64::from(entry.response.code)),
                "Size" => Self::Int(i64::try_from(entry.response.size).unwrap_or(i64::MAX)),
                "Latency" => Self::Float(entry.response.latency.as_secs_f64()),
                _ => return self.has_no(name),
            },
            (Self::Revision(entry), []) => {
                let revision = &entry.revision;
                Self::text(match name {
                    "Name" => revision.name,
                    "Namespace" => revision.namespace,
                    "Service" => revision.service,
                    "Configuration" => revision.configuration,
                    "PodName" => revision.pod_name,
                    "PodIP" => revision.pod_ip,
                    _ => return self.has_no(name),
                })
            }
            (Self::Request(request), args) => return self.of_request(request, name, args),
            (Self::Url(request), []) => match url::field(request, name) {
                Some(value) => value,
                None => return self.has_no(name),
            },
            (Self::Header(headers), [Self::Text(key)]) if matches!(name, "Get" | "Values") => {
                let key = std::str::from_utf8(key).unwrap_or("");
                match name {
                    _ if !is_shown(&key.to_ascii_lowercase()) => Self::text(""),
                    "Get" => Self::bytes(headers.get(key).map_or(b"", |value| value.as_bytes())),
                    _ => Self::List(values(headers, key)),
                }
            }
            (Self::Map(map), [Self::Text(key)]) if name == "Get" => {
                let first = map.get(&**key).and_then(|values| values.first());
                Self::Text(first.cloned().unwrap_or_default())
            }
            (Self::Header(_) | Self::Map(_), _) if matches!(name, "Get" | "Values") => {
                return Err(format!("wrong number or kind of arguments for {name}"));
            }
            (Self::Header(_) | Self::Map(_), []) => self.entry(name.as_bytes()),
            (Self::Tls(tls), []) => match name {
                "Version" => Self::Int(i64::from(tls.version)),
                "HandshakeComplete" => Self::Bool(true),
                "DidResume" => Self::Bool(false),
                "CipherSuite" => Self::Int(i64::from(tls.cipher_suite)),
                "NegotiatedProtocol" => Self::text(&tls.protocol),
                "ServerName" => Self::text(&tls.server_name),
                _ => return self.has_no(name),
            },
            (Self::Cookie(key, value), []) => match name {
                "Name" => Self::Text(key.clone()),
                "Value" => Self::Text(value.clone()),
                _ => return self.has_no(name),
            },
            (Self::Nil | Self::Missing, _) => {
                return Err(format!("nil value has no field or method {name}"));
            }
            _ => return self.has_no(name),
        };
        Ok(found)
    }

    fn of_request(&self, request: &'a Request, name: &str, args: &[Self]) -> Result<Self, String> {
        let (proto, major, minor) = request.proto();
        Ok(match (name, args) {
            ("Method", []) => Self::text(request.method.as_str()),
            ("URL", []) => Self::Url(request),
            ("Proto", []) => Self::text(proto),
            ("ProtoMajor", []) => Self::Int(major),
            ("ProtoMinor", []) => Self::Int(minor),
            ("Header", []) => Self::Header(&request.headers),
            ("ContentLength", []) => {
                let length = request.content_length.map(i64::try_from);
                Self::Int(length.map_or(-1, |length| length.unwrap_or(i64::MAX)))
            }
            ("TransferEncoding", []) => {
                let chunked = request.content_length.is_none() && major == 1;
                let words = chunked.then(|| Cow::Borrowed(&b"chunked"[..]));
                Self::List(words.into_iter().collect())
            }
            ("Close", []) => Self::Bool(request.closes()),
            ("Host", []) => Self::bytes(request.host.as_ref().map_or(b"", |host| host.as_bytes())),
            ("Trailer" | "Form" | "PostForm", []) => Self::Map(BTreeMap::new()),
            ("MultipartForm" | "Body" | "Response", []) => Self::Nil,
            ("Pattern", []) => Self::text(""),
            ("RemoteAddr", []) => Self::owned(request.remote.to_string()),
            ("RequestURI", []) => Self::owned(request.target()),
            ("TLS", []) => request.tls.as_ref().map_or(Self::Nil, Self::Tls),
            ("UserAgent", []) => Self::bytes(request.header("user-agent")),
            ("Referer", []) => Self::bytes(request.header("referer")),
            ("ProtoAtLeast", [Self::Int(least_major), Self::Int(least_minor)]) => {
                Self::Bool((major, minor) >= (*least_major, *least_minor))
            }
            ("Cookie", [Self::Text(wanted)]) => {
                let mut all = cookies(request);
                let found = all.find(|(name, _)| **name == **wanted);
                let (name, value) = found.ok_or("http: named cookie not present")?;
                Self::Cookie(name.into(), value.into())
            }
            ("Cookies", []) => {
                let all = cookies(request);
                Self::List(
                    all.map(|(name, value)| [name, b"=", value].concat().into())
                        .collect(),
                )
            }
            ("FormValue", [Self::Text(key)]) => {
                let query = url::query(request);
                let first = query.get(&**key).and_then(|values| values.first());
                Self::Text(first.cloned().unwrap_or_default())
            }
            ("PathValue", [Self::Text(_)]) => Self::text(""),
            ("ProtoAtLeast" | "Cookie" | "FormValue" | "PathValue", _) => {
                return Err(format!("wrong number or kind of arguments for {name}"));
            }
            _ => return self.has_no(name),
        })
    }

    fn has_no<T>(&self, name: &str) -> Result<T, String> {
        Err(format!(
            "can't evaluate field {name} in type {}",
            self.kind()
        ))
    }

    /// The values of a map's key.
    fn entry(&self, key: &[u8]) -> Self {
        match self {
            Self::Header(headers) => {
                let name = std::str::from_utf8(key).unwrap_or("");
                // Keys are in canonical form, and only that is found.
                let is_key = canonical(&name.to_ascii_lowercase()) == name;
                let list = match is_key && is_shown(&name.to_ascii_lowercase()) {
                    true => values(headers, name),
                    false => Vec::new(),
                };
                Some(list).filter(|list| !list.is_empty()).map(Self::List)
            }
            Self::Map(map) => map.get(key).cloned().map(Self::List),
            _ => None,
        }
        .unwrap_or(Self::Missing)
    }

    /// `index`, once.
    pub(super) fn index(&self, at: &Self) -> Result<Self, String> {
        let place = |len: usize| match at {
            Self::Int(place) => usize::try_from(*place)
                .ok()
                .filter(|place| *place < len)
                .ok_or_else(|| format!("index out of range: {place}")),
            other => Err(format!(
                "cannot index slice/array with type {}",
                other.kind()
            )),
        };
        match (self, at) {
            (Self::Header(_) | Self::Map(_), Self::Text(key)) => Ok(match self.entry(key) {
                Self::Missing => Self::List(Vec::new()),
                found => found,
            }),
            (Self::Header(_) | Self::Map(_), other) => {
                Err(format!("value has type {}; should be string", other.kind()))
            }
            (Self::List(list), _) => Ok(Self::Text(list[place(list.len())?].clone())),
            (Self::Text(text), _) => Ok(Self::Int(i64::from(text[place(text.len())?]))),
            (Self::Nil | Self::Missing, _) => Err("index of untyped nil".to_owned()),
            (other, _) => Err(format!("can't index item of type {}", other.kind())),
        }
    }

    /// As a map, if it is one.
    pub(super) fn as_map(&self) -> Option<Cow<'_, BTreeMap<Vec<u8>, Vec<Text<'a>>>>> {
        match self {
            Self::Map(map) => Some(Cow::Borrowed(map)),
            Self::Header(headers) => {
                let names = headers.keys().filter(|name| is_shown(name.as_str()));
                let map = names.map(|name| {
                    let values = values(headers, name.as_str());
                    (canonical(name.as_str()).into_bytes(), values)
                });
                Some(Cow::Owned(map.collect()))
            }
            _ => None,
        }
    }

    /// Writes it as Go prints it.
    pub(super) fn print(&self, out: &mut Vec<u8>) {
        match self {
            Self::Missing => out.extend_from_slice(b"<no value>"),
            Self::Nil => out.extend_from_slice(b"<nil>"),
            Self::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            Self::Int(number) => {
                // Writing to a vector does not fail, here and below.
                let _ = write!(out, "{number}");
            }
            Self::Float(number) => super::printf::shortest(*number, out),
            Self::Text(text) => out.extend_from_slice(text),
            Self::List(list) => print_list(list, out),
            Self::Header(_) | Self::Map(_) => {
                out.extend_from_slice(b"map[");
                for (place, (key, list)) in
                    self.as_map().iter().flat_map(|map| map.iter()).enumerate()
                {
                    if place > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(key);
                    out.push(b':');
                    print_list(list, out);
                }
                out.push(b']');
            }
            Self::Url(request) => out.extend_from_slice(url::whole(request).as_bytes()),
            Self::Entry(_) => {
                self.print_fields(&["Request", "Response", "Revision", "TraceID"], out)
            }
            Self::Response(_) => self.print_fields(&["Code", "Size", "Latency"], out),
            Self::Revision(_) => self.print_fields(
                &[
                    "Name",
                    "Namespace",
                    "Service",
                    "Configuration",
                    "PodName",
                    "PodIP",
                ],
                out,
            ),
            Self::Request(_) => self.print_fields(
                &[
                    "Method",
                    "URL",
                    "Proto",
                    "ProtoMajor",
                    "ProtoMinor",
                    "Header",
                    "ContentLength",
                    "TransferEncoding",
                    "Close",
                    "Host",
                    "Trailer",
                    "RemoteAddr",
                    "RequestURI",
                    "TLS",
                ],
                out,
            ),
            Self::Tls(_) => self.print_fields(
                &[
                    "Version",
                    "HandshakeComplete",
                    "DidResume",
                    "CipherSuite",
                    "NegotiatedProtocol",
                    "ServerName",
                ],
                out,
            ),
            Self::Cookie(name, value) => {
                out.extend_from_slice(name);
                out.push(b'=');
                out.extend_from_slice(value);
            }
        }
    }

    /// Between braces, as Go prints a struct.
    fn print_fields(&self, names: &[&str], out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, name) in names.iter().enumerate() {
            if place > 0 {
                out.push(b' ');
            }
            if let Ok(value) = self.field(name, &[]) {
                value.print(out);
            }
        }
        out.push(b'}');
    }
}

fn print_list(list: &[Text<'_>], out: &mut Vec<u8>) {
    out.push(b'[');
    for (place, one) in list.iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(one);
    }
    out.push(b']');
}

/// Go's server takes these out of the headers and has fields for them.
fn is_shown(name: &str) -> bool {
    !matches!(name, "host" | "transfer-encoding" | "trailer")
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<Text<'a>> {
    let all = headers.get_all(name).iter();
    all.map(|value| Cow::Borrowed(value.as_bytes())).collect()
}

/// Names and values of the cookies, as far as they are any.
fn cookies(request: &Request) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = request.headers.get_all("cookie").iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let sign = pair.iter().position(|byte| *byte == b'=')?;
        let value = &pair[sign + 1..];
        let bare = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""));
        Some((&pair[..sign], bare.unwrap_or(value)))
    })
}
