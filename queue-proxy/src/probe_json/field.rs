//! One place in the JSON, with the way to it; and what is wrong there.

use std::borrow::Cow;

use penstock_runtime::vars::{BadVar, BadVars};
use serde_json::{Map, Value};

/// The variable that all this is about.
const VARIABLE: &str = "SERVING_READINESS_PROBE";

/// Characters of a wrong value that are repeated in its mistake.
const SHOWN: usize = 60;

/// What was wrong so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<BadVar>);

impl Mistakes {
    pub(super) fn add(&mut self, field: &Field<'_>, wanted: impl Into<Cow<'static, str>>) {
        let text = match field.value {
            Value::String(text) => shortened(text),
            value => shortened(&value.to_string()),
        };
        self.note(field.path.clone(), Some(text), wanted);
    }

    fn note(&mut self, path: String, text: Option<String>, wanted: impl Into<Cow<'static, str>>) {
        self.0.push(BadVar {
            name: path.into(),
            text,
            wanted: wanted.into(),
        });
    }

    pub(super) fn none_or<T>(self, good: T) -> Result<T, BadVars> {
        if self.0.is_empty() {
            Ok(good)
        } else {
            Err(BadVars(self.0))
        }
    }
}

/// What is wrong if `text` is not even JSON.
pub(super) fn not_json(text: &str, error: &serde_json::Error) -> BadVars {
    let mut bad = Mistakes::default();
    bad.note(
        VARIABLE.to_owned(),
        Some(shortened(text)),
        format!("JSON: {error}"),
    );
    BadVars(bad.0)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Field<'v> {
    path: String,
    value: &'v Value,
}

impl<'v> Field<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            path: VARIABLE.to_owned(),
            value,
        }
    }

    pub(super) fn object(&self, wanted: &'static str, bad: &mut Mistakes) -> Option<Object<'v>> {
        let Value::Object(fields) = self.value else {
            bad.add(self, wanted);
            return None;
        };
        Some(Object {
            path: self.path.clone(),
            fields,
        })
    }

    /// Its items; a `null` among them is an item.
    pub(super) fn list(&self, wanted: &'static str, bad: &mut Mistakes) -> Option<Vec<Self>> {
        let Value::Array(items) = self.value else {
            bad.add(self, wanted);
            return None;
        };
        let item = |(index, value)| Self {
            path: format!("{}[{index}]", self.path),
            value,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn string(&self, bad: &mut Mistakes) -> Option<String> {
        let Value::String(text) = self.value else {
            bad.add(self, "a string");
            return None;
        };
        Some(text.clone())
    }

    /// A count or a number of seconds; 0 if it is neither, which nobody sees.
    pub(super) fn number(&self, bad: &mut Mistakes) -> u32 {
        let number = self
            .value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| i32::try_from(*number).is_ok());
        number.unwrap_or_else(|| {
            bad.add(self, "a whole number from 0 to 2147483647");
            0
        })
    }

    /// A port, as a number or as its digits in a string. Nobody listens at 0.
    pub(super) fn port(&self, bad: &mut Mistakes) -> Option<u16> {
        let port = match self.value {
            Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
            Value::String(digits) => digits.parse().ok(),
            _ => None,
        };
        if port.is_none() {
            bad.add(
                self,
                "a port from 0 to 65535, as a number or a string of digits",
            );
        }
        port
    }
}

/// An object and where it stands.
#[derive(Debug)]
pub(super) struct Object<'v> {
    path: String,
    fields: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    /// The field of that name, or else of one that differs only in case; none if it is `null`.
    pub(super) fn get(&self, name: &str) -> Option<Field<'v>> {
        let like = || {
            let mut all = self.fields.iter();
            all.find(|(key, _)| key.eq_ignore_ascii_case(name))
        };
        let (key, value) = self.fields.get_key_value(name).or_else(like)?;
        (!value.is_null()).then(|| Field {
            path: format!("{}.{key}", self.path),
            value,
        })
    }

    /// The field of that name, which has to be there.
    pub(super) fn need(
        &self,
        name: &str,
        wanted: &'static str,
        bad: &mut Mistakes,
    ) -> Option<Field<'v>> {
        let found = self.get(name);
        if found.is_none() {
            bad.note(format!("{}.{name}", self.path), None, wanted);
        }
        found
    }
}
