//! Label and field selectors, as `labelSelector` and `fieldSelector` carry them.

use serde_json::Value;

use super::object::{labels, text};
use super::refusal::Refusal;

/// Which objects are meant; the default means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    /// A JSON pointer, the text wanted there, and whether it must be that or must not.
    fields: Vec<(String, String, bool)>,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads both as they stand in a query.
    pub(super) fn parse(label: &str, field: &str) -> Result<Self, Refusal> {
        Ok(Self {
            labels: parse_labels(label).map_err(|why| {
                Refusal::bad_request(format!("unable to parse requirement: {why} in {label:?}"))
            })?,
            fields: parse_fields(field)?,
        })
    }

    /// Whether it leaves nothing out.
    pub(super) fn means_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let of_labels = |requirement: &Requirement| {
            let value =
                labels(object).find_map(|(key, value)| (key == requirement.key).then_some(value));
            match &requirement.rule {
                Rule::Exists => value.is_some(),
                Rule::Absent => value.is_none(),
                Rule::In(values) => {
                    value.is_some_and(|value| values.iter().any(|one| one == value))
                }
                Rule::NotIn(values) => {
                    value.is_none_or(|value| values.iter().all(|one| one != value))
                }
            }
        };
        let of_fields = |(pointer, wanted, equal): &(String, String, bool)| {
            (text(object, pointer) == wanted) == *equal
        };
        self.labels.iter().all(of_labels) && self.fields.iter().all(of_fields)
    }
}

/// The fields by which objects may be chosen. A real server knows a few more for pods.
const FIELDS: [&str; 15] = [
    "metadata.name",
    "metadata.namespace",
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "reason",
    "type",
    "spec.nodeName",
    "status.phase",
    "status.podIP",
    "reportingController",
];

fn parse_fields(selector: &str) -> Result<Vec<(String, String, bool)>, Refusal> {
    let mut fields = Vec::new();
    for term in selector.split(',').filter(|term| !term.is_empty()) {
        let (field, wanted, equal) = if let Some((field, wanted)) = term.split_once("!=") {
            (field, wanted, false)
        } else if let Some((field, wanted)) = term.split_once("==") {
            (field, wanted, true)
        } else if let Some((field, wanted)) = term.split_once('=') {
            (field, wanted, true)
        } else {
            let why = format!("invalid selector: '{selector}'; can't understand '{term}'");
            return Err(Refusal::bad_request(why));
        };
        if !FIELDS.contains(&field) {
            let why = format!("field label not supported: {field}");
            return Err(Refusal::bad_request(why));
        }
        let pointer = format!("/{}", field.replace('.', "/"));
        fields.push((pointer, wanted.to_owned(), equal));
    }
    Ok(fields)
}

fn parse_labels(selector: &str) -> Result<Vec<Requirement>, String> {
    let mut requirements = Vec::new();
    let mut rest = selector.trim();
    while !rest.is_empty() {
        // A comma within parentheses parts values, not requirements.
        let end = match (rest.find(','), rest.find('(')) {
            (Some(comma), Some(open)) if open < comma => {
                let close = rest[open..].find(')').ok_or("found no ')'")? + open;
                rest[close..].find(',').map_or(rest.len(), |at| at + close)
            }
            (Some(comma), _) => comma,
            (None, _) => rest.len(),
        };
        requirements.push(parse_requirement(rest[..end].trim())?);
        rest = rest.get(end + 1..).unwrap_or_default().trim();
    }
    Ok(requirements)
}

fn parse_requirement(term: &str) -> Result<Requirement, String> {
    let (key, rule) = if let Some(key) = term.strip_prefix('!') {
        (key, Rule::Absent)
    } else if let Some((head, values)) = term.split_once('(') {
        let values = values.strip_suffix(')').ok_or("found no ')'")?;
        let values = values.split(',').map(|value| value.trim().to_owned());
        match head.trim().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Rule::In(values.collect())),
            Some((key, "notin")) => (key, Rule::NotIn(values.collect())),
            _ => return Err(format!("{head:?} has neither 'in' nor 'notin'")),
        }
    } else if let Some((key, value)) = term.split_once("!=") {
        (key, Rule::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = term.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        (key, Rule::In(vec![value.trim().to_owned()]))
    } else {
        (term, Rule::Exists)
    };
    let key = key.trim();
    let wrong = |c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c));
    if key.is_empty() || key.contains(wrong) {
        return Err(format!("{key:?} is not the key of a label"));
    }
    Ok(Requirement {
        key: key.to_owned(),
        rule,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_chosen_by_each_operator() {
        let object = json!({ "metadata": { "labels": { "app": "hello", "tier": "web" } } });
        let table = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("other", false),
            ("!other", true),
            ("app=hello", true),
            ("app==hello", true),
            ("app=bye", false),
            ("app!=bye", true),
            ("other!=bye", true),
            ("app!=hello", false),
            ("app in (hello, bye),tier=web", true),
            ("tier=web,app in (bye,hi)", false),
            ("app notin (bye,hi),tier", true),
            ("other notin (bye)", true),
            ("app notin (hello)", false),
        ];
        for (selector, want) in table {
            let parsed = Selector::parse(selector, "").unwrap();
            assert_eq!(parsed.matches(&object), want, "{selector}");
        }
    }

    #[test]
    fn fields_are_chosen_by_name_and_unknown_ones_are_refused() {
        let object = json!({ "metadata": { "name": "a", "namespace": "n" } });
        let chosen = |field| Selector::parse("", field).map(|it| it.matches(&object));
        assert!(chosen("metadata.name=a,metadata.namespace=n").unwrap());
        assert!(!chosen("metadata.name!=a").unwrap());
        assert_eq!(chosen("spec.replicas=1").unwrap_err().code, 400);
    }

    #[test]
    fn what_is_no_selector_is_a_bad_request() {
        for selector in [
            "app in hello",
            "app in (hello",
            "=x",
            "a b=c",
            "app like (x)",
        ] {
            let refusal = Selector::parse(selector, "").unwrap_err();
            assert_eq!(refusal.code, 400, "{selector}");
        }
    }
}
