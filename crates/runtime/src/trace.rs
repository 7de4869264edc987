//! Spans: what one request did, where, and as part of whose trace.
//!
//! - `context.rs`: which span of which trace, and how a request carries it (`traceparent`)
//! - `sampler.rs`: which traces are told
//! - `config.rs`: where they are told, in the words of the platform and of OpenTelemetry
//! - `spans.rs`: the way there, from the start to the end of a program
//! - `http.rs`: what spans tell of a request
//! - `span.rs`: what is told of a span, as one line of JSON
//!
//! How they get to a collector is in [`crate::otlp`]. Spans are told when they have ended. What
//! nobody takes in time is dropped, and that is told.
//!
//! Source: spec/queue-proxy.md §3.7, §7.2, §7.3; W3C Trace Context; the names in a line are those of
//! OpenTelemetry's exporter to standard output in Go.

mod config;
mod context;
mod http;
mod sampler;
mod span;
mod spans;

pub use config::{Traces, Way};
pub use context::Context;
pub use http::{Attributes, add_address, as_it_came};
pub use sampler::Sampler;
pub use span::{Kind, Span, Value};
pub use spans::Spans;

#[cfg(feature = "otlp")]
use crate::otlp;
use crate::request_log::Lines;

/// Decides which traces are told, and tells them.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Lines {
        lines: Lines,
        /// What each line says of the process, as JSON.
        resource: String,
    },
    #[cfg(feature = "otlp")]
    Collector(otlp::Queue),
}

impl Tracer {
    /// A line of JSON for each span; `resource` is what they all are of.
    pub fn to_lines(sampler: Sampler, lines: Lines, resource: &[(&str, &str)]) -> Self {
        Self {
            sampler,
            sink: Sink::Lines {
                lines,
                resource: span::resource(resource),
            },
        }
    }

    /// Spans that a collector takes.
    #[cfg(feature = "otlp")]
    pub fn to_collector(sampler: Sampler, queue: otlp::Queue) -> Self {
        Self {
            sampler,
            sink: Sink::Collector(queue),
        }
    }

    /// The first span here of a request: of the trace that it came with, or of a new one.
    pub fn begin(&self, came_with: Option<&Context>) -> Context {
        let begun = came_with.map_or_else(Context::root, Context::child);
        let sampled = self
            .sampler
            .takes(&begun, came_with.map(Context::is_sampled));
        begun.sampled(sampled)
    }

    /// Tells a span that has ended.
    pub fn tell(&self, span: Span) {
        match &self.sink {
            Sink::Lines { lines, resource } => lines.write(span.line(resource)),
            #[cfg(feature = "otlp")]
            Sink::Collector(queue) => queue.push(span),
        }
    }
}

#[cfg(test)]
mod tests;
