//! From nothing to an answer: services at zero, the hosts they answer to, what is printed.

use std::process::Stdio;

use penstock_testkit::client::Client;
use tokio::process::Command;

use crate::harness::{Options, Service, Up, program, tests};

tests! {
    the_printed_line_wakes_a_service_at_zero needs "curl";
    a_program_gets_the_contracts_variables_and_its_output_is_shown;
    python_serves_a_folder needs "python3";
    an_unknown_host_is_told_so_and_shown_the_known_ones;
    a_gateway_for_others_keeps_its_hosts_to_itself;
    the_admin_listener_says_how_it_is;
    a_revision_is_found_by_knatives_headers_and_by_its_service_name;
}

async fn the_printed_line_wakes_a_service_at_zero() {
    let up = Up::with(&[Service::hello("hello").env("TARGET", "you")]).await;
    let state = up.state().await;
    assert_eq!(state.pods("hello-00001"), 0);
    let greeted = up.output.lines_with("hello.default.example.com:");
    let port = up.gateway.0.port();
    let url = format!("http://hello.default.example.com:{port}");
    assert_eq!(greeted, [format!("default/hello  {url}")]);

    let line = up.output.until_line("curl -H ").await;
    let curl = Command::new("sh")
        .args(["-c", &format!("exec {}", line.trim())])
        .stdin(Stdio::null())
        .output();
    let output = curl.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello you!\n");

    let state = up.state().await;
    assert_eq!(state.ready("hello-00001"), 1);
    assert_eq!(state.decisions("hello-00001").len(), 1);
    let running = up.processes();
    let sample = |command: &str| command.contains(" sample hello");
    let samples = running.iter().filter(|seen| sample(&seen.command));
    assert_eq!(samples.count(), 1, "{running:?}");
    up.stop().await;
}

async fn a_program_gets_the_contracts_variables_and_its_output_is_shown() {
    let line = format!(
        "echo \"I am $K_SERVICE $K_CONFIGURATION $K_REVISION for $WHOM at $PORT\"; \
         echo oh >&2; exec {} sample hello",
        program("penstock").display()
    );
    let up = Up::with(&[Service::shell("env", &line).env("WHOM", "$(K_SERVICE)s")]).await;
    up.gateway.text("env.default.example.com", "/").await;
    let said = up.output.until_line("I am ").await;
    let state = up.state().await;
    let pod = &state.revision("env-00001").unwrap()["pods"][0];
    let name = pod["name"].as_str().unwrap();
    let (before, port) = said.rsplit_once(' ').unwrap();
    assert_eq!(
        before,
        format!("[{name}] I am env env env-00001 for envs at")
    );
    assert!(port.parse::<u16>().unwrap() > 0);
    up.output.until_line(&format!("[{name}] oh")).await;
    up.stop().await;
}

async fn python_serves_a_folder() {
    let service = Service::shell("files", "exec python3 -m http.server $PORT");
    let up = Up::with(&[service.container("workingDir: .")]).await;
    let listing = up.gateway.text("files.default.example.com", "/").await;
    assert!(listing.contains("services.yaml"), "{listing}");
    up.stop().await;
}

async fn an_unknown_host_is_told_so_and_shown_the_known_ones() {
    let up = Up::with(&[Service::hello("one"), Service::hello("two")]).await;
    let answer = up.gateway.get("three.default.example.com", "/").await;
    assert_eq!(answer.status, 404);
    let text = answer.text();
    for word in [
        "three.default.example.com",
        "one.default.example.com",
        "two.default.example.com",
    ] {
        assert!(text.contains(word), "{text}");
    }
    up.stop().await;
}

async fn a_gateway_for_others_keeps_its_hosts_to_itself() {
    let options = Options::flags(&["--listen", "0.0.0.0:0"]);
    let up = Up::start(&[Service::hello("secret")], options).await;
    let answer = up.gateway.get("guess.default.example.com", "/").await;
    assert_eq!(answer.status, 404);
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    let host = "secret.default.example.com";
    assert_eq!(up.gateway.text(host, "/").await, "Hello World!\n");
    up.stop().await;
}

async fn the_admin_listener_says_how_it_is() {
    let up = Up::with(&[Service::hello("hello")]).await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/nothing", 404)] {
        assert_eq!(up.page(path).await.status, status, "{path}");
    }
    let metrics = up.page("/metrics").await.text();
    assert!(metrics.contains("component=\"activator\""), "{metrics}");
    up.stop().await;
}

async fn a_revision_is_found_by_knatives_headers_and_by_its_service_name() {
    let up = Up::with(&[Service::hello("hello")]).await;
    let request = http::Request::get("/")
        .header("host", "whatever.test")
        .header("Knative-Serving-Namespace", "default")
        .header("Knative-Serving-Revision", "hello-00001")
        .body(penstock_testkit::client::empty());
    let mut client = Client::http1(up.gateway.0).await;
    let answer = client.ask(request.unwrap()).await.unwrap();
    assert_eq!(answer.brief(), (200, "Hello World!\n".to_owned()));
    let host = "hello-00001.default.svc.cluster.local";
    assert_eq!(up.gateway.text(host, "/").await, "Hello World!\n");
    up.stop().await;
}
