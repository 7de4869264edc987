//! `penstock simulate` as a process: what it says where, and its exit code.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::{Command, Output};

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("simulate")
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_result_is_on_standard_output_and_nothing_else_is_said() {
    let output = simulate(&["--shape", "steady:rps=2", "--length", "30s"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("pod-seconds"), "{text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn each_mistake_is_a_line_on_standard_error_and_the_exit_code_is_2() {
    let output = simulate(&["--shape", "step:at=x", "--pods", "-1", "missing.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8(output.stderr).unwrap();
    let want = "\
penstock: cannot read missing.yaml: there is no such file
penstock: --shape step:at=x: at=x is not a time such as 90s or 5m
penstock: --pods -1: it must be a whole number from 0 to 100000
";
    assert_eq!(said, want);
}
