//! `metadata`: names, namespaces, annotations.

use penstock_types::annotation::{AUTOSCALING, Annotations, OWN};

use super::AnnotationRules;
use super::fields::{Field, Object, Report};
use crate::{Fault, ObjectKey, name};

/// What an object says about itself.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) key: ObjectKey,
    /// Line of its name.
    pub(super) line: usize,
}

/// What the API server writes there; it shows up where a manifest was read back from a cluster.
const BOOKKEEPING: [&str; 8] = [
    "creationTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Label that takes a Knative service off the public gateway.
const VISIBILITY: &str = "networking.knative.dev/visibility";

/// Reads the metadata of a Service, a Configuration or a Route. Whatever is wrong with it, the
/// rest of the object is to be looked at as well: an unreadable name is empty.
pub(super) fn of_object(object: &mut Object<'_>, report: &mut Report) -> Metadata {
    let line = object.line;
    let field = object.need("metadata", "a mapping with a name", report);
    let metadata = field.and_then(|field| field.object(report));
    metadata.map_or_else(
        || Metadata {
            key: ObjectKey {
                namespace: String::new(),
                name: String::new(),
            },
            line,
        },
        |metadata| of_mapping(metadata, report),
    )
}

fn of_mapping(mut metadata: Object<'_>, report: &mut Report) -> Metadata {
    let name = match metadata.take("generateName") {
        Some(generated) => {
            let _ = metadata.take("name");
            generated.unsupported("give it a name", report);
            None
        }
        None => metadata.need("name", name::LABEL, report),
    };
    let line = name.as_ref().map_or(metadata.line, |name| name.line);
    let name = name.and_then(|name| label(&name, report));
    let namespace = match metadata.take("namespace") {
        Some(namespace) => valid(&namespace, name::is_namespace, name::NAMESPACE, report),
        None => Some("default".to_owned()),
    };
    // Knative takes them on the template alone, so that a change of them makes a revision.
    if let Some(written) = metadata.take("annotations") {
        for (key, field) in entries(&written, report) {
            if key.starts_with(AUTOSCALING) {
                let why = "belongs to spec.template.metadata.annotations, not here";
                field.conflict(why, report);
            } else {
                let _ = field.string(report);
            }
        }
    }
    if let Some(labels) = metadata.take("labels") {
        for (key, field) in entries(&labels, report) {
            let _ = field.string(report);
            if key == VISIBILITY {
                report.warning(field.line, &field.path, Fault::Ignored);
            }
        }
    }
    metadata.accept(&BOOKKEEPING);
    metadata.finish(report);
    Metadata {
        key: ObjectKey {
            namespace: namespace.unwrap_or_default(),
            name: name.unwrap_or_default(),
        },
        line,
    }
}

/// Name and annotations of a revision template.
pub(super) fn of_template(
    field: &Field<'_>,
    configuration: &str,
    rules: AnnotationRules<'_>,
    report: &mut Report,
) -> Option<(Option<String>, Annotations)> {
    let mut metadata = field.object(report)?;
    let name = metadata.take("name").and_then(|name| {
        let label = label(&name, report)?;
        let prefix = format!("{configuration}-");
        // Without a readable name of the configuration, nothing can be said.
        if configuration.is_empty() || label.starts_with(&prefix) {
            return Some(label);
        }
        name.wrong(format!("a name that begins with {prefix}"), report);
        None
    });
    if let Some(generated) = metadata.take("generateName") {
        generated.unsupported("leave it out: a name is made", report);
    }
    let written = metadata.take("annotations");
    let entries = written.map_or_else(Vec::new, |written| entries(&written, report));
    let mut annotations = Annotations::new();
    for (key, field) in &entries {
        if let Some(value) = field.string(report) {
            annotations.insert((*key).to_owned(), value);
        }
        if rules.known.contains(key) {
            continue;
        }
        for prefix in [AUTOSCALING, OWN] {
            if let Some(name) = key.strip_prefix(prefix) {
                let known = rules.known.iter();
                let names = known.filter_map(|known| known.strip_prefix(prefix));
                let near = name::near(name, names).map(|near| format!("{prefix}{near}"));
                let path = format!("{}.annotations[{key}]", metadata.path);
                report.warning(field.line, &path, Fault::Unknown { near });
            }
        }
    }
    for rejected in (rules.check)(&annotations) {
        let at = |key: &String| entries.iter().find(|(written, _)| written == key);
        let line = rejected.keys.iter().find_map(at);
        let line = line.map_or(metadata.line, |(_, field)| field.line);
        let path = format!(
            "{}.annotations[{}]",
            metadata.path,
            rejected.keys.join(", ")
        );
        let reason = rejected.reason;
        report.error(line, &path, Fault::Annotation { reason });
    }
    // Labels select objects; nothing selects revisions here.
    metadata.accept(&["labels", "namespace"]);
    metadata.accept(&BOOKKEEPING);
    metadata.finish(report);
    Some((name, annotations))
}

fn label(field: &Field<'_>, report: &mut Report) -> Option<String> {
    valid(field, name::is_label, name::LABEL, report)
}

fn valid(
    field: &Field<'_>,
    is_valid: fn(&str) -> bool,
    expected: &str,
    report: &mut Report,
) -> Option<String> {
    let text = field.string(report)?;
    if is_valid(&text) {
        return Some(text);
    }
    field.wrong(expected, report);
    None
}

fn entries<'a>(field: &Field<'a>, report: &mut Report) -> Vec<(&'a str, Field<'a>)> {
    let object = field.object(report);
    object.map_or_else(Vec::new, |mut object| object.take_all())
}
