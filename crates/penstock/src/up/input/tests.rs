//! Files in, wanted things or sentences out.

use super::*;
use crate::up::folder::{Folder, HELLO};

fn input(files: &[PathBuf], config: Option<&PathBuf>) -> Input {
    let images = Images::new(Vec::new(), PathBuf::from("/bin/penstock"));
    Input::new(files, config, images)
}

#[test]
fn every_mistake_of_every_file_is_said_at_once() {
    let folder = Folder::new();
    let files = [
        folder.0.join("gone.yaml"),
        folder.0.clone(),
        folder.write("latin1.yaml", [0xE4, 0xF6]),
        folder.write(
            "limit.yaml",
            HELLO.replace("    spec:\n", "    spec:\n      containerConcurrency: -1\n"),
        ),
        folder.write(
            "image.yaml",
            HELLO
                .replace("name: hello", "name: other")
                .replace("-go", "-java"),
        ),
    ];
    let config = folder.write("scale.yaml", "stable-window: 1s\nmax-scale: many\n");
    let said = input(&files, Some(&config)).read().unwrap_err();
    let whole = folder.0.display().to_string();
    let want = [
        "scale.yaml: stable-window: \"1s\" is not a duration from 6s to 1h in whole seconds"
            .to_owned(),
        "scale.yaml: max-scale: \"many\" is not a whole number from 0 to 2147483647, \
         0 for no limit"
            .to_owned(),
        "cannot read gone.yaml: there is no such file".to_owned(),
        format!("cannot read {whole}: it is a directory; name the files in it"),
        "cannot read latin1.yaml: it is not UTF-8 text".to_owned(),
        "limit.yaml, document 1, line 8: spec.template.spec.containerConcurrency is -1; \
         it must be a whole number from 0 to 1000"
            .to_owned(),
        "image.yaml, document 1, line 9: spec.template.spec.containers[0].image is \
         \"ghcr.io/knative/helloworld-java\"; it must be an image whose command is known: \
         add --image helloworld-java=COMMAND, or write command beside it \
         (built in are helloworld-go and autoscale-go)"
            .to_owned(),
    ];
    assert_eq!(folder.relative(said), want);
}

#[test]
fn annotations_of_every_reader_are_checked_and_the_unread_ones_named() {
    let folder = Folder::new();
    let annotated = |annotation: &str| {
        let metadata = format!("  template:\n    metadata:\n      annotations: {{{annotation}}}\n");
        let file = folder.write("app.yaml", HELLO.replace("  template:\n", &metadata));
        input(&[file], None).read()
    };
    for wrong in [
        "penstock.dev/progress: maybe",
        "autoscaling.knative.dev/target: maybe",
    ] {
        let said = folder.relative(annotated(wrong).unwrap_err());
        let key = wrong.split(": ").next().unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains(key) && said[0].contains("maybe"),
            "{said:?}"
        );
    }
    let class = "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev";
    let said = folder.relative(annotated(class).unwrap_err());
    assert_eq!(said.len(), 1, "{said:?}");
    let reason = "the only class that is scaled here";
    assert!(
        said[0].contains("/class") && said[0].contains(reason),
        "{said:?}"
    );
    for unread in ["penstock.dev/progres", "autoscaling.knative.dev/targets"] {
        let wanted = annotated(&format!("{unread}: 'true'")).unwrap();
        let [remark] = &wanted.manifests.warnings[..] else {
            panic!("{:?}", wanted.manifests.warnings);
        };
        assert!(remark.to_string().contains(unread), "{remark}");
    }
}

#[test]
fn an_image_without_a_command_is_named_with_its_place_and_what_to_do() {
    let folder = Folder::new();
    let older = "\
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata:
  name: older
spec:
  runLatest:
    configuration:
      revisionTemplate:
        spec:
          container:
            image: docker.io/team/app:v1
";
    let own = HELLO.replace("name: hello", "name: own") + "          command: [run]\n";
    let both = format!("{}---\n{older}---\n{own}", HELLO.replace("-go", "-java"));
    let files = [folder.write("both.yaml", both)];
    let said = input(&files, None).read().unwrap_err();
    let end = "or write command beside it (built in are helloworld-go and autoscale-go)";
    let want = [
        format!(
            "both.yaml, document 1, line 9: spec.template.spec.containers[0].image is \
             \"ghcr.io/knative/helloworld-java\"; it must be an image whose command is known: \
             add --image helloworld-java=COMMAND, {end}"
        ),
        format!(
            "both.yaml, document 2, line 21: \
             spec.runLatest.configuration.revisionTemplate.spec.container.image is \
             \"docker.io/team/app:v1\"; it must be an image whose command is known: \
             add --image app=COMMAND, {end}"
        ),
    ];
    // The third has an image that nobody knows the command of only if it had no command.
    assert_eq!(folder.relative(said), want);
}

#[test]
fn nothing_runs_at_first_unless_the_settings_say_so() {
    let folder = Folder::new();
    let files = [folder.write("hello.yaml", HELLO)];
    let wanted = input(&files, None).read().unwrap();
    assert_eq!(wanted.config.initial_scale, 0);
    assert!(wanted.config.allow_zero_initial_scale);
    let table = [
        ("{}", 0),
        ("initial-scale: 2", 2),
        ("allow-zero-initial-scale: false", 1),
        ("kind: ConfigMap\ndata:\n  initial-scale: \"3\"\n", 3),
    ];
    for (text, initial) in table {
        let config = folder.write("scale.yaml", text);
        let wanted = input(&files, Some(&config)).read().unwrap();
        assert_eq!(wanted.config.initial_scale, initial, "{text}");
    }
}

#[test]
fn a_file_is_read_again_and_a_pipe_only_once() {
    let folder = Folder::new();
    let file = folder.write("hello.yaml", HELLO);
    let mut input = input(std::slice::from_ref(&file), None);
    assert_eq!(input.read().unwrap().manifests.configurations.len(), 1);
    assert_eq!(input.paths(), std::slice::from_ref(&file));
    folder.write("hello.yaml", "kind: [");
    assert!(input.read().is_err());
    folder.write("hello.yaml", HELLO);
    assert!(input.read().is_ok());

    let mut pipe = Named::new(Path::new("/dev/null"));
    assert_eq!(&*pipe.read().unwrap(), "");
    assert!(pipe.kept.is_some());
}
