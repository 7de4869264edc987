//! Each mistake, and the sentence that it gets.

use super::*;

/// The sentences about `text`, without the file and the document that are the same in all.
fn sentences(text: &str) -> Vec<String> {
    let refused = match read_one(text) {
        Ok(_) => return Vec::new(),
        Err(refused) => refused,
    };
    let short = |problem: &Problem| {
        let sentence = problem.to_string();
        let start = "app.yaml, document 1, line ";
        sentence.strip_prefix(start).unwrap_or(&sentence).to_owned()
    };
    refused.errors.iter().map(short).collect()
}

#[test]
fn each_mistake_in_a_container_has_its_sentence() {
    let of = "spec.template.spec.containers[0]";
    let table = [
        (
            "ports: [{name: http3}]",
            "ports[0].name is \"http3\"; it must be http1 or h2c, or left out",
        ),
        (
            "ports: [{containerPort: 70000}]",
            "ports[0].containerPort is 70000; it must be a whole number from 0 to 65535",
        ),
        (
            "ports: [{containerPort: 8012}]",
            "ports[0].containerPort is 8012; it must be another: Knative's queue-proxy takes it",
        ),
        (
            "ports: [{protocol: UDP}]",
            "ports[0].protocol is \"UDP\"; it must be TCP",
        ),
        (
            "ports: [{}, {}]",
            "ports is a list of 2 ports; it must be a list of at most one",
        ),
        ("ports: 8080", "ports is 8080; it must be a list"),
        (
            "env: [{value: x}]",
            "env[0].name is missing; it must be the name of a variable",
        ),
        (
            "env: [{name: A, value: 5}]",
            "env[0].value is 5; it must be text, in quotes: \"5\"",
        ),
        (
            "env: [{name: A, value: yes}]",
            "env[0].value is yes; it must be text, in quotes: \"yes\"",
        ),
        (
            "env: [{name: A, value: [b]}]",
            "env[0].value is a list; it must be text",
        ),
        (
            "env: [{name: A=B}]",
            "env[0].name is \"A=B\"; it must be the name of a variable, without =",
        ),
        (
            "env: [{name: PORT}]",
            "env[0].name is \"PORT\"; it must be none of PORT, K_SERVICE, K_CONFIGURATION, K_REVISION, which are filled in",
        ),
        (
            "env: [{name: A, valueFrom: {}}]",
            "env[0].valueFrom is not supported here; give the variable a value",
        ),
        (
            "envFrom: [{}]",
            "envFrom is not supported here; no ConfigMap or Secret is read; give each variable a value under env",
        ),
        ("command: ls", "command is \"ls\"; it must be a list"),
        (
            "args: [1]",
            "args[0] is 1; it must be text, in quotes: \"1\"",
        ),
        (
            "livenessProbe: {periodSeconds: 1}",
            "livenessProbe.httpGet is missing; it must be one of httpGet, tcpSocket, exec or grpc",
        ),
        (
            "readinessProbe: {httpGet: {}, exec: {}}",
            "readinessProbe.exec stands beside another way to ask; keep one of them",
        ),
        (
            "readinessProbe: {exec: {}}",
            "readinessProbe.exec.command is missing; it must be a list: the program and its arguments",
        ),
        (
            "readinessProbe: {exec: {command: []}}",
            "readinessProbe.exec.command is empty; it must be a list: the program and its arguments",
        ),
        (
            "readinessProbe: {tcpSocket: {port: web}}",
            "readinessProbe.tcpSocket.port is \"web\"; it must be a port from 1 to 65535; no declared one has a name",
        ),
        (
            "readinessProbe: {tcpSocket: {port: 65536}}",
            "readinessProbe.tcpSocket.port is 65536; it must be a port from 1 to 65535; no declared one has a name",
        ),
        (
            "readinessProbe: {httpGet: {scheme: FTP}}",
            "readinessProbe.httpGet.scheme is \"FTP\"; it must be HTTP or HTTPS",
        ),
        (
            "readinessProbe: {httpGet: {path: a b}}",
            "readinessProbe.httpGet.path is \"a b\"; it must be a path in ASCII, without spaces; write them as %20",
        ),
        (
            "readinessProbe: {httpGet: {httpHeaders: [{name: a b, value: c}]}}",
            "readinessProbe.httpGet.httpHeaders[0].name is \"a b\"; it must be the name of a header: letters, digits and -",
        ),
        (
            "readinessProbe: {httpGet: {httpHeaders: [{name: a}]}}",
            "readinessProbe.httpGet.httpHeaders[0].value is missing; it must be the value of the header",
        ),
        (
            "readinessProbe: {timeoutSeconds: 2}",
            "readinessProbe.timeoutSeconds needs a periodSeconds above 0: without one, the workload is asked as fast as it helps",
        ),
        (
            "readinessProbe: {periodSeconds: 0, failureThreshold: 2}",
            "readinessProbe.failureThreshold needs a periodSeconds above 0: without one, the workload is asked as fast as it helps",
        ),
        (
            "readinessProbe: {periodSeconds: 1, timeoutSeconds: 0}",
            "readinessProbe.timeoutSeconds is 0; it must be a whole number, at least 1",
        ),
        (
            "readinessProbe: {successThreshold: -1}",
            "readinessProbe.successThreshold is -1; it must be a whole number, at least 1",
        ),
        (
            "livenessProbe: {tcpSocket: {}, successThreshold: 2}",
            "livenessProbe.successThreshold is 2; it must be a whole number from 0 to 1",
        ),
    ];
    for (written, want) in table {
        assert_eq!(
            sentences(&with_container(written)),
            [format!("10: {of}.{want}")]
        );
    }
    let none = with_container("").replace("image: hello", "name: user");
    let want = "image is missing; it must be the image to run, or a command beside it";
    assert_eq!(sentences(&none), [format!("9: {of}.{want}")]);
}

#[test]
fn each_mistake_in_a_template_has_its_sentence() {
    let table = [
        (
            "containerConcurrency: 1001",
            "containerConcurrency is 1001; it must be a whole number from 0 to 1000",
        ),
        (
            "containerConcurrency: \"5\"",
            "containerConcurrency is \"5\"; it must be a whole number from 0 to 1000",
        ),
        (
            "containerConcurrency: -1",
            "containerConcurrency is -1; it must be a whole number from 0 to 1000",
        ),
        (
            "timeoutSeconds: 601",
            "timeoutSeconds is 601; it must be a whole number from 0 to 600",
        ),
        (
            "timeoutSeconds: 1.5",
            "timeoutSeconds is 1.5; it must be a whole number from 0 to 600",
        ),
        (
            "responseStartTimeoutSeconds: 301",
            "responseStartTimeoutSeconds is 301; it must be at most timeoutSeconds, which is 300",
        ),
        (
            "idleTimeoutSeconds: 400",
            "idleTimeoutSeconds is 400; it must be at most timeoutSeconds, which is 300",
        ),
        (
            "initContainers: [{}]",
            "initContainers is not supported here; start what it does from the container itself",
        ),
    ];
    for (written, want) in table {
        let text = with_container("").replace(
            "      containers",
            &format!("      {written}\n      containers"),
        );
        assert_eq!(sentences(&text), [format!("8: spec.template.spec.{want}")]);
    }
    let two = format!("{}        - image: sidecar\n", with_container(""));
    let want = "8: spec.template.spec.containers is a list of 2 containers; it must be a list of \
                exactly one: sidecars are not supported here";
    assert_eq!(sentences(&two), [want]);
    let none = with_container("").replace("        - image: hello\n", "        []\n");
    let want = "8: spec.template.spec.containers is empty; it must be a list of exactly one: \
                sidecars are not supported here";
    assert_eq!(sentences(&none), [want]);
}

#[test]
fn each_mistake_in_traffic_has_its_sentence() {
    let table = [
        (
            "[{percent: 100, revisionName: a, latestRevision: true}]",
            "[0].latestRevision is true, yet revisionName is \"a\"; keep one of them",
        ),
        (
            "[{percent: 100, latestRevision: false}]",
            "[0].latestRevision is false, yet there is no revisionName; name the revision",
        ),
        (
            "[{percent: 90, latestRevision: true}]",
            " is 90 percent in all; it must be 100 in all",
        ),
        (
            "[{latestRevision: true}]",
            " is 0 percent in all; it must be 100 in all",
        ),
        (
            "[{percent: 60}, {percent: 60}]",
            " is 120 percent in all; it must be 100 in all",
        ),
        (
            "[{percent: 101}]",
            "[0].percent is 101; it must be a whole number from 0 to 100",
        ),
        (
            "[{percent: 50%}]",
            "[0].percent is \"50%\"; it must be a whole number from 0 to 100",
        ),
        (
            "[{percent: 100, tag: A}]",
            "[0].tag is \"A\"; it must be at most 63 characters of a-z, 0-9 and -, begin with a letter and not end with -",
        ),
        (
            "[{percent: 100, tag: a}, {tag: a}]",
            "[1].tag is given twice, first on line 10; keep one",
        ),
        (
            "[{percent: 100, configurationName: hello}]",
            "[0].configurationName has no place in a Service, which has one configuration; leave it out",
        ),
        (
            "[{percent: 100, url: http://x}]",
            "[0].url is not supported here; it is written by the platform; leave it out",
        ),
    ];
    for (written, want) in table {
        let text = format!("{}  traffic: {written}\n", with_container(""));
        assert_eq!(sentences(&text), [format!("10: spec.traffic{want}")]);
    }
    let long = format!(
        "{}  traffic: [{{percent: 100, tag: {}}}]\n",
        with_container(""),
        "a".repeat(60)
    );
    let want = format!(
        "10: spec.traffic[0].tag is \"{}\"; it must be short enough for {0}-hello to be at most 63 characters",
        "a".repeat(60)
    );
    assert_eq!(sentences(&long), [want]);
    let route =
        "apiVersion: serving.knative.dev/v1\nkind: Route\nmetadata: {name: r}\nspec:\n  traffic:\n";
    let table = [
        (
            "  - percent: 100",
            "spec.traffic[0].configurationName is missing; it must be the name of a configuration, or a revisionName beside it",
        ),
        (
            "  - {percent: 100, configurationName: a, revisionName: b}",
            "spec.traffic[0].configurationName stands beside revisionName; keep one of them",
        ),
    ];
    for (written, want) in table {
        assert_eq!(
            sentences(&format!("{route}{written}\n"))[0],
            format!("6: {want}")
        );
    }
}

#[test]
fn each_mistake_in_metadata_has_its_sentence() {
    let label = "at most 63 characters of a-z, 0-9 and -, begin with a letter and not end with -";
    let table = [
        ("name: Hello", format!("4: metadata.name is \"Hello\"; it must be {label}")),
        ("name: 5", "4: metadata.name is 5; it must be text, in quotes: \"5\"".to_owned()),
        ("namespace: a", format!("3: metadata.name is missing; it must be {label}")),
        ("name: hello\n  namespace: a.b", "5: metadata.namespace is \"a.b\"; it must be at most 63 characters of a-z, 0-9 and -, and neither begin nor end with -".to_owned()),
        ("generateName: hello-", "4: metadata.generateName is not supported here; give it a name".to_owned()),
        (
            "name: hello\n  annotations:\n    autoscaling.knative.dev/min-scale: \"1\"",
            "6: metadata.annotations[autoscaling.knative.dev/min-scale] belongs to spec.template.metadata.annotations, not here".to_owned(),
        ),
        (
            "name: hello\n  annotations:\n    a: 1",
            "6: metadata.annotations.a is 1; it must be text, in quotes: \"1\"".to_owned(),
        ),
    ];
    for (written, want) in table {
        let text = with_container("").replace("name: hello\n", &format!("{written}\n"));
        assert_eq!(sentences(&text), [want]);
    }
    let named =
        with_container("").replace("template:\n", "template:\n    metadata: {name: other-1}\n");
    let want =
        "7: spec.template.metadata.name is \"other-1\"; it must be a name that begins with hello-";
    assert_eq!(sentences(&named), [want]);
}

#[test]
fn each_mistake_in_a_document_has_its_sentence() {
    let hello = with_container("");
    let table = [
        (hello.replace("knative.dev/v1", "knative.dev/v2"), "1: apiVersion is \"serving.knative.dev/v2\"; it must be serving.knative.dev/v1, v1beta1 or v1alpha1"),
        (hello.replace("apiVersion: serving.knative.dev/v1\n", ""), "1: apiVersion is missing; it must be serving.knative.dev/v1"),
        (hello.replace("kind: Service\n", ""), "1: kind is missing; it must be Service, Configuration or Route"),
        (hello.replace("template:", "templates:"), "5: spec.template is missing; it must be a revision template"),
        ("- a\n".to_owned(), "1: the document is a list; it must be a mapping"),
        ("".to_owned(), "1: the document holds nothing to run: a Service of serving.knative.dev/v1 is needed"),
        ("a: [1\n".to_owned(), "1: this is not YAML: unclosed bracket '['"),
        ("a: b: c\n".to_owned(), "1: this is not YAML: mapping values are not allowed in this context"),
        (hello.replace("kind: Service\n", "kind: Service\nkind: Service\n"), "3: kind is given twice, first on line 2; keep one"),
        (
            hello.replace("  template:", "  runLatest:\n    configuration: {}\n  template:"),
            "6: spec.runLatest is not supported here; it is the form of v1alpha1: write spec.template",
        ),
        (
            "apiVersion: serving.knative.dev/v1alpha1\nkind: Service\nmetadata: {name: a}\nspec:\n  release: {revisions: [a]}\n".to_owned(),
            "5: spec.release is not supported here; write spec.template and spec.traffic, as v1 does",
        ),
        (
            "apiVersion: serving.knative.dev/v1alpha1\nkind: Service\nmetadata: {name: a}\nspec:\n  manual: {}\n".to_owned(),
            "5: spec.manual is not supported here; write spec.template and spec.traffic, as v1 does",
        ),
    ];
    for (text, want) in table {
        let sentences = sentences(&text);
        assert_eq!(sentences.first().map(String::as_str), Some(want), "{text}");
    }
}

#[test]
fn the_annotations_of_a_template_are_checked_by_their_own_rules() {
    let text = with_container("").replace(
        "template:\n",
        "template:\n    metadata:\n      annotations:\n        \
         autoscaling.knative.dev/min-scale: \"3\"\n        \
         autoscaling.knative.dev/max-scale: \"2\"\n",
    );
    let check = |annotations: &Annotations| {
        assert_eq!(annotations.len(), 2);
        vec![Rejected {
            keys: vec![
                "autoscaling.knative.dev/max-scale".to_owned(),
                "autoscaling.knative.dev/min-scale".to_owned(),
            ],
            reason: "2 is below 3; the highest has to be at least the lowest".to_owned(),
        }]
    };
    let source = Source {
        name: "app.yaml",
        text: &text,
    };
    let refused = read(
        &[source],
        AnnotationRules {
            check: &check,
            ..ALLOW_ALL
        },
    )
    .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "app.yaml, document 1, line 10: spec.template.metadata.annotations\
         [autoscaling.knative.dev/max-scale, autoscaling.knative.dev/min-scale]: 2 is below 3; \
         the highest has to be at least the lowest"
    );
}

#[test]
fn two_of_one_name_or_one_host_are_refused() {
    let hello = with_container("");
    let twice = format!("{hello}---\n{hello}");
    assert_eq!(
        sentences(&twice),
        [
            "app.yaml, document 2, line 14: metadata.name takes the configuration default/hello, \
          which is taken already: app.yaml, document 1, line 4"
        ]
    );
    let tag = "  traffic: [{percent: 100, tag: old}]\n";
    let other = hello.replace("name: hello", "name: old-hello");
    assert_eq!(
        sentences(&format!("{hello}{tag}---\n{other}")),
        [
            "app.yaml, document 2, line 15: spec.traffic takes the host old-hello in namespace \
          default, which is taken already: app.yaml, document 1, line 10"
        ]
    );
    let elsewhere = hello.replace("name: hello", "name: hello\n  namespace: other");
    assert_eq!(sentences(&format!("{hello}---\n{elsewhere}")), [""; 0]);
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let one = "apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: Hello
spec:
  template:
    metadata:
      annotations:
        a: 1
    spec:
      containerConcurrency: many
      timeoutSeconds: 601
      containers:
        - ports:
            - name: http3
          env:
            - name: A
              name: B
              valueFrom: {}
          readinessProbe:
            tcpSocket: {port: web}
  traffic:
    - percent: 90
---
a: [
---
kind: Service
";
    let two = "apiVersion: serving.knative.dev/v3\nkind: Route\n";
    let sources = [
        Source {
            name: "one.yaml",
            text: one,
        },
        Source {
            name: "two.yaml",
            text: two,
        },
    ];
    let refused = read(&sources, ALLOW_ALL).unwrap_err();
    let places: Vec<String> = refused
        .errors
        .iter()
        .map(|problem| {
            let Place {
                file,
                document,
                line,
            } = &problem.place;
            format!("{file} {document} {line} {}", problem.path)
        })
        .collect();
    assert_eq!(
        places,
        [
            "one.yaml 1 4 metadata.name",
            "one.yaml 1 9 spec.template.metadata.annotations.a",
            "one.yaml 1 11 spec.template.spec.containerConcurrency",
            "one.yaml 1 12 spec.template.spec.timeoutSeconds",
            "one.yaml 1 14 spec.template.spec.containers[0].image",
            "one.yaml 1 15 spec.template.spec.containers[0].ports[0].name",
            "one.yaml 1 18 spec.template.spec.containers[0].env[0].name",
            "one.yaml 1 19 spec.template.spec.containers[0].env[0].valueFrom",
            "one.yaml 1 21 spec.template.spec.containers[0].readinessProbe.tcpSocket.port",
            "one.yaml 1 22 spec.traffic",
            "one.yaml 2 25 ",
            "one.yaml 3 27 apiVersion",
            "two.yaml 1 1 apiVersion",
        ]
    );
}
