//! `penstock inject` and `penstock uninject`: a queue-proxy beside the container that serves, in
//! Deployments and StatefulSets that Penstock scales. Manifests in, manifests out; no cluster is
//! asked.
//!
//! ```text
//!  inject -f FILE ──► every document ──► workload labelled penstock.dev/scale: "true"?
//!                                          │ no: passes through, and is told
//!                                          └ yes ► take an older injection away ► rewrite
//! ```
//!
//! What is rewritten is what Knative's controller does to its own pods (spec/queue-proxy.md §0):
//! a container `queue-proxy` that is probed instead of the serving one and asks it itself, and a
//! hook that keeps the containers until the queue-proxy has drained. What stood there before is
//! kept in an annotation of the pod template, from which `uninject` puts it back.

mod document;
mod restore;
mod settings;
mod sidecar;
mod workload;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::up::input::reason;
use document::{Value, read_all, write_all};

/// Flags of both commands.
#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// A manifest; - reads standard input. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Image of the queue-proxy
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = concat!("penstock/queue-proxy:", env!("CARGO_PKG_VERSION"))
    )]
    pub(crate) image: String,
}

/// Flags of `uninject`.
#[derive(Debug, Args)]
pub(crate) struct UninjectArgs {
    /// A manifest; - reads standard input. Repeatable
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// What comes out.
#[derive(Debug)]
pub(crate) struct Output {
    /// The manifests.
    pub(crate) yaml: String,
    /// What a person should know, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// A mistake in the input, and where.
#[derive(Debug)]
pub(crate) struct Mistake {
    place: String,
    fault: String,
}

impl Mistake {
    fn at(place: impl Into<String>, fault: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            fault: fault.into(),
        }
    }

    fn inside(mut self, outer: &str) -> Self {
        self.place = match self.place.is_empty() {
            true => outer.to_owned(),
            false => format!("{outer}: {}", self.place),
        };
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// Puts the queue-proxy in.
///
/// # Errors
///
/// All mistakes of all files; then nothing is to be written.
pub(crate) fn inject(args: &InjectArgs) -> Result<Output, Vec<Mistake>> {
    rewrite(&args.files, |workload| {
        workload::inject(workload, &args.image)
    })
}

/// Takes the queue-proxy out.
///
/// # Errors
///
/// All mistakes of all files; then nothing is to be written.
pub(crate) fn uninject(args: &UninjectArgs) -> Result<Output, Vec<Mistake>> {
    rewrite(&args.files, |workload| {
        Ok(restore::uninject(workload)?.into_iter().collect())
    })
}

/// Notes, or mistakes below the workload.
type Edited = Result<Vec<String>, Vec<Mistake>>;

fn rewrite(files: &[PathBuf], edit: impl Fn(&mut Value) -> Edited) -> Result<Output, Vec<Mistake>> {
    let (mut documents, mut notes, mut mistakes) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let name = match file.to_str() {
            Some("-") => "standard input".to_owned(),
            _ => file.display().to_string(),
        };
        let read = text(file)
            .map_err(|error| Mistake::at(format!("cannot read {name}"), reason(&error)))
            .and_then(|text| read_all(&text).map_err(|error| Mistake::at(&name, error)));
        let read = match read {
            Ok(read) => read,
            Err(mistake) => {
                mistakes.push(mistake);
                continue;
            }
        };
        for (index, mut document) in read.into_iter().enumerate() {
            let outer = format!("{name}, document {}", index + 1);
            each_workload(&mut document, &mut |workload| match edit(workload) {
                Ok(told) => {
                    let who = who(workload);
                    notes.extend(told.into_iter().map(|note| format!("{who} {note}")));
                }
                Err(found) => {
                    let outer = format!("{outer} ({})", who(workload));
                    mistakes.extend(found.into_iter().map(|it| it.inside(&outer)));
                }
            });
            documents.push(document);
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    match write_all(&documents) {
        Ok(yaml) => Ok(Output { yaml, notes }),
        Err(error) => Err(vec![Mistake::at("output", error)]),
    }
}

fn text(file: &Path) -> io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// Calls `edit` for each Deployment and StatefulSet, also inside of a `List`.
fn each_workload(document: &mut Value, edit: &mut impl FnMut(&mut Value)) {
    let kind = document.text("kind").unwrap_or_default().to_owned();
    let group = document.text("apiVersion").unwrap_or_default().to_owned();
    match (group.as_str(), kind.as_str()) {
        ("v1", "List") => {
            let items = document.get_mut("items").and_then(Value::as_list_mut);
            for item in items.into_iter().flatten() {
                each_workload(item, edit);
            }
        }
        ("apps/v1", "Deployment" | "StatefulSet") => edit(document),
        _ => {}
    }
}

/// `Deployment default/web`.
fn who(workload: &Value) -> String {
    let kind = workload.text("kind").unwrap_or_default();
    let name = workload.at(&["metadata", "name"]).and_then(Value::as_str);
    let namespace = workload
        .at(&["metadata", "namespace"])
        .and_then(Value::as_str);
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", name.unwrap_or("(no name)")),
        None => format!("{kind} {}", name.unwrap_or("(no name)")),
    }
}
