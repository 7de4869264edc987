//! The request log: one line for each request, made by a template of the operator.
//!
//! The language is the part of Go's `text/template` that the contract names, over the fields that
//! the contract names (`entry.rs`). A template is compiled once into a flat list of steps
//! (`lex.rs`, `parse.rs`, `pipeline.rs`), which are run over a small stack into one buffer (`run.rs`). What a
//! value is and how it looks is in `value.rs`, functions in `function.rs`, `printf.rs`,
//! `escape.rs`, and what takes the lines to standard output in `lines.rs`.
//!
//! Source: spec/queue-proxy.md §7.4, spec/activator.md §2.8.

mod compare;
mod entry;
mod escape;
mod function;
mod lex;
mod lines;
mod parse;
mod pipeline;
mod printf;
mod run;
mod url;
mod value;

use std::sync::{Arc, PoisonError, RwLock};

pub use entry::{Entry, Request, Response, Revision, Tls};
pub use lines::Lines;
pub use parse::Template;

/// The template that Knative has where the operator gives none.
pub const STOCK_TEMPLATE: &str = concat!(
    r#"{"httpRequest": {"requestMethod": "{{.Request.Method}}", "#,
    r#""requestUrl": "{{js .Request.RequestURI}}", "#,
    r#""requestSize": "{{.Request.ContentLength}}", "status": {{.Response.Code}}, "#,
    r#""responseSize": "{{.Response.Size}}", "userAgent": "{{js .Request.UserAgent}}", "#,
    r#""remoteIp": "{{js .Request.RemoteAddr}}", "serverIp": "{{.Revision.PodIP}}", "#,
    r#""referer": "{{js .Request.Referer}}", "latency": "{{.Response.Latency}}s", "#,
    r#""protocol": "{{.Request.Proto}}"}, "traceId": "{{.TraceID}}"}"#,
);

/// Why a template cannot be compiled, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request log template, line {line}, column {column}: {problem}")]
pub struct BadTemplate {
    line: usize,
    column: usize,
    problem: String,
}

impl BadTemplate {
    fn new(template: &str, at: usize, problem: impl Into<String>) -> Self {
        let before = template.get(..at).unwrap_or(template);
        let line = before.rsplit('\n').next().unwrap_or("");
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            problem: problem.into(),
        }
    }
}

/// Writes lines by a template that may be replaced while requests are served.
#[derive(Debug)]
pub struct RequestLog {
    template: RwLock<Option<Arc<Template>>>,
    lines: Lines,
}

impl RequestLog {
    /// A log that writes nothing until it has a template.
    pub fn new(lines: Lines) -> Self {
        Self {
            template: RwLock::new(None),
            lines,
        }
    }

    /// A log with a template; an empty one writes nothing.
    ///
    /// # Errors
    ///
    /// [`BadTemplate`] says where it is wrong.
    pub fn compile(template: &str, lines: Lines) -> Result<Self, BadTemplate> {
        let log = Self::new(lines);
        log.replace(template)?;
        Ok(log)
    }

    /// Takes another template from the next line on; an empty one writes nothing.
    ///
    /// # Errors
    ///
    /// [`BadTemplate`] says where it is wrong. The old one then stays.
    pub fn replace(&self, template: &str) -> Result<(), BadTemplate> {
        let compiled = match template {
            "" => None,
            text => Some(Arc::new(Template::compile(text)?)),
        };
        *self
            .template
            .write()
            .unwrap_or_else(PoisonError::into_inner) = compiled;
        Ok(())
    }

    /// Whether lines are written at all, so that there is something to remember of a request.
    pub fn is_on(&self) -> bool {
        self.template().is_some()
    }

    /// Writes the line of one request, which has ended.
    pub fn write(&self, entry: &Entry<'_>) {
        if let Some(template) = self.template() {
            let mut line = Vec::with_capacity(512);
            template.render(entry, &mut line);
            self.lines.write(line);
        }
    }

    fn template(&self) -> Option<Arc<Template>> {
        self.template
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests;
