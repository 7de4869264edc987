//! A request as the workload saw it, written by the workload and read by the test.

use std::fmt::Write;

use bytes::Bytes;
use http::request::Parts;

/// A request as it reached the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// The request target as hyper gives it: path and query; for h2c with scheme and authority.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Seen {
    /// Reads the workload's description of a request.
    ///
    /// # Panics
    ///
    /// If `answer` is something else.
    pub fn parse(answer: &[u8]) -> Self {
        let end = answer.windows(2).position(|two| two == b"\n\n");
        let end = end.expect("a description has an empty line after its headers");
        let head = String::from_utf8_lossy(&answer[..end]);
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let mut word = || first.next().unwrap_or_default().to_owned();
        Self {
            method: word(),
            target: word(),
            version: word(),
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Bytes::copy_from_slice(&answer[end + 2..]),
        }
    }

    /// The value of a header; of several lines the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all lines of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn describe(parts: &Parts, body: &Bytes) -> Vec<u8> {
        let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
        let mut text = text.into_bytes();
        text.extend_from_slice(body);
        text
    }
}
