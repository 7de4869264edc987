//! The golden vectors: where they lie, and how tests say which cases passed.
//!
//! They are in `tests/vectors` of the repository, or in the folder that `PENSTOCK_VECTORS` names. That
//! one may hold other cases, and need not hold all files: a file or a part that is not there has
//! no cases, while one that is missing in the repository fails its test.

use std::fmt::Debug;
use std::io;
use std::num::ParseFloatError;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where they lie; `None` is the repository.
fn given() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever runs the tests may have vectors of their own"
    )]
    std::env::var_os("PENSTOCK_VECTORS").map(PathBuf::from)
}

/// Whether they are those of the repository, of which tests know what there has to be.
pub fn are_ours() -> bool {
    given().is_none()
}

/// Reads a file. Its `Default` is what a file that is not there holds.
pub fn read<T: DeserializeOwned + Default>(file: &str) -> T {
    let folder = given()
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors"));
    let path = folder.join(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !are_ours() => {
            return T::default();
        }
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    };
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{} is not as expected: {error}", path.display()))
}

/// Runs every case, prints how many passed and which did not, and fails if any did not.
#[expect(
    clippy::print_stdout,
    reason = "the counts are for whoever runs the tests"
)]
pub fn check<C>(
    file: &str,
    cases: &[C],
    id: impl Fn(&C) -> String,
    run: impl Fn(&C) -> Result<(), String>,
) {
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| run(case).err().map(|why| format!("{}: {why}", id(case))))
        .collect();
    let passed = cases.len() - failed.len();
    println!("{file}: {passed} passed, {} failed", failed.len());
    for case in &failed {
        println!("  {case}");
    }
    assert!(!cases.is_empty() || !are_ours(), "{file} holds no case");
    assert!(failed.is_empty(), "{file}: {} cases failed", failed.len());
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
