//! How an event becomes a line.
//!
//! Text from outside (a host, an error of a peer) must not be able to forge a line or to steer a
//! terminal, so control characters are escaped in both formats.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::record::Record;
use super::time::Moment;

/// Writes both the events and the fields of spans.
#[derive(Clone)]
pub(super) struct Lines {
    pub(super) shape: Shape,
    pub(super) now: fn() -> SystemTime,
}

#[derive(Clone)]
pub(super) enum Shape {
    Text { colour: bool },
    Json(Arc<Record>),
}

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

impl<S> FormatEvent<S, Self> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let moment = Moment::new((self.now)());
        let mut message = Message(String::new());
        event.record(&mut message);
        match &self.shape {
            Shape::Text { colour } => text_head(&mut to, *colour, &moment, event, &message.0)?,
            Shape::Json(record) => json_head(&mut to, record, &moment, event, &message.0)?,
        }
        self.format_fields(to.by_ref(), event)?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<Self>>() {
                to.write_str(fields)?;
            }
        }
        to.write_str(match self.shape {
            Shape::Text { .. } => "\n",
            Shape::Json(_) => "}\n",
        })
    }
}

/// Each field is written with what separates it from the one before, so that those of an event
/// and of its spans can simply be put one after the other.
impl<'w> FormatFields<'w> for Lines {
    fn format_fields<R: RecordFields>(&self, to: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Fields {
            shape: &self.shape,
            to,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

fn text_head(
    to: &mut Writer<'_>,
    colour: bool,
    moment: &Moment,
    event: &Event<'_>,
    message: &str,
) -> fmt::Result {
    let level = *event.metadata().level();
    paint(to, colour, DIM, |to| moment.write_clock(to))?;
    to.write_char(' ')?;
    paint(to, colour, level_colour(level), |to| {
        write!(to, "{level:<5}")
    })?;
    to.write_char(' ')?;
    write_escaped(to, message)
}

fn paint(
    to: &mut Writer<'_>,
    colour: bool,
    code: &str,
    write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
) -> fmt::Result {
    if !colour {
        return write(to);
    }
    to.write_str(code)?;
    write(to)?;
    to.write_str(RESET)
}

fn level_colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => DIM,
    }
}

/// A part whose name is empty is left out.
fn json_head(
    to: &mut Writer<'_>,
    record: &Record,
    moment: &Moment,
    event: &Event<'_>,
    message: &str,
) -> fmt::Result {
    let metadata = event.metadata();
    let mut first = true;
    let mut name = |to: &mut Writer<'_>, name: &str| {
        to.write_char(if std::mem::take(&mut first) { '{' } else { ',' })?;
        write_json_string(to, name)?;
        to.write_char(':')
    };
    if !record.time.is_empty() {
        name(to, &record.time)?;
        to.write_char('"')?;
        moment.write_rfc3339(to)?;
        to.write_char('"')?;
    }
    if !record.level.is_empty() {
        name(to, &record.level)?;
        write_json_string(to, record.words.word(*metadata.level()))?;
    }
    if !record.logger.is_empty() {
        name(to, &record.logger)?;
        write_json_string(to, record.logger_is.as_deref().unwrap_or(metadata.target()))?;
    }
    if !record.caller.is_empty()
        && let (Some(file), Some(line)) = (metadata.file(), metadata.line())
    {
        name(to, &record.caller)?;
        write_json_string(to, &format!("{file}:{line}"))?;
    }
    // Whatever else is left out, a line says something.
    let message_name = Some(&*record.message).filter(|name| !name.is_empty());
    name(to, message_name.unwrap_or("message"))?;
    write_json_string(to, message)?;
    for (key, value) in &record.constant {
        name(to, key)?;
        write_json_string(to, value)?;
    }
    Ok(())
}

/// Takes the message alone.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string fails only if `value` says so; then the message stays short.
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }
}

/// Writes everything but the message.
struct Fields<'s, 'w> {
    shape: &'s Shape,
    to: Writer<'w>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&Shape, &mut Writer<'_>) -> fmt::Result) {
        let name = field.name();
        if self.result.is_err() || name == "message" {
            return;
        }
        self.result = self.write_name(name);
        if self.result.is_ok() {
            self.result = value(self.shape, &mut self.to);
        }
    }

    fn write_name(&mut self, name: &str) -> fmt::Result {
        match self.shape {
            Shape::Text { colour } => {
                self.to.write_char(' ')?;
                let name = |to: &mut Writer<'_>| write!(to, "{name}=");
                paint(&mut self.to, *colour, DIM, name)
            }
            Shape::Json(record) => {
                // A field must not take the place of a part that every line has.
                let prefix = if record.reserves(name) { "field_" } else { "" };
                write!(self.to, ",\"{prefix}")?;
                write_escaped(&mut self.to, name)?;
                self.to.write_str("\":")
            }
        }
    }

    fn write_text(&mut self, field: &Field, value: &str) {
        self.write(field, |shape, to| match shape {
            Shape::Text { .. } if needs_quotes(value) => write!(to, "{value:?}"),
            Shape::Text { .. } => write_escaped(to, value),
            Shape::Json(_) => write_json_string(to, value),
        });
    }
}

impl Visit for Fields<'_, '_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |_, to| write!(to, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |_, to| write!(to, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |_, to| write!(to, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for the others.
        let quoted = !value.is_finite();
        self.write(field, |shape, to| match shape {
            Shape::Json(_) if quoted => write!(to, "\"{value}\""),
            _ => write!(to, "{value}"),
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_text(field, value);
    }

    /// With everything that caused it.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(chain, ": {error}");
            cause = error.source();
        }
        self.write_text(field, &chain);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write_text(field, &format!("{value:?}"));
    }
}

/// Whether a value would run into the next field. What is quoted or bracketed already is clear.
fn needs_quotes(value: &str) -> bool {
    let bracketed = value.starts_with(['"', '[', '{', '(']);
    value.is_empty() || (!bracketed && value.contains([' ', '=', '"']))
}

fn write_escaped(to: &mut Writer<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(to, "{}", c.escape_default())?;
        } else {
            to.write_char(c)?;
        }
    }
    Ok(())
}

/// As JSON, with its quotes.
pub(crate) fn write_json_string(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    to.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => to.write_str("\\\"")?,
            '\\' => to.write_str("\\\\")?,
            '\n' => to.write_str("\\n")?,
            c if c.is_control() => write!(to, "\\u{:04x}", u32::from(c))?,
            c => to.write_char(c)?,
        }
    }
    to.write_char('"')
}
