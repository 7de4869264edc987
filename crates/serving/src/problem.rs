//! What is wrong with a manifest: where, what stands there, what would be right.

use std::fmt;

use crate::Place;

/// One mistake, or one remark. Shown as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written.
    pub place: Place,
    /// Path of the field, such as `spec.template.spec.containers[0].ports[0].name`; empty for the document.
    pub path: String,
    /// What is the matter with it.
    pub fault: Fault,
}

/// What is the matter with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text is not YAML, in the words of the parser.
    Syntax(String),
    /// A value that cannot be.
    Wrong {
        /// What stands there.
        value: String,
        /// What could stand there, in a phrase that completes "it must be ...".
        expected: String,
    },
    /// A value is needed.
    Missing {
        /// What could stand there, in a phrase that completes "it must be ...".
        expected: String,
    },
    /// Given twice.
    Twice {
        /// Line of the first.
        first_line: usize,
    },
    /// Valid elsewhere, but it cannot be honoured here and matters too much to be ignored.
    Unsupported {
        /// What to do instead.
        instead: String,
    },
    /// It does not go together with something else.
    Conflict {
        /// With what, and what to do: a phrase that completes the path.
        why: String,
    },
    /// An annotation that its own rules reject.
    Annotation {
        /// In a sentence.
        reason: String,
    },
    /// A remark: no such field is known.
    Unknown {
        /// A known one that is spelt alike.
        near: Option<String>,
    },
    /// A remark: the field is known, and has no effect here.
    Ignored,
    /// A remark: a document of a kind that is not read.
    Skipped {
        /// The kind.
        kind: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        let path = match self.path.as_str() {
            "" => "the document",
            path => path,
        };
        match &self.fault {
            Fault::Syntax(what) => write!(f, "this is not YAML: {what}"),
            Fault::Wrong { value, expected } => {
                write!(f, "{path} is {value}; it must be {expected}")
            }
            Fault::Missing { expected } => write!(f, "{path} is missing; it must be {expected}"),
            Fault::Twice { first_line } => {
                write!(
                    f,
                    "{path} is given twice, first on line {first_line}; keep one"
                )
            }
            Fault::Unsupported { instead } => write!(f, "{path} is not supported here; {instead}"),
            Fault::Conflict { why } => write!(f, "{path} {why}"),
            Fault::Annotation { reason } => write!(f, "{path}: {reason}"),
            Fault::Unknown { near: None } => {
                write!(f, "{path} is not a known field; it is ignored")
            }
            Fault::Unknown { near: Some(near) } => {
                write!(
                    f,
                    "{path} is not a known field; it is ignored (is {near} meant?)"
                )
            }
            Fault::Ignored => write!(f, "{path} is ignored here"),
            Fault::Skipped { kind } => write!(f, "a {kind} is not read here; it is skipped"),
        }
    }
}
