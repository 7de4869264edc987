//! The forms that manifests come in.

use crate::harness::{Folder, Options, Service, Up, tests};

tests! {
    standard_input_and_several_files_with_many_documents_are_read;
    a_configuration_with_a_route_is_a_service;
    the_older_form_of_the_tutorials_runs;
    images_are_given_commands_and_domains_are_chosen needs "python3";
    unknown_fields_are_named_and_do_not_matter;
    what_the_autoscaler_is_told_in_a_config_map_counts;
}

async fn standard_input_and_several_files_with_many_documents_are_read() {
    let folder = Folder::new();
    let documents = [Service::hello("one").yaml(), Service::hello("two").yaml()];
    let first = folder.write("first.yaml", &documents.join("---\n"));
    let second = folder.write("second.yaml", &Service::hello("three").yaml());
    let options = Options {
        stdin: Service::hello("four").yaml(),
        ..Options::default()
    };
    let up = Up::of_files(folder, &[&first, "-".as_ref(), &second], options).await;
    for name in ["one", "two", "three", "four"] {
        let host = format!("{name}.default.example.com");
        assert_eq!(up.gateway.text(&host, "/").await, "Hello World!\n");
    }
    up.stop().await;
}

async fn a_configuration_with_a_route_is_a_service() {
    let folder = Folder::new();
    let file = folder.write(
        "parts.yaml",
        "
apiVersion: serving.knative.dev/v1
kind: Configuration
metadata: {name: greeter, namespace: team}
spec:
  template:
    spec:
      containers: [{image: ghcr.io/knative/helloworld-go, env: [{name: TARGET, value: parts}]}]
---
apiVersion: serving.knative.dev/v1
kind: Route
metadata: {name: way, namespace: team}
spec:
  traffic: [{configurationName: greeter, percent: 100, tag: it}]
",
    );
    let up = Up::of_files(folder, &[&file], Options::default()).await;
    for host in ["way.team.example.com", "it-way.team.example.com"] {
        assert_eq!(up.gateway.text(host, "/").await, "Hello parts!\n");
    }
    up.stop().await;
}

async fn the_older_form_of_the_tutorials_runs() {
    let folder = Folder::new();
    let file = folder.write(
        "old.yaml",
        "
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata:
  name: helloworld-go
  namespace: default
spec:
  runLatest:
    configuration:
      revisionTemplate:
        spec:
          container:
            image: docker.io/somebody/helloworld-go
            env:
              - name: TARGET
                value: \"Go Sample v1\"
",
    );
    let up = Up::of_files(folder, &[&file], Options::default()).await;
    let host = "helloworld-go.default.example.com";
    assert_eq!(up.gateway.text(host, "/").await, "Hello Go Sample v1!\n");
    up.stop().await;
}

async fn images_are_given_commands_and_domains_are_chosen() {
    let folder = Folder::new();
    let manifest = Service::hello("files").yaml();
    let manifest = manifest.replace(
        "ghcr.io/knative/helloworld-go",
        "registry.test/team/files:v1",
    );
    let file = folder.write("files.yaml", &manifest);
    let flags = [
        "--image",
        "files=python3 -m http.server $PORT",
        "--domain",
        "test.internal",
    ];
    let up = Up::of_files(folder, &[&file], Options::flags(&flags)).await;
    let listing = up.gateway.text("files.default.test.internal", "/").await;
    assert!(listing.contains("files.yaml"), "{listing}");
    up.stop().await;
}

async fn unknown_fields_are_named_and_do_not_matter() {
    let service = Service::hello("hello").spec("enableServiceLinks: false");
    let service = service.container("resources: {limits: {cpu: 1}}");
    let up = Up::with(&[service.spec("colour: blue")]).await;
    let said = up.output.until_line("spec.template.spec.colour").await;
    assert!(
        said.contains("WARN") && said.contains("services.yaml"),
        "{said}"
    );
    up.gateway.text("hello.default.example.com", "/").await;
    up.stop().await;
}

async fn what_the_autoscaler_is_told_in_a_config_map_counts() {
    let folder = Folder::new();
    let file = folder.write("hello.yaml", &Service::hello("hello").yaml());
    let config = folder.write(
        "config.yaml",
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: config-autoscaler}
data:
  stable-window: 6s
  initial-scale: \"3\"
",
    );
    let flags = ["--config", config.to_str().unwrap()];
    let up = Up::of_files(folder, &[&file], Options::flags(&flags)).await;
    up.until_state("its initial scale", |state| state.ready("hello-00001") == 3)
        .await;
    up.until_state("zero after its window", |state| {
        state.pods("hello-00001") == 0
    })
    .await;
    up.stop().await;
}
