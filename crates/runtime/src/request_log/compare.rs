//! `eq`, `lt` and their kin.

use std::cmp::Ordering;

use super::value::Value;

/// Whether two values are equal.
///
/// # Errors
///
/// They are of kinds that cannot be compared.
pub(super) fn equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool, String> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Nil | Value::Missing, Value::Nil | Value::Missing) => Ok(true),
        (Value::Nil | Value::Missing, other) | (other, Value::Nil | Value::Missing) => {
            match other {
                Value::Tls(_) | Value::Url(_) | Value::Request(_) | Value::Cookie(..) => Ok(false),
                _ => Err("incompatible types for comparison".to_owned()),
            }
        }
        _ => order(a, b).map(|order| order == Some(Ordering::Equal)),
    }
}

/// How two values stand to each other; `None` if one is no number.
///
/// # Errors
///
/// They are of kinds that cannot be compared.
pub(super) fn order(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        (Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Bool(_), _)
            if is_basic(b) && std::mem::discriminant(a) != std::mem::discriminant(b) =>
        {
            Err("incompatible types for comparison".to_owned())
        }
        _ => Err("invalid type for comparison".to_owned()),
    }
}

fn is_basic(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Bool(_)
    )
}
