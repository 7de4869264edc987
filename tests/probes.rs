//! Probes of the manifest, against real programs.

use crate::harness::{Folder, Service, Up, program, program_file, tests};

tests! {
    an_http_probe_keeps_requests_until_it_passes needs "python3";
    a_grpc_health_check_keeps_requests_until_it_says_serving needs "node";
    a_command_keeps_requests_until_it_passes;
    a_startup_probe_goes_before_readiness;
    a_failed_liveness_probe_restarts_the_program needs "python3";
}

const NAME: &str = "fragile-00001";
const HOST: &str = "fragile.default.example.com";

fn fragile(folder: &Folder) -> Service {
    Service::fragile("fragile", folder)
}

/// `hello`, as a command in `folder`.
fn hello(folder: &Folder) -> Service {
    let penstock = program("penstock").to_string_lossy();
    Service::command("fragile", &[&penstock, "sample", "hello"]).within(folder)
}

/// Asks, sees that nothing is ready, makes `file`, and gets the answer.
async fn is_kept_until(file: &str, folder: &Folder, up: &Up) {
    let mut client = up.gateway.ask(HOST, "/").await;
    up.output.until_line("0 -> 1").await;
    let state = up.until_state("a pod", |state| state.pods(NAME) == 1).await;
    assert_eq!(state.ready(NAME), 0);
    assert_eq!(state.figure(NAME, "waiting"), 1);
    folder.write(file, "");
    assert_eq!(client.read_response().await.head.status, 200);
    assert_eq!(up.state().await.ready(NAME), 1);
}

async fn an_http_probe_keeps_requests_until_it_passes() {
    let folder = Folder::new();
    let probe = "readinessProbe: {httpGet: {path: /ready}, periodSeconds: 1}";
    let up = Up::with(&[fragile(&folder).container(probe)]).await;
    is_kept_until("ready", &folder, &up).await;
    up.stop().await;
}

async fn a_grpc_health_check_keeps_requests_until_it_says_serving() {
    let folder = Folder::new();
    let service = Service::command("fragile", &["node", &program_file("health.js")])
        .within(&folder)
        .container("ports: [{name: h2c, containerPort: 8080}]")
        .container("readinessProbe: {grpc: {}, periodSeconds: 1}");
    let up = Up::with(&[service]).await;
    is_kept_until("serving", &folder, &up).await;
    up.stop().await;
}

async fn a_command_keeps_requests_until_it_passes() {
    let folder = Folder::new();
    let probe = "readinessProbe: {exec: {command: [test, -e, go]}, periodSeconds: 1}";
    let up = Up::with(&[hello(&folder).container(probe)]).await;
    is_kept_until("go", &folder, &up).await;
    up.stop().await;
}

async fn a_startup_probe_goes_before_readiness() {
    let folder = Folder::new();
    let probe = "startupProbe: {exec: {command: [test, -e, go]}, failureThreshold: 100}";
    let up = Up::with(&[hello(&folder).container(probe)]).await;
    is_kept_until("go", &folder, &up).await;
    up.stop().await;
}

async fn a_failed_liveness_probe_restarts_the_program() {
    let folder = Folder::new();
    let probe = "livenessProbe: {httpGet: {path: /alive}, periodSeconds: 1, failureThreshold: 2}";
    let up = Up::with(&[fragile(&folder).container(probe)]).await;
    let before = up.gateway.text(HOST, "/").await;
    folder.write("sick", "");
    up.output
        .until_line("pod failed: the liveness probe failed: ")
        .await;
    up.output.until_lines("] serving", 2).await;
    let after = up.gateway.text(HOST, "/").await;
    assert_ne!(before, after, "the same process");
    assert_eq!(up.state().await.pods(NAME), 1);
    up.stop().await;
}
