//! Taking a tree apart, field by field: what is taken is checked, what is left over is named.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::yaml::{Kind, Node, Value, join};
use crate::{Fault, Place, Problem, name};

/// Collects what is found wrong, document by document.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) file: Arc<str>,
    pub(crate) document: usize,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Report {
    pub(crate) fn place(&self, line: usize) -> Place {
        Place {
            file: Arc::clone(&self.file),
            document: self.document,
            line,
        }
    }

    pub(crate) fn error(&mut self, line: usize, path: &str, fault: Fault) {
        let place = self.place(line);
        let path = path.to_owned();
        self.errors.push(Problem { place, path, fault });
    }

    pub(crate) fn warning(&mut self, line: usize, path: &str, fault: Fault) {
        let place = self.place(line);
        let path = path.to_owned();
        self.warnings.push(Problem { place, path, fault });
    }
}

/// A value and its path.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    /// Line of its key.
    pub(crate) line: usize,
}

impl<'a> Field<'a> {
    /// A document.
    pub(crate) fn root(node: &'a Node) -> Self {
        Self {
            node,
            path: String::new(),
            line: node.line,
        }
    }

    /// Says that it has to be something else.
    pub(crate) fn wrong(&self, expected: impl Display, report: &mut Report) {
        self.fault_of(self.node.shown(), expected, report);
    }

    /// Says that it has to be something else than `value`.
    pub(crate) fn fault_of(
        &self,
        value: impl Display,
        expected: impl Display,
        report: &mut Report,
    ) {
        let fault = Fault::Wrong {
            value: value.to_string(),
            expected: expected.to_string(),
        };
        report.error(self.line, &self.path, fault);
    }

    pub(crate) fn conflict(&self, why: impl Into<String>, report: &mut Report) {
        report.error(self.line, &self.path, Fault::Conflict { why: why.into() });
    }

    pub(crate) fn unsupported(&self, instead: impl Into<String>, report: &mut Report) {
        let instead = instead.into();
        report.error(self.line, &self.path, Fault::Unsupported { instead });
    }

    pub(crate) fn object(&self, report: &mut Report) -> Option<Object<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.wrong("a mapping", report);
            return None;
        };
        let entries = entries.iter().map(|(key, node)| Entry {
            name: &key.text,
            line: key.line,
            node,
            taken: false,
        });
        Some(Object {
            entries: entries.collect(),
            asked: BTreeSet::new(),
            path: self.path.clone(),
            line: self.line,
        })
    }

    pub(crate) fn list(&self, report: &mut Report) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else {
            self.wrong("a list", report);
            return None;
        };
        let item = |(index, node): (usize, &'a std::rc::Rc<Node>)| Field {
            node,
            path: format!("{}[{index}]", self.path),
            line: node.line,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// Text; a number or a boolean has to be quoted, as Kubernetes wants it.
    pub(crate) fn string(&self, report: &mut Report) -> Option<String> {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.kind() == Kind::Text => Some(scalar.text.clone()),
            Value::Scalar(scalar) => {
                self.wrong(format!("text, in quotes: \"{}\"", scalar.text), report);
                None
            }
            Value::List(_) | Value::Map(_) => {
                self.wrong("text", report);
                None
            }
        }
    }

    pub(crate) fn boolean(&self, report: &mut Report) -> Option<bool> {
        match &self.node.value {
            Value::Scalar(scalar) if let Kind::Boolean(value) = scalar.kind() => Some(value),
            _ => {
                self.wrong("true or false", report);
                None
            }
        }
    }

    /// A whole number that lies in `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<u32>, report: &mut Report) -> Option<u32> {
        let number = match &self.node.value {
            Value::Scalar(scalar) if let Kind::Integer(number) = scalar.kind() => {
                u32::try_from(number).ok()
            }
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = range.into_inner();
            let expected = match high {
                HIGHEST => format!("a whole number, at least {low}"),
                _ => format!("a whole number from {low} to {high}"),
            };
            self.wrong(expected, report);
        }
        number
    }

    /// A list of texts.
    pub(crate) fn strings(&self, report: &mut Report) -> Option<Vec<String>> {
        let items = self.list(report)?;
        let texts: Vec<Option<String>> = items.iter().map(|item| item.string(report)).collect();
        texts.into_iter().collect()
    }
}

/// The highest number of a field that has no limit of its own (an int32 in Kubernetes).
pub(crate) const HIGHEST: u32 = i32::MAX as u32;

/// A mapping, out of which known fields are taken.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    entries: Vec<Entry<'a>>,
    /// Names that were asked for, to recognise misspelt ones.
    asked: BTreeSet<&'static str>,
    pub(crate) path: String,
    pub(crate) line: usize,
}

#[derive(Debug)]
struct Entry<'a> {
    name: &'a str,
    line: usize,
    node: &'a Node,
    taken: bool,
}

impl<'a> Object<'a> {
    /// Takes a field. A null is no field, as Kubernetes has it.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.asked.insert(name);
        let entry = self.entries.iter_mut().find(|entry| entry.name == name)?;
        entry.taken = true;
        let field = Field {
            node: entry.node,
            path: join(&self.path, name),
            line: entry.line,
        };
        (!field.node.is_null()).then_some(field)
    }

    /// Takes all that is left, whatever its name.
    pub(crate) fn take_all(&mut self) -> Vec<(&'a str, Field<'a>)> {
        let path = &self.path;
        let take = |entry: &mut Entry<'a>| {
            entry.taken = true;
            let field = Field {
                node: entry.node,
                path: join(path, entry.name),
                line: entry.line,
            };
            (entry.name, field)
        };
        self.entries.iter_mut().map(take).collect()
    }

    /// Takes a field that must be there.
    pub(crate) fn need(
        &mut self,
        name: &'static str,
        expected: &str,
        report: &mut Report,
    ) -> Option<Field<'a>> {
        let field = self.take(name);
        if field.is_none() {
            let expected = expected.to_owned();
            let path = join(&self.path, name);
            report.error(self.line, &path, Fault::Missing { expected });
        }
        field
    }

    pub(crate) fn string(&mut self, name: &'static str, report: &mut Report) -> Option<String> {
        self.take(name)?.string(report)
    }

    pub(crate) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
        report: &mut Report,
    ) -> Option<u32> {
        self.take(name)?.integer(range, report)
    }

    pub(crate) fn strings(&mut self, name: &'static str, report: &mut Report) -> Vec<String> {
        let field = self.take(name);
        field
            .and_then(|field| field.strings(report))
            .unwrap_or_default()
    }

    /// Takes fields whose absence would change nothing.
    pub(crate) fn accept(&mut self, names: &[&'static str]) {
        for name in names {
            let _ = self.take(name);
        }
    }

    /// Takes fields that mean something elsewhere, and says so unless they say nothing.
    pub(crate) fn ignore(&mut self, names: &[&'static str], report: &mut Report) {
        for name in names {
            if let Some(field) = self.take(name).filter(|field| !field.node.is_empty()) {
                report.warning(field.line, &field.path, Fault::Ignored);
            }
        }
    }

    /// Names what is left over.
    pub(crate) fn finish(self, report: &mut Report) {
        for entry in self.entries.iter().filter(|entry| !entry.taken) {
            let near = name::near(entry.name, self.asked.iter().copied()).map(str::to_owned);
            let path = join(&self.path, entry.name);
            report.warning(entry.line, &path, Fault::Unknown { near });
        }
    }
}
