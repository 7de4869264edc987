//! Typed variables, read once, with all mistakes reported at once.
//!
//! Defaults are values of the type, not text: the compiler checks them. A value that is missing
//! or bad leaves a placeholder, which nobody sees because [`Vars::finish`] then answers the mistakes.
//!
//! ```
//! use penstock_runtime::vars::{Vars, go};
//!
//! let mut vars = Vars::new(|name| (name == "QP_CONCURRENCY").then(|| "ten".to_owned()));
//! let concurrency = vars.read("QP_CONCURRENCY", 0, "a count, 0 for no limit", go::int);
//! let bad = vars.finish(concurrency).unwrap_err();
//! assert_eq!(bad.to_string(), r#"QP_CONCURRENCY="ten" is not a count, 0 for no limit"#);
//! ```

pub mod go;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Reads variables through a closure, and remembers what was wrong.
#[derive(Debug)]
pub struct Vars<G> {
    get: G,
    bad: Vec<BadVar>,
}

impl<G: Fn(&str) -> Option<String>> Vars<G> {
    /// Reads through `get`: the environment in `main`, a map in tests.
    ///
    /// A value that is not UTF-8 has to arrive as lossy text and not as `None`, so that it is
    /// rejected instead of counting as unset.
    pub fn new(get: G) -> Self {
        Self {
            get,
            bad: Vec::new(),
        }
    }

    /// The variable `name`, or `default` if it is not set. `wanted` completes "is not ...":
    /// say the unit and what is special.
    ///
    /// Set but empty is not the same as not set: the empty text goes through `parse`.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        default: T,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        match (self.get)(name) {
            None => default,
            Some(text) => match parse(&text) {
                Some(value) => value,
                None => {
                    self.reject(name, Some(text), wanted);
                    default
                }
            },
        }
    }

    /// The variable `name`, which has to be set.
    pub fn required<T: Default>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let text = (self.get)(name);
        match text.as_deref().and_then(parse) {
            Some(value) => value,
            None => {
                self.reject(name, text, wanted);
                T::default()
            }
        }
    }

    /// The variable `name` if it is set.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        wanted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.read(name, None, wanted, |text| parse(text).map(Some))
    }

    /// Notes a mistake that parsing one variable does not show: one between several, or one deep
    /// inside a value, whose place then belongs to `name`. `text` is what stands there.
    pub fn reject(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        text: Option<String>,
        wanted: impl Into<Cow<'static, str>>,
    ) {
        let (name, wanted) = (name.into(), wanted.into());
        self.bad.push(BadVar { name, text, wanted });
    }

    /// Notes mistakes that were found elsewhere.
    pub fn reject_all(&mut self, bad: BadVars) {
        self.bad.extend(bad.0);
    }

    /// The text of `name`, if it is set.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.get)(name)
    }

    /// `config`, unless something was wrong.
    ///
    /// # Errors
    ///
    /// All rejected variables together, so that one restart mends them all.
    pub fn finish<T>(self, config: T) -> Result<T, BadVars> {
        if self.bad.is_empty() {
            Ok(config)
        } else {
            Err(BadVars(self.bad))
        }
    }
}

/// One variable that was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadVar {
    /// Its name, and the place within its value if that has parts.
    pub name: Cow<'static, str>,
    /// Its text; `None` if it is not set.
    pub text: Option<String>,
    /// What would be right.
    pub wanted: Cow<'static, str>,
}

impl fmt::Display for BadVar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, text, wanted } = self;
        match text {
            Some(text) => write!(f, "{name}={text:?} is not {wanted}"),
            None => write!(f, "{name} is not set; it has to be {wanted}"),
        }
    }
}

/// All variables that were rejected, in the order in which they were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadVars(pub Vec<BadVar>);

impl fmt::Display for BadVars {
    /// One line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, bad) in self.0.iter().enumerate() {
            let newline = if place == 0 { "" } else { "\n" };
            write!(f, "{newline}{bad}")?;
        }
        Ok(())
    }
}

/// Any text, also none, as it stands.
pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Whatever Rust itself can parse, such as a `SocketAddr` or a port.
pub fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn vars(set: &'static [(&str, &str)]) -> Vars<impl Fn(&str) -> Option<String>> {
        Vars::new(move |name| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn set_values_win_over_defaults() {
        let mut vars = vars(&[("A", "0x10"), ("B", "[::1]:80"), ("C", "")]);
        let config = (
            vars.read("A", 1, "a count", go::int),
            vars.read("UNSET", 7, "a count", go::int),
            vars.required::<Option<SocketAddr>>("B", "an ip:port", |text| parsed(text).map(Some)),
            vars.required("C", "a text", text),
            vars.optional("UNSET", "a switch", go::bool),
        );
        let addr = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80));
        let want = (16, 7, Some(addr), String::new(), None);
        assert_eq!(vars.finish(config).unwrap(), want);
    }

    #[test]
    fn all_mistakes_are_told_together() {
        let mut vars = vars(&[("A", "ten"), ("B", ""), ("D", "8080\n")]);
        vars.read("A", 0, "a count, 0 for no limit", go::int);
        vars.optional("B", "true or false", go::bool);
        vars.required("C", "a text, may be empty", text);
        vars.read("D", 1_u16, "a port", parsed);
        let bad = vars.finish(()).unwrap_err();
        assert_eq!(bad.0.len(), 4);
        assert_eq!(
            bad.to_string(),
            "A=\"ten\" is not a count, 0 for no limit\n\
             B=\"\" is not true or false\n\
             C is not set; it has to be a text, may be empty\n\
             D=\"8080\\n\" is not a port"
        );
    }

    #[test]
    fn mistakes_between_variables_and_within_one_are_told_like_the_others() {
        let mut vars = vars(&[("MIN", "1.3")]);
        let min = vars.text("MIN");
        vars.reject("MIN", min, "at most MAX, which is 1.2");
        vars.reject(format!("TREE {}", "a.b"), None, "a count");
        let bad = vars.finish(()).unwrap_err();
        assert_eq!(
            bad.to_string(),
            "MIN=\"1.3\" is not at most MAX, which is 1.2\n\
             TREE a.b is not set; it has to be a count"
        );
    }
}
