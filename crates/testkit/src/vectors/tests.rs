use super::*;

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn holding(name: &str, files: &[(&str, &str)]) -> Self {
        let name = format!("penstock-vectors-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            std::fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Deserialize)]
struct Case {
    value: i32,
}

fn is_one(case: &Case) -> Result<(), String> {
    assert!(case.value >= 0, "below zero");
    same("value", case.value, 1)
}

#[test]
fn each_case_that_fails_is_told_by_its_id_and_the_others_are_run() {
    let text = r#"{"header": {"format": "x"}, "cases": [
        {"id": "a-1", "value": 1, "note": "more than is read"},
        {"id": "a-2", "value": 2},
        {"id": "a-3", "value": "one"},
        {"id": "a-4"},
        {"id": "a-5", "value": -1},
        {"value": 7},
        {"id": "a-7", "value": 1}
    ]}"#;
    let folder = Folder::holding("cases", &[("scrape.json", text)]);
    let file = Vectors::open_in(&folder.0, "scrape.json", false).part("cases", is_one);
    let told = file.told();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "scrape.json: 2 passed, 5 failed");
    let begins = [
        "  a-2: value is 2, not 1",
        "  a-3: is not as expected: invalid type",
        "  a-4: is not as expected: missing field `value`",
        "  a-5: panicked: below zero",
        "  cases[5] {\"value\":7}: value is 7, not 1",
    ];
    assert_eq!(lines.len(), 1 + begins.len(), "{told}");
    for (line, begin) in lines[1..].iter().zip(begins) {
        assert!(line.starts_with(begin), "{line} does not begin as {begin}");
    }
    let ended = catch_unwind(AssertUnwindSafe(|| file.end()));
    assert!(ended.is_err(), "a case that fails fails the test");
}

#[test]
fn what_is_not_there_is_not_run_and_told() {
    let folder = Folder::holding("lacking", &[("windows.json", r#"{"averages": []}"#)]);
    let read = |label| {
        let file = Vectors::open_in(&folder.0, label, false);
        file.part("averages", is_one).part("maxima", is_one)
    };
    let file = read("windows.json");
    let want = "windows.json: 0 passed, 0 failed\nwindows.json: NOT RUN: no part maxima\n";
    assert_eq!(file.told(), want);
    file.end();
    let file = read("sampling.json");
    let want = format!("sampling.json: NOT RUN: not in {}\n", folder.0.display());
    assert_eq!(file.told(), want);
    file.end();
}

#[test]
fn in_the_repository_what_is_not_there_fails() {
    let folder = Folder::holding("ours", &[("windows.json", r#"{"averages": []}"#)]);
    let read = |label| {
        let file = Vectors::open_in(&folder.0, label, true);
        let told = file.part("averages", is_one).part("maxima", is_one).told();
        assert!(!told.contains("NOT RUN"), "{told}");
        told
    };
    let told = read("windows.json");
    assert!(told.contains("averages holds no case") && told.contains("maxima holds no case"));
    assert!(read("sampling.json").contains("the file cannot be read"));
}

#[test]
fn a_file_that_is_no_json_fails_whosever_it_is() {
    let files = [("windows.json", "{\"averages\": ["), ("scrape.json", "[]")];
    let folder = Folder::holding("torn", &files);
    for (name, _) in files {
        let file = Vectors::open_in(&folder.0, name, false).part("averages", is_one);
        assert!(file.told().contains("is not an object of JSON"));
        assert!(catch_unwind(AssertUnwindSafe(|| file.end())).is_err());
    }
}

#[test]
fn what_no_test_reads_is_told() {
    let folder = Folder::holding(
        "strangers",
        &[
            ("new.json", "{}"),
            (
                "windows.json",
                r#"{"header": {}, "averages": [], "minima": [1, 2]}"#,
            ),
            ("README.md", ""),
        ],
    );
    let want = "new.json: NOT RUN: no test reads it\n\
                windows.json minima: NOT RUN: no test reads it (2 cases)\n";
    assert_eq!(strangers(&folder.0).unwrap(), want);
    assert!(strangers(&folder.0.join("nowhere")).is_err());
    let ours = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    assert_eq!(strangers(&ours).unwrap(), "");
}
