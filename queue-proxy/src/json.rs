//! JSON in a variable: one place in it, with the way to it; and what is wrong there.
//!
//! As in the peer, the case of keys does not matter, unknown ones are left alone, and `null` is
//! the same as nothing.

use std::borrow::Cow;
use std::time::Duration;

use penstock_runtime::vars::{BadVar, BadVars};
use serde_json::{Map, Value};

/// Characters of a wrong value that are repeated in its mistake.
const SHOWN: usize = 60;

/// What was wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<BadVar>);

impl Mistakes {
    pub(crate) fn add(&mut self, field: &Field<'_>, wanted: impl Into<Cow<'static, str>>) {
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

    pub(crate) fn none_or<T>(self, good: T) -> Result<T, BadVars> {
        if self.0.is_empty() {
            Ok(good)
        } else {
            Err(BadVars(self.0))
        }
    }
}

/// Reads the text of `variable`.
///
/// # Errors
///
/// It is not JSON.
pub(crate) fn read(variable: &str, text: &str) -> Result<Value, BadVars> {
    serde_json::from_str(text).map_err(|error| {
        let mut bad = Mistakes::default();
        let text = Some(shortened(text));
        bad.note(variable.to_owned(), text, format!("JSON: {error}"));
        BadVars(bad.0)
    })
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Field<'v> {
    path: String,
    value: &'v Value,
}

impl<'v> Field<'v> {
    /// All of what `variable` holds.
    pub(crate) fn root(variable: &str, value: &'v Value) -> Self {
        Self {
            path: variable.to_owned(),
            value,
        }
    }

    pub(crate) fn object(&self, wanted: &'static str, bad: &mut Mistakes) -> Option<Object<'v>> {
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
    pub(crate) fn list(&self, wanted: &'static str, bad: &mut Mistakes) -> Option<Vec<Self>> {
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

    pub(crate) fn string(&self, bad: &mut Mistakes) -> Option<String> {
        let Value::String(text) = self.value else {
            bad.add(self, "a string");
            return None;
        };
        Some(text.clone())
    }

    pub(crate) fn switch(&self, bad: &mut Mistakes) -> Option<bool> {
        let switch = self.value.as_bool();
        if switch.is_none() {
            bad.add(self, "true or false");
        }
        switch
    }

    /// One of the words that `choose` knows; `wanted` lists them.
    pub(crate) fn word<T>(
        &self,
        choose: impl FnOnce(&str) -> Option<T>,
        wanted: &'static str,
        bad: &mut Mistakes,
    ) -> Option<T> {
        let word = self.value.as_str().and_then(choose);
        if word.is_none() {
            bad.add(self, wanted);
        }
        word
    }

    /// A time in whole nanoseconds; below zero counts as zero.
    pub(crate) fn nanos(&self, bad: &mut Mistakes) -> Option<Duration> {
        let nanos = self.value.as_i64();
        if nanos.is_none() {
            bad.add(self, "a whole number of nanoseconds");
        }
        nanos.map(|nanos| Duration::from_nanos(nanos.try_into().unwrap_or(0)))
    }

    /// A part of the whole.
    pub(crate) fn share(&self, bad: &mut Mistakes) -> Option<f64> {
        let share = self.value.as_f64();
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            bad.add(self, "a number from 0 to 1");
        }
        share
    }

    /// A count or a number of seconds; 0 if it is neither, which nobody sees.
    pub(crate) fn number(&self, bad: &mut Mistakes) -> u32 {
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
    pub(crate) fn port(&self, bad: &mut Mistakes) -> Option<u16> {
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
pub(crate) struct Object<'v> {
    path: String,
    fields: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    /// The field of that name, or else of one that differs only in case; none if it is `null`.
    pub(crate) fn get(&self, name: &str) -> Option<Field<'v>> {
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
    pub(crate) fn need(
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
