//! From events to a tree.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Tag};

use super::scalar::Scalar;
use super::{Document, Key, Located, Node, Stream, Value};
use crate::Fault;

/// Builds one document after another.
pub(super) struct Builder {
    open: Vec<Open>,
    root: Option<Rc<Node>>,
    anchors: HashMap<usize, Rc<Node>>,
    faults: Vec<Located>,
    /// A fault beside which reading on makes no sense.
    broken: bool,
    /// Between the begin of a document and its end.
    inside: bool,
    number: usize,
    line: usize,
    nodes_left: usize,
    full: bool,
}

/// A collection that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Rc<Node>>),
    Map {
        entries: Vec<(Key, Rc<Node>)>,
        lines: HashMap<String, usize>,
        key: Option<Key>,
        merged: Vec<Rc<Node>>,
    },
}

impl Builder {
    pub(super) fn new(max_nodes: usize) -> Self {
        Self {
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            faults: Vec::new(),
            broken: false,
            inside: false,
            number: 0,
            line: 1,
            nodes_left: max_nodes,
            full: false,
        }
    }

    pub(super) fn begin(&mut self, number: usize) {
        self.number = number;
        self.inside = true;
        self.broken = false;
    }

    /// The document is complete.
    pub(super) fn end(&mut self, stream: &mut Stream) {
        self.inside = false;
        self.anchors.clear();
        stream.faults.append(&mut self.faults);
        if let Some(root) = self.root.take().filter(|root| !root.is_null())
            && !self.broken
        {
            stream.documents.push(Document {
                number: self.number,
                root,
            });
        }
    }

    /// The document is given up; what was found wrong before stays.
    pub(super) fn abandon(&mut self, stream: &mut Stream) {
        self.open.clear();
        self.anchors.clear();
        self.root = None;
        stream.faults.append(&mut self.faults);
    }

    /// Number of the document that an error belongs to: the open one, or one that never began.
    pub(super) fn number_of_broken(&mut self, number: &mut usize) -> usize {
        if !self.inside {
            *number += 1;
        }
        self.inside = false;
        *number
    }

    /// Whether there were more nodes than allowed.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Line of the last event.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    pub(super) fn take(&mut self, event: Event<'_>, line: usize) {
        self.line = line;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text = text.into_owned();
                match Scalar::new(text, style, tag.as_deref()) {
                    Ok(scalar) => self.close(line, anchor, Value::Scalar(scalar)),
                    Err(tag) => self.refuse_tag(line, &tag, anchor),
                }
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    let price = node.size;
                    self.place(line, node, price);
                }
                None => {
                    self.refuse(line, "an alias stands inside the very value it names");
                    self.close(line, 0, Value::List(Vec::new()));
                }
            },
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(line, tag.as_deref());
                self.open(line, anchor, OpenKind::List(Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(line, tag.as_deref());
                let kind = OpenKind::Map {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(line, anchor, kind);
            }
            Event::SequenceEnd | Event::MappingEnd => self.shut(),
            _ => {}
        }
    }

    fn open(&mut self, line: usize, anchor: usize, kind: OpenKind) {
        self.open.push(Open { line, anchor, kind });
    }

    fn shut(&mut self) {
        let Some(Open { line, anchor, kind }) = self.open.pop() else {
            return;
        };
        let value = match kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map {
                mut entries,
                mut lines,
                merged,
                ..
            } => {
                // What is written itself wins over what is merged in, the first merged over the next.
                for node in merged {
                    let Value::Map(more) = &node.value else {
                        continue;
                    };
                    for (key, node) in more {
                        if lines.insert(key.text.clone(), key.line).is_none() {
                            entries.push((key.clone(), Rc::clone(node)));
                        }
                    }
                }
                Value::Map(entries)
            }
        };
        self.close(line, anchor, value);
    }

    fn close(&mut self, line: usize, anchor: usize, value: Value) {
        let node = Rc::new(Node::new(line, value));
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        // Its members were paid for when they were placed.
        self.place(line, node, 1);
    }

    /// Puts a finished node where it belongs. `price` is what it costs of the nodes allowed.
    fn place(&mut self, line: usize, node: Rc<Node>, price: usize) {
        match self.nodes_left.checked_sub(price) {
            Some(left) => self.nodes_left = left,
            None => self.full = true,
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { key, .. }) => match key.take() {
                Some(key) => self.enter(key, node),
                None => self.place_key(line, &node),
            },
        }
    }

    fn place_key(&mut self, line: usize, node: &Node) {
        let text = if let Value::Scalar(scalar) = &node.value {
            scalar.text.clone()
        } else {
            self.refuse(line, &format!("{} cannot be a key", node.shown()));
            String::new()
        };
        if let Some(OpenKind::Map { key, .. }) = self.open.last_mut().map(|open| &mut open.kind) {
            *key = Some(Key { text, line });
        }
    }

    fn enter(&mut self, key: Key, node: Rc<Node>) {
        let Some(OpenKind::Map {
            entries,
            lines,
            merged,
            ..
        }) = self.open.last_mut().map(|open| &mut open.kind)
        else {
            return;
        };
        if key.text == "<<" {
            match &node.value {
                Value::List(items) => merged.extend(items.iter().cloned()),
                _ => merged.push(node),
            }
        } else if let Some(&first_line) = lines.get(&key.text) {
            let path = join(&self.path(), &key.text);
            self.faults.push(Located {
                document: self.number,
                line: key.line,
                path,
                fault: Fault::Twice { first_line },
            });
        } else {
            lines.insert(key.text.clone(), key.line);
            entries.push((key, node));
        }
    }

    /// Path of the innermost open collection.
    fn path(&self) -> String {
        let mut path = String::new();
        // The innermost has no key yet, or it was just taken: it adds nothing.
        for open in self.open.iter().rev().skip(1).rev() {
            match &open.kind {
                OpenKind::List(items) => path.push_str(&format!("[{}]", items.len())),
                OpenKind::Map { key: Some(key), .. } => path = join(&path, &key.text),
                OpenKind::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn check_tag(&mut self, line: usize, tag: Option<&Tag>) {
        if let Some(tag) = tag
            && !matches!(tag.core_suffix(), Some("map" | "seq"))
            && tag.original() != "!"
        {
            self.refuse(line, &unknown_tag(&tag.original()));
        }
    }

    fn refuse_tag(&mut self, line: usize, tag: &str, anchor: usize) {
        self.refuse(line, &unknown_tag(tag));
        self.close(line, anchor, Value::List(Vec::new()));
    }

    fn refuse(&mut self, line: usize, what: &str) {
        self.broken = true;
        self.faults
            .push(super::syntax(self.number, line, what.to_owned()));
    }
}

fn unknown_tag(tag: &str) -> String {
    format!("the tag {tag} means nothing here")
}

/// `parent.name`, or `parent[name]` where a dot within the name would mislead.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if name.is_empty() || name.contains(['.', '/', '[', ' ']) {
        format!("{parent}[{name}]")
    } else if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}
