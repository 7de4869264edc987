//! What is read from manifests that people write. The mistakes are in `mistakes`.

mod mistakes;
mod properties;

use std::time::Duration;

use penstock_types::annotation::{Annotations, Rejected};
use penstock_types::probe::{Check, HttpGet, Probe};
use penstock_types::{Protocol, Slots, Timeouts};

use super::*;
use crate::{Container, TrafficTarget, Upon};

const ALLOW_ALL: AnnotationRules<'_> = AnnotationRules {
    check: &|_| Vec::new(),
    known: &[
        "autoscaling.knative.dev/max-scale",
        "autoscaling.knative.dev/min-scale",
        "autoscaling.knative.dev/target",
        "autoscaling.knative.dev/window",
    ],
};

pub(crate) fn read_one(text: &str) -> Result<Manifests, Refused> {
    let name = "app.yaml";
    read(&[Source { name, text }], ALLOW_ALL)
}

fn good(text: &str) -> Manifests {
    read_one(text).unwrap_or_else(|refused| panic!("{refused}"))
}

/// A Service with `spec` below `template.spec.containers[0]`, indented by ten.
fn with_container(lines: &str) -> String {
    let lines: String = lines
        .lines()
        .map(|line| format!("          {line}\n"))
        .collect();
    format!(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: hello\nspec:\n  \
         template:\n    spec:\n      containers:\n        - image: hello\n{lines}"
    )
}

#[test]
fn an_annotation_that_nobody_reads_is_named() {
    let manifests = good(
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata:\n  name: hello\nspec:\n  \
         template:\n    metadata:\n      annotations:\n        \
         autoscaling.knative.dev/tarrget: \"1\"\n        autoscaling.knative.dev/window: 60s\n        \
         autoscaling.knative.dev/quota: \"1\"\n        example.com/tarrget: \"1\"\n    \
         spec:\n      containers:\n        - image: hello\n",
    );
    let path = "app.yaml, document 1, line 9: spec.template.metadata.annotations";
    assert_eq!(
        warnings(&manifests),
        [
            format!(
                "{path}[autoscaling.knative.dev/tarrget] is not a known field; it is ignored \
                 (is autoscaling.knative.dev/target meant?)"
            ),
            format!("{path}[autoscaling.knative.dev/quota] is not a known field; it is ignored")
                .replace("line 9", "line 11"),
        ]
    );
}

fn warnings(manifests: &Manifests) -> Vec<String> {
    manifests.warnings.iter().map(ToString::to_string).collect()
}

fn shares(traffic: &[TrafficTarget]) -> Vec<(Upon, u8, Option<&str>)> {
    traffic
        .iter()
        .map(|target| (target.upon.clone(), target.percent, target.tag.as_deref()))
        .collect()
}

fn latest(name: &str) -> Upon {
    Upon::Latest(name.to_owned())
}

fn pinned(name: &str) -> Upon {
    Upon::Revision(name.to_owned())
}

#[test]
fn the_bundled_examples_are_read_without_a_remark() {
    let table = [
        (
            "hello",
            include_str!("../../../../deploy/examples/hello.yaml"),
        ),
        (
            "autoscale",
            include_str!("../../../../deploy/examples/autoscale.yaml"),
        ),
        (
            "canary",
            include_str!("../../../../deploy/examples/canary.yaml"),
        ),
    ];
    for (name, text) in table {
        let manifests = good(text);
        assert_eq!(warnings(&manifests), [""; 0], "{name}");
        assert_eq!(
            manifests.configurations[0].key.to_string(),
            format!("default/{name}")
        );
    }
}

#[test]
fn hello_gets_every_default() {
    let manifests = good(include_str!("../../../../deploy/examples/hello.yaml"));
    let template = &manifests.configurations[0].template;
    let container = Container {
        image: Some("ghcr.io/knative/helloworld-go:latest".to_owned()),
        command: Vec::new(),
        args: Vec::new(),
        env: vec![("TARGET".to_owned(), "World".to_owned())],
        working_dir: None,
        port: Some(8080),
        protocol: Protocol::Http1,
    };
    assert_eq!(template.container, container);
    assert_eq!(template.name, None);
    assert_eq!(template.slots, Slots::Unlimited);
    assert_eq!(template.timeouts, Timeouts::default());
    assert_eq!(template.readiness, Probe::tcp_default());
    assert_eq!((&template.startup, &template.liveness), (&None, &None));
    let [route] = manifests.routes.as_slice() else {
        panic!("{:?}", manifests.routes);
    };
    assert_eq!(route.service.as_deref(), Some("hello"));
    assert_eq!(shares(&route.traffic), [(latest("hello"), 100, None)]);
}

#[test]
fn the_tutorials_v1alpha1_form_is_read_alike() {
    let manifests = good(
        r#"
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata:
  name: helloworld-go
  namespace: demo
spec:
  runLatest:
    configuration:
      revisionTemplate:
        metadata:
          annotations:
            autoscaling.knative.dev/target: "10"
        spec:
          concurrencyModel: Single
          container:
            image: docker.io/someone/helloworld-go
            env:
              - name: TARGET
                value: "Go Sample v1"
"#,
    );
    assert_eq!(warnings(&manifests), [""; 0]);
    let configuration = &manifests.configurations[0];
    assert_eq!(configuration.key.to_string(), "demo/helloworld-go");
    assert_eq!(configuration.service.as_deref(), Some("helloworld-go"));
    let template = &configuration.template;
    assert_eq!(template.slots, Slots::from_concurrency(1));
    assert_eq!(template.annotations.len(), 1);
    assert_eq!(template.container.env[0].1, "Go Sample v1");
    let shares = shares(&manifests.routes[0].traffic);
    assert_eq!(shares, [(latest("helloworld-go"), 100, None)]);
}

#[test]
fn v1alpha1_may_be_written_like_v1_and_a_tag_is_called_name() {
    let manifests = good(
        "
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata: {name: hello}
spec:
  template:
    metadata: {name: hello-one}
    spec: {containers: [{image: hello}]}
  traffic: [{revisionName: hello-one, name: stable, percent: 100}]
",
    );
    let name = manifests.configurations[0].template.name.as_deref();
    assert_eq!(name, Some("hello-one"));
    let shares = shares(&manifests.routes[0].traffic);
    assert_eq!(shares, [(pinned("hello-one"), 100, Some("stable"))]);
}

#[test]
fn a_configuration_and_a_route_may_stand_apart() {
    let manifests = good(
        "
apiVersion: serving.knative.dev/v1
kind: Configuration
metadata: {name: engine}
spec:
  template:
    spec: {containers: [{image: hello}]}
---
apiVersion: serving.knative.dev/v1
kind: Route
metadata: {name: front}
spec:
  traffic:
    - {configurationName: engine, percent: 80}
    - {revisionName: engine-00001, percent: 20, tag: old}
    - {configurationName: engine, tag: new}
",
    );
    let configuration = &manifests.configurations[0];
    assert_eq!(
        (configuration.key.name.as_str(), &configuration.service),
        ("engine", &None)
    );
    let route = &manifests.routes[0];
    assert_eq!((route.key.name.as_str(), &route.service), ("front", &None));
    assert_eq!(
        shares(&route.traffic),
        [
            (latest("engine"), 80, None),
            (pinned("engine-00001"), 20, Some("old")),
            (latest("engine"), 0, Some("new")),
        ]
    );
    assert_eq!(route.traffic[2].path, "spec.traffic[2]");
}

#[test]
fn a_canary_is_split_and_tagged() {
    let manifests = good(include_str!("../../../../deploy/examples/canary.yaml"));
    assert_eq!(
        shares(&manifests.routes[0].traffic),
        [
            (pinned("canary-00001"), 90, Some("stable")),
            (latest("canary"), 10, Some("next")),
        ]
    );
}

#[test]
fn a_list_is_its_items() {
    let item = |name| {
        format!(
            "{{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {{name: {name}}}, \
             spec: {{template: {{spec: {{containers: [{{image: x}}]}}}}}}}}"
        )
    };
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n",
        item("a"),
        item("b")
    );
    assert_eq!(good(&text).configurations.len(), 2);
}

#[test]
fn everything_a_container_says_is_kept() {
    let manifests = good(&with_container(
        "command: [python3, -m]
args: [http.server, $(PORT)]
workingDir: /srv
env:
- {name: A, value: x}
- {name: B}
- {name: A, value: $(B)}
ports: [{name: h2c, containerPort: 3000, protocol: TCP}]",
    ));
    let container = &manifests.configurations[0].template.container;
    assert_eq!(container.command, ["python3", "-m"]);
    assert_eq!(container.args, ["http.server", "$(PORT)"]);
    assert_eq!(container.working_dir.as_deref(), Some("/srv"));
    let env: Vec<(&str, &str)> = container
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(env, [("A", "x"), ("B", ""), ("A", "$(B)")]);
    assert_eq!(
        (container.port, container.protocol),
        (Some(3000), Protocol::H2c)
    );
}

#[test]
fn a_command_needs_no_image() {
    let text = with_container("command: [./server]").replace("image: hello\n", "name: user\n");
    let manifests = good(&text);
    assert_eq!(manifests.configurations[0].template.container.image, None);
}

#[test]
fn limits_of_a_request_are_read_and_0_is_the_default() {
    let text = |limits: &str| with_container("").replace("      containers", limits);
    let table = [
        (
            "all",
            "timeoutSeconds: 60, responseStartTimeoutSeconds: 60, idleTimeoutSeconds: 5",
            60,
            Some(60),
            Some(5),
        ),
        (
            "zeroes",
            "timeoutSeconds: 0, responseStartTimeoutSeconds: 0, idleTimeoutSeconds: 0",
            300,
            None,
            None,
        ),
        (
            "the most",
            "timeoutSeconds: 600, responseStartTimeoutSeconds: 600",
            600,
            Some(600),
            None,
        ),
        ("none", "", 300, None, None),
    ];
    for (case, limits, whole, response_start, idle) in table {
        let lines: String = limits
            .split(", ")
            .filter(|limit| !limit.is_empty())
            .map(|limit| format!("      {limit}\n"))
            .collect();
        let manifests = good(&text(&format!("{lines}      containers")));
        let want = Timeouts {
            whole: Duration::from_secs(whole),
            response_start: response_start.map(Duration::from_secs),
            idle: idle.map(Duration::from_secs),
        };
        assert_eq!(
            manifests.configurations[0].template.timeouts, want,
            "{case}"
        );
    }
}

#[test]
fn probes_of_all_kinds_are_read() {
    let http = |port, path: &str| {
        Check::Http(HttpGet {
            port,
            path: path.to_owned(),
            ..HttpGet::default()
        })
    };
    let tls = Check::Http(HttpGet {
        path: "/".to_owned(),
        tls: true,
        headers: vec![("A".to_owned(), "b".to_owned())],
        ..HttpGet::default()
    });
    let tcp = |port| Check::Tcp { host: None, port };
    let grpc = |service: &str| Check::Grpc {
        port: None,
        service: service.to_owned(),
    };
    let command = ["cat", "/ok"].map(str::to_owned).to_vec();
    let table = [
        ("httpGet: {path: /health}", http(None, "/health")),
        ("httpGet: {path: health, port: 8080}", http(None, "/health")),
        ("httpGet: {port: \"8080\"}", http(None, "/")),
        ("httpGet: {port: http1}", http(None, "/")),
        ("httpGet: {port: 0}", http(None, "/")),
        ("httpGet: {port: 8081}", http(Some(8081), "/")),
        ("httpGet: {port: \"8081\"}", http(Some(8081), "/")),
        (
            "httpGet: {scheme: HTTPS, httpHeaders: [{name: A, value: b}]}",
            tls,
        ),
        ("tcpSocket: {}", tcp(None)),
        ("tcpSocket: {port: 9}", tcp(Some(9))),
        ("grpc: {}", grpc("")),
        ("grpc: {service: a.B}", grpc("a.B")),
        ("exec: {command: [cat, /ok]}", Check::Exec { command }),
    ];
    for (written, want) in table {
        let port = "ports: [{name: http1, containerPort: 8080}]";
        let text = format!(
            "{port}\nreadinessProbe: {{{written}}}\nlivenessProbe: {{{written}}}\n\
             startupProbe: {{{written}}}"
        );
        let manifests = good(&with_container(&text));
        let template = &manifests.configurations[0].template;
        assert_eq!(template.readiness.check, want, "{written}");
        assert_eq!(template.liveness.as_ref().unwrap().check, want, "{written}");
        assert_eq!(template.startup.as_ref().unwrap().check, want, "{written}");
    }
}

#[test]
fn the_times_of_a_probe_have_knatives_defaults_for_readiness_and_kubernetes_elsewhere() {
    let text = "readinessProbe: {}\nlivenessProbe: {tcpSocket: {}, periodSeconds: 0}";
    let manifests = good(&with_container(text));
    let template = &manifests.configurations[0].template;
    assert_eq!(template.readiness, Probe::tcp_default());
    let liveness = Probe {
        period: Some(Duration::from_secs(10)),
        ..Probe::tcp_default()
    };
    assert_eq!(template.liveness, Some(liveness));
    let times = "initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 3, \
                 successThreshold: 4, failureThreshold: 5";
    let manifests = good(&with_container(&format!("readinessProbe: {{{times}}}")));
    let want = Probe {
        check: Check::OWN_PORT,
        initial_delay: Duration::from_secs(1),
        period: Some(Duration::from_secs(2)),
        timeout: Duration::from_secs(3),
        success_threshold: 4,
        failure_threshold: 5,
    };
    assert_eq!(manifests.configurations[0].template.readiness, want);
}

#[test]
fn what_is_not_honoured_is_named() {
    let text = with_container(
        "imagePullPolicy: Always
resources: {limits: {cpu: 1}}
securityContext: {}
volumeMounts: [{name: v}]
lifecyle: {}
port: 80",
    );
    let text = format!("{text}      serviceAccountName: someone\n      volumes: [{{name: v}}]\n");
    let text = format!("{text}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: demo}}\n");
    let container = "spec.template.spec.containers[0]";
    assert_eq!(
        warnings(&good(&text)),
        [
            format!("app.yaml, document 1, line 10: {container}.imagePullPolicy is ignored here"),
            format!("app.yaml, document 1, line 11: {container}.resources is ignored here"),
            format!("app.yaml, document 1, line 13: {container}.volumeMounts is ignored here"),
            format!(
                "app.yaml, document 1, line 14: {container}.lifecyle is not a known field; it is \
                 ignored (is lifecycle meant?)"
            ),
            format!(
                "app.yaml, document 1, line 15: {container}.port is not a known field; it is \
                 ignored (is ports meant?)"
            ),
            "app.yaml, document 1, line 16: spec.template.spec.serviceAccountName is ignored here"
                .to_owned(),
            "app.yaml, document 1, line 17: spec.template.spec.volumes is ignored here".to_owned(),
            "app.yaml, document 2, line 19: a Namespace of v1 is not read here; it is skipped"
                .to_owned(),
        ]
    );
}

#[test]
fn what_a_cluster_wrote_back_is_read() {
    let text = with_container("name: user-container\nresources: {}").replace(
        "  name: hello\n",
        "  name: hello\n  uid: x\n  generation: 3\n  creationTimestamp: null\n  annotations:\n    \
         serving.knative.dev/creator: me\n  labels: {a: b}\n",
    );
    let text = format!("{text}status: {{url: http://x}}\n");
    assert_eq!(warnings(&good(&text)), [""; 0]);
}
