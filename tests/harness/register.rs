//! How a test gets its name, and says which programs it needs.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

/// Longest that one test may take: a limit for what hangs.
const LONGEST: Duration = Duration::from_secs(170);

/// Names the async tests of a module, which become its `tests()`: `name;`, or
/// `name needs "program", "another";`.
macro_rules! tests {
    ($($name:ident $(needs $($program:literal),+)?;)+) => {
        pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(
                concat!(module_path!(), "::", stringify!($name)),
                &[$($($program),+)?],
                || $crate::harness::run($name()),
            )),+]
        }
    };
}

/// The same for tests that start nothing and wait for nothing.
macro_rules! plain_tests {
    ($($name:ident;)+) => {
        pub(crate) fn tests() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::harness::trial(
                concat!(module_path!(), "::", stringify!($name)),
                &[],
                $name,
            )),+]
        }
    };
}

pub(crate) use {plain_tests, tests};

/// One test. Without a program of `needed` it is ignored, or fails if everything has to run.
pub(crate) fn trial(name: &str, needed: &[&str], test: fn()) -> Trial {
    let name = name.strip_prefix("e2e::").unwrap_or(name);
    let missing: Vec<&str> = needed
        .iter()
        .copied()
        .filter(|program| !is_installed(program))
        .collect();
    if missing.is_empty() {
        return Trial::test(name, move || {
            test();
            Ok(())
        });
    }
    let missing = missing.join(", ");
    let sentence = format!("it needs {missing}, which is not installed");
    Trial::test(name, move || Err(Failed::from(sentence)))
        .with_kind(format!("needs {missing}"))
        .with_ignored_flag(!everything_has_to_run())
}

/// One test with a time limit of its own. Without being asked for by `--ignored` it runs only if it
/// is not `long`.
pub(crate) fn trial_apart<T: Future<Output = ()>>(
    name: &str,
    long: bool,
    longest: Duration,
    test: impl FnOnce() -> T + Send + 'static,
) -> Trial {
    let trial = Trial::test(name, move || {
        run_within(longest, test());
        Ok(())
    });
    trial.with_ignored_flag(long)
}

/// Runs an async test on this thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(LONGEST, test);
}

fn run_within(longest: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(longest, test).await });
    assert!(ended.is_ok(), "not at its end after {longest:?}");
}

fn is_installed(program: &str) -> bool {
    let path = variable("PATH").unwrap_or_default();
    path.split(':')
        .any(|folder| Path::new(folder).join(program).is_file())
}

fn everything_has_to_run() -> bool {
    variable("PENSTOCK_TEST_ALL").is_some_and(|value| value == "1")
}

#[expect(
    clippy::disallowed_methods,
    reason = "which tests run is decided outside of them"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
