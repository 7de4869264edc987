//! What is told of a span, and as what it is written.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use super::Context;
use crate::log::{Moment, write_json_string};

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What was done.
    pub name: Cow<'static, str>,
    /// On which side of it this process was.
    pub kind: Kind,
    /// Which part of the process tells it.
    pub scope: &'static str,
    /// Which span of which trace.
    pub context: Context,
    /// The span that it is a part of.
    pub parent: Option<Context>,
    /// Whether that one is of another process.
    pub from_afar: bool,
    /// When it began.
    pub begun: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What else there is to tell, in this order.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it went wrong.
    pub failed: bool,
}

/// On which side of what was done the process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On both.
    Internal,
    /// It was asked.
    Server,
    /// It asked.
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

/// Bytes of a text of others that are told; a span has few texts, and many spans may wait.
const LONGEST: usize = 1024;

impl Value {
    /// A text that others wrote; what is too long is cut, what is not UTF-8 is replaced.
    pub fn of_others(text: &[u8]) -> Self {
        let told = text.get(..LONGEST).unwrap_or(text);
        Self::Text(Cow::Owned(String::from_utf8_lossy(told).into_owned()))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Span {
    /// As a line of JSON; `resource` is JSON already.
    pub(super) fn line(&self, resource: &str) -> Vec<u8> {
        let mut line = String::with_capacity(1024);
        // Writing to a string does not fail, here and below.
        let _ = self.write(&mut line, resource);
        line.into_bytes()
    }

    fn write(&self, to: &mut String, resource: &str) -> fmt::Result {
        to.write_str(r#"{"Name":"#)?;
        write_json_string(to, &self.name)?;
        to.write_str(r#","SpanContext":"#)?;
        write_context(to, Some(&self.context), false)?;
        to.write_str(r#","Parent":"#)?;
        write_context(to, self.parent.as_ref(), self.from_afar)?;
        let kind = match self.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        };
        write!(to, r#","SpanKind":{kind},"StartTime":""#)?;
        Moment::new(self.begun).write_rfc3339(to)?;
        to.write_str(r#"","EndTime":""#)?;
        Moment::new(self.ended).write_rfc3339(to)?;
        to.write_str(r#"","Attributes":["#)?;
        for (at, (name, value)) in self.attributes.iter().enumerate() {
            if at > 0 {
                to.write_char(',')?;
            }
            match value {
                Value::Text(text) => write_attribute(to, name, text)?,
                Value::Number(number) => write!(
                    to,
                    r#"{{"Key":"{name}","Value":{{"Type":"INT64","Value":{number}}}}}"#
                )?,
            }
        }
        let status = if self.failed { "Error" } else { "Unset" };
        writeln!(
            to,
            r#"],"Status":{{"Code":"{status}"}},"Resource":{resource},"InstrumentationScope":{{"Name":"{}"}}}}"#,
            self.scope
        )
    }
}

/// What each line says of the process, as JSON; what is empty is left out.
pub(super) fn resource(attributes: &[(&str, &str)]) -> String {
    let mut json = "[".to_owned();
    for (name, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
        if json.len() > 1 {
            json.push(',');
        }
        let _ = write_attribute(&mut json, name, value);
    }
    json.push(']');
    json
}

fn write_attribute(to: &mut String, name: &str, text: &str) -> fmt::Result {
    to.write_str(r#"{"Key":"#)?;
    write_json_string(to, name)?;
    to.write_str(r#","Value":{"Type":"STRING","Value":"#)?;
    write_json_string(to, text)?;
    to.write_str("}}")
}

fn write_context(to: &mut String, context: Option<&Context>, remote: bool) -> fmt::Result {
    let (trace, span, flags) = context.map_or((0, 0, 0), |context| {
        (
            context.trace(),
            context.span(),
            u8::from(context.is_sampled()),
        )
    });
    write!(
        to,
        r#"{{"TraceID":"{trace:032x}","SpanID":"{span:016x}","TraceFlags":"{flags:02x}","Remote":{remote}}}"#
    )
}
