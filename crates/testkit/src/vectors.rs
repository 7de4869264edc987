//! The golden vectors: where they lie, and how tests say which cases passed.
//!
//! They are in `tests/vectors` of the repository, or in the folder that `PENSTOCK_VECTORS` names. That
//! one may hold other cases, and need not hold all files: what is not there is not run, and told so,
//! while a file or a part that is missing in the repository fails its test. A case that is not of the
//! form that the README tells is one that failed; those beside it are run all the same.

pub mod reconcile;

use std::any::Any;
use std::fmt::{Debug, Write as _};
use std::io::{self, Write as _};
use std::num::ParseFloatError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_types::Reachability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What tests read, file by file, and the parts of each.
const KNOWN: [(&str, &[&str]); 10] = [
    ("autoscaler.json", &["cases"]),
    ("buckets.json", &["owners", "subsets"]),
    ("config.json", &["configmaps", "annotations"]),
    ("derived.json", &["cases"]),
    ("protobuf.json", &["stat", "wire_stat_messages"]),
    ("reconcile.json", &["cases"]),
    ("sampling.json", &["sample_sizes", "merges"]),
    ("scrape.json", &["cases"]),
    ("stats.json", &["request_stats", "activator_reports"]),
    ("windows.json", &["averages", "maxima"]),
];

/// Where they lie; `None` is the repository.
fn given() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests may have vectors of their own"
    )]
    std::env::var_os("PENSTOCK_VECTORS").map(PathBuf::from)
}

fn folder() -> PathBuf {
    given().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"))
}

/// Whether they are those of the repository, of which tests know what there has to be.
pub fn are_ours() -> bool {
    given().is_none()
}

/// Reads a whole file into `T`. Its `Default` is what a file that is not there holds.
pub fn read<T: DeserializeOwned + Default>(file: &str) -> T {
    match text(&folder().join(file), are_ours()) {
        Ok(Some(text)) => serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{file} is not as expected: {error}")),
        Ok(None) => T::default(),
        Err(why) => panic!("{file} {why}"),
    }
}

/// What a file holds; `None` if it is not there and need not be.
fn text(path: &Path, needed: bool) -> Result<Option<String>, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// One file, whose parts are checked one after the other.
#[must_use = "nothing fails before the end"]
pub struct Vectors {
    label: String,
    /// The parts by their names; `None` if the file is not there.
    parts: Option<serde_json::Map<String, Value>>,
    /// Whether every part has to be there.
    whole: bool,
    passed: usize,
    /// Each case that failed, and why.
    failed: Vec<String>,
    not_run: Vec<String>,
}

impl Vectors {
    /// Opens a file. `label` is its name, perhaps with a word on what of it is checked.
    pub fn open(label: &str) -> Self {
        Self::open_in(&folder(), label, are_ours())
    }

    fn open_in(folder: &Path, label: &str, whole: bool) -> Self {
        let mut this = Self {
            label: label.to_owned(),
            parts: None,
            whole,
            passed: 0,
            failed: Vec::new(),
            not_run: Vec::new(),
        };
        let file = label.split(' ').next().unwrap_or_default();
        let read = text(&folder.join(file), whole).and_then(|text| {
            let parse = |text: String| serde_json::from_str(&text);
            let parts = text.map(parse).transpose();
            parts.map_err(|error| format!("is not an object of JSON: {error}"))
        });
        match read {
            Ok(Some(parts)) => this.parts = Some(parts),
            Ok(None) => this.not_run.push(format!("not in {}", folder.display())),
            Err(why) => this.failed.push(format!("the file {why}")),
        }
        this
    }

    /// Runs every case of a part.
    pub fn part<C: DeserializeOwned>(
        mut self,
        name: &str,
        run: impl Fn(&C) -> Result<(), String>,
    ) -> Self {
        let Some(parts) = &self.parts else {
            return self;
        };
        match parts.get(name) {
            Some(Value::Array(cases)) if !cases.is_empty() || !self.whole => {
                for (index, case) in cases.iter().enumerate() {
                    match run_one(case, &run) {
                        Ok(()) => self.passed += 1,
                        Err(why) => self
                            .failed
                            .push(format!("{}: {why}", id(name, index, case))),
                    }
                }
            }
            None if !self.whole => self.not_run.push(format!("no part {name}")),
            Some(Value::Array(_)) | None => self.failed.push(format!("{name} holds no case")),
            Some(_) => self.failed.push(format!("{name} is not an array of cases")),
        }
        self
    }

    /// Prints how many cases passed, which did not and what was not run; fails if any did not pass.
    #[track_caller]
    pub fn end(self) {
        // Not by the macro, whose lines a test that passes keeps to itself.
        let _ = io::stdout().write_all(self.told().as_bytes());
        let (label, failed) = (&self.label, self.failed.len());
        assert!(failed == 0, "{label}: {failed} cases failed");
    }

    fn told(&self) -> String {
        let mut told = String::new();
        if self.parts.is_some() || !self.failed.is_empty() {
            let (passed, failed) = (self.passed, self.failed.len());
            let _ = writeln!(told, "{}: {passed} passed, {failed} failed", self.label);
        }
        for case in &self.failed {
            let _ = writeln!(told, "  {case}");
        }
        for what in &self.not_run {
            let _ = writeln!(told, "{}: NOT RUN: {what}", self.label);
        }
        told
    }
}

/// Runs one case. One that cannot be read, or brings its check to panic, did not pass.
fn run_one<C: DeserializeOwned>(
    case: &Value,
    run: &impl Fn(&C) -> Result<(), String>,
) -> Result<(), String> {
    let case = C::deserialize(case).map_err(|error| format!("is not as expected: {error}"))?;
    catch_unwind(AssertUnwindSafe(|| run(&case))).unwrap_or_else(|panic| Err(words(&*panic)))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a word"))
}

/// What a case is called: its own id, or its place and how it begins.
fn id(part: &str, index: usize, case: &Value) -> String {
    match case.get("id").and_then(Value::as_str) {
        Some(id) => id.to_owned(),
        None => {
            let begin: String = case.to_string().chars().take(60).collect();
            format!("{part}[{index}] {begin}")
        }
    }
}

/// Tells of files, and of parts of files, that no test reads; fails if the folder cannot be read.
#[track_caller]
pub fn tell_of_strangers() {
    match strangers(&folder()) {
        Ok(told) => drop(io::stdout().write_all(told.as_bytes())),
        Err(error) => panic!("{} cannot be read: {error}", folder().display()),
    }
}

fn strangers(folder: &Path) -> io::Result<String> {
    let mut told = String::new();
    let entries = std::fs::read_dir(folder)?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    for name in names {
        let Some((_, parts)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            let _ = writeln!(told, "{name}: NOT RUN: no test reads it");
            continue;
        };
        let text = text(&folder.join(&name), false).ok().flatten();
        let object: Option<serde_json::Map<String, Value>> =
            text.and_then(|text| serde_json::from_str(&text).ok());
        for (part, cases) in object.into_iter().flatten() {
            let cases = cases.as_array().map(Vec::len);
            if part != "header" && !parts.contains(&part.as_str()) {
                let cases = cases.unwrap_or_default();
                let _ = writeln!(
                    told,
                    "{name} {part}: NOT RUN: no test reads it ({cases} cases)"
                );
            }
        }
    }
    Ok(told)
}

/// Fails with both values unless they are equal.
///
/// # Errors
///
/// A sentence that has both.
pub fn same<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Result<(), String> {
    if got == want {
        Ok(())
    } else {
        Err(format!("{what} is {got:?}, not {want:?}"))
    }
}

/// Fails unless the numbers are equal but for rounding, relative or absolute.
///
/// # Errors
///
/// A sentence that has both.
pub fn close(what: &str, got: f64, want: Number) -> Result<(), String> {
    within(what, got, want, 1e-9 * got.abs().max(want.0.abs()).max(1.0))
}

/// Fails unless the numbers are at most `tolerance` apart.
///
/// # Errors
///
/// A sentence that has both.
pub fn within(what: &str, got: f64, want: Number, tolerance: f64) -> Result<(), String> {
    let want = want.0;
    if got == want || (got - want).abs() <= tolerance || (got.is_nan() && want.is_nan()) {
        Ok(())
    } else {
        Err(format!("{what} is {got}, not {want}"))
    }
}

/// A duration in milliseconds, parts of which count.
pub fn ms(value: f64) -> Duration {
    Duration::from_nanos((value * 1e6).round() as u64)
}

/// Reachability by the contract's name.
///
/// # Errors
///
/// There is none of that name.
pub fn reachability(name: &str) -> Result<Reachability, String> {
    match name {
        "" => Ok(Reachability::Unknown),
        "Reachable" => Ok(Reachability::Reachable),
        "Unreachable" => Ok(Reachability::Unreachable),
        other => Err(format!("{other:?} is no reachability")),
    }
}

/// A double; one that is not finite is written as a word.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Word")]
pub struct Number(pub f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(f64),
    Text(String),
}

impl TryFrom<Word> for Number {
    type Error = ParseFloatError;

    fn try_from(word: Word) -> Result<Self, Self::Error> {
        Ok(Self(match word {
            Word::Number(number) => number,
            Word::Text(text) => text.parse()?,
        }))
    }
}

#[cfg(test)]
mod tests;
