//! YAML as a tree whose every node knows its line.
//!
//! The parser hands out events; this builds the tree, because here are the bounds that hostile
//! input meets: bytes, depth, and nodes. An alias shares the node it names, and counts as many
//! nodes as that holds, so that nothing who walks the tree sees more of it than [`MAX_NODES`].
//! A broken document does not hide the ones after it.

mod build;
mod scalar;

use std::rc::Rc;

use granit_parser::{Event, Parser, ScanError};

use crate::Fault;
use build::Builder;
pub(crate) use build::join;
pub(crate) use scalar::{Kind, Scalar};

/// Longest text that is read, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Most nodes in one file, each alias counted as all that it stands for.
const MAX_NODES: usize = 500_000;
/// Deepest nesting, of block and of flow collections each.
const MAX_DEPTH: usize = 64;

/// A file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Documents that were read, without those that are empty or broken.
    pub(crate) documents: Vec<Document>,
    /// Mistakes of YAML itself.
    pub(crate) faults: Vec<Located>,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its number in the file, from 1; empty ones are counted.
    pub(crate) number: usize,
    /// All that it says.
    pub(crate) root: Rc<Node>,
}

/// A mistake, and where it is.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) document: usize,
    pub(crate) line: usize,
    pub(crate) path: String,
    pub(crate) fault: Fault,
}

/// A value and the line it begins on.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// Nodes in it, itself counted.
    size: usize,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    /// Keys are unique, and in the order written.
    Map(Vec<(Key, Rc<Node>)>),
}

/// Key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Node {
    fn new(line: usize, value: Value) -> Self {
        let inner: usize = match &value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(|node| node.size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size).sum(),
        };
        Self {
            line,
            value,
            size: inner.saturating_add(1),
        }
    }

    /// Whether it says nothing: `null`, `~`, or not even that.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// Whether it says nothing, be it with brackets.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => scalar.is_null(),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
        }
    }

    /// How to show it within a sentence.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) => scalar.shown(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Reads all documents of `text`.
pub(crate) fn parse(text: &str) -> Stream {
    let mut stream = Stream::default();
    if text.len() > MAX_BYTES {
        let what = format!(
            "it is {} bytes long, and no more than {MAX_BYTES} are read",
            text.len()
        );
        stream.faults.push(syntax(1, 1, what));
        return stream;
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(MAX_NODES);
    let mut number = 0;
    while let Some(next) = parser.next_event() {
        match next {
            Ok((Event::DocumentStart(..), _)) => {
                number += 1;
                builder.begin(number);
            }
            Ok((Event::DocumentEnd, _)) => builder.end(&mut stream),
            Ok((event, span)) => builder.take(event, span.start.line()),
            Err(error) => {
                builder.abandon(&mut stream);
                // An error ahead of a document's first event belongs to that document.
                let broken = builder.number_of_broken(&mut number);
                stream.faults.push(of_scan_error(broken, &error));
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
        if builder.is_full() {
            let line = builder.line();
            builder.abandon(&mut stream);
            let what = format!("with its aliases followed, it has more than {MAX_NODES} values");
            stream.faults.push(syntax(number, line, what));
            break;
        }
    }
    stream
}

fn of_scan_error(document: usize, error: &ScanError) -> Located {
    let what = error.info().replace('\n', " ");
    syntax(document, error.marker().line(), what)
}

fn syntax(document: usize, line: usize, what: String) -> Located {
    Located {
        document,
        line,
        path: String::new(),
        fault: Fault::Syntax(what),
    }
}

#[cfg(test)]
mod tests;
