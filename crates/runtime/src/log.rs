//! Log lines: text for a person, JSON for a machine.
//!
//! Both formats are written here rather than by `tracing-subscriber`, whose JSON needs serde and
//! whose filter needs a regex engine: neither belongs beside every pod. Text reads
//! `12:58:25.123 INFO  message key=value`, in UTC; JSON is one object per line with `time`
//! (RFC 3339), `level`, `target`, `message` (or as a [`Record`] names them) and the fields of the
//! event and of its spans.
//!
//! A line that cannot be written (a closed pipe, a full disk) is lost, and nothing else happens:
//! a process must not end because nobody reads its log.

mod lines;
mod outputs;
mod record;
mod time;
mod zap;

use std::io::{self, IsTerminal};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Registry, reload};

pub(crate) use lines::write_json_string;
use lines::{Lines, Shape};
pub use outputs::{BadPath, Outputs};
pub use record::{Record, Words};
pub(crate) use time::Moment;
pub use zap::{Logging, Output};

/// Shape of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

impl FromStr for Format {
    type Err = BadFormat;

    fn from_str(text: &str) -> Result<Self, BadFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(BadFormat(text.to_owned())),
        }
    }
}

/// No such [`Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log format; it is text or json")]
pub struct BadFormat(pub String);

/// Which events are logged: `info`, or `info,penstock_gate=debug` with a level per module.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl Default for Filter {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::INFO))
    }
}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let mut filter = Self::default().0;
        for rule in text.split(',') {
            let (module, word) = match rule.split_once('=') {
                Some((module, word)) => (Some(module.trim()), word.trim()),
                None => (None, rule.trim()),
            };
            let level = level(word).ok_or_else(|| BadFilter {
                filter: text.to_owned(),
                word: word.to_owned(),
            })?;
            filter = match module {
                Some(module) => filter.with_target(module, level),
                None => filter.with_default(level),
            };
        }
        Ok(Self(filter))
    }
}

fn level(word: &str) -> Option<LevelFilter> {
    Some(match word.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// A [`Filter`] with a word in it that is not a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{word:?} in the log filter {filter:?} is not a level; \
     levels are off, error, warn, info, debug and trace, alone or as module=level"
)]
pub struct BadFilter {
    /// All of it.
    pub filter: String,
    /// The word.
    pub word: String,
}

/// Where a process logs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Logs from here on, from every thread. Text is coloured if `to` is a terminal.
///
/// # Errors
///
/// The process logs already.
pub fn init(format: Format, filter: Filter, to: Stream) -> Result<(), SetGlobalDefaultError> {
    match to {
        Stream::Stdout => {
            let colour = io::stdout().is_terminal();
            tracing::subscriber::set_global_default(subscriber(format, filter, colour, io::stdout))
        }
        Stream::Stderr => {
            let colour = io::stderr().is_terminal();
            tracing::subscriber::set_global_default(subscriber(format, filter, colour, io::stderr))
        }
    }
}

/// As [`init`], with JSON lines that are laid out as `record` says, to any writer.
///
/// # Errors
///
/// The process logs already.
pub fn init_records<W>(
    record: Record,
    filter: Filter,
    writer: W,
) -> Result<(), SetGlobalDefaultError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing::subscriber::set_global_default(records(record, filter, writer))
}

/// As [`init_records`], with a filter that may be changed later.
///
/// # Errors
///
/// The process logs already.
pub fn init_live_records<W>(
    record: Record,
    filter: Filter,
    writer: W,
) -> Result<LiveFilter, SetGlobalDefaultError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (subscriber, filter) = live_records(record, filter, writer);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(filter)
}

fn live_records<W>(
    record: Record,
    filter: Filter,
    writer: W,
) -> (impl Subscriber + Send + Sync, LiveFilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter.0);
    let shape = Shape::Json(Arc::new(record));
    let lines = layer(shape, writer, SystemTime::now);
    let subscriber = Registry::default().with(filter).with(lines);
    (subscriber, LiveFilter(handle))
}

/// The filter of a process that logs.
#[derive(Clone, Debug)]
pub struct LiveFilter(reload::Handle<Targets, Registry>);

impl LiveFilter {
    /// From here on these events are logged.
    pub fn set(&self, filter: Filter) {
        // Fails only once nobody logs any more.
        let _ = self.0.reload(filter.0);
    }
}

/// What [`init`] installs, with any writer: each line is one `write_all`. `colour` is for
/// [`Format::Text`] alone.
pub fn subscriber<W>(
    format: Format,
    filter: Filter,
    colour: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    with_clock(Shape::of(format, colour), filter, writer, SystemTime::now)
}

/// What [`init_records`] installs.
pub fn records<W>(record: Record, filter: Filter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let shape = Shape::Json(Arc::new(record));
    with_clock(shape, filter, writer, SystemTime::now)
}

impl Shape {
    fn of(format: Format, colour: bool) -> Self {
        match format {
            Format::Text => Self::Text { colour },
            Format::Json => Self::Json(Arc::default()),
        }
    }
}

fn with_clock<W>(
    shape: Shape,
    filter: Filter,
    writer: W,
    now: fn() -> SystemTime,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filtered = Registry::default().with(filter.0);
    filtered.with(layer(shape, writer, now))
}

fn layer<S, W>(shape: Shape, writer: W, now: fn() -> SystemTime) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = Lines { shape, now };
    fmt::layer()
        .fmt_fields(lines.clone())
        .event_format(lines)
        .with_writer(writer)
        // It would report a lost line on standard error, and panic if that is closed, too.
        .log_internal_errors(false)
}

#[cfg(test)]
mod tests;
