//! The door itself: these very tests, started again with a folder of somebody else's.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const GOOD: &str = r#"{"id": "x-1", "base_unix_ms": 946684804212, "duration_ms": 5000,
    "granularity_ms": 1000, "ops": [["r", 0, 4, 4], ["r", 1000, 2, 4], ["c", 4]]}"#;
const WRONG: &str = r#"{"id": "x-2", "base_unix_ms": 946684804212, "duration_ms": 5000,
    "granularity_ms": 1000, "ops": [["r", 0, 4, 4], ["r", 9000, 2, 4]]}"#;
const MALFORMED: &str = r#"{"id": "x-3", "duration_ms": "long", "ops": []}"#;

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, String)]) -> Self {
        let path = std::env::temp_dir().join(format!("penstock-door-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }

    /// Runs one test with the vectors here. Returns whether it passed, and all that it printed, to
    /// whoever does not ask for the output of tests.
    fn run(&self, test: &str) -> (bool, String) {
        let mut own = Command::new(std::env::current_exe().unwrap());
        let run = own
            .args(["--exact", test])
            .env("PENSTOCK_VECTORS", &self.0)
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        (run.status.success(), text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_of_somebody_else_is_run_case_by_case_and_what_it_lacks_is_told() {
    let windows = format!(r#"{{"header": {{}}, "maxima": [{GOOD}, {WRONG}, {MALFORMED}]}}"#);
    let files = [
        ("windows.json", windows),
        (
            "sampling.json",
            r#"{"sample_sizes": [[1000, 16], [-3, 0]]}"#.to_owned(),
        ),
        ("unheard.json", "{}".to_owned()),
    ];
    let folder = Folder::new(&files);

    let (passed, told) = folder.run("windows::windows");
    assert!(!passed, "{told}");
    for want in [
        "windows.json: 1 passed, 2 failed\n",
        "  x-2: maximum at 9000 is 2, not 4\n",
        "  x-3: is not as expected: ",
        "windows.json: NOT RUN: no part averages\n",
    ] {
        assert!(told.contains(want), "{want:?} is not in {told}");
    }

    let (passed, told) = folder.run("sampling::sampling");
    assert!(passed, "{told}");
    assert!(
        told.contains("sampling.json: 2 passed, 0 failed\n"),
        "{told}"
    );

    let (passed, told) = folder.run("scrape::scrapes");
    assert!(passed, "{told}");
    assert!(told.contains("scrape.json: NOT RUN: not in "), "{told}");

    let (passed, told) = folder.run("what_no_test_reads_is_told");
    assert!(passed, "{told}");
    let want = "unheard.json: NOT RUN: no test reads it\n";
    assert!(told.contains(want), "{told}");
}
