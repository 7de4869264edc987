//! From text to [`Manifests`]: every document of every file, every mistake at once.

mod container;
pub(crate) mod fields;
mod metadata;
mod object;
mod probe;
mod template;
mod traffic;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use penstock_types::annotation::{Annotations, Rejected};

use crate::{Fault, Manifests, ObjectKey, Place, Problem, yaml};
use fields::{Field, Report};

/// Rules of the annotations on a revision template; whoever scales knows them.
#[derive(Clone, Copy)]
pub struct AnnotationRules<'a> {
    /// Finds what is wrong with them.
    pub check: &'a dyn Fn(&Annotations) -> Vec<Rejected>,
    /// All keys under the autoscaler's prefix and our own that say something; another one there is
    /// remarked upon.
    pub known: &'a [&'a str],
}

/// A file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its name, for sentences about it.
    pub name: &'a str,
    /// All of its text.
    pub text: &'a str,
}

/// Manifests that cannot be taken, and everything that is wrong with them. Shown as one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// At least one, by file and line.
    pub errors: Vec<Problem>,
    /// What would have been ignored.
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.errors.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

/// Reads all documents of all `sources` as one set.
///
/// # Errors
///
/// Every mistake of every file together, so that one round mends them all. A set without a
/// Configuration is a mistake as well: it is more likely a file caught half written than the wish
/// to run nothing.
pub fn read(sources: &[Source<'_>], rules: AnnotationRules<'_>) -> Result<Manifests, Refused> {
    let mut manifests = Manifests::default();
    let mut errors = Vec::new();
    for source in sources {
        let stream = yaml::parse(source.text);
        let mut report = Report {
            file: Arc::from(source.name),
            document: 1,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        for fault in stream.faults {
            report.document = fault.document;
            report.error(fault.line, &fault.path, fault.fault);
        }
        for document in stream.documents {
            report.document = document.number;
            let root = Field::root(&document.root);
            object::read(&root, rules, &mut manifests, &mut report);
        }
        report
            .errors
            .sort_by_key(|problem| (problem.place.document, problem.place.line));
        report
            .warnings
            .sort_by_key(|problem| (problem.place.document, problem.place.line));
        errors.append(&mut report.errors);
        manifests.warnings.append(&mut report.warnings);
    }
    collisions(&manifests, &mut errors);
    if errors.is_empty() && manifests.configurations.is_empty() {
        errors.push(nothing(sources));
    }
    if errors.is_empty() {
        Ok(manifests)
    } else {
        let warnings = manifests.warnings;
        Err(Refused { errors, warnings })
    }
}

/// Two that want the same name, or the same host.
fn collisions(manifests: &Manifests, errors: &mut Vec<Problem>) {
    // A name that could not be read is the same as no other.
    let readable = |key: &ObjectKey| !key.name.is_empty() && !key.namespace.is_empty();
    let mut configurations = HashMap::new();
    let mut twice = HashSet::new();
    for configuration in manifests
        .configurations
        .iter()
        .filter(|it| readable(&it.key))
    {
        if let Some(first) = configurations.insert(&configuration.key, &configuration.place) {
            let what = format!("the configuration {}", configuration.key);
            errors.push(second(&configuration.place, "metadata.name", &what, first));
            twice.insert(&configuration.key);
        }
    }
    let mut hosts: HashMap<(&str, String), &Place> = HashMap::new();
    for route in manifests.routes.iter().filter(|it| readable(&it.key)) {
        let name = &route.key.name;
        let tags = route.traffic.iter().filter_map(|target| {
            let tag = target.tag.as_deref()?;
            Some((format!("{tag}-{name}"), &target.place))
        });
        for (label, place) in std::iter::once((name.clone(), &route.place)).chain(tags) {
            let what = format!("the host {label} in namespace {}", route.key.namespace);
            let first = hosts.insert((&route.key.namespace, label), place);
            // A Service given twice was named above.
            if let Some(first) = first.filter(|_| !twice.contains(&route.key)) {
                errors.push(second(place, "spec.traffic", &what, first));
            }
        }
    }
}

fn second(place: &Place, path: &str, what: &str, first: &Place) -> Problem {
    Problem {
        place: place.clone(),
        path: path.to_owned(),
        fault: Fault::Conflict {
            why: format!("takes {what}, which is taken already: {first}"),
        },
    }
}

fn nothing(sources: &[Source<'_>]) -> Problem {
    let file = sources.first().map_or("no file", |source| source.name);
    Problem {
        place: Place {
            file: Arc::from(file),
            document: 1,
            line: 1,
        },
        path: String::new(),
        fault: Fault::Conflict {
            why: "holds nothing to run: a Service of serving.knative.dev/v1 is needed".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
