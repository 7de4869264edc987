//! Settings: a ConfigMap, or the bare mapping that one holds in its `data`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::read::fields::{Field, Report};
use crate::yaml::{self, Value};
use crate::{Fault, Problem, Source};

/// Reads the settings in `source`: the `data` of a ConfigMap, or all of a mapping.
///
/// A ConfigMap's values are text by its own rules; in a bare mapping a number or a boolean stands
/// as it is written. A key without a value is no setting.
///
/// # Errors
///
/// Everything that is wrong, together: it is not YAML, not one mapping, of another kind, or it
/// has values that are lists or mappings.
pub fn settings(source: Source<'_>) -> Result<BTreeMap<String, String>, Vec<Problem>> {
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
    let mut settings = BTreeMap::new();
    match stream.documents.as_slice() {
        [] => {}
        [document] => {
            report.document = document.number;
            read(&Field::root(&document.root), &mut settings, &mut report);
        }
        [_, second, ..] => {
            report.document = second.number;
            let why = "is one too many: settings are a single ConfigMap or mapping".to_owned();
            report.error(second.root.line, "", Fault::Conflict { why });
        }
    }
    if report.errors.is_empty() {
        Ok(settings)
    } else {
        Err(report.errors)
    }
}

fn read(root: &Field<'_>, settings: &mut BTreeMap<String, String>, report: &mut Report) {
    let Some(mut object) = root.object(report) else {
        return;
    };
    let Some(kind) = object.take("kind") else {
        for (name, field) in object.take_all() {
            if let Some(value) = value(&field, report) {
                settings.insert(name.to_owned(), value);
            }
        }
        return;
    };
    if kind.string(report).is_some_and(|kind| kind != "ConfigMap") {
        kind.wrong("ConfigMap, or left out with a bare mapping", report);
        return;
    }
    let Some(mut data) = object.take("data").and_then(|data| data.object(report)) else {
        return;
    };
    for (name, field) in data.take_all() {
        if !field.node.is_null()
            && let Some(value) = field.string(report)
        {
            settings.insert(name.to_owned(), value);
        }
    }
}

/// A scalar as it is written.
fn value(field: &Field<'_>, report: &mut Report) -> Option<String> {
    match &field.node.value {
        Value::Scalar(scalar) if scalar.is_null() => None,
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        Value::List(_) | Value::Map(_) => {
            field.wrong("text", report);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let source = Source {
            name: "scale.yaml",
            text,
        };
        let shown =
            |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect::<Vec<_>>();
        let settings = settings(source).map_err(shown)?;
        Ok(settings.into_iter().collect())
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_data_of_a_config_map_is_read() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\n\
                    data:\n  stable-window: \"30s\"\n  _example: |\n    max-scale: \"3\"\n";
        let want = vec![
            pair("_example", "max-scale: \"3\"\n"),
            pair("stable-window", "30s"),
        ];
        assert_eq!(read(text), Ok(want));
        assert_eq!(read("kind: ConfigMap"), Ok(Vec::new()));
    }

    #[test]
    fn a_bare_mapping_may_leave_out_quotes() {
        let text = "stable-window: 30s\nmax-scale: 3\nenable-scale-to-zero: false\nmin-scale:\n";
        let want = vec![
            pair("enable-scale-to-zero", "false"),
            pair("max-scale", "3"),
            pair("stable-window", "30s"),
        ];
        assert_eq!(read(text), Ok(want));
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let table = [
            (
                "kind: Secret\ndata: {}",
                "scale.yaml, document 1, line 1: kind is \"Secret\"; \
                 it must be ConfigMap, or left out with a bare mapping",
            ),
            (
                "kind: ConfigMap\ndata:\n  max-scale: 3",
                "scale.yaml, document 1, line 3: data.max-scale is 3; it must be text, in quotes: \"3\"",
            ),
            (
                "- a",
                "scale.yaml, document 1, line 1: the document is a list; it must be a mapping",
            ),
            (
                "a: []",
                "scale.yaml, document 1, line 1: a is a list; it must be text",
            ),
            (
                "a: b\n---\nc: d",
                "scale.yaml, document 2, line 3: the document is one too many: \
                 settings are a single ConfigMap or mapping",
            ),
        ];
        for (text, want) in table {
            assert_eq!(read(text), Err(vec![want.to_owned()]), "{text}");
        }
    }
}
