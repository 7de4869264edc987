use std::path::PathBuf;

use proptest::prelude::*;

use super::document::{Value, read_all, write_all};
use super::{each_workload, restore, workload};

const IMAGE: &str = "penstock/queue-proxy:test";

const WEB: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {penstock.dev/scale: "true"}
  annotations:
    penstock.dev/container-concurrency: "10"
    penstock.dev/timeout: "60"
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: log
          image: log
        - name: web
          image: web
          ports: [{name: http, containerPort: 8080}]
          env: [{name: OCTAL, value: "0644"}, {name: WORD, value: "yes"}]
          readinessProbe:
            httpGet: {path: /ready, port: http}
            periodSeconds: 3
"#;

fn document(text: &str) -> Value {
    read_all(text).unwrap().remove(0)
}

fn injected(text: &str) -> Value {
    let mut value = document(text);
    workload::inject(&mut value, IMAGE).unwrap_or_else(|found| panic!("{found:?}"));
    value
}

fn mistakes(text: &str) -> Vec<String> {
    let mut value = document(text);
    let found = workload::inject(&mut value, IMAGE).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

fn containers(value: &Value) -> &[Value] {
    let containers = value.at(&["spec", "template", "spec", "containers"]);
    containers.and_then(Value::as_list).unwrap()
}

fn env<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let all = container.get("env")?.as_list()?;
    let found = all.iter().find(|it| it.text("name") == Some(name))?;
    found.text("value")
}

/// Mappings sorted, so that only what they say is compared.
fn sorted(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(entries)
        }
        other => other.clone(),
    }
}

#[test]
fn the_queue_proxy_is_asked_instead_of_the_container_and_asks_it_itself() {
    let value = injected(WEB);
    let [log, web, proxy] = containers(&value) else {
        panic!("{value:?}")
    };
    assert_eq!(web.get("readinessProbe"), None);
    let probe: serde_json::Value =
        serde_json::from_str(env(proxy, "SERVING_READINESS_PROBE").unwrap()).unwrap();
    assert_eq!(
        probe,
        serde_json::json!({
            "httpGet": {"path": "/ready", "port": 8080, "host": "127.0.0.1"},
            "periodSeconds": 3,
        })
    );
    let readiness = proxy.get("readinessProbe").unwrap();
    assert_eq!(readiness.get("periodSeconds"), Some(&Value::Int(3)));
    assert_eq!(readiness.at(&["httpGet", "port"]), Some(&Value::Int(8012)));
    assert_eq!(env(proxy, "USER_PORT"), Some("8080"));
    assert_eq!(env(proxy, "CONTAINER_CONCURRENCY"), Some("10"));
    assert_eq!(env(proxy, "REVISION_TIMEOUT_SECONDS"), Some("60"));
    assert_eq!(proxy.text("image"), Some(IMAGE));
    for container in [log, web] {
        let hook = container.at(&["lifecycle", "preStop", "httpGet", "port"]);
        assert_eq!(hook, Some(&Value::Int(8022)));
    }
    let grace = value.at(&["spec", "template", "spec", "terminationGracePeriodSeconds"]);
    assert_eq!(grace, Some(&Value::Int(60)));
}

#[test]
fn an_injected_environment_is_one_that_the_queue_proxy_starts_with() {
    let value = injected(WEB);
    let proxy = &containers(&value)[2];
    let get = |name: &str| {
        let all = proxy.get("env")?.as_list()?;
        let found = all.iter().find(|it| it.text("name") == Some(name))?;
        // A field of the pod is some text or other.
        Some(found.text("value").unwrap_or("10.0.0.1").to_owned())
    };
    let setup = penstock_queue_proxy::env::read(get, |_| false).unwrap();
    assert_eq!(setup.ports.main, 8012);
    assert_eq!(setup.identity.revision, "web");
    assert!(setup.observability.prometheus.is_some());
}

#[test]
fn http2_without_tls_is_served_on_its_own_port() {
    let value = injected(
        &WEB.replace("name: http,", "name: h2c,")
            .replace("port: http}", "port: h2c}"),
    );
    let proxy = &containers(&value)[2];
    assert_eq!(env(proxy, "QUEUE_SERVING_PORT"), Some("8013"));
}

#[test]
fn injecting_twice_is_injecting_once() {
    let mut value = injected(WEB);
    let once = value.clone();
    workload::inject(&mut value, IMAGE).unwrap();
    assert_eq!(sorted(&value), sorted(&once));
}

#[test]
fn an_exec_probe_stays_with_the_kubelet() {
    let text = WEB.replace(
        "httpGet: {path: /ready, port: http}",
        "exec: {command: [check]}",
    );
    let value = injected(&text);
    let [_, web, proxy] = containers(&value) else {
        panic!("{value:?}")
    };
    assert!(web.at(&["readinessProbe", "exec"]).is_some());
    assert!(
        env(proxy, "SERVING_READINESS_PROBE")
            .unwrap()
            .contains("tcpSocket")
    );
}

#[test]
fn a_hook_of_the_serving_container_is_replaced_and_told_of() {
    let text = WEB.replace(
        "          image: web\n",
        "          image: web\n          lifecycle: {preStop: {exec: {command: [sleep, \"5\"]}}}\n",
    );
    let mut value = document(&text);
    let notes = workload::inject(&mut value, IMAGE).unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("container web"), "{notes:?}");
    restore::uninject(&mut value).unwrap();
    assert_eq!(sorted(&value), sorted(&document(&text)));
}

#[test]
fn a_workload_without_the_label_is_left_alone_and_told_of() {
    let text = WEB.replace("penstock.dev/scale: \"true\"", "tier: front");
    let mut value = document(&text);
    let notes = workload::inject(&mut value, IMAGE).unwrap();
    assert_eq!(value, document(&text));
    assert!(notes[0].contains("penstock.dev/scale"), "{notes:?}");
}

#[test]
fn workloads_in_a_list_are_found_and_other_kinds_pass_through() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n- apiVersion: batch/v1\n  kind: Job\n  metadata: {{name: web}}\n",
        WEB.trim_end().replace('\n', "\n  ")
    );
    let mut value = document(&list);
    let mut seen = 0;
    each_workload(&mut value, &mut |workload| {
        seen += 1;
        workload::inject(workload, IMAGE).unwrap();
    });
    assert_eq!(seen, 1);
    assert!(write_all(&[value]).unwrap().contains("kind: Job"));
}

#[test]
fn all_mistakes_are_told_at_once_with_place_value_and_what_would_be_right() {
    let text = WEB
        .replace("\"60\"", "\"soon\"")
        .replace("concurrency: \"10\"", "concurrency: 10")
        .replace("containerPort: 8080", "containerPort: 8022");
    let told = mistakes(&text);
    assert_eq!(told.len(), 3, "{told:#?}");
    let all = told.join("\n");
    for part in [
        "metadata.annotations[penstock.dev/timeout]: \"soon\" is not a number of seconds, or a duration such as 1m30s",
        "metadata.annotations[penstock.dev/container-concurrency]: 10 is not in quotes",
        "spec.template.spec.containers[1].ports[0].containerPort: 8022 is a port of the queue-proxy",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

#[test]
fn which_port_serves_has_to_be_clear() {
    let several = WEB.replace(
        "[{name: http, containerPort: 8080}]",
        "[{name: http, containerPort: 8080}, {name: admin, containerPort: 8081}]",
    );
    assert_eq!(
        env(&containers(&injected(&several))[2], "USER_PORT"),
        Some("8080")
    );
    let unnamed = several
        .replace("name: http, containerPort", "name: one, containerPort")
        .replace("port: http}", "port: one}");
    assert!(mistakes(&unnamed)[0].contains("2 ports (8080, 8081)"));
    let named = several.replace(
        "penstock.dev/timeout: \"60\"",
        "penstock.dev/port: \"8081\"",
    );
    assert_eq!(
        env(&containers(&injected(&named))[2], "USER_PORT"),
        Some("8081")
    );
    let none = WEB.replace("          ports: [{name: http, containerPort: 8080}]\n", "");
    assert!(mistakes(&none)[0].contains("no port is declared"));
    let other = WEB.replace("penstock.dev/timeout: \"60\"", "penstock.dev/port: \"9\"");
    assert!(mistakes(&other)[0].contains("no container declares port 9"));
}

#[test]
fn a_probe_of_a_port_that_is_not_there_is_a_mistake() {
    let told = mistakes(&WEB.replace("port: http}", "port: web}"));
    assert_eq!(
        told,
        [
            "spec.template.spec.containers[1].readinessProbe.httpGet.port: \"web\" is no port of this container"
        ]
    );
}

#[test]
fn values_that_look_like_others_keep_their_type() {
    let text = "a: \"0644\"\nb: \"yes\"\nc: \"1e3\"\nd: \"null\"\ne: \"1_000\"\nf: \"0x1F\"\ng: \"~\"\nh: \"on\"\ni: 0644\nj: \"- x\"\nk: |\n  two\n  lines\nl: \"12:30\"\n";
    let value = document(text);
    assert_eq!(value.get("i"), Some(&Value::Int(420)));
    let again = document(&write_all(std::slice::from_ref(&value)).unwrap());
    assert_eq!(again, value);
    // As the readers of Kubernetes see it, which know YAML 1.1.
    let written = write_all(&[value]).unwrap();
    for word in [
        "yes", "on", "0644", "1e3", "null", "1_000", "0x1F", "~", "12:30",
    ] {
        let bare = written
            .lines()
            .any(|line| line.ends_with(&format!(": {word}")));
        assert!(!bare, "{word} is bare in {written}");
    }
}

#[test]
fn a_file_that_is_not_there_and_one_that_is_no_yaml_are_both_told() {
    let folder = std::env::temp_dir().join(format!("penstock-inject-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let broken = folder.join("broken.yaml");
    std::fs::write(&broken, "a: [1\nb: 2\n").unwrap();
    let files: Vec<PathBuf> = vec![folder.join("none.yaml"), broken];
    let args = super::UninjectArgs { files };
    let told = super::uninject(&args).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].to_string().contains("line"), "{}", told[1]);
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,8}"
}

/// Some extra field that nobody here knows.
fn stranger() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "[ -~]{0,12}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(name(), inner, 1..4)
                .prop_map(|map| Value::Map(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn container(probe: bool, hook: bool)(
        extra in stranger(),
        path in "/[a-z]{0,8}",
        period in 1..30_i64,
    ) -> Value {
        let mut made = Value::map([("image", "x".into()), ("extra", extra)]);
        if probe {
            let get = Value::map([("path", path.into()), ("port", 8080.into())]);
            made.set("readinessProbe", Some(Value::map([("httpGet", get), ("periodSeconds", period.into())])));
        }
        if hook {
            let sleep = Value::map([("sleep", Value::map([("seconds", period.into())]))]);
            made.set("lifecycle", Some(Value::map([("preStop", sleep)])));
        }
        made
    }
}

proptest! {
    /// What inject does to a workload, uninject undoes, through YAML as well.
    #[test]
    fn uninject_undoes_inject(
        (first, second) in any::<(bool, bool, bool, bool)>().prop_flat_map(|(a, b, c, d)| {
            (container(a, b), container(c, d))
        }),
        extra in stranger(),
        grace in prop::option::of(1..600_i64),
        labelled in any::<bool>(),
    ) {
        let (mut first, mut second) = (first, second);
        first.set("name", Some("app".into()));
        let port = Value::map([("containerPort", 8080.into())]);
        first.set("ports", Some(Value::List(vec![port])));
        second.set("name", Some("beside".into()));
        let mut original = document(WEB);
        let template = original.make(&["spec", "template"]);
        if !labelled {
            template.set("metadata", None);
        }
        let spec = template.make(&["spec"]);
        spec.set("containers", Some(Value::List(vec![first, second])));
        spec.set("terminationGracePeriodSeconds", grace.map(Value::Int));
        spec.set("extra", Some(extra));
        let mut value = original.clone();
        workload::inject(&mut value, IMAGE).map_err(|found| TestCaseError::fail(format!("{found:?}")))?;
        prop_assert_ne!(sorted(&value), sorted(&original));
        let mut value = document(&write_all(&[value]).unwrap());
        restore::uninject(&mut value).unwrap();
        prop_assert_eq!(sorted(&value), sorted(&original));
    }
}
