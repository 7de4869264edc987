//! What the command says to input that it cannot take: one sentence, status 2.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::process::Command;

fn refused(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_penstock"))
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(output.stdout, b"");
    said
}

#[test]
fn a_file_that_is_not_there_is_named_alike_by_every_command() {
    let sentence = "penstock: cannot read missing.yaml: there is no such file\n";
    assert_eq!(refused(&["up", "missing.yaml"]), sentence);
    assert_eq!(refused(&["inject", "-f", "missing.yaml"]), sentence);
    assert_eq!(refused(&["uninject", "-f", "missing.yaml"]), sentence);
}

#[cfg(not(feature = "kube"))]
#[test]
fn a_build_that_cannot_speak_to_a_cluster_says_which_one_can() {
    for flags in [&[][..], &["-n", "shop", "-o", "json"], &["--help"]] {
        let said = refused(&[&["doctor"], flags].concat());
        assert!(said.contains("--features kube"), "{said}");
    }
}
