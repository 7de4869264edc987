//! What an activator reaches on Kubernetes, against the emulated API server.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use penstock_activator::env::{Flags, Settings, Surroundings};
use penstock_activator::kube::reach;
use penstock_testkit::kube::ApiServer;
use penstock_types::RevisionId;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

fn settings(server: &ApiServer, more: &[(&str, &str)]) -> Settings {
    let url = server.url();
    let set = [
        ("POD_NAME", "activator-1"),
        ("POD_IP", "10.9.0.1"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
    ];
    let get = |name: &str| {
        let all = set.iter().chain(more);
        let found = all.copied().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_owned())
    };
    let flags = Flags::read([format!("-server={url}")]).unwrap();
    let around = Surroundings {
        resolv_conf: "",
        workers: NonZeroUsize::MIN,
        memory: None,
    };
    Settings::read(get, &flags, around).unwrap()
}

fn put_map(server: &ApiServer, name: &str, data: Value) {
    server.put(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "knative-serving" },
        "data": data,
    }));
}

#[tokio::test]
async fn a_knative_install_is_chosen_where_it_is_served() {
    let server = ApiServer::start().await;
    server.put(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": { "name": "hello-00001", "namespace": "default" },
        "spec": { "containers": [{ "image": "hello" }] },
    }));
    server.put(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "routing-serving-certs", "namespace": "knative-serving" },
        "data": { "ca.crt": "b25l" },
    }));
    put_map(
        &server,
        "config-network",
        json!({ "mesh-compatibility-mode": "disabled" }),
    );
    let world = reach(&settings(&server, &[]), |_| {}).await.unwrap();
    let known = world.cluster.snapshot().borrow().clone();
    let id = RevisionId::new("default", "hello-00001");
    assert!(known.revisions.contains_key(&id));
    assert_eq!(world.material.unwrap().borrow().ca, b"one");
    let mut config = world.config;
    assert_eq!(
        config.borrow().network["mesh-compatibility-mode"],
        "disabled"
    );
    put_map(
        &server,
        "config-observability",
        json!({ "logging.enable-request-log": "true" }),
    );
    let logged = config.wait_for(|maps| maps.observability.len() == 1).await;
    assert_eq!(
        logged.unwrap().observability["logging.enable-request-log"],
        "true"
    );
}

#[tokio::test]
async fn without_knative_or_by_name_it_is_deployments() {
    for (forgets, more) in [
        (true, None),
        (false, Some(("PENSTOCK_CLUSTER", "deployments"))),
    ] {
        let server = ApiServer::start().await;
        if forgets {
            server.forget_group("serving.knative.dev");
        }
        server.put(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "hello", "namespace": "default",
                          "labels": { "penstock.dev/scale": "true" } },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": { "app": "hello" } },
                "template": {
                    "metadata": { "labels": { "app": "hello" } },
                    "spec": { "containers": [
                        { "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] }
                    ] },
                },
            },
        }));
        let more: Vec<_> = more.into_iter().collect();
        let world = reach(&settings(&server, &more), |_| {}).await.unwrap();
        let known = world.cluster.snapshot().borrow().clone();
        assert!(
            known
                .routes
                .hosts
                .contains_key("hello.default.svc.cluster.local")
        );
        assert!(world.material.is_none());
    }
}

#[tokio::test]
async fn a_server_that_is_too_old_is_not_served() {
    let server = ApiServer::start().await;
    server.forget_group("serving.knative.dev");
    for (wanted, fits) in [("v1.37.0", true), ("v1.37.1", false), ("v1.38", false)] {
        let reached = reach(
            &settings(&server, &[("KUBERNETES_MIN_VERSION", wanted)]),
            |_| {},
        )
        .await;
        let told = reached.err().map(|error| error.to_string());
        assert_eq!(told.is_none(), fits, "{wanted}: {told:?}");
        assert!(told.is_none_or(|told| {
            told.contains("v1.37.0, which is too old") && told.contains("KUBERNETES_MIN_VERSION")
        }));
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Running {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.0.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_first_signal_begins_the_drain_and_the_second_ends_the_process_with_1() {
    let server = ApiServer::start().await;
    let url = server.url();
    let set = [
        ("POD_NAME", "activator-1"),
        ("POD_IP", "127.0.0.1"),
        ("SYSTEM_NAMESPACE", "knative-serving"),
        ("PENSTOCK_CLUSTER", "deployments"),
        ("PENSTOCK_AUTOSCALER", "none"),
        ("PENSTOCK_LISTEN_HOST", "127.0.0.1"),
        ("PENSTOCK_HTTP1_PORT", "0"),
        ("PENSTOCK_H2C_PORT", "0"),
        ("PROFILING_PORT", "0"),
        // Nobody waits so long.
        ("PENSTOCK_LAME_DUCK_MS", "3600000"),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_activator"));
    command.env_clear().envs(set).arg(format!("-server={url}"));
    let ended = spawn_blocking(move || {
        let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
        let mut until = |words: &str| {
            let mut told = lines.by_ref().map(Result::unwrap);
            assert!(told.any(|line| line.contains(words)), "no {words}");
        };
        until("\"serving\"");
        running.signal("-TERM");
        until("\"asked to stop\"");
        assert!(running.0.try_wait().unwrap().is_none(), "it drains");
        running.signal("-INT");
        running.0.wait().unwrap()
    });
    let ended = timeout(Duration::from_secs(60), ended).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(1));
}
