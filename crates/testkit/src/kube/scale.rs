//! The subresource `scale`: an `autoscaling/v1` Scale that stands for the replicas of another
//! object.

use serde_json::{Value, json};

use super::object::{metadata, number, text};

/// The Scale of an object. Replicas of 0 are left out, as Go's `omitempty` leaves them out: a
/// JSON patch at zero has to `add`, for there is nothing to `replace`.
pub(super) fn scale_of(object: &Value) -> Value {
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {},
        "spec": {},
        "status": { "replicas": number(object, "/status/replicas").unwrap_or(0) },
    });
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(field) {
            metadata(&mut scale).insert(field.to_owned(), value.clone());
        }
    }
    let replicas = number(object, "/spec/replicas").unwrap_or(0);
    if replicas != 0 {
        scale["spec"]["replicas"] = replicas.into();
    }
    let selector = selector_of(object);
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// `spec.selector` as a label selector's text.
fn selector_of(object: &Value) -> String {
    let labels = object.pointer("/spec/selector/matchLabels");
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    let mut terms: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in super::object::list(object, "/spec/selector/matchExpressions") {
        let key = text(expression, "/key");
        let values: Vec<&str> = super::object::list(expression, "/values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        terms.push(match text(expression, "/operator") {
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            _ => format!("{key} in ({})", values.join(",")),
        });
    }
    terms.join(",")
}

/// The object as a Scale wants it; `Err` says what is wrong with the Scale.
pub(super) fn with_scale(object: &Value, scale: &Value) -> Result<Value, String> {
    let replicas = match scale.pointer("/spec/replicas") {
        None | Some(Value::Null) => 0,
        Some(value) => value
            .as_i64()
            .filter(|it| i32::try_from(*it).is_ok())
            .ok_or_else(|| {
                format!("Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {value} into Go struct field ScaleSpec.spec.replicas of type int32")
            })?,
    };
    let mut object = object.clone();
    object["spec"]["replicas"] = replicas.into();
    for field in ["name", "uid", "resourceVersion"] {
        if let Some(value) = scale["metadata"].get(field) {
            metadata(&mut object).insert(field.to_owned(), value.clone());
        }
    }
    Ok(object)
}
