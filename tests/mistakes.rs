//! Wrong input: each mistake is one exact sentence, all of them at once, and nothing is started.

use std::net::TcpListener;
use std::path::Path;

use crate::harness::{Folder, Service, refused, tests};

tests! {
    a_taken_port_is_named;
    files_that_cannot_be_read_are_named;
    what_is_not_yaml_is_located;
    all_mistakes_of_all_files_are_said_at_once;
    an_image_without_a_command_says_what_to_do;
    wrong_settings_of_the_autoscaler_are_named;
    wrong_flags_are_named;
}

/// What is said of `files` and `flags`, which must be refused as wrong input.
async fn sentences(folder: &Folder, files: &[&str], flags: &[&str]) -> Vec<String> {
    let files: Vec<&Path> = files.iter().map(Path::new).collect();
    let (status, sentences) = refused(folder, &files, flags).await;
    assert_eq!(status, 2, "{sentences:?}");
    sentences
}

fn with_hello() -> Folder {
    let folder = Folder::new();
    folder.write("hello.yaml", &Service::hello("hello").yaml());
    folder
}

async fn a_taken_port_is_named() {
    let folder = with_hello();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = other.local_addr().unwrap();
    let taken = addr.to_string();
    let said = sentences(&folder, &["hello.yaml"], &["--listen", &taken]).await;
    let want = format!("penstock: cannot listen on {addr}: the port is taken by another program");
    assert_eq!(said, [want]);
    let said = sentences(&folder, &["hello.yaml"], &["--admin", &taken]).await;
    assert_eq!(
        said,
        [format!(
            "penstock: --admin {addr} is taken by another program"
        )]
    );
    let both = ["--listen", &taken, "--admin", &taken];
    let said = sentences(&folder, &["hello.yaml"], &both).await;
    assert!(
        said.contains(&format!("penstock: --admin and --listen are both {addr}")),
        "{said:?}"
    );
}

async fn files_that_cannot_be_read_are_named() {
    let folder = with_hello();
    let said = sentences(&folder, &["hello.yaml", "missing.yaml", "."], &[]).await;
    let want = [
        "penstock: cannot read missing.yaml: there is no such file",
        "penstock: cannot read .: it is a directory; name the files in it",
    ];
    assert_eq!(said, want);
}

async fn what_is_not_yaml_is_located() {
    let folder = with_hello();
    folder.write("broken.yaml", "a: [1,\n  b: {\n");
    let said = sentences(&folder, &["hello.yaml", "broken.yaml"], &[]).await;
    assert_eq!(said.len(), 1, "{said:?}");
    let place = "penstock: broken.yaml, document 1, line 2: this is not YAML: ";
    assert!(said[0].starts_with(place), "{said:?}");
}

async fn all_mistakes_of_all_files_are_said_at_once() {
    let folder = Folder::new();
    let first = Service::hello("Hello")
        .annotated("max-scale", -1)
        .spec("containerConcurrency: -1")
        .spec("timeoutSeconds: soon");
    folder.write("first.yaml", &first.yaml());
    let half = Service::hello("half").traffic("[{percent: 50, latestRevision: true}]");
    let documents = [Service::hello("fine").yaml(), half.yaml()];
    folder.write("second.yaml", &documents.join("---\n"));
    let said = sentences(&folder, &["first.yaml", "second.yaml", "third.yaml"], &[]).await;
    let want = [
        "penstock: cannot read third.yaml: there is no such file",
        "penstock: first.yaml, document 1, line 3: metadata.name is \"Hello\"; it must be at most \
         63 characters of a-z, 0-9 and -, begin with a letter and not end with -",
        "penstock: first.yaml, document 1, line 8: \
         spec.template.metadata.annotations[autoscaling.knative.dev/max-scale]: \"-1\" is not a \
         whole number from 0 to 2147483647",
        "penstock: first.yaml, document 1, line 10: spec.template.spec.containerConcurrency is \
         -1; it must be a whole number from 0 to 1000",
        "penstock: first.yaml, document 1, line 11: spec.template.spec.timeoutSeconds is \
         \"soon\"; it must be a whole number from 0 to 600",
        "penstock: second.yaml, document 2, line 18: spec.traffic is 50 percent in all; it must \
         be 100 in all",
    ];
    assert_eq!(said, want);
}

async fn an_image_without_a_command_says_what_to_do() {
    let folder = Folder::new();
    let manifest = Service::hello("app").yaml();
    let manifest = manifest.replace("ghcr.io/knative/helloworld-go", "registry.test/app:v1");
    folder.write("app.yaml", &manifest);
    let said = sentences(&folder, &["app.yaml"], &[]).await;
    let want = "penstock: app.yaml, document 1, line 8: spec.template.spec.containers[0].image is \
                \"registry.test/app:v1\"; it must be an image whose command is known: add --image \
                app=COMMAND, or write command beside it (built in are helloworld-go and \
                autoscale-go)";
    assert_eq!(said, [want]);
}

async fn wrong_settings_of_the_autoscaler_are_named() {
    let folder = with_hello();
    folder.write(
        "config.yaml",
        "stable-window: soon\ntarget-burst-capacity: \"x\"\n",
    );
    let said = sentences(&folder, &["hello.yaml"], &["--config", "config.yaml"]).await;
    let want = [
        "penstock: config.yaml: target-burst-capacity: \"x\" is not a number from 0, or -1 for \
         no limit",
        "penstock: config.yaml: stable-window: \"soon\" is not a duration from 6s to 1h in whole \
         seconds",
    ];
    assert_eq!(said, want);
    let said = sentences(&folder, &["hello.yaml"], &["--config", "none.yaml"]).await;
    assert_eq!(
        said,
        ["penstock: cannot read none.yaml: there is no such file"]
    );
}

async fn wrong_flags_are_named() {
    let folder = with_hello();
    let table: [(&[&str], &str); 6] = [
        (
            &["--polcy", "demand"],
            "error: unexpected argument '--polcy' found",
        ),
        (
            &["--policy", "x"],
            "error: invalid value 'x' for '--policy <POLICY>'",
        ),
        (
            &["--listen", "nowhere"],
            "error: invalid value 'nowhere' for '--listen <ADDR>': it must be an IP address and \
             a port, such as 127.0.0.1:8080",
        ),
        (
            &["--image", "app"],
            "error: invalid value 'app' for '--image <NAME=COMMAND>': it must be NAME=COMMAND",
        ),
        (
            &["--domain", "a_b"],
            "error: invalid value 'a_b' for '--domain <DOMAIN>': it must be a DNS name, such as \
             example.com or localhost",
        ),
        (
            &["--workers", "none"],
            "error: invalid value 'none' for '--workers <N>'",
        ),
    ];
    for (flags, want) in table {
        let said = sentences(&folder, &["hello.yaml"], flags).await;
        assert!(said[0].starts_with(want), "{said:?}");
    }
    let said = sentences(&folder, &[], &[]).await;
    assert_eq!(
        said[0],
        "error: the following required arguments were not provided:"
    );
}
